"""Prompts encoded for the transformer, and their cache."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from torch.nn import functional

from registry.families import PROMPT_TOKENS as TOKENS  # shorter prompts are padded to it
from router import CutPrompt

STRIDE = 32  # the encoder reads a multiple of it: some kernels are chosen by shape


@dataclass(frozen=True)
class Prompt:
    """An encoded prompt `(1, 512, text_dim)`, its number of tokens, and its cut, if any."""

    embeds: torch.Tensor
    tokens: int
    cut: CutPrompt | None = None

    @property
    def size(self) -> int:
        return self.embeds.nbytes

    def warnings(self, name: str) -> tuple[str, ...]:
        """Return a warning if text was lost; `name` is that of the prompt."""
        return (self.cut.warning(name),) if self.cut else ()


class PromptCache:
    """Encoded prompts within `limit` bytes; the least recently used leave first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._prompts: OrderedDict[Hashable, Prompt] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, encode: Callable[[], Prompt]) -> Prompt:
        """Return the prompt with this key; encode it if it is not cached."""
        with self._lock:
            if (known := self._prompts.get(key)) is not None:
                self._prompts.move_to_end(key)
                return known
        prompt = encode()
        with self._lock:
            self._keep(key, prompt)
        return prompt

    def discard(self, prompt: Prompt) -> None:
        with self._lock:
            for key in [key for key, known in self._prompts.items() if known is prompt]:
                self.size -= self._prompts.pop(key).size

    def clear(self) -> None:
        with self._lock:
            self._prompts.clear()
            self.size = 0

    def _keep(self, key: Hashable, prompt: Prompt) -> None:
        if prompt.size > self.limit or key in self._prompts:
            return
        while self.size + prompt.size > self.limit:
            _, oldest = self._prompts.popitem(last=False)
            self.size -= oldest.size
        self._prompts[key] = prompt
        self.size += prompt.size


@torch.no_grad()
def encode(pipe: Any, text: str, device: str, short: bool) -> Prompt:
    """Return `text` encoded on `device` as by `pipe`; `short` skips the padding."""
    # no token of the text attends to the padding, and its rows are zeros in the result in any case
    cleaned = prompt_clean(text)
    encoding = pipe.tokenizer(cleaned)[0]
    count = len(encoding.ids)
    read = min(TOKENS, -(-count // STRIDE) * STRIDE) if short else TOKENS
    # without a device the pipeline looks for it in every module, which takes longer than to encode at toy size
    embeds, _ = pipe.encode_prompt(text, do_classifier_free_guidance=False, max_sequence_length=read, device=device)
    return Prompt(functional.pad(embeds, (0, 0, 0, TOKENS - read)), count, CutPrompt.of(cleaned, encoding, TOKENS))
