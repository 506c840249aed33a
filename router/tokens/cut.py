"""The warning for a prompt that has more tokens than its model reads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from router.tokens.counter_child import kept

_SENTENCE = re.compile(r"(the (?:negative )?prompt) has \d+ tokens; it is cut ")


@dataclass(frozen=True)
class CutPrompt:
    """A prompt with more `tokens` than the `limit` of its model.

    `kept` are the last characters that the model reads.
    """

    tokens: int
    limit: int
    kept: str

    @classmethod
    def of(cls, text: str, encoding: Any, limit: int) -> CutPrompt | None:
        """Return the cut of `text`, None for a text within `limit`.

        `encoding` is that of the whole text by `tokenizers`.
        """
        tokens = len(encoding.ids)
        return cls(tokens, limit, kept(text, encoding, limit)) if tokens > limit else None

    def warning(self, name: str) -> str:
        """Return the sentence for the caller; `name` is `prompt` or `negative prompt`."""
        return f'the {name} has {self.tokens} tokens; it is cut to the first {self.limit}, after "{self.kept}"'


def merged(accepted: Iterable[str], made: Iterable[str]) -> tuple[str, ...]:
    """Return a job's warnings, each once, those of its acceptance first.

    Of two about one cut prompt the engine's is kept: it has made the cut.
    """
    return tuple({_subject(warning): warning for warning in (*accepted, *made)}.values())


def _subject(warning: str) -> str:
    found = _SENTENCE.match(warning)
    return found[1] if found else warning
