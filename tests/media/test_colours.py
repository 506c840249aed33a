"""Colours of input pictures become sRGB, or a note says why not."""

import io
import random
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms
from support import profiles

from router.media.pixels import decode, decode_with_notes

ROOT = Path(__file__).parents[2]
ORANGE = (234, 90, 40)
ORANGE_OF_P3 = (253, 76, 0)  # ORANGE in Display P3, shown in sRGB
P3 = profiles.matrix(profiles.DISPLAY_P3, profiles.SRGB_CURVE)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

# from the published matrices of each space to that of sRGB, by hand
TO_SRGB = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
FROM_2020 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
FROM_ADOBE = np.array([[1.3984, -0.3984, 0.0], [0.0, 1.0, 0.0], [0.0, -0.0429, 1.0429]])
FROM_D50 = np.array([[3.1339, -1.6169, -0.4906], [-0.9788, 1.9161, 0.0335], [0.0719, -0.2290, 1.4052]])


def coded(linear: Sequence[float] | np.ndarray) -> list[int]:
    """Return linear sRGB as codes of 8 bits."""
    light = np.clip(np.asarray(linear, float), 0, 1)
    return [round(255 * (12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055)) for c in light]


def lab(lightness: float, a: float, b: float) -> list[int]:
    """Return a colour of L*a*b* under D50 in sRGB."""
    f = (lightness + 16) / 116
    roots = np.array([f + a / 500, f, f - b / 200])
    return coded(FROM_D50 @ (np.where(roots > 6 / 29, roots**3, (116 * roots - 16) / (24389 / 27)) * profiles.D50))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(colour: int, depth: int, samples: Sequence[int], *chunks: bytes) -> bytes:
    """Return a PNG of one row, all pixels alike."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    bits = "".join(f"{sample:0{depth}b}" for sample in samples)
    row = bytes(int(bits[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(bits), 8))
    head = struct.pack(">IIBBBBB", len(samples) // channels, 1, depth, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunks) + pixels


def iccp(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"a name\0\0" + zlib.compress(profile))


def cicp(*numbers: int) -> bytes:
    return chunk(b"cICP", bytes(numbers))


def gama(value: int) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", value))


def chrm(*numbers: float) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(number * 100_000) for number in numbers)))


CHRM_P3 = chrm(0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
CHRM_SRGB = chrm(0.3127, 0.3290, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060)


def saved(colour: int | tuple[int, ...], kind: str, mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    best = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    Image.new(mode, (32, 16), colour).save(stream, kind, **{**best, **options})
    return stream.getvalue()


def shown(data: bytes) -> list[int]:
    """Return the first pixel of a picture without notes."""
    decoded = decode_with_notes(data)
    assert decoded.notes == ()
    return [int(value) for value in decoded.pixels[0, 0]]


def near(colour: Sequence[int], expected: Sequence[int], tolerance: int = 1) -> bool:
    assert len(colour) == len(expected)
    return max(abs(a - b) for a, b in zip(colour, expected, strict=True)) <= tolerance


@pytest.mark.parametrize(
    "data",
    [
        saved(ORANGE, "PNG", icc_profile=P3),
        saved(ORANGE, "JPEG", icc_profile=P3),
        saved(ORANGE, "WEBP", icc_profile=P3),
        saved(ORANGE, "AVIF", quality=100, subsampling="4:4:4", icc_profile=P3),
        png(2, 8, ORANGE, cicp(12, 13, 0, 1)),
        png(2, 8, ORANGE, CHRM_P3),
        png(2, 8, ORANGE, CHRM_P3, gama(45455)),
        png(2, 16, [code * 257 for code in ORANGE], cicp(12, 13, 0, 1)),
        png(2, 16, [code * 257 for code in ORANGE], iccp(P3)),
        png(6, 8, [*ORANGE, 255], iccp(P3)),
        png(3, 8, [0], iccp(P3), chunk(b"PLTE", bytes(ORANGE))),
        png(3, 1, [0], iccp(P3), chunk(b"PLTE", bytes(ORANGE)), chunk(b"tRNS", b"\xff")),
        png(2, 8, [round(16 + code * 219 / 255) for code in ORANGE], cicp(12, 13, 0, 0)),
    ],
    ids=[
        "png",
        "jpeg",
        "webp",
        "avif",
        "cicp",
        "chrm",
        "chrm+gama",
        "cicp16",
        "iccp16",
        "rgba",
        "palette",
        "palette+trns",
        "narrow",
    ],
)
def test_display_p3_becomes_srgb(data: bytes) -> None:
    assert near(shown(data), ORANGE_OF_P3, 2)


def test_a_profile_in_several_segments_is_joined_in_their_order() -> None:
    plain = saved(ORANGE, "JPEG")
    parts = [P3[:100], P3[100:300], P3[300:]]
    segments = [
        b"\xff\xe2" + struct.pack(">H", len(part) + 16) + b"ICC_PROFILE\0" + bytes((number, 3)) + part
        for number, part in enumerate(parts, 1)
    ]

    assert near(shown(plain[:2] + segments[2] + segments[0] + segments[1] + plain[2:]), ORANGE_OF_P3, 2)
    for broken in (segments[:2], [segments[0], segments[1], segments[1]], [*segments, segments[0]]):
        decoded = decode_with_notes(plain[:2] + b"".join(broken) + plain[2:])
        assert near(decoded.pixels[0, 0].tolist(), ORANGE, 2)
        assert "its segments do not fit together" in decoded.notes[0]


@pytest.mark.parametrize(
    ("columns", "curve", "exponent"),
    [
        (profiles.ADOBE_RGB, profiles.gamma(2.19921875), 2.19921875),
        (profiles.ADOBE_RGB, profiles.parametric(0, 2.19921875), 2.19921875),
        (profiles.ADOBE_RGB, profiles.sampled([(n / 1023) ** 1.8 for n in range(1024)]), 1.8),
        (profiles.ADOBE_RGB, profiles.sampled([0, 1]), 1.0),
        (profiles.ADOBE_RGB, b"curv" + bytes(8), 1.0),
        (profiles.ADOBE_RGB, profiles.parametric(1, 2, 1, 0), 2.0),
        (profiles.ADOBE_RGB, profiles.parametric(4, 2, 1, 0, 0, 0, 0, 0), 2.0),
    ],
    ids=["gamma", "para 0", "sampled", "two samples", "identity", "para 1", "para 4"],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_matrix_profile_is_followed(columns: object, curve: bytes, exponent: float, kind: str) -> None:
    colour = (60, 160, 110)
    expected = coded(FROM_ADOBE @ (np.array(colour) / 255) ** exponent)

    assert near(shown(saved(colour, kind, icc_profile=profiles.matrix(columns, curve))), expected, 3)


def test_a_matrix_profile_gives_what_littlecms_gives() -> None:
    dice = np.random.default_rng(3)
    picture = Image.fromarray(dice.integers(0, 256, (40, 40, 3), np.uint8))
    for profile in (P3, profiles.matrix(profiles.ADOBE_RGB, profiles.gamma(2.2))):
        stream = io.BytesIO()
        picture.save(stream, "PNG", icc_profile=profile)
        expected = ImageCms.profileToProfile(picture, io.BytesIO(profile), ImageCms.createProfile("sRGB"))
        assert np.abs(decode(stream.getvalue()).astype(int) - np.asarray(expected)).max() <= 2


CORNERS = {
    (r, g, b): (60.0 * g + 35 * r + 5 * b, 40.0 * r - 30 * g, 20.0 * r - 30 * b + 10 * g)
    for r in (0, 1)
    for g in (0, 1)
    for b in (0, 1)
}
INKS = {
    (c, m, y, k): (0.0, 0.0, 0.0) if k else (100.0 - 20 * c - 25 * m - 5 * y, 50.0 * m - 30 * c, 40.0 * y - 30 * c)
    for c in (0, 1)
    for m in (0, 1)
    for y in (0, 1)
    for k in (0, 1)
}


def table(corners: dict, form: str, space: bytes) -> bytes:
    inputs = 4 if space == b"CMYK" else 3
    tags = {b"wtpt": profiles.xyz(profiles.D50), b"A2B0": profiles.lab_table(corners, inputs, form)}
    return profiles.profile(
        tags, space, b"prtr" if inputs == 4 else b"scnr", b"Lab ", version=4 if form == "mAB" else 2
    )


@pytest.mark.parametrize("form", ["mft1", "mft2", "mAB"])
def test_a_profile_with_a_table_is_followed(form: str) -> None:
    profile = table(CORNERS, form, b"RGB ")
    for corner in ((0, 1, 0), (1, 1, 0), (1, 0, 0)):
        colour = [255 * side for side in corner]
        assert near(shown(png(2, 8, colour, iccp(profile))), lab(*CORNERS[corner]), 4), corner
        assert near(shown(png(2, 16, [257 * code for code in colour], iccp(profile))), lab(*CORNERS[corner]), 4)


def ycck(inks: tuple[int, int, int, int]) -> bytes:
    """Return a CMYK JPEG in the colours of YCCK, as Adobe writes it."""
    luma = cv2.cvtColor(np.array([[inks[:3]]], np.uint8), cv2.COLOR_RGB2YCrCb)[0, 0]
    data = bytearray(saved((255 - int(luma[0]), 255 - int(luma[2]), 255 - int(luma[1]), inks[3]), "JPEG", "CMYK"))
    at = data.index(b"Adobe") + 11
    assert data[at] == 0
    data[at] = 2
    return bytes(data)


def with_profile(jpeg: bytes, profile: bytes) -> bytes:
    segment = b"ICC_PROFILE\0\1\1" + profile
    return jpeg[:2] + b"\xff\xe2" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


@pytest.mark.parametrize("inks", [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 255, 0), (0, 0, 0, 255)])
@pytest.mark.parametrize("form", ["mft1", "mft2", "mAB"])
def test_cmyk_follows_its_profile(inks: tuple[int, int, int, int], form: str) -> None:
    profile = table(INKS, form, b"CMYK")
    expected = lab(*INKS[tuple(ink // 255 for ink in inks)])

    assert near(shown(saved(inks, "JPEG", "CMYK", icc_profile=profile)), expected, 4)
    assert near(shown(with_profile(ycck(inks), profile)), expected, 6)


def test_cmyk_without_a_profile_is_said_to_be_approximate() -> None:
    for data in (saved((0, 255, 255, 0), "JPEG", "CMYK"), ycck((0, 255, 255, 0))):
        decoded = decode_with_notes(data)
        assert near(decoded.pixels[0, 0].tolist(), (255, 0, 0), 4)
        assert decoded.notes == ("is CMYK without a colour profile that can be used: its colours are approximate",)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_grey_follows_a_grey_profile(kind: str) -> None:
    for profile in (profiles.grey(profiles.gamma(1.0)), profiles.grey(profiles.sampled([0, 1]))):
        assert near(shown(saved(55, kind, "L", icc_profile=profile)), coded([55 / 255] * 3))
    of_lightness = profiles.grey(profiles.gamma(1.0), b"Lab ")
    assert near(shown(saved(128, kind, "L", icc_profile=of_lightness)), lab(128 / 2.55, 0, 0))
    assert near(shown(png(4, 8, [55, 255], iccp(profiles.grey(profiles.gamma(1.0))))), coded([55 / 255] * 3))
    assert near(shown(png(0, 16, [300], iccp(profiles.grey(profiles.gamma(1.0))))), coded([300 / 65535] * 3))


def test_shadows_of_16_bits_keep_their_precision() -> None:
    """In 8 bits all of these would be the same few levels."""
    light = [20, 60, 120, 200, 400]
    data = png(2, 16, [value for value in light for _ in range(3)], gama(100_000))
    with_table = png(
        2, 16, [value for value in light for _ in range(3)], iccp(profiles.matrix(profiles.SRGB, profiles.gamma(1)))
    )

    expected = [coded([value / 65535] * 3) for value in light]
    assert decode(data)[0].tolist() == expected
    assert np.abs(decode(with_table)[0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("value", [45455, 45454, 45450, 45500])
def test_the_gamma_that_files_of_srgb_have_changes_nothing(value: int) -> None:
    ramp = [level for level in range(256) for _ in range(3)]

    assert np.array_equal(decode(png(2, 8, ramp, gama(value), CHRM_SRGB)), decode(png(2, 8, ramp)))


@pytest.mark.parametrize(("value", "exponent"), [(100_000, 1.0), (55_556, 1.8), (200_000, 0.5)])
def test_another_gamma_is_followed(value: int, exponent: float) -> None:
    expected = coded((np.array(ORANGE) / 255) ** exponent)

    assert near(shown(png(2, 8, ORANGE, gama(value))), expected)
    assert near(shown(png(0, 8, [90], gama(value))), coded([(90 / 255) ** exponent] * 3))


def test_the_better_description_wins() -> None:
    """PNG's third edition: cICP, iCCP, sRGB, cHRM and gAMA, wherever they stand."""
    adobe = iccp(profiles.matrix(profiles.ADOBE_RGB, profiles.gamma(2.2)))
    as_adobe = shown(png(2, 8, ORANGE, adobe))
    plain = chunk(b"sRGB", b"\0")

    assert near(shown(png(2, 8, ORANGE, gama(100_000), plain, adobe, cicp(12, 13, 0, 1))), ORANGE_OF_P3, 2)
    assert shown(png(2, 8, ORANGE, gama(100_000), plain, adobe)) == as_adobe != list(ORANGE)
    assert shown(png(2, 8, ORANGE, gama(100_000), CHRM_P3, plain)) == list(ORANGE)
    assert shown(png(2, 8, ORANGE, cicp(1, 13, 0, 1), gama(100_000))) == list(ORANGE)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((1, 13, 0, 1), ORANGE),
        ((1, 1, 0, 1), ORANGE),
        ((1, 8, 0, 1), coded(np.array(ORANGE) / 255)),
        ((1, 4, 0, 1), coded((np.array(ORANGE) / 255) ** 2.2)),
        ((9, 8, 0, 1), coded(FROM_2020 @ (np.array(ORANGE) / 255))),
    ],
)
def test_the_numbers_of_a_cicp_chunk_are_followed(numbers: tuple[int, ...], expected: Sequence[int]) -> None:
    assert near(shown(png(2, 8, ORANGE, cicp(*numbers))), expected)


def pq(nits: float) -> int:
    """Return the code of 16 bits for a brightness."""
    y = (nits / 10_000) ** 0.1593017578125
    return round(65535 * ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375)


@pytest.mark.parametrize("nits", [5, 20, 60, 100])
def test_hdr_below_half_of_its_white_keeps_its_brightness(nits: float) -> None:
    decoded = decode_with_notes(png(2, 16, [pq(nits)] * 3, cicp(9, 16, 0, 1)))

    assert near(decoded.pixels[0, 0].tolist(), coded([nits / 203] * 3))
    assert decoded.notes == ("is HDR (PQ): it was mapped to sRGB, and its highlights were compressed",)


def test_the_highlights_of_hdr_stay_apart() -> None:
    bright = [pq(nits) for nits in (100, 203, 400, 1000, 10_000) for _ in range(3)]
    levels = decode(png(2, 16, bright, cicp(9, 16, 0, 1)))[0, :, 0].tolist()
    assert levels == sorted(levels)
    assert len(set(levels[:4])) == 4
    assert levels[3:] == [255, 255]

    hlg = [round(code * 65535 / 100) for code in (25, 50, 75, 100) for _ in range(3)]
    decoded = decode_with_notes(png(2, 16, hlg, cicp(9, 18, 0, 1)))
    assert decoded.notes == ("is HDR (HLG): it was mapped to sRGB, and its highlights were compressed",)
    white = decoded.pixels[0, 2, 0]  # 75 % of HLG is the white of PQ, after BT.2408
    assert abs(int(white) - levels[1]) <= 2
    assert decoded.pixels[0, 3].tolist() == [255, 255, 255]
    assert len(shown_greys := decode(png(0, 16, hlg[::3], cicp(9, 18, 0, 1)))[0]) == 4
    assert np.abs(shown_greys.astype(int) - decoded.pixels[0]).max() <= 1


WHITE, BLACK = [255] * 3, [0] * 3


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(0, 8, [64, 65], chunk(b"tRNS", b"\0\x40")), [WHITE, [65] * 3]),
        (png(0, 1, [0, 1], chunk(b"tRNS", b"\0\0")), [WHITE, WHITE]),
        (png(0, 1, [0, 1], chunk(b"tRNS", b"\0\1")), [BLACK, WHITE]),
        (png(0, 2, [1, 2], chunk(b"tRNS", b"\0\1")), [WHITE, [170] * 3]),
        (png(0, 4, [5, 0], chunk(b"tRNS", b"\0\5")), [WHITE, BLACK]),
        (png(0, 16, [257, 256], chunk(b"tRNS", b"\1\1")), [WHITE, [1] * 3]),
        (png(4, 8, [0, 0, 0, 51]), [WHITE, [204] * 3]),
        (png(4, 16, [0, 0, 0, 51 * 257]), [WHITE, [204] * 3]),
        (png(2, 8, [1, 2, 3, 1, 2, 4], chunk(b"tRNS", b"\0\1\0\2\0\3")), [WHITE, [1, 2, 4]]),
        (png(2, 16, [257, 2, 3, 256, 2, 3], chunk(b"tRNS", b"\1\1\0\2\0\3")), [WHITE, [1, 0, 0]]),
        (png(3, 1, [0, 1], chunk(b"PLTE", bytes([9, 9, 9, 1, 2, 3])), chunk(b"tRNS", b"\0")), [WHITE, [1, 2, 3]]),
    ],
    ids=[
        "grey",
        "bit 0",
        "bit 1",
        "grey 2",
        "grey 4",
        "grey 16",
        "grey+alpha",
        "grey+alpha 16",
        "rgb",
        "rgb 16",
        "palette",
    ],
)
def test_every_kind_of_transparency_becomes_white(data: bytes, expected: list[list[int]]) -> None:
    assert decode(data)[0].tolist() == expected


def test_colours_are_converted_before_they_are_mixed_with_white() -> None:
    half = [round((128 / 255) * code + 255 * (127 / 255)) for code in ORANGE_OF_P3]

    assert near(shown(png(6, 8, [*ORANGE, 128], iccp(P3))), half, 2)
    assert near(shown(png(6, 16, [*(code * 257 for code in ORANGE), 128 * 257], iccp(P3))), half, 2)
    linear = png(0, 8, [64, 55], gama(100_000), chunk(b"tRNS", b"\0\x40"))  # the grey as stored is meant
    assert decode(linear)[0].tolist() == [WHITE, coded([55 / 255] * 3)]


def test_a_picture_with_a_profile_is_still_turned() -> None:
    picture = Image.new("RGB", (32, 16), ORANGE)
    picture.paste((0, 0, 0), (0, 0, 16, 16))
    block = Image.Exif()
    block[0x0112] = 6
    for kind in ("PNG", "JPEG", "WEBP"):
        stream = io.BytesIO()
        picture.save(
            stream, kind, icc_profile=P3, exif=block.tobytes(), **({"lossless": True} if kind == "WEBP" else {})
        )
        pixels = decode(stream.getvalue())
        assert pixels.shape == (32, 16, 3)
        assert near(pixels[28, 8].tolist(), ORANGE_OF_P3, 6)
        assert near(pixels[3, 8].tolist(), BLACK, 6)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_that_is_srgb_stays_as_it_is(kind: str) -> None:
    y, x = np.mgrid[:64, :64]
    picture = Image.fromarray(np.stack([x * 4, y * 4, 255 - x * 2 - y * 2], -1).astype(np.uint8))
    v2 = profiles.matrix(
        profiles.SRGB,
        profiles.sampled(
            [n / 12.92 / 1023 if n / 1023 <= 0.04045 else ((n / 1023 + 0.055) / 1.055) ** 2.4 for n in range(1024)]
        ),
    )
    plain = io.BytesIO()
    picture.save(plain, kind)
    for profile in (SRGB, v2):
        stream = io.BytesIO()
        picture.save(stream, kind, icc_profile=profile)
        decoded = decode_with_notes(stream.getvalue())
        assert decoded.notes == ()
        assert np.array_equal(decoded.pixels, decode(plain.getvalue()))


def camera(space: int, index: bytes = b"") -> bytes:
    """Return an EXIF block with a ColorSpace, and maybe an interoperability index."""
    block = Image.Exif()
    block.get_ifd(0x8769)[0xA001] = space
    if index:
        block.get_ifd(0x8769)[0xA005] = {1: index.decode()}
    return block.tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_adobe_rgb_by_exif_alone_is_converted(kind: str) -> None:
    expected = coded(FROM_ADOBE @ (np.array((60, 160, 110)) / 255) ** 2.19921875)

    for block in (camera(0xFFFF, b"R03"), camera(2)):
        assert near(shown(saved((60, 160, 110), kind, exif=block)), expected, 3)
        assert near(shown(saved(ORANGE, kind, exif=block, icc_profile=P3)), ORANGE_OF_P3, 3)
        assert near(shown(saved(ORANGE, kind, exif=block, icc_profile=SRGB)), ORANGE, 2)


def test_uncalibrated_colours_are_noted() -> None:
    assert decode_with_notes(saved(ORANGE, "JPEG", exif=camera(0xFFFF, b"R98"))).notes == (
        "has colours that its EXIF calls uncalibrated, and no colour profile: they were taken as sRGB",
    )
    assert decode_with_notes(saved(ORANGE, "JPEG", exif=camera(1))).notes == ()


LAB = profiles.profile({}, b"Lab ", b"abst", b"Lab ")
UNUSABLE = {
    "junk": b"junk" * 100,
    "empty": b"\0",
    "cut": P3[: len(P3) - 40],
    "header only": P3[:128],
    "grey": profiles.grey(profiles.gamma(2.2)),
    "CMYK": profiles.profile({}, b"CMYK", b"prtr", b"Lab "),
    "Lab": LAB,
    "device link": profiles.profile({}, b"RGB ", b"link", b"RGB "),
    "no tags": profiles.profile({}),
    "tags past the end": P3[:132] + struct.pack(">4sII", b"rXYZ", 2**32 - 4, 2**32 - 4) + P3[144:],
    "a million tags": P3[:128] + struct.pack(">I", 2**20) + P3[132:],
    "black primaries": profiles.matrix([(0, 0, 0)] * 3, profiles.SRGB_CURVE),
    "curve of another type": profiles.matrix(profiles.SRGB, b"text" + bytes(12)),
    "curve that claims more": profiles.matrix(profiles.SRGB, b"curv\0\0\0\0\xff\xff\xff\xff\0\0\0\0"),
    "function 9": profiles.matrix(profiles.SRGB, profiles.parametric(9, 1)),
    "table of another type": profiles.profile({b"A2B0": b"mpet" + bytes(60)}),
    "table that claims more": profiles.profile({b"A2B0": b"mft1\0\0\0\0\3\3\xff\0" + bytes(3000)}),
    "table that claims more, mft2": profiles.profile(
        {b"A2B0": b"mft2\0\0\0\0\3\3\xff\0" + bytes(36) + b"\xff\xff\xff\xff" + bytes(300)}
    ),
    "table that claims more, mAB": profiles.profile(
        {b"A2B0": b"mAB \0\0\0\0\3\3\0\0" + struct.pack(">5I", 100, 0, 0, 32, 0) + b"\xff" * 16 + b"\2" + bytes(300)}
    ),
}


def test_a_profile_that_cannot_be_used_is_noted_and_the_picture_taken_as_srgb(subtests: pytest.Subtests) -> None:
    for name in UNUSABLE:
        for kind in ["PNG", "JPEG", "WEBP"]:
            with subtests.test(name=name, kind=kind):
                decoded = decode_with_notes(saved(ORANGE, kind, icc_profile=UNUSABLE[name]))

                (note,) = decoded.notes
                assert note.startswith("has a colour profile that cannot be used: ")
                assert note.endswith("; its colours were taken as sRGB")
                assert near(decoded.pixels[0, 0].tolist(), ORANGE, 2)


def test_a_profile_for_other_channels_is_noted() -> None:
    grey = decode_with_notes(saved(90, "PNG", "L", icc_profile=P3))
    assert grey.pixels[0, 0].tolist() == [90] * 3
    assert grey.notes == (
        "has a colour profile that cannot be used: it is for RGB, the picture is grey; its colours were taken as sRGB",
    )
    inks = decode_with_notes(saved((0, 0, 0, 0), "JPEG", "CMYK", icc_profile=P3))
    assert "it is for RGB, the picture is CMYK" in inks.notes[0]


@pytest.mark.parametrize(
    ("chunks", "word"),
    [
        ([cicp(2, 2, 0, 1)], "primaries 2 and transfer 2"),
        ([cicp(1, 13, 1, 1)], "must be 0"),
        ([cicp(1, 13)], "too early"),
        ([cicp(12, 13, 0, 1)[:-1] + b"x"], "too early"),
        ([gama(0)], "gAMA is 0"),
        ([gama(2**31)], "gAMA is"),
        ([chrm(0.3, 0, 0, 0, 0, 0, 0, 0)], "no brightness"),
        ([chrm(0.3, 0.3, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2)], "on a line"),
        ([chunk(b"iCCP", b"no end")], "too early"),
        ([chunk(b"iCCP", b"a\0\0not zlib")], "decompressed"),
    ],
)
def test_a_colour_chunk_that_cannot_be_used_is_noted(chunks: list[bytes], word: str) -> None:
    decoded = decode_with_notes(png(2, 8, ORANGE, *chunks))

    (note,) = decoded.notes
    assert word in note
    assert note.endswith("its colours were taken as sRGB")
    assert decoded.pixels[0, 0].tolist() == list(ORANGE)


def test_after_a_description_that_cannot_be_used_the_next_one_is() -> None:
    decoded = decode_with_notes(png(2, 8, ORANGE, cicp(200, 13, 0, 1), iccp(P3)))

    assert near(decoded.pixels[0, 0].tolist(), ORANGE_OF_P3, 2)
    assert decoded.notes == (
        "has a cICP chunk that cannot be used: it has primaries 200 and transfer 13; its colours were converted by what else it says",
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: bytes(10_000_000),
        lambda: P3 + bytes(10_000_000),
        lambda: profiles.profile({b"A2B0": b"mft1\0\0\0\0\3\3\x60\0" + bytes(10_000_000)}),
        lambda: profiles.profile({b"A2B0": b"mft2\0\0\0\0\3\3\xff\0" + bytes(36) + b"\x10\0\x10\0" + bytes(3_000_000)}),
        lambda: profiles.matrix(profiles.SRGB, profiles.sampled([0.5] * 2_000_000)),
    ],
    ids=["zeros", "padded", "large table", "claiming table", "long curves"],
)
def test_a_large_profile_costs_little(make: Callable[[], bytes]) -> None:
    data = png(2, 8, ORANGE, iccp(make()))

    start = time.process_time()
    assert decode(data).shape == (1, 1, 3)
    assert time.process_time() - start < 3


def test_a_compressed_profile_is_inflated_up_to_a_limit() -> None:
    data = png(2, 8, ORANGE, iccp(bytes(64 * 2**20)))

    assert len(data) < 2**21
    assert "more than 4,194,304" in decode_with_notes(data).notes[0]


MEASURE = """
import resource, sys
from router.media.pixels import decode
data = sys.stdin.buffer.read()
decode(data)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_a_conversion_takes_memory_for_the_result_and_a_band() -> None:
    plain = cv2.imencode(".jpg", np.full((4000, 4000, 3), 90, np.uint8))[1].tobytes()
    table_profile = table(CORNERS, "mft2", b"RGB ")
    peaks = []
    for data in (plain, with_profile(plain, P3), with_profile(plain, table_profile)):
        done = subprocess.run([sys.executable, "-c", MEASURE], input=data, cwd=ROOT, capture_output=True, check=True)
        peaks.append(int(done.stdout))

    assert max(peaks) - peaks[0] < 48 + 100  # MiB: one more picture of 16 megapixels, and libraries


def test_a_mutated_profile_is_used_or_noted() -> None:
    dice = random.Random(20261128)
    seeds = [
        (2, P3),
        (2, SRGB),
        (2, profiles.matrix(profiles.ADOBE_RGB, profiles.sampled([0, 0.2, 1]))),
        (0, profiles.grey(profiles.gamma(2.0), b"Lab ")),
        *((2, table(CORNERS, form, b"RGB ")) for form in ("mft1", "mft2", "mAB")),
    ]
    noted = 0
    for _ in range(1500):
        colour, profile = dice.choice(seeds)
        changed = bytearray(profile)
        for _ in range(dice.choice([1, 2, 4])):
            at = dice.randrange(dice.choice([140, 400, len(changed)])) % len(changed)
            changed[at : at + dice.choice([0, 1, 4])] = dice.choice(
                [dice.randbytes(2), b"", b"\xff\xff\xff\xff", bytes(4)]
            )
        decoded = decode_with_notes(png(colour, 8, [90] * (3 if colour else 1), iccp(bytes(changed))))
        assert decoded.pixels.shape == (1, 1, 3)
        noted += bool(decoded.notes)

    assert 100 < noted < 1400
