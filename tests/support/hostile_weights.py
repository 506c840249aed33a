"""Read hostile weight files over a base: `python hostile_weights.py BASE FOLDER`, a line each.

Its own process has little more memory than the reader needs, so that a bomb ends in a MemoryError.
"""

import json
import random
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from support import raw_files
from support.raw_files import ARRAY, STRING, Stored, array, tensor, text, value, with_header

SPARE = 100 * 2**20  # bytes of addresses beside what the reader has
MANY = 2**62
HEADER, FIELDS = 8 * 2**20 - 64, 31 * 2**20  # bytes of a safetensors' and a GGUF's header that is read
ARCH = value("general.architecture", STRING, text("wan"))
WEIGHT = "blocks.0.self_attn.q.weight"


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def header(**entries: object) -> bytes:
    return json.dumps(entries).encode()


def filled(start: bytes, each: bytes, end: bytes, length: int = HEADER) -> bytes:
    """Return a header of `each` again and again, about as long as is read."""
    return start + each * ((length - len(start) - len(end)) // len(each)) + end


def tensors(count: int, name: str = "x{}", dtype: str = "F32") -> bytes:
    return header(**{name.format(number): entry(dtype, [0], 0, 0) for number in range(count)})


def notes(count: int) -> bytes:
    """Return a file of `count` fp8 weights and their notes."""
    note = b'{"format":"float8_e4m3fn"}'
    stored: dict[str, object] = {}
    for number in range(count):
        stored[f"{number}.weight"] = entry("F8_E4M3", [0], 0, 0)
        stored[f"{number}.comfy_quant"] = entry("U8", [len(note)], number * len(note), (number + 1) * len(note))
    return with_header(json.dumps(stored).encode(), note * count)


def quantised(**others: object) -> bytes:
    return with_header(header(**{WEIGHT: entry("F8_E4M3", [0], 0, 0), **others}))


def metadata(text: str) -> bytes:
    return with_header(header(__metadata__={"_quantization_metadata": text}, **{WEIGHT: entry("F32", [0], 0, 0)}))


SAFETENSORS: dict[str, Callable[[], bytes]] = {
    "offsets beyond the file": lambda: with_header(header(x=entry("F32", [MANY // 8], 0, MANY // 2))),
    "offsets beyond any file": lambda: with_header(header(x=entry("F32", [1], MANY * 4, MANY * 4 + 4))),
    "tensors that overlap": lambda: with_header(
        header(x=entry("F32", [2], 0, 8), y=entry("F32", [2], 4, 12)), bytes(12)
    ),
    "a shape beyond all sense": lambda: with_header(header(x=entry("F32", [MANY] * 16, 0, 4)), bytes(4)),
    "a shape of a million sides": lambda: with_header(header(x=entry("F32", [1] * 10**6, 0, 4)), bytes(4)),
    "a header of lists": lambda: with_header(filled(b'{"x":[[]', b",[]", b"]}")),
    "a header of objects": lambda: with_header(filled(b'{"x":[{}', b",{}", b"]}")),
    "a header of texts": lambda: with_header(filled(b'{"x":["ab"', b',"ab"', b"]}")),
    "a header of large numbers": lambda: with_header(filled(b'{"x":[1', b"," + b"9" * 4000, b"]}")),
    "a header of numbers beyond all sense": lambda: with_header(filled(b'{"x":', b"9", b"}")),
    "a deep header": lambda: with_header(filled(b'{"x":', b"[", b"")),
    "a header of one wide character": lambda: with_header(
        filled(b'{"__metadata__":{"x":"\xf0\x9f\x98\x80', b"a", b'"}}')
    ),
    "a name of millions": lambda: with_header(
        header(**{"blocks." + "residual.2." * 600_000: entry("F32", [0], 0, 0), WEIGHT: entry("F32", [0], 0, 0)})
    ),
    "a number of millions in a name": lambda: with_header(
        header(**{f"blocks.{'9' * 10**6}.x": entry("F32", [0], 0, 0)})
    ),
    "100,000 tensors": lambda: with_header(tensors(100_000)),
    "as many tensors as are read": lambda: with_header(tensors(20_000)),
    "as many blocks as are read": lambda: with_header(tensors(20_000, "blocks.{}.self_attn.q.weight")),
    "as many scales as are read": lambda: with_header(tensors(20_000, "blocks.{}.weight_scale")),
    "as many codes as are read": lambda: with_header(tensors(20_000, "blocks.{}.weight", "I8")),
    "as many notes as are read": lambda: notes(10_000),
    "metadata of lists": lambda: metadata("[" + "[]," * 2_000_000),
    "metadata of layers": lambda: metadata(json.dumps({"layers": {f"l{n}": {"format": "x"} for n in range(150_000)}})),
    "deep metadata": lambda: metadata("[" * 10**6),
    "a marker of gigabytes": lambda: quantised(scaled_fp8=entry("F8_E4M3", [10**10], 0, 10**10)),
    "a note of gigabytes": lambda: quantised(**{"blocks.0.comfy_quant": entry("U8", [10**10], 0, 10**10)}),
    "a scale of gigabytes": lambda: quantised(
        **{"blocks.0.self_attn.q.weight_scale": entry("F32", [10**10], 0, 4 * 10**10)}
    ),
    "a scale of another shape": lambda: raw_files.safetensors(
        {WEIGHT: Stored("I8", (4, 4)), f"{WEIGHT}_scale": Stored("F32", (2, 2))}
    ),
    "a pickle": lambda: b"\x80\x02cposix\nsystem\n",
    "a pickle of torch": lambda: b"PK\3\4" + bytes(99),
    "an old pickle": lambda: b"cposix\nsystem\n(S'true'\ntR.",
    "noise": lambda: random.Random(1).randbytes(10**6),
}

GGUF: dict[str, Callable[[], bytes]] = {
    "a key of a gigabyte": lambda: raw_files.gguf([text(b"x" * 1000, 2**30)]),
    "a text of a gigabyte": lambda: raw_files.gguf([value("x", STRING, text(b"x" * 1000, 2**30))]),
    "a text beyond any file": lambda: raw_files.gguf([value("x", STRING, text(b"", 2**64 - 1))]),
    "a name of a gigabyte": lambda: raw_files.gguf([ARCH], [text(b"x" * 1000, 2**30)]),
    "texts beyond any file": lambda: raw_files.gguf([value("x", ARRAY, array(STRING, MANY))]),
    "a text of a gigabyte among others": lambda: raw_files.gguf(
        [value("x", ARRAY, array(STRING, 2, text("a") + text(b"x" * 1000, 2**30)))]
    ),
    "as many texts as are read": lambda: raw_files.gguf(
        [value(f"x{n}", ARRAY, array(STRING, 10**6 - n, text("") * (10**6 - n))) for n in range(3)]
    ),
    "numbers beyond any file": lambda: raw_files.gguf([value("x", ARRAY, array(0, 2**64 - 1))]),
    "arrays beyond any file": lambda: raw_files.gguf([value("x", ARRAY, array(ARRAY, MANY))]),
    "as many arrays as are read": lambda: raw_files.gguf(
        [value("x", ARRAY, array(ARRAY, 10_000, array(ARRAY, 10_000) + array(0, 0) * 10_000))]
    ),
    "deep arrays": lambda: raw_files.gguf([value("x", ARRAY, array(ARRAY, 1) * 10**5)]),
    "values beyond any file": lambda: raw_files.gguf([ARCH], counts=(1, MANY)),
    "tensors beyond any file": lambda: raw_files.gguf([ARCH], counts=(MANY, 1)),
    "as many values as are read": lambda: raw_files.gguf([value(f"{n}", 0, b"\0") for n in range(20_000)]),
    "as many shapes as are read": lambda: raw_files.gguf(
        [value(f"comfy.gguf.orig_shape.{n}", ARRAY, array(10, 16, bytes(128))) for n in range(20_000)]
    ),
    "a header as long as is read": lambda: raw_files.gguf([value("x", ARRAY, array(0, FIELDS, bytes(FIELDS)))] * 2),
    "as many tensors as are read": lambda: raw_files.gguf(
        [ARCH], [tensor(f"blocks.{n}.self_attn.q.weight", (0,)) for n in range(20_000)], bytes(99)
    ),
    "dimensions beyond all sense": lambda: raw_files.gguf([ARCH], [tensor("a", (MANY,) * 5)], bytes(99)),
    "a block count beyond all sense": lambda: raw_files.gguf([ARCH], [tensor("a", (256, MANY // 256), 12)], bytes(99)),
    "an offset beyond any file": lambda: raw_files.gguf([ARCH], [tensor("a", (4,), 0, 2**64 - 32)], bytes(99)),
    "blocks that overlap": lambda: raw_files.gguf(
        [ARCH], [tensor("a", (256,), 12), tensor("b", (256,), 12, 128)], bytes(999)
    ),
    "a version beyond all sense": lambda: raw_files.gguf([ARCH], version=b"\xff\xff\xff\xff"),
    "noise in a GGUF": lambda: b"GGUF\3\0\0\0" + random.Random(2).randbytes(10**6),
}


def main(base: Path, folder: Path) -> None:
    from registry import folders
    from registry.folders import FolderError

    assert folders.read(base)
    resource.setrlimit(resource.RLIMIT_AS, (_addresses() + SPARE,) * 2)
    for path in sorted(folder.iterdir()):
        begin = time.perf_counter()
        try:
            folders.read(base, {"transformer": path})
        except FolderError as error:
            found = error.reason[:1000]
        except Exception as error:
            found = f"traceback: {error!r}"[:300]
        else:
            found = "read"
        line = {"case": path.name, "found": found, "seconds": time.perf_counter() - begin}
        print(json.dumps(line), flush=True)


def _addresses() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
