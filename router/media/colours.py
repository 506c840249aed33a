"""The choice of a picture's conversion to sRGB, by its colour tags and EXIF."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from router.media import colour_spaces, icc
from router.media.conversion import Conversion, MatrixConversion, TableConversion, changes
from router.media.exif import ExifColour, colour_space
from router.media.header_fields import Channels, ColourTags

_MAX_INFLATED = 4 * 2**20  # bytes of a PNG's profile: large ones are for CMYK, which no PNG has
_SRGB_GAMMA = 45455  # what files of sRGB say, where 1/2.2 would make shadows darker
_GAMMA_TOLERANCE = 0.01
_GAMMAS = range(5_000, 1_000_001)  # in 1/100,000; others are no picture's
_ADOBE_GAMMA = 563 / 256
_HDR = {colour_spaces.PQ: "PQ", colour_spaces.HLG: "HLG"}


@dataclass(frozen=True)
class Colours:
    """A picture's conversion to sRGB, None for a picture in sRGB, and notes.

    A note goes on after "image 1", such as "is HDR (PQ): ...".
    """

    conversion: Conversion | None = None
    notes: tuple[str, ...] = ()


def colours_of(tags: ColourTags, exif: bytes = b"") -> Colours:
    """Return the conversion after the first usable colour description.

    Their order is that of PNG's third edition: cICP, a profile, sRGB, cHRM and gAMA; EXIF comes last.
    """
    problems: list[str] = []
    for name, read in _READERS:
        try:
            found = read(tags)
        except (struct.error, IndexError):
            problems.append(f"{name} that cannot be used: it ends too early")
        except ValueError as error:
            problems.append(f"{name} that cannot be used: {error}")
        else:
            if found is not None:
                return _with(problems, found, tags.channels)
    return _with(problems, _by_exif(tags, exif), tags.channels)


def _with(problems: list[str], found: Colours, channels: Channels) -> Colours:
    used = found.conversion
    if used is not None and not changes(used, channels):
        used = None
    taken = "its colours were taken as sRGB" if used is None else "its colours were converted by what else it says"
    if used is None and channels is Channels.CMYK:
        taken = "it was read over"
    return Colours(used, (*(f"has {problem}; {taken}" for problem in problems), *found.notes))


def _by_cicp(tags: ColourTags) -> Colours | None:
    """Read a PNG's cICP chunk: primaries, transfer, matrix (0 for RGB), full range."""
    if (body := tags.png.get(b"cICP")) is None:
        return None
    numbers = struct.unpack_from("4B", body)
    if numbers[2] != 0 or numbers[3] > 1:
        raise ValueError(f"it says {'-'.join(map(str, numbers))}, and the third must be 0")
    return _numbered(numbers[0], numbers[1], narrow=numbers[3] == 0)


def _by_profile(tags: ColourTags) -> Colours | None:
    if tags.problem:
        raise ValueError(tags.problem)
    if (body := tags.png.get(b"iCCP")) is not None:
        data = _inflated(body)
    elif not (data := tags.profile):
        return None
    profile = icc.parse(data)
    if profile.space != tags.channels.value:
        theirs = profile.space.decode("latin-1").strip()
        raise ValueError(
            f"it is for {theirs if theirs.isalnum() else 'something else'}, the picture is {tags.channels}"
        )
    if (numbers := profile.code_points) and numbers[1] in _HDR and tags.channels is Channels.RGB:
        return _numbered(*numbers)
    if (table := icc.only_table(profile)) is not None:
        return Colours(TableConversion(table, tags.channels))
    if tags.channels is Channels.CMYK:
        raise ValueError("it has no table")
    if tags.channels is Channels.GREY:
        return Colours(MatrixConversion((icc.grey(profile),) * 3, np.eye(3)))
    return Colours(MatrixConversion(*icc.matrix(profile)))


def _by_code_points(tags: ColourTags) -> Colours | None:
    return _numbered(*tags.code_points) if tags.code_points else None


def _by_srgb(tags: ColourTags) -> Colours | None:
    if (body := tags.png.get(b"sRGB")) is None:
        return None
    if not body:
        raise struct.error
    return Colours()


def _by_gamma(tags: ColourTags) -> Colours | None:
    """Read a PNG's gAMA and cHRM chunks; sRGB stands for a missing one."""
    gamma, chromaticities = tags.png.get(b"gAMA"), tags.png.get(b"cHRM")
    if gamma is None and chromaticities is None:
        return None
    curve: colour_spaces.Curve = colour_spaces.srgb
    space = colour_spaces.BT709
    if gamma is not None:
        (value,) = struct.unpack_from(">I", gamma)
        if value not in _GAMMAS:
            raise ValueError(f"its gAMA is {value}")
        if abs(value / _SRGB_GAMMA - 1) > _GAMMA_TOLERANCE:
            curve = colour_spaces.power(100_000 / value)
    if chromaticities is not None:
        numbers = [number / 100_000 for number in struct.unpack_from(">8I", chromaticities)]
        white, red, green, blue = zip(numbers[::2], numbers[1::2], strict=True)
        space = colour_spaces.Primaries(red, green, blue, white)
    return Colours(MatrixConversion((curve,) * 3, colour_spaces.to_srgb(space)))


_READERS: tuple[tuple[str, Callable[[ColourTags], Colours | None]], ...] = (
    ("a cICP chunk", _by_cicp),
    ("a colour profile", _by_profile),
    ("a colour description", _by_code_points),
    ("an sRGB chunk", _by_srgb),
    ("gAMA and cHRM chunks", _by_gamma),
)


def _by_exif(tags: ColourTags, exif: bytes) -> Colours:
    if tags.channels is Channels.CMYK:
        return Colours(notes=("is CMYK without a colour profile that can be used: its colours are approximate",))
    space = colour_space(exif)
    if space is ExifColour.ADOBE_RGB:
        curves = (colour_spaces.power(_ADOBE_GAMMA),) * 3
        return Colours(MatrixConversion(curves, colour_spaces.to_srgb(colour_spaces.ADOBE_RGB)))
    if space is ExifColour.UNCALIBRATED:
        note = "has colours that its EXIF calls uncalibrated, and no colour profile: they were taken as sRGB"
        return Colours(notes=(note,))
    return Colours()


def _numbered(colour_primaries: int, characteristics: int, *, narrow: bool = False) -> Colours:
    """Return the conversion for ISO/IEC 23091-2 code points, with a note for HDR."""
    if colour_primaries not in colour_spaces.PRIMARIES or characteristics not in colour_spaces.CURVES:
        raise ValueError(f"it has primaries {colour_primaries} and transfer {characteristics}")
    space = colour_spaces.PRIMARIES[colour_primaries]
    hdr = _HDR.get(characteristics)
    luma = colour_spaces.to_xyz(space)[1] if characteristics == colour_spaces.HLG else None
    curves = (colour_spaces.CURVES[characteristics],) * 3
    conversion = MatrixConversion(curves, colour_spaces.to_srgb(space), hdr is not None, luma, narrow)
    note = f"is HDR ({hdr}): it was mapped to sRGB, and its highlights were compressed"
    return Colours(conversion, (note,) if hdr else ())


def _inflated(body: bytes) -> bytes:
    start = body.find(b"\0", 0, 80) + 1
    if start < 1 or body[start : start + 1] != b"\0":
        raise struct.error
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(body[start + 1 :], _MAX_INFLATED + 1)
    except zlib.error:
        raise ValueError("it cannot be decompressed") from None
    if len(data) > _MAX_INFLATED:
        raise ValueError(f"it has more than {_MAX_INFLATED:,} bytes")
    return data
