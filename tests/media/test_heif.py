"""HEIC and AVIF: colours, turns, and bounds by their headers."""

import io
import random
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image
from support import profiles

from router.errors import InvalidRequest
from router.media import ImageInfo, inspect
from router.media.bitstreams import Budget, av1_sizes, hevc_sizes
from router.media.boxes import box, read_items
from router.media.pixels import decode, decode_with_notes

ROOT = Path(__file__).parents[2]
ORANGE, ORANGE_OF_P3 = (234, 90, 40), (253, 76, 0)
P3 = profiles.matrix(profiles.DISPLAY_P3, profiles.SRGB_CURVE)
KINDS = ("HEIC", "AVIF")


def scene(width: int = 70, height: int = 48) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    planes = [x * 255 // width, y * 255 // height, (x + 2 * y) * 255 // (width + 2 * height)]
    return Image.fromarray(np.stack(planes, -1).astype(np.uint8))


def encoded(picture: Image.Image, kind: str, more: tuple[Image.Image, ...] = (), **options: object) -> bytes:
    stream = io.BytesIO()
    if kind == "AVIF":
        picture.save(
            stream, "AVIF", quality=95, **({"save_all": True, "append_images": more} if more else {}), **options
        )
    else:
        file = pillow_heif.from_pillow(picture)
        for other in more:
            file.add_from_pillow(other)
        file.save(stream, quality=95, **options)
    return stream.getvalue()


def patched(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    assert len(old) == len(new)
    return data.replace(old, new)


def refusal(data: bytes) -> str:
    with pytest.raises(InvalidRequest) as caught:
        decode(data)
    assert caught.value.code == "invalid_image"
    return caught.value.message


def difference(data: bytes, picture: Image.Image) -> int:
    return int(np.abs(decode(data).astype(int) - np.asarray(picture.convert("RGB"))).max())


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_recognised_measured_and_decoded(kind: str) -> None:
    data = encoded(scene(), kind)

    assert inspect(data) == ImageInfo(f"image/{kind.lower()}", 70, 48)
    assert difference(data, scene()) < 16
    grey = encoded(scene().convert("L"), kind)
    assert difference(grey, scene().convert("L")) < 16


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_it_says(kind: str, orientation: int) -> None:
    """Both libraries write an EXIF orientation as the file's own turn and mirror."""
    block = Image.Exif()
    block[0x0112] = orientation
    turns = {2: [0], 3: [3], 4: [1], 5: [5], 6: [4], 7: [6], 8: [2]}  # of Pillow's Transpose
    expected = scene()
    for turn in turns.get(orientation, []):
        expected = expected.transpose(Image.Transpose(turn))

    data = encoded(scene(), kind, exif=block.tobytes())
    assert (inspect(data).width, inspect(data).height) == expected.size
    assert difference(data, expected) < 24


@pytest.mark.parametrize("kind", KINDS)
def test_colours_follow_the_profile(kind: str) -> None:
    decoded = decode_with_notes(encoded(Image.new("RGB", (64, 64), ORANGE), kind, icc_profile=P3))

    assert decoded.notes == ()
    assert np.abs(decoded.pixels.astype(int) - ORANGE_OF_P3).max() <= 6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("numbers", "expected", "note"),
    [
        ((1, 13), ORANGE, None),
        ((1, 1), ORANGE, None),
        ((2, 2), ORANGE, None),
        ((12, 13), ORANGE_OF_P3, None),
        ((9, 16), None, "is HDR (PQ): it was mapped to sRGB, and its highlights were compressed"),
        ((9, 18), None, "is HDR (HLG): it was mapped to sRGB, and its highlights were compressed"),
    ],
)
def test_colours_follow_the_code_points(
    kind: str, numbers: tuple[int, int], expected: tuple[int, ...] | None, note: str | None
) -> None:
    data = encoded(Image.new("RGB", (64, 64), ORANGE), kind)
    at = data.index(b"colrnclx") + 8
    decoded = decode_with_notes(data[:at] + struct.pack(">HH", *numbers) + data[at + 4 :])

    assert decoded.notes == ((note,) if note else ())
    if expected:
        assert np.abs(decoded.pixels.astype(int) - expected).max() <= 6


def test_code_points_that_mean_nothing_are_noted() -> None:
    data = encoded(Image.new("RGB", (64, 64), ORANGE), "AVIF")
    at = data.index(b"colrnclx") + 8
    decoded = decode_with_notes(data[:at] + struct.pack(">HH", 77, 3) + data[at + 4 :])

    assert np.abs(decoded.pixels.astype(int) - ORANGE).max() <= 6
    assert decoded.notes == (
        "has a colour description that cannot be used: it has primaries 77 and transfer 3; its colours were taken as sRGB",
    )


def test_ten_bits_of_hdr_are_kept_until_they_are_mapped() -> None:
    deep = np.repeat(np.linspace(0, 65535, 256).astype(np.uint16)[None, :, None], 64, 0).repeat(3, 2)
    stream = io.BytesIO()
    pillow_heif.encode(
        "RGB;16", (256, 64), deep.tobytes(), stream, quality=100, color_primaries=9, transfer_characteristics=16
    )

    ramp = decode(stream.getvalue())[32, :, 0].astype(int)
    assert inspect(stream.getvalue()).media_type == "image/heic"
    assert ramp[0] == 0
    assert ramp[-1] == 255
    assert np.diff(ramp).min() >= -1


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_transparent_becomes_white(kind: str) -> None:
    picture = Image.new("RGBA", (64, 64), (*ORANGE, 255))
    picture.paste((0, 0, 0, 0), (32, 0, 64, 64))
    pixels = decode(encoded(picture, kind)).astype(int)

    assert np.abs(pixels[:, :28] - ORANGE).max() <= 8
    assert pixels[:, 36:].min() >= 252


@pytest.mark.parametrize("kind", KINDS)
def test_several_pictures_are_refused(kind: str) -> None:
    message = refusal(encoded(scene(), kind, (scene().rotate(90), scene().rotate(180))))

    assert message.startswith("an image must be a single picture, got ")
    assert "3" in message


def test_thumbnails_are_no_further_pictures() -> None:
    file = pillow_heif.from_pillow(scene(256, 256))
    stream = io.BytesIO()
    pillow_heif.options.THUMBNAILS = True
    file.save(stream, quality=90)

    assert decode(stream.getvalue()).shape == (256, 256, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_picture_is_refused(kind: str) -> None:
    data = encoded(scene(), kind, icc_profile=P3)

    for cut in (1, 2, 13, len(data) // 2, len(data) - 100, len(data) - 40, len(data) - 20):
        assert f"a broken image/{kind.lower()}" in refusal(data[:-cut])


def test_another_file_of_boxes_is_named_or_refused() -> None:
    assert "must be a PNG, JPEG, WebP, HEIC or AVIF" in refusal(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom")
    assert "no primary picture" in refusal(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    data = encoded(scene(), "HEIC")
    assert "coded as 'vvc1'" in refusal(patched(data, b"hvc1", b"vvc1"))


def test_a_server_without_pillow_heif_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(scene(), "HEIC")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as Python marks what cannot be imported

    assert (
        refusal(data) == "an image in HEIC needs pillow-heif on this server, which is missing: send it as PNG or JPEG"
    )


def sized(data: bytes, width: int, height: int) -> bytes:
    """Return a picture with another size in its boxes."""
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", width, height) + data[at + 8 :]


@pytest.mark.parametrize("kind", KINDS)
def test_a_size_over_the_limit_is_refused_by_the_header(kind: str) -> None:
    data = encoded(scene(64, 64), kind)

    assert "64,000,000 pixels" in refusal(sized(data, 9_000, 9_000))
    assert "64,000,000 pixels" in refusal(sized(data, 2**32 - 1, 2**32 - 1))
    assert "no size" in refusal(sized(data, 0, 64))


@pytest.mark.parametrize("kind", KINDS)
def test_a_bitstream_larger_than_its_boxes_say_is_never_decoded(kind: str) -> None:
    data = sized(encoded(scene(640, 400), kind), 64, 64)

    assert "pixels, and says 64 x 64" in refusal(data)


def test_a_grid_is_held_to_its_tiles() -> None:
    """A picture of one tile, used four times."""
    data = grid(encoded(scene(64, 64), "AVIF"), 2, 2, (128, 128), 4)
    assert inspect(data) == ImageInfo("image/avif", 128, 128)
    assert np.abs(decode(data)[:64, :64].astype(int) - np.asarray(scene(64, 64))).mean() < 4

    assert "not that of its header" in refusal(grid(encoded(scene(64, 64), "AVIF"), 2, 2, (128, 128), 3))
    assert "pixels" in refusal(grid(sized(encoded(scene(64, 64), "AVIF"), 7000, 7000), 4, 1, (128, 128), 4))


def full(kind: bytes, body: bytes, version: int = 0, flags: int = 0) -> bytes:
    return plain(kind, struct.pack(">I", version << 24 | flags) + body)


def plain(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


def grid(tile: bytes, rows: int, columns: int, size: tuple[int, int], references: int, before: bytes = b"") -> bytes:
    """Return an AVIF grid with the picture of another AVIF in every tile."""
    meta = box(tile, b"meta")
    items = read_items(tile, meta)
    item = items.items[items.primary]
    kept = [full(kind, body[4:]) if kind == b"ispe" else plain(kind, body) for kind, body in item.properties]
    properties = [*kept, full(b"ispe", struct.pack(">II", *size))]
    layout = bytes((0, 0, rows - 1, columns - 1)) + struct.pack(">HH", *size)
    body = before + items.body(item)
    infos = full(b"infe", struct.pack(">HH4s", 1, 0, b"grid") + b"\0", 2)
    infos += b"".join(
        full(b"infe", struct.pack(">HH4s", n, 0, b"av01") + b"\0", 2, 1) for n in range(2, references + 2)
    )
    associations = struct.pack(">HBB", 1, 1, len(properties))
    associations += b"".join(
        struct.pack(">HB", n, len(kept)) + bytes(range(1, len(kept) + 1)) for n in range(2, references + 2)
    )

    def whole(start: int) -> bytes:
        places = [(start, len(layout))] + [(start + len(layout), len(body))] * references
        iloc = b"\x44\0" + struct.pack(">H", references + 1)
        iloc += b"".join(struct.pack(">HHHII", n, 0, 1, *place) for n, place in enumerate(places, 1))
        parts = [
            full(b"hdlr", b"\0\0\0\0pict" + bytes(13)),
            full(b"pitm", b"\0\1"),
            full(b"iloc", iloc),
            full(b"iinf", struct.pack(">H", references + 1) + infos),
            full(b"iref", plain(b"dimg", struct.pack(f">HH{references}H", 1, references, *range(2, references + 2)))),
            plain(
                b"iprp",
                plain(b"ipco", b"".join(properties)) + full(b"ipma", struct.pack(">I", references + 1) + associations),
            ),
        ]
        head = plain(b"ftyp", b"avif\0\0\0\0avifmif1miaf") + full(b"meta", b"".join(parts))
        return head + plain(b"mdat", layout + body)

    return whole(len(whole(0)) - len(layout) - len(body))


def test_sizes_are_those_of_the_bitstreams() -> None:
    for width, height in ((64, 64), (70, 48), (1000, 333)):
        for kind in KINDS:
            data = encoded(scene(width, height), kind)
            items = read_items(data, box(data, b"meta"))
            item = items.items[items.primary]
            body = items.body(item)
            sizes = list(
                av1_sizes(body, Budget()) if kind == "AVIF" else hevc_sizes(item.named(b"hvcC") or b"", body, Budget())
            )
            assert sizes
            assert all(0 <= wide - width < 64 and 0 <= high - height < 64 for wide, high in sizes)


MEASURE = """
import resource, sys
from router.errors import InvalidRequest
from router.media.pixels import decode
import cv2, pillow_heif, PIL.Image, PIL.AvifImagePlugin
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode(sys.stdin.buffer.read())
except InvalidRequest as error:
    print(error.code, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
BOMBS: dict[str, Callable[[], bytes]] = {
    "heic": lambda: sized(encoded(scene(64, 64), "HEIC"), 60_000, 60_000),
    "avif": lambda: sized(encoded(scene(64, 64), "AVIF"), 60_000, 60_000),
    "avif, large inside": lambda: sized(encoded(Image.new("RGB", (4000, 4000)), "AVIF", speed=10), 64, 64),
    "heic, a box of 4 GB": lambda: encoded(scene(64, 64), "HEIC") + b"\xff\xff\xff\xfffree",
    "a grid of 60,000": lambda: grid(encoded(scene(64, 64), "AVIF"), 1, 1, (60_000, 60_000), 1),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_that_claims_to_be_huge_costs_nothing(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], input=BOMBS[name](), cwd=ROOT, capture_output=True, check=True
    )

    code, mebibytes = done.stdout.split()
    assert (code, int(mebibytes) < 10) == (b"invalid_image", True)


def test_a_file_of_very_many_parts_is_refused_at_once() -> None:
    data = encoded(scene(64, 64), "HEIC")
    items = read_items(data, box(data, b"meta"))
    coded = items.items[items.primary]
    body = items.body(coded)
    many = full(b"infe", struct.pack(">HH4s", 1, 0, b"hvc1") + b"\0", 2) * 500_000
    tile = encoded(scene(64, 64), "AVIF")
    units = b"\x12\0" * 60_000  # of nothing
    meta = full(b"meta", full(b"pitm", b"\0\1") + full(b"iinf", b"\0\1" + many) + full(b"iloc", b"\x44\0\0\0"))
    bombs = [
        grid(tile, 20, 20, (1280, 1280), 400, units),
        data + plain(b"free", b"") * 2_000_000,
        plain(b"ftyp", b"heic\0\0\0\0mif1heic") + meta,
    ]

    start = time.process_time()
    for bomb in bombs:
        assert "more than" in refusal(bomb) or "longer than" in refusal(bomb)
    with pytest.raises(ValueError, match="several pictures"):
        list(hevc_sizes(coded.named(b"hvcC") or b"", body * 2, Budget()))
    assert time.process_time() - start < 3


def test_a_mutated_picture_is_fine_or_refused() -> None:
    dice = random.Random(20261128)
    seeds = [encoded(scene(), kind, icc_profile=P3) for kind in KINDS]
    seeds += [encoded(scene().convert("RGBA"), kind) for kind in KINDS]
    codes = []
    for _ in range(600):
        changed = bytearray(dice.choice(seeds))
        for _ in range(dice.choice([1, 2, 4])):
            at = dice.randrange(min(len(changed), dice.choice([300, 700, len(changed)])))
            changed[at : at + dice.choice([0, 1, 4])] = dice.choice([dice.randbytes(2), b"", b"\xff\xff", bytes(4)])
        try:
            info = inspect(bytes(changed))
            assert decode(bytes(changed)).shape == (info.height, info.width, 3)
        except InvalidRequest as error:
            codes.append(error.code)

    assert set(codes) == {"invalid_image"}
    assert 60 < len(codes) < 600
