"""A multipart body means the same as its JSON."""

import io
import random
import time
from typing import Any

import pytest
from flask import Flask

from router.errors import InvalidRequest, TooLarge
from router.web.videos.form import Upload, read_form
from router.web.videos.schema import CreateVideo

Part = tuple[str, str | bytes]  # text, or the bytes of a file
VIDEO = "provider_options[video]"
SCHEMA = CreateVideo()


def body(parts: list[Part], boundary: bytes = b"b") -> bytes:
    made = []
    for name, value in parts:
        file = b'; filename="a.heic"\r\nContent-Type: image/heic' if isinstance(value, bytes) else b""
        data = value if isinstance(value, bytes) else value.encode()
        head = b'Content-Disposition: form-data; name="' + name.encode() + b'"' + file
        made.append(b"--" + boundary + b"\r\n" + head + b"\r\n\r\n" + data + b"\r\n")
    return b"".join(made) + b"--" + boundary + b"--\r\n"


def read(
    data: bytes,
    kind: str = "multipart/form-data; boundary=b",
    limit: int = 2**26,
    **headers: str,
) -> Any:
    sent = {"input_stream": io.BytesIO(data), "content_length": len(data), "content_type": kind, "headers": headers}
    with Flask("form").test_request_context("/", method="POST", **sent):
        return read_form(limit, SCHEMA, "input_reference")


FORMS: dict[str, tuple[list[Part], object]] = {
    "text": ([("prompt", "a cat, é 🎈")], {"prompt": "a cat, é 🎈"}),
    "nothing in it": ([("prompt", "")], {"prompt": ""}),
    "line ends stay": ([("prompt", "a\r\nb\n")], {"prompt": "a\r\nb\n"}),
    "integers": ([("seed", "9223372036854775807")], {"seed": 9223372036854775807}),
    "seconds may be text anyway": ([("seconds", "2")], {"seconds": 2}),
    "numbers": ([(f"{VIDEO}[guidance_scale]", "3.50")], {"provider_options": {"video": {"guidance_scale": 3.5}}}),
    "exponents": ([(f"{VIDEO}[flow_shift]", "5e0")], {"provider_options": {"video": {"flow_shift": 5.0}}}),
    "truth": ([(f"{VIDEO}[cfg_normalization]", "true")], {"provider_options": {"video": {"cfg_normalization": True}}}),
    "no truth": ([(f"{VIDEO}[cfg_normalization]", "yes")], {"provider_options": {"video": {"cfg_normalization": "yes"}}}),
    "numbers that are text": ([(f"{VIDEO}[negative_prompt]", "7")], {"provider_options": {"video": {"negative_prompt": "7"}}}),
    "unknown fields stay text": ([(f"{VIDEO}[frames]", "7")], {"provider_options": {"video": {"frames": "7"}}}),
    "no number stays text": ([("seed", "seven")], {"seed": "seven"}),
    "no leading zero": ([("seed", "07")], {"seed": "07"}),
    "no other digits": ([("seed", "٧")], {"seed": "٧"}),
    "no infinity": ([(f"{VIDEO}[steps]", "1e999")], {"provider_options": {"video": {"steps": float("inf")}}}),
    "no NaN": ([(f"{VIDEO}[steps]", "NaN")], {"provider_options": {"video": {"steps": "NaN"}}}),
    "an empty number stays text": ([("seed", "")], {"seed": ""}),
    "a list": ([("tags[]", "a"), ("tags[]", "b")], {"tags": ["a", "b"]}),
    "objects in a list": (
        [("a[][b]", "1"), ("a[][c]", "2"), ("a[][b]", "3"), ("a[]", "d"), ("a[][c]", "4")],
        {"a": [{"b": "1", "c": "2"}, {"b": "3"}, "d", {"c": "4"}]},
    ),
    "objects within objects in a list": (
        [("a[][b][c]", "1"), ("a[][b][d]", "2"), ("a[][b][c]", "3")],
        {"a": [{"b": {"c": "1", "d": "2"}}, {"b": {"c": "3"}}]},
    ),
    "a list in an object": (
        [(f"{VIDEO}[loras][]", "a"), (f"{VIDEO}[loras][]", "b")], {"provider_options": {"video": {"loras": ["a", "b"]}}},
    ),
    "keys that look like indexes": ([("a[0]", "x"), ("a[1]", "y")], {"a": {"0": "x", "1": "y"}}),
    "the object form of an image": ([("input_reference[image_url]", "data:,")], {"input_reference": {"image_url": "data:,"}}),
    "a file": ([("input_reference", b"\x89PNG\r\n--")], {"input_reference": Upload(b"\x89PNG\r\n--")}),
    "a file in the options": ([(f"{VIDEO}[last_image]", b"x")], {"provider_options": {"video": {"last_image": Upload(b"x")}}}),
    "a name that Python knows": ([("__class__[__init__]", "x")], {"__class__": {"__init__": "x"}}),
    "seven pairs of brackets": ([("a" + "[b]" * 7, "x")], {"a": {"b": {"b": {"b": {"b": {"b": {"b": {"b": "x"}}}}}}}}),
}  # fmt: skip


@pytest.mark.parametrize(("parts", "meant"), FORMS.values(), ids=FORMS.keys())
def test_a_form_is_read_as_its_json(parts: list[Part], meant: object) -> None:
    assert read(body(parts)) == meant


HOSTILE: dict[str, tuple[list[Part], str, str]] = {
    "a key twice": ([("seed", "1"), ("seed", "2")], "seed", "appears twice"),
    "a key twice, inside": ([("a[b]", "1"), ("a[b]", "2")], "a[b]", "appears twice"),
    "an object that was a value": ([("a", "1"), ("a[b]", "2")], "a[b]", "something else"),
    "a value that was an object": ([("a[b]", "1"), ("a", "2")], "a", "appears twice"),
    "a list that was a value": ([("a", "1"), ("a[]", "2")], "a[]", "something else"),
    "a list that was an object": ([("a[b]", "1"), ("a[]", "2")], "a[]", "something else"),
    "an object that was a list": ([("a[]", "1"), ("a[b]", "2")], "a[b]", "something else"),
    "a list within a list": ([("a[][]", "1")], "a[][]", "[] must stand behind a name"),
    "a list where a value was": ([("a[][b]", "1"), ("a[][b][]", "2")], "a[][b][]", "something else"),
    "eight pairs of brackets": ([("a" + "[b]" * 8, "1")], "a" + "[b]" * 8, "7 pairs of brackets, got 8"),
    "a bracket that stays open": ([("a[b", "1")], "a[b", "must be like"),
    "a bracket that was never open": ([("a]b", "1")], "a]b", "must be like"),
    "brackets in brackets": ([("a[[b]]", "1")], "a[[b]]", "must be like"),
    "text after brackets": ([("a[b]c", "1")], "a[b]c", "must be like"),
    "brackets only": ([("[a]", "1")], "[a]", "must be like"),
    "an empty name": ([("", "1")], "", "must have a name"),
    "a huge name": ([("a" * 5000, "1")], "", "may have 200 characters, got 5,000"),
    "a huge header": ([("a" * 100_000, "1")], "", "header may have"),
    "201 parts": ([(f"a{n}", "1") for n in range(201)], "", "may have 200 parts"),
    "100,000 parts": ([(f"a{n}", "1") for n in range(100_000)], "", "may have 200 parts"),
    "the same file twice": ([("input_reference", b"1"), ("input_reference", b"2")], "input_reference", "appears twice"),
}


@pytest.mark.parametrize(("parts", "param", "reason"), HOSTILE.values(), ids=HOSTILE.keys())
def test_what_cannot_be_a_form_is_refused_by_name(parts: list[Part], param: str, reason: str) -> None:
    started = time.thread_time()
    with pytest.raises(InvalidRequest) as refused:
        read(body(parts))

    assert (refused.value.code, refused.value.param) == ("invalid_form", param)
    assert reason in refused.value.message
    assert time.thread_time() - started < 2


@pytest.mark.parametrize("name", ["mask", "mask[]", "a[b]"])
def test_a_file_under_another_name_is_not_read_over(name: str) -> None:
    with pytest.raises(InvalidRequest, match="a file must come as input_reference, got one as") as refused:
        read(body([("prompt", "a"), (name, b"x")]))

    assert (refused.value.code, refused.value.param) == ("unknown_parameter", name)


WHOLE = body([("prompt", "a" * 100), ("input_reference", b"x" * 100)])
BROKEN: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "boundary=b"),
    "no boundary": (WHOLE, ""),
    "another boundary": (WHOLE, "boundary=c"),
    "an endless boundary": (WHOLE, "boundary=" + "b" * 300),
    "no end": (WHOLE[:-6], "boundary=b"),
    "an end within a header": (WHOLE[:20], "boundary=b"),
    "no disposition": (b"--b\r\n\r\na\r\n--b--", "boundary=b"),
    "no name": (b'--b\r\nContent-Disposition: form-data; filename="a"\r\n\r\na\r\n--b--', "boundary=b"),
    "a header that is no text": (b'--b\r\nContent-Disposition: form-data; name="\xff"\r\n\r\na\r\n--b--', "boundary=b"),
    "JSON": (b'{"prompt": "a"}', "boundary=b"),
}


@pytest.mark.parametrize(("data", "boundary"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_form_is_refused(data: bytes, boundary: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(data, f"multipart/form-data; {boundary}")

    assert refused.value.code == "invalid_form"


def test_text_must_be_utf_8_and_the_part_is_named() -> None:
    data = body([("prompt", "XX")]).replace(b"XX", b"\xff\xfe")

    with pytest.raises(InvalidRequest, match="prompt must be text in UTF-8") as refused:
        read(data)
    assert refused.value.param == "prompt"


def test_a_form_over_the_limit_is_too_large() -> None:
    with pytest.raises(TooLarge, match="may have 1,000 bytes"):
        read(body([("prompt", "a" * 2000)]), limit=1000)


@pytest.mark.parametrize("filling", [b"\r", b"\n", b"\r\n", b"--b", b"\r\n--", b"\r\n--b\r", b"a: b\r\n"])
def test_a_file_of_line_ends_or_boundaries_takes_no_longer(filling: bytes) -> None:
    data = body([("input_reference", b"x")], b"c").replace(b"x", filling * (2**24 // len(filling)))
    started = time.thread_time()
    found = read(data, "multipart/form-data; boundary=c")

    assert len(found["input_reference"].data) == 2**24 // len(filling) * len(filling)
    assert time.thread_time() - started < 10


def test_headers_by_the_million_end_early() -> None:
    data = b"--b\r\n" + b"a:\r\n" * 2**22
    started = time.thread_time()
    with pytest.raises(InvalidRequest, match="header may have"):
        read(data)

    assert time.thread_time() - started < 2


def test_whatever_is_changed_in_a_form_it_is_read_or_refused() -> None:
    """2,000 forms with bytes changed, cut out, doubled: none of them raises anything else."""
    dice = random.Random(5)
    whole = body([("prompt", "a"), (f"{VIDEO}[seed]", "7"), ("input_reference", b"\x89PNG"), ("a[b][]", "c")])
    refused = 0
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(len(data))
            way = dice.randrange(3)
            if way == 0:
                data[at] = dice.choice(b'\r\n\0"\\;=[]-b\xff')
            elif way == 1:
                del data[at : at + dice.randint(1, 9)]
            else:
                data[at:at] = data[at : at + dice.randint(1, 30)]
        try:
            read(bytes(data))
        except InvalidRequest:
            refused += 1
    assert 200 < refused < 2000
