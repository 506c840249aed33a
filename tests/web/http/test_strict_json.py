"""Strict JSON: the values of Python's parser, at bounded cost."""

import json
import random
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from router.errors import LimitExceeded
from router.web.http.strict_json import LONG, MAX_DEPTH, MAX_TEXT, MAX_VALUES, parse

LARGE = 24 * 2**20


def value(dice: random.Random, depth: int = 0) -> Any:
    """Return a random JSON value, with strings below and above the cut-out length."""
    kind = dice.randrange(8 if depth < 4 else 6)
    if kind == 6:
        return [value(dice, depth + 1) for _ in range(dice.randrange(5))]
    if kind == 7:
        return {text(dice): value(dice, depth + 1) for _ in range(dice.randrange(5))}
    return (None, True, dice.randrange(-(10**6), 10**6), dice.random(), text(dice), text(dice))[kind]


def text(dice: random.Random) -> str:
    alphabet = dice.choice(["abc", "a/", 'a"\\/', "a\u00e9\u4e2d\U0001f600", "\n\t\x00 ", "NaN,:[]{}"])
    return "".join(dice.choices(alphabet, k=dice.choice([0, 1, 5, LONG - 1, LONG, LONG + 1, 2 * LONG])))


def test_it_is_what_pythons_parser_makes_of_it() -> None:
    for seed in range(60):
        dice = random.Random(seed)
        what = {"a": value(dice), "b": value(dice)}
        written = json.dumps(what, ensure_ascii=dice.random() < 0.5, indent=dice.choice([None, 2]))
        if dice.random() < 0.5:
            written = written.replace("/", "\\/")  # as PHP writes it

        assert parse(written.encode()) == what, seed


def test_broken_json_is_refused_as_pythons_parser_refuses_it() -> None:
    for seed in range(200):
        dice = random.Random(seed)
        data = bytearray(json.dumps([value(dice), "x" * 2 * LONG, value(dice)]).encode())
        for _ in range(3):
            data[dice.randrange(len(data))] = dice.choice(b'"\\{}[],:aN0')

        assert _parsed(parse, data) == _parsed(lambda data: json.loads(data, parse_constant=int), data), seed


def _parsed(parser: Callable[[bytes], Any], data: bytes) -> Any:
    """Return what a parser makes of data, None for an error."""
    try:
        return parser(bytes(data))
    except ValueError:  # `int` raises it too, of NaN and Infinity
        return None


LONG_TEXT = b'"%b"' % (b"x" * 2 * LONG)


@pytest.mark.parametrize(
    "data",
    [
        b"[NaN]",
        b"[NaN, %b]" % LONG_TEXT,
        b"[%b, NaN]" % LONG_TEXT,
        b"[Infinity, %b]" % LONG_TEXT,
        b"[-%b]" % LONG_TEXT,
        b"[1%b]" % LONG_TEXT,
        b"[%b%b]" % (LONG_TEXT, LONG_TEXT),
        b"[1e999]",
        b'{"a": 1, "a": 2}',
        b'["' + b"x" * 2 * LONG,
        b'["' + b"x" * 2 * LONG + b"\n" + b'"]',
    ],
)
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse(data)


def test_a_long_key_is_a_key() -> None:
    key = "k" * 2 * LONG

    assert parse(json.dumps({key: key}).encode()) == {key: key}


def test_depth_and_values_are_bounded() -> None:
    assert parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(RecursionError):
        parse(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))
    assert len(parse(b"[" + b"1," * (MAX_VALUES - 1) + b"1]")) == MAX_VALUES
    with pytest.raises(LimitExceeded):
        parse(b"[" + b"1," * MAX_VALUES + b"1]")


HOSTILE: dict[str, Callable[[], bytes]] = {
    "pairs": lambda: b'{"metadata":{' + b",".join(b'"k%d":"v"' % n for n in range(LARGE // 14)) + b"}}",
    "objects": lambda: b"[" + b"{}," * (LARGE // 3) + b"{}]",
    "lists": lambda: b"[" * (LARGE // 2),
    "digits": lambda: b"[" + b"1" * LARGE + b"]",
    "spaces": lambda: b"[1" + b" " * LARGE + b"]",
    "one character beyond Latin-1": lambda: b'["' + b"a" * LARGE + "\U0001f600".encode() + b'"]',
    "escapes": lambda: b'["' + b"\\u0041" * (LARGE // 6) + b'"]',
    "backslashes": lambda: b'["' + b"\\\\" * (LARGE // 2) + b'"]',
    "escaped quotes": lambda: b'["' + b'\\"' * (LARGE // 2) + b'"]',
    "far escaped quotes": lambda: b'["' + (b"\\\\" * 500 + b'\\"') * (LARGE // 1002) + b'"]',
    "no end": lambda: b'["' + b"a" * LARGE,
    "a key": lambda: b'{"' + b"a" * LARGE + b'": 1}',
    "no UTF-8": lambda: b'["' + b"\xff" * LARGE + b'"]',
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_body_is_refused_before_anything_is_made_of_it(kind: str) -> None:
    data = HOSTILE[kind]()
    tracemalloc.start()
    try:
        with pytest.raises((ValueError, RecursionError, LimitExceeded)):
            parse(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 1.5 * len(data) + 2 * MAX_TEXT


@pytest.mark.parametrize("written", [b"a", b"a\\/"])
def test_a_long_string_costs_its_text_once(written: bytes) -> None:
    data = b'{"image_url": "data:image/png;base64,' + written * (LARGE // len(written)) + b'", "n": [1, 2]}'
    tracemalloc.start()
    try:
        found = parse(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert found == json.loads(data)
    assert peak < 2.2 * len(data)
