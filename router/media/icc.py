"""ICC profiles: matrices and curves read by hand, tables checked for LittleCMS.

LittleCMS allocates what a table claims, and reads all tags that it knows. Every function raises `struct.error` for
what ends too early and `ValueError`, saying what is wrong, for the rest.
"""

import math
import struct
from dataclasses import dataclass

import numpy as np

from router.media import colour_spaces
from router.media.colour_spaces import Curve, Floats, power
from router.media.header_fields import Channels

MAX_BYTES = 16 * 2**20  # CMYK profiles of printers have up to 9 MB
MAX_TABLE_BYTES = 4 * 2**20  # for the one direction of a profile that is used; printers' have up to 2 MB
_MAX_TAGS = 200
_CLASSES = {b"mntr", b"scnr", b"prtr", b"spac"}
_TABLES = (b"A2B0", b"A2B1", b"A2B2")
_MATRIX = (b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC")
_READ = {*_TABLES, *_MATRIX, b"kTRC", b"wtpt", b"chad", b"cicp"}
_GREY_Y = 24389 / 27  # CIE's kappa, from L* to Y


@dataclass(frozen=True)
class Profile:
    """A profile whose header and tag table are sound."""

    header: bytes
    space: bytes
    connection: bytes
    tags: dict[bytes, bytes]

    @property
    def code_points(self) -> tuple[int, int] | None:
        """The ISO/IEC 23091-2 primaries and transfer of HDR profiles since version 4.4."""
        body = self.tags.get(b"cicp", b"")
        return (body[8], body[9]) if len(body) >= 12 and body.startswith(b"cicp") else None


def parse(data: bytes) -> Profile:
    """Return the profile that `data` is; its tags' contents are unread."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has {len(data):,} bytes, more than {MAX_BYTES:,}")
    size, kind, space, connection = struct.unpack_from(">I8x4s4s4s", data)
    if data[36:40] != b"acsp":
        raise ValueError("it is no ICC profile")
    if size > len(data):
        raise struct.error
    if kind not in _CLASSES:
        raise ValueError(f"its class is {kind!r}")
    if connection not in (b"XYZ ", b"Lab "):
        raise ValueError(f"it connects to {connection!r}")
    (count,) = struct.unpack_from(">I", data, 128)
    if count > _MAX_TAGS:
        raise ValueError(f"it has {count:,} tags")
    entries = [struct.unpack_from(">4sII", data, 132 + 12 * number) for number in range(count)]
    if any(start + length > len(data) for _, start, length in entries):
        raise struct.error
    tags = {
        name: data[start : start + min(length, MAX_TABLE_BYTES + 1)]  # they may overlap
        for name, start, length in reversed(entries)
        if name in _READ
    }
    return Profile(data[:128], space, connection, tags)


def matrix(profile: Profile) -> tuple[tuple[Curve, ...], Floats]:
    """Return an RGB profile's curves, and its matrix from their light to linear sRGB."""
    if missing := [name for name in _MATRIX if name not in profile.tags]:
        raise ValueError(f"it has no {missing[0].decode()}")
    if profile.connection != b"XYZ ":
        raise ValueError("its matrix does not lead to XYZ")
    columns = [_xyz(profile.tags[name]) for name in _MATRIX[:3]]
    found = colour_spaces.to_srgb_from_d50(np.array(columns).T)
    if not 0.5 <= float(np.sum(columns, 0)[1]) <= 1.5 or abs(np.linalg.det(found)) < 1e-4:
        raise ValueError("its primaries make no white")
    return tuple(_curve(profile.tags[name]) for name in _MATRIX[3:]), found


def grey(profile: Profile) -> Curve:
    """Return a grey profile's curve to linear light."""
    if b"kTRC" not in profile.tags:
        raise ValueError("it has no kTRC")
    curve = _curve(profile.tags[b"kTRC"])
    if profile.connection == b"XYZ ":
        return curve
    return lambda encoded: _luminance(curve(encoded) * 100)


def only_table(profile: Profile) -> bytes | None:
    """Return the profile with one table only, checked against its claims; None without one."""
    name = next((name for name in _TABLES if name in profile.tags), None)
    if name is None:
        return None
    table = profile.tags[name]
    if len(table) > MAX_TABLE_BYTES:
        raise ValueError(f"its {name.decode()} has more than {MAX_TABLE_BYTES:,} bytes")
    _check_table(table, len(Channels(profile.space).name) if profile.space != Channels.GREY.value else 1)
    kept = {b"A2B0": table}
    kept |= {name: profile.tags[name] for name in (b"wtpt", b"chad") if len(profile.tags.get(name, b"")) in (20, 44)}
    entries, bodies, start = b"", b"", 132 + 12 * len(kept)
    for name, body in kept.items():
        entries += struct.pack(">4sII", name, start + len(bodies), len(body))
        bodies += body + b"\0" * (-len(body) % 4)
    whole = struct.pack(">I", len(kept)) + entries + bodies
    return struct.pack(">I", 128 + len(whole)) + profile.header[4:] + whole


def _check_table(table: bytes, channels: int) -> None:
    kind, inputs, outputs = struct.unpack_from(">4s4xBB", table)
    if (inputs, outputs) != (channels, 3):
        raise ValueError(f"its table leads from {inputs} channels to {outputs}")
    if kind == b"mft1":
        needed = 48 + 256 * (inputs + outputs) + table[10] ** inputs * outputs
    elif kind == b"mft2":
        before, after = struct.unpack_from(">HH", table, 48)
        needed = 52 + 2 * (before * inputs + table[10] ** inputs * outputs + after * outputs)
    elif kind == b"mAB ":
        needed = _needed(table, inputs, outputs)
    else:
        raise ValueError(f"its table is of the type {kind!r}")
    if needed > len(table):
        raise struct.error


def _needed(table: bytes, inputs: int, outputs: int) -> int:
    """Return the size that an `mAB ` table's grid and curves claim."""
    curves, _, middle, grid, before = struct.unpack_from(">5I", table, 12)
    needed = 32
    if grid:
        sides = struct.unpack_from(f"{inputs}B", table, grid)
        needed = grid + 20 + math.prod(sides) * outputs * struct.unpack_from("B", table, grid + 16)[0]
    for start, count in ((curves, outputs), (middle, outputs), (before, inputs)):
        for _ in range(count if start else 0):
            if table[start : start + 4] == b"curv":
                start += 12 + 2 * int(struct.unpack_from(">I", table, start + 8)[0])
            else:
                start += 12 + 4 * _PARAMETERS.get(int(struct.unpack_from(">H", table, start + 8)[0]), 0)
            start += -start % 4
            needed = max(needed, start - 3)
    return needed


def _xyz(body: bytes) -> tuple[float, ...]:
    kind, *numbers = struct.unpack_from(">4s4x3i", body)
    if kind != b"XYZ ":
        raise ValueError("one of its primaries is not in XYZ")
    return tuple(number / 65536 for number in numbers)


_PARAMETERS = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}


def _curve(body: bytes) -> Curve:
    kind, count = struct.unpack_from(">4s4xI", body)
    if kind == b"curv":
        return _sampled(body, count)
    if kind != b"para":
        raise ValueError(f"one of its curves is of the type {kind!r}")
    number = count >> 16
    if number not in _PARAMETERS:
        raise ValueError(f"one of its curves has the function {number}")
    return _parametric(number, [n / 65536 for n in struct.unpack_from(f">{_PARAMETERS[number]}i", body, 12)])


def _sampled(body: bytes, count: int) -> Curve:
    if count == 0:
        return power(1.0)
    if count * 2 + 12 > len(body):
        raise struct.error
    samples = np.frombuffer(body, ">u2", count, 12)
    if count == 1:
        return power(float(samples[0]) / 256)
    points, values = np.linspace(0, 1, count), samples / 65535
    return lambda encoded: np.asarray(np.interp(encoded, points, values))


def _parametric(number: int, values: list[float]) -> Curve:
    """Return the curve of ICC.1:2022, table 68."""
    g, a, b, c, d, e, f = values + [0.0] * (7 - len(values))
    if number == 0:
        return power(g)
    if number in (1, 2):  # above -b/a; below it is the constant c
        c, d, e, f = 0.0, -b / a if a else 0.0, c, c

    def curve(encoded: Floats) -> Floats:
        return np.where(encoded >= d, np.maximum(a * encoded + b, 0) ** g + e, c * encoded + f)

    return curve


def _luminance(lightness: Floats) -> Floats:
    return np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness / _GREY_Y)
