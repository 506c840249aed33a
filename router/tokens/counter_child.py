"""The program of the counting process: one JSON line in, one JSON line out.

The module is run by its path, so that it imports nothing else of ours. Reading a tokenizer holds Python's lock, for a
second with umT5's 256,300 pieces, and takes 220 MB; a harmful file ends this process alone.
"""

import hashlib
import html
import json
import os
import re
import resource
import signal
import sys
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

MEMORY = 2 * 2**30  # bytes of address space: umT5 needs a tenth of it
TOKENIZERS = 4  # kept in memory, those used last
TAIL = 40  # characters of a text's kept end that are shown


def clean(text: str) -> str:
    """Return `text` as diffusers' Wan pipelines clean it."""
    import ftfy

    return re.sub(r"\s+", " ", html.unescape(html.unescape(ftfy.fix_text(text))).strip()).strip()


def kept(text: str, encoding: Any, limit: int) -> str:
    """Return the last characters of `text` within its first `limit` tokens.

    `encoding` is that of the whole text by `tokenizers`.
    """
    pairs = zip(encoding.offsets, encoding.special_tokens_mask, strict=True)
    spans = [span for span, special in pairs if not special]
    added = len(encoding.offsets) - len(spans)  # such as the token that ends a text: it stays
    (_, end), (beyond, _) = spans[limit - added - 1 : limit - added + 1]
    end = min(end, beyond)  # several tokens may be of one character, some of them beyond
    start = max(0, end - TAIL)
    return ("…" if start else "") + text[start:end].strip()


class Tokenizers:
    """Tokenizers by their files, each content read once."""

    def __init__(self) -> None:
        self._digests: dict[tuple[str, int, int], str] = {}
        self._known: OrderedDict[str, Any] = OrderedDict()

    def of(self, path: str) -> Any:
        """Return the tokenizer in `path`, without padding and truncation.

        What it raises may be a panic of the library's, which is no `Exception`.
        """
        stat = Path(path).stat()
        file = path, stat.st_mtime_ns, stat.st_size
        digest = self._digests.get(file)
        if digest is None or digest not in self._known:
            content = Path(path).read_bytes()
            digest = self._digests[file] = hashlib.sha256(content).hexdigest()
            if digest not in self._known:
                self._read(digest, content)
        self._known.move_to_end(digest)
        return self._known[digest]

    def _read(self, digest: str, content: bytes) -> None:
        from tokenizers import Tokenizer

        while len(self._known) >= TOKENIZERS:
            self._known.popitem(last=False)
        tokenizer = Tokenizer.from_buffer(content)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode(clean("a"))  # the first text takes a while
        self._known[digest] = tokenizer


def cut(tokenizer: Any, text: str, limit: int) -> tuple[int, str] | None:
    """Return the number of tokens and the kept end of `text`; None within `limit`."""
    cleaned = clean(text)
    # whether such a token in a prompt is one is decided by each class of `transformers` in its own way
    if any(token.content in cleaned for token in tokenizer.get_added_tokens_decoder().values()):
        return None
    encoding = tokenizer.encode(cleaned)
    count = len(encoding.ids)
    return (count, kept(cleaned, encoding, limit)) if count > limit else None


def attempt(tokenizer: Any, text: str, limit: int) -> tuple[int, str] | None:
    """Return the result of `cut`, None for a text that breaks the tokenizer."""
    try:
        return cut(tokenizer, text, limit)
    except BaseException:  # the text is at fault, and the tokenizer goes on
        return None


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends when its stdin does
    with suppress(OSError, ValueError):  # a lower limit is there already
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    tokenizers = Tokenizers()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        answer: dict[str, object]
        try:
            tokenizer = tokenizers.of(request["file"])
            answer = {"cut": [attempt(tokenizer, text, request["limit"]) for text in request["texts"]]}
        except BaseException as error:  # a panic of the library's is no Exception
            answer = {"error": f"{type(error).__name__}: {error}"[:200]}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    os._exit(0)  # to free a tokenizer's pieces one by one takes a while


if __name__ == "__main__":
    main()
