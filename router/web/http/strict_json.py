"""Strict JSON with bounded cost: structure is counted before any object is built.

Long strings, such as images in base64, are cut out before the parser runs. They so cost their text once; the parser
would copy them at each step, at four bytes a character if any character is beyond Latin-1.
"""

import json
import math
from collections.abc import Callable
from typing import Any

from router.errors import LimitExceeded

MAX_DEPTH = 200  # our own requests have ten levels
MAX_VALUES = 100_000  # numbers, literals, strings, lists and objects; a long conversation has some thousands
MAX_TEXT = 4 * 2**20  # bytes without long plain strings
LONG = 16 * 2**10  # bytes; longer strings are cut out
PIECE = 2**20  # bytes of one scan, during which all other threads wait
PLAIN = bytes(byte for byte in range(0x20, 0x7F) if byte not in b'"\\')
BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
PLACEHOLDER = b"NaN"  # invalid in JSON, so one in the request is found as surplus


def parse(data: bytes) -> Any:
    """Parse JSON in UTF-8.

    Raises `ValueError` for invalid JSON, a repeated key, NaN and infinite numbers; `RecursionError` beyond `MAX_DEPTH`
    levels; `LimitExceeded` for more values or text than any request needs.
    """
    if data.count(b'"') > 4 * MAX_VALUES:  # two quotes each for a key and its value
        raise _too_many()
    text, outside, cut = _cut(data)
    _check_structure(outside)
    return json.loads(
        text.decode(), object_pairs_hook=_unique, parse_constant=_constants(iter(cut)), parse_float=_finite
    )


def _cut(data: bytes) -> tuple[bytes, bytes, list[str]]:
    """Return the text with placeholders, the text outside strings, and the long strings."""
    kept: list[bytes] = []
    outside: list[bytes] = []
    cut: list[str] = []
    done, left = 0, MAX_TEXT
    while (start := data.find(b'"', done)) >= 0 and (end := _end(data, start + 1)) >= 0:
        left = _take(left, start - done)
        outside.append(data[done:start])
        is_key = data[end + 1 : end + 64].lstrip().startswith(b":")
        if end - start > LONG and not is_key and (plain := _plain(data, start + 1, end)) is not None:
            kept += (outside[-1], PLACEHOLDER)
            cut.append(plain)
        else:
            left = _take(left, end + 1 - start)
            kept.append(data[done : end + 1])
        done = end + 1
    _take(left, len(data) - done)
    rest = data[done:]
    return b"".join((*kept, rest)), b"".join((*outside, rest)), cut


def _take(left: int, size: int) -> int:
    if size > left:
        raise LimitExceeded(f"a body may have {MAX_TEXT:,} bytes besides long strings of plain ASCII, got more")
    return left - size


def _end(data: bytes, start: int) -> int:
    """Return the offset of a string's closing quote, -1 if it has none."""
    end = data.find(b'"', start)
    while end >= 0 and _is_escaped(data, start, end):
        end = data.find(b'"', end + 1)
    return end


def _is_escaped(data: bytes, start: int, at: int) -> bool:
    """Say whether an odd number of backslashes precedes `at`."""
    before, kept = at, 0
    while before > start and not kept:
        block = data[max(start, before - 4096) : before]
        kept = len(block.rstrip(b"\\"))
        before -= len(block) - kept
    return (at - before) % 2 == 1


def _plain(data: bytes, start: int, end: int) -> str | None:
    r"""Return a string of printable ASCII and `\/`; None for any other."""
    for at in range(start, end, PIECE):
        odd = data[at : min(at + PIECE, end)].translate(None, PLAIN)
        if odd.strip(b"\\"):
            return None
    text = str(memoryview(data)[start:end], "ascii")
    if "\\" not in text:
        return text
    slashes = text.count("\\/")
    return text.replace("\\/", "/") if text.count("\\") == slashes else None


def _check_structure(outside: bytes) -> None:
    depth = 0
    for bracket in outside.translate(None, BRACKETS)[:MAX_VALUES]:
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise RecursionError
    if sum(map(outside.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise _too_many()


def _constants(cut: Any) -> Callable[[str], str]:
    def constant(word: str) -> str:
        text: str | None = next(cut, None) if word == PLACEHOLDER.decode() else None
        if text is None:
            raise ValueError(f"{word} is not a JSON number")
        return text

    return constant


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:100]!r} appears twice")
        found[key] = value
    return found


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:40]} is too large")
    return number


def _too_many() -> LimitExceeded:
    return LimitExceeded(f"a body may hold {MAX_VALUES:,} values, got more")
