"""Headers of GGUF: where each tensor lies, and why a file is refused."""

import struct
from pathlib import Path

import pytest
from support import raw_files
from support.raw_files import ARRAY, INT32, STRING, UINT32, UINT64, array, tensor, text, value

from registry.folders import FolderError, gguf, gguf_fields
from registry.folders.dtypes import BLOCKS

ARCH = value("general.architecture", STRING, text("wan"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.gguf"


def why(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(FolderError) as refused:
        gguf.read(path, "transformer")
    assert refused.value.reason.startswith("x.gguf of transformer ")
    return refused.value.reason.removeprefix("x.gguf of transformer ")


@pytest.mark.parametrize("version", [b"\2\0\0\0", b"\3\0\0\0"])
def test_each_tensor_says_where_it_lies(path: Path, version: bytes) -> None:
    entries = [tensor("a", (32, 2), 8), tensor("b", (3, 2, 1, 1, 4), 0, 96), tensor("c", (5,), 30, 192)]
    data = bytes(range(100, 168)) + bytes(28) + bytes(96) + b"0123456789"
    path.write_bytes(raw_files.gguf([ARCH], entries, data, version=version))

    found = gguf.read(path, "transformer")

    assert {name: (each.dtype, each.shape, each.length) for name, each in found.items()} == {
        "a": ("Q8_0", (2, 32), 68),
        "b": ("F32", (4, 1, 1, 2, 3), 96),
        "c": ("BF16", (5,), 10),
    }
    a, c = (path.read_bytes()[found[name].offset :][: found[name].length] for name in "ac")
    assert (a, c) == (bytes(range(100, 168)), b"0123456789")


def test_the_file_says_how_its_tensors_are_aligned(path: Path) -> None:
    align = value("general.alignment", UINT32, struct.pack("<I", 8))
    path.write_bytes(
        raw_files.gguf([align], [tensor("a", (2,)), tensor("b", (1,), 0, 8)], b"12345678abcd", alignment=8)
    )

    found = gguf.read(path, "transformer")

    assert path.read_bytes()[found["b"].offset :] == b"abcd"


def test_values_of_all_kinds_are_passed(path: Path) -> None:
    values = [
        *(value(f"number {kind}", kind, bytes(size)) for kind, size in gguf_fields.BYTES.items()),
        value("tokens", ARRAY, array(STRING, 3, text("a") + text("") + text("漢"))),
        value("scores", ARRAY, array(6, 100, bytes(400))),
        value("flags", ARRAY, array(7, 3, b"\0\1\0")),
        value("nested", ARRAY, array(ARRAY, 2, array(UINT32, 1, bytes(4)) + array(STRING, 1, text("x")))),
    ]
    path.write_bytes(raw_files.gguf([*values, ARCH], [tensor("a", (1,))], b"1234"))

    assert gguf.read(path, "transformer")["a"].length == 4


def test_a_vocabulary_longer_than_the_first_reads_is_passed(path: Path) -> None:
    tokens = value("tokens", ARRAY, array(STRING, 200_000, text("ab") * 200_000))
    path.write_bytes(raw_files.gguf([ARCH, tokens], [tensor("a", (1,))], b"1234"))

    assert gguf.read(path, "transformer")["a"].length == 4


@pytest.mark.parametrize("kind", [INT32, UINT64])
def test_a_tensor_may_have_an_original_shape(path: Path, kind: int) -> None:
    code = "<3i" if kind == INT32 else "<3Q"
    shape = value("comfy.gguf.orig_shape.a", ARRAY, array(kind, 3, struct.pack(code, 2, 4, 32)))
    path.write_bytes(raw_files.gguf([shape], [tensor("a", (256,), 8)], bytes(272)))

    assert gguf.read(path, "transformer")["a"].shape == (2, 4, 32)


@pytest.mark.parametrize(("kind", "name"), [item for item in gguf.KINDS.items() if item[1] not in gguf.READ])
def test_formats_that_are_not_read_are_named(path: Path, kind: int, name: str) -> None:
    said = f"holds 'a' in {name}, and F32, F16, BF16, {', '.join(BLOCKS)} are read"

    assert why(path, raw_files.gguf([ARCH], [tensor("a", (256,), kind)], bytes(999))) == said


def shaped(*sides: int, kind: int = INT32) -> bytes:
    return value("comfy.gguf.orig_shape.a", ARRAY, array(kind, len(sides), struct.pack(f"<{len(sides)}i", *sides)))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (raw_files.gguf(version=b"\0\0\0\3"), "is a GGUF file in big-endian order, and little-endian ones are read"),
        (raw_files.gguf(version=b"\1\0\0\0"), "is a GGUF file of version 1, and 2 and 3 are read"),
        (raw_files.gguf(version=b"\4\0\0\0"), "is a GGUF file of version 4, and 2 and 3 are read"),
        (b"GGUF\3\0\0\0", "is cut short within its header; fetch it again"),
        (raw_files.gguf([ARCH], [tensor("a")])[:-40], "is cut short within its header; fetch it again"),
        (raw_files.gguf([ARCH], [tensor("a")]), "is cut short: it has "),
        (
            raw_files.gguf([value("split.count", 2, b"\2\0")]),
            "is one of several GGUF files of a split model: merge them, as gguf-split does",
        ),
        (
            raw_files.gguf([value("general.architecture", STRING, text("sd3"))]),
            "is a GGUF file of the architecture 'sd3'",
        ),
        (
            raw_files.gguf([value("general.architecture", UINT32, bytes(4))]),
            "is a GGUF file of the architecture '0', transformer needs wan",
        ),
        (raw_files.gguf([], [tensor("a", (1,))] * 2, bytes(64)), "holds two tensors named 'a'"),
        (
            raw_files.gguf([], [tensor("a"), tensor("b", (32,), 0, 64)], bytes(999)),
            "must be a GGUF file, its tensors overlap at 'b'",
        ),
        (raw_files.gguf([], [tensor("a", (1,), 0, 4)], bytes(99)), "holds 'a' at 4, which is no multiple of 32"),
        (
            raw_files.gguf([], [tensor("a", (33,), 8)], bytes(99)),
            "holds 'a' of 33 in Q8_0, whose rows are multiples of 32",
        ),
        (
            raw_files.gguf([], [tensor("a", (128, 2), 12)], bytes(144)),
            "holds 'a' of 2x128 in Q4_K, whose rows are multip",
        ),
        (raw_files.gguf([], [tensor("a", (), 8)], bytes(99)), "holds 'a' of  in Q8_0, whose rows are multiples of 32"),
        (raw_files.gguf([], [tensor("a", (1,), 99)], bytes(99)), "holds 'a' in the unknown format 99, and F32"),
        (raw_files.gguf([], [tensor("a", (1,) * 6)], bytes(99)), "holds 'a' of 6 dimensions, at most 5 are read"),
        (
            raw_files.gguf([], [tensor("a", (2**40, 2**40))]),
            "holds 'a' of 1099511627776x1099511627776, beyond any file",
        ),
        (raw_files.gguf([], [tensor("a", (4,), 0, 2**63)]), "holds 'a' at 9,223,372,036,854,775,"),
        (
            raw_files.gguf([shaped(2, 3)], [tensor("a", (8,))], bytes(32)),
            "holds 'a' of 8 numbers, its original shape says [2, 3]",
        ),
        (
            raw_files.gguf([shaped(-2, -4)], [tensor("a", (8,))], bytes(32)),
            "holds 'a' of 8 numbers, its original shape says [-2, -4]",
        ),
        (
            raw_files.gguf([shaped(8, 8)], [tensor("a", (64,), 8)], bytes(68)),
            "holds 'a' of 8x8 in Q8_0, whose rows are multiples of 32",
        ),
        (
            raw_files.gguf([value("general.alignment", UINT32, bytes(4))]),
            "has the alignment 0, from 1 to 65,536 is read",
        ),
        (raw_files.gguf([value("x", 99, b"")]), "has a value of the unknown kind 99 in its header"),
        (
            raw_files.gguf([value("x", ARRAY, array(ARRAY, 1) * 5)]),
            "has arrays nested over 4 deep in its header",
        ),
    ],
)
def test_a_file_that_is_wrong_says_how(path: Path, data: bytes, said: str) -> None:
    assert why(path, data).startswith(said)


def test_a_header_that_ends_anywhere_is_cut(path: Path) -> None:
    values = [ARCH, value("tokens", ARRAY, array(STRING, 2, text("a") + text("b"))), shaped(4, 8)]
    whole = raw_files.gguf(values, [tensor("a"), tensor("b", (32,), 8, 128)], bytes(162))
    path.write_bytes(whole)
    assert len(gguf.read(path, "transformer")) == 2

    for length in range(4, len(whole), 7):
        assert "is cut short" in why(path, whole[:length])
