"""Input pictures: recognised by content, measured first, upright, never stretched."""

import io
import random
import re
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from router.errors import InvalidRequest
from router.media import MAX_BYTES, ImageInfo, inspect, size_for
from router.media.pixels import decode, fit, to_png

ROOT = Path(__file__).parents[2]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def scene(width: int = 48, height: int = 32) -> Image.Image:
    """Return a smooth picture without any symmetry."""
    y, x = np.mgrid[:height, :width]
    planes = [x * 255 // width, y * 255 // height, (x + 2 * y) * 255 // (width + 2 * height)]
    return Image.fromarray(np.stack(planes, -1).astype(np.uint8))


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *more: bytes) -> bytes:
    return SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + b"".join(more)


def jpeg_claiming(width: int, height: int) -> bytes:
    data = bytearray(encoded(Image.new("RGB", (8, 8)), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_claiming(width: int, height: int, extended: bool = False) -> bytes:
    body = b"VP8L" + struct.pack("<IBI", 26, 0x2F, (width - 1) | (height - 1) << 14) + bytes(21)
    if extended:
        sides = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
        body = b"VP8X" + struct.pack("<II", 10, 0) + sides + body
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def webp_with(chunks: bytes) -> bytes:
    data = encoded(Image.new("RGB", (8, 8)), "WEBP", exif=exif(1)) + chunks
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x010F] = "maker"
    block[0x0112] = orientation
    return block.tobytes()


def refusal(data: bytes) -> str:
    """Return the message by which `decode` refuses a picture."""
    with pytest.raises(InvalidRequest) as caught:
        decode(data)
    assert caught.value.code == "invalid_image"
    return caught.value.message


@pytest.mark.parametrize(("kind", "tolerance"), [("PNG", 0), ("JPEG", 12), ("WEBP", 40)])
def test_a_picture_is_recognised_measured_and_decoded(kind: str, tolerance: int) -> None:
    data = encoded(scene(), kind)

    assert inspect(data) == ImageInfo(f"image/{kind.lower()}", 48, 32)
    pixels = decode(data)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (32, 48, 3))
    assert np.abs(pixels.astype(int) - np.asarray(scene())).max() <= tolerance


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_exif_says(kind: str, orientation: int) -> None:
    data = encoded(scene(), kind, exif=exif(orientation), **({"lossless": True} if kind == "WEBP" else {}))
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")

    info = inspect(data)
    assert (info.width, info.height) == shown.size
    pixels = decode(data)
    assert pixels.flags.c_contiguous
    assert np.abs(pixels.astype(int) - np.asarray(shown)).max() <= (12 if kind == "JPEG" else 0)
    assert np.array_equal(pixels, cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB))


def test_an_orientation_after_the_pixels_counts_too() -> None:
    plain = encoded(scene(), "PNG")
    late = plain[:-12] + chunk(b"eXIf", exif(6).removeprefix(b"Exif\0\0")) + plain[-12:]

    assert inspect(late) == ImageInfo("image/png", 32, 48)
    assert decode(late).shape == (48, 32, 3)


@pytest.mark.parametrize("block", [b"", b"II*\0", b"MM\0*\xff\xff\xff\xff", b"nonsense", exif(9), exif(6)[:30]])
def test_a_broken_exif_block_is_no_reason_to_refuse(block: bytes) -> None:
    assert inspect(encoded(scene(), "PNG", exif=block or None)) == ImageInfo("image/png", 48, 32)


@pytest.mark.parametrize("mode", ["L", "1", "P", "I;16"])
def test_grey_palette_and_16_bit_become_rgb(mode: str) -> None:
    grey = scene().convert("L")
    picture = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
    expected = grey if mode == "I;16" else picture

    assert np.array_equal(decode(encoded(picture, "PNG")), np.asarray(expected.convert("RGB")))


def test_a_cmyk_jpeg_becomes_rgb() -> None:
    data = encoded(scene().convert("CMYK"), "JPEG", quality=95)

    assert np.abs(decode(data).astype(int) - np.asarray(scene())).mean() < 4


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_is_transparent_becomes_white(kind: str) -> None:
    drawing = Image.new("RGBA", (4, 1), (0, 0, 0, 0))  # black shines through where alpha is merely dropped
    drawing.putpixel((1, 0), (255, 0, 0, 255))
    drawing.putpixel((2, 0), (0, 0, 255, 51))

    pixels = decode(encoded(drawing, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {})))
    assert pixels[0].tolist() == [[255, 255, 255], [255, 0, 0], [204, 204, 255], [255, 255, 255]]


def test_transparency_of_16_bits_palettes_and_grey_becomes_white() -> None:
    deep = np.zeros((2, 2, 4), np.uint16)
    deep[0, 0] = (0, 0, 65535, 65535)
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.putpixel((1, 0), 1)
    grey = Image.new("LA", (2, 1), (0, 0))

    assert decode(cv2.imencode(".png", deep)[1].tobytes())[0].tolist() == [[255, 0, 0], [255, 255, 255]]
    assert decode(encoded(palette, "PNG", transparency=0))[0].tolist() == [[255, 255, 255], [255, 0, 0]]
    assert decode(encoded(grey, "PNG"))[0].tolist() == [[255, 255, 255]] * 2


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"GIF89a" + bytes(100), b"BM" + bytes(100), b"<svg/>", b"RIFF\0\0\0\0WAVE", SIGNATURE[:7]],
)
def test_another_format_is_refused_whatever_it_claims_to_be(data: bytes) -> None:
    assert "must be a PNG, JPEG, WebP, HEIC or AVIF" in refusal(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_truncated_picture_is_refused(kind: str) -> None:
    data = encoded(scene(), kind)

    for cut in (1, 2, 5, 13, len(data) // 2, len(data) - 30, len(data) - 16):
        assert "broken" in refusal(data[:-cut])


def test_garbage_behind_a_good_header_is_refused() -> None:
    data = png(16, 16, chunk(b"IDAT", b"not zlib"), chunk(b"IEND", b""))

    assert inspect(data) == ImageInfo("image/png", 16, 16)
    assert "cannot be decompressed" in refusal(data)


def test_a_picture_without_pixels_is_refused() -> None:
    assert "no size" in refusal(png(0, 16, chunk(b"IEND", b"")))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_refused(kind: str) -> None:
    data = encoded(scene(), kind, save_all=True, append_images=[scene().rotate(90), scene().rotate(180)])

    assert refusal(data) == "an image must be a single picture, got an animation of 3 frames"


def test_the_other_pictures_of_a_phone_jpeg_are_read_over() -> None:
    assert decode(encoded(scene(), "MPO", save_all=True, append_images=[scene(8, 8)])).shape == (32, 48, 3)


def test_a_long_comment_is_no_reason_to_refuse() -> None:
    comment = PngInfo()
    comment.add_itxt("workflow", "x" * 2_000_000, zip=True)

    assert decode(encoded(scene(), "PNG", pnginfo=comment)).shape == (32, 48, 3)


def test_more_than_twenty_mebibytes_are_refused() -> None:
    assert "20,971,520 bytes, got 20,971,521" in refusal(encoded(scene(), "PNG").ljust(MAX_BYTES + 1, b"\0"))


BOMBS = {
    "png": png(60_000, 60_000),
    "whole png": png(60_000, 60_000, chunk(b"IDAT", b""), chunk(b"IEND", b"")),
    "png, 64,008,000 pixels": png(8_001, 8_000, chunk(b"IDAT", b""), chunk(b"IEND", b"")),
    "png, narrow": png(64_000_000, 1, chunk(b"IDAT", b""), chunk(b"IEND", b"")),
    "png, a chunk of 4 GB": png(4, 4) + b"\xff\xff\xff\xffIDAT" + bytes(64),
    "jpeg": jpeg_claiming(30_000, 30_000),
    "webp": webp_claiming(16_383, 16_383),
    "webp, extended": webp_claiming(12_000, 14_000, extended=True),
}
MEASURE = """
import resource, sys
from router.errors import InvalidRequest
from router.media.pixels import decode, to_png
import numpy as np
decode(to_png(np.zeros((8, 8, 3), np.uint8)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode(sys.stdin.buffer.read())
except InvalidRequest as error:
    print(error.code, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_claims_to_be_huge_costs_nothing(name: str) -> None:
    bomb = BOMBS[name]
    assert len(bomb) < 1000

    done = subprocess.run([sys.executable, "-c", MEASURE], input=bomb, cwd=ROOT, capture_output=True, check=True)

    code, mebibytes = done.stdout.split()
    assert (code, int(mebibytes) < 10) == (b"invalid_image", True)


@pytest.mark.parametrize(
    "bomb",
    [
        png(4, 4, chunk(b"tEXt", b"a\0b") * 1_000_000, chunk(b"IEND", b"")),
        b"\xff\xd8" + b"\xff\xfe\0\2" * 5_000_000 + encoded(Image.new("RGB", (8, 8)), "JPEG")[2:],
        encoded(Image.new("RGB", (8, 8)), "JPEG", progressive=True)[:-2] + b"\xff\xda" * 1000 + b"\xff\xd9",
        webp_with(b"JUNK\0\0\0\0" * 1_000_000),
    ],
    ids=["png chunks", "jpeg segments", "jpeg scans", "webp chunks"],
)
def test_a_file_of_very_many_parts_is_refused_at_once(bomb: bytes) -> None:
    start = time.process_time()

    assert re.search("it has more than|it ends too early", refusal(bomb))
    assert time.process_time() - start < 1


def test_a_jpeg_that_would_be_gone_over_too_often_is_refused() -> None:
    small, large = (encoded(Image.new("RGB", size), "JPEG", progressive=True) for size in ((64, 64), (8000, 7900)))
    scan = small[small.rindex(b"\xff\xda") : -2]

    assert inspect(small[:-2] + scan * 100 + b"\xff\xd9").width == 64  # cheap, so let it be
    assert "scans of 63,200,000 pixels" in refusal(large[:-2] + scan * 100 + b"\xff\xd9")


@pytest.mark.parametrize("factors", [cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_honest_jpeg_is_never_too_much_work(channels: int, factors: int) -> None:
    """Noise at a high quality is what takes longest."""
    noise = np.random.default_rng(0).integers(0, 256, (1600, 1600, channels), np.uint8)
    for progressive in (0, 1):
        options = {cv2.IMWRITE_JPEG_QUALITY: 100, cv2.IMWRITE_JPEG_PROGRESSIVE: progressive}
        options[cv2.IMWRITE_JPEG_SAMPLING_FACTOR] = factors
        data = cv2.imencode(".jpg", noise, [number for option in options.items() for number in option])[1].tobytes()

        assert inspect(data).width == 1600


def mutated(dice: random.Random, data: bytes) -> bytes:
    """Return `data` with a few bytes changed, removed or inserted, mostly at its start."""
    changed = bytearray(data)
    for _ in range(dice.choice([1, 2, 4, 16])):
        at = dice.randrange(min(len(changed), dice.choice([64, 300, len(changed)])) or 1)
        width = dice.randrange(1, 8)
        new = dice.choice([dice.randbytes(width), b"", b"\xff" * width, bytes(width)])
        changed[at : at + dice.choice([0, width])] = new
    return bytes(changed)


def test_a_mutated_picture_is_fine_or_refused() -> None:
    dice = random.Random(20261122)
    clear = scene().convert("RGBA")
    seeds = [
        encoded(scene(), "PNG", exif=exif(6)),
        encoded(clear, "PNG"),
        encoded(scene(), "JPEG", exif=exif(6)),
        encoded(scene(), "JPEG", progressive=True),
        encoded(scene(), "WEBP", exif=exif(6)),
        encoded(clear, "WEBP", lossless=True),
        encoded(scene(), "WEBP", save_all=True, append_images=[scene().rotate(90)]),
        encoded(clear, "AVIF"),
        *(encoded(scene(), kind, icc_profile=SRGB) for kind in ("PNG", "JPEG", "WEBP", "AVIF")),
    ]
    codes: list[str] = []
    for _ in range(2000):
        data = mutated(dice, dice.choice(seeds))
        try:
            info = inspect(data)
            assert decode(data).shape == (info.height, info.width, 3)
        except InvalidRequest as error:
            codes.append(error.code)

    assert set(codes) == {"invalid_image"}
    assert 100 < len(codes) < 1900


@pytest.mark.parametrize(("width", "height"), [(100, 100), (640, 360), (33, 500), (1, 1), (1, 999), (999, 1), (64, 48)])
def test_a_fitted_picture_has_the_size(width: int, height: int) -> None:
    fitted = fit(np.full((height, width, 3), 77, np.uint8), 64, 48)

    assert (fitted.dtype, fitted.shape) == (np.uint8, (48, 64, 3))
    assert fitted.flags.c_contiguous
    assert (fitted == 77).all()


@pytest.mark.parametrize(("width", "height"), [(400, 200), (200, 400), (40, 20), (20, 40)])
def test_a_fitted_picture_is_cropped_around_the_centre_not_stretched(width: int, height: int) -> None:
    pixels = np.zeros((height, width, 3), np.uint8)
    y, x = np.mgrid[:height, :width]
    pixels[np.hypot(x - (width - 1) / 2, y - (height - 1) / 2) < min(width, height) / 4] = 255

    disc = fit(pixels, 64, 64)[..., 0] > 127
    wide, high = disc.any(0).nonzero()[0], disc.any(1).nonzero()[0]
    assert abs(len(wide) - 32) <= 2
    assert abs(len(high) - 32) <= 2
    assert abs(wide[0] + wide[-1] - 63) <= 1
    assert abs(high[0] + high[-1] - 63) <= 1


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    pixels = np.asarray(scene())

    assert np.array_equal(fit(pixels, 48, 32), pixels)


@pytest.mark.parametrize(
    ("picture", "area", "multiple", "limit", "size"),
    [
        ((832, 480), 832 * 480, 16, 921_600, (832, 480)),
        ((480, 832), 832 * 480, 16, 921_600, (480, 832)),
        ((1000, 1000), 832 * 480, 16, 921_600, (624, 624)),
        ((1920, 1080), 1280 * 704, 32, 901_120, (1248, 704)),
        ((64, 64), 64 * 64, 16, 16_384, (64, 64)),
        ((1, 1), 64 * 64, 16, 16_384, (64, 64)),
        ((10_000, 1), 64 * 64, 16, 16_384, (128, 32)),
        ((1, 10_000), 64 * 64, 16, 16_384, (32, 128)),
        ((3000, 1000), 64 * 64, 16, 2_000, (64, 16)),
        ((4000, 1000), 32 * 32, 32, 1_024, (32, 32)),
        ((16, 9), 1280 * 720, 16, 832 * 480, (832, 464)),
    ],
)
def test_a_video_takes_the_pictures_aspect_at_the_models_area(
    picture: tuple[int, int], area: int, multiple: int, limit: int, size: tuple[int, int]
) -> None:
    assert size_for(*picture, area, multiple, limit) == size


def test_any_picture_gives_a_size_within_the_rules() -> None:
    dice = random.Random(7)
    for _ in range(5000):
        multiple = dice.choice([16, 32])
        area, limit = dice.randrange(1, 1_000_000), dice.randrange(2 * multiple**2, 1_000_000)
        width, height = size_for(dice.randrange(1, 20_000), dice.randrange(1, 20_000), area, multiple, limit)

        assert (width % multiple, height % multiple) == (0, 0)
        assert min(width, height) >= multiple
        assert width * height <= limit


def test_a_png_gives_the_pixels_back() -> None:
    pixels = np.asarray(scene())

    assert np.array_equal(decode(to_png(pixels)), pixels)
