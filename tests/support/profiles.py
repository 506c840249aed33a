"""ICC profiles of a few tags, built by hand for the tests of colours."""

import struct
from collections.abc import Mapping, Sequence

import numpy as np

D50 = (0.9642, 1.0, 0.8249)
# columns of the matrices from linear RGB to XYZ under D50, as the published profiles have them
SRGB = ((0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
DISPLAY_P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
ADOBE_RGB = ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))


def xyz(values: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def gamma(exponent: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256)) + b"\0\0"


def sampled(values: Sequence[float]) -> bytes:
    codes = [round(value * 65535) for value in values]
    return b"curv\0\0\0\0" + struct.pack(f">I{len(codes)}H", len(codes), *codes)


def parametric(kind: int, *values: float) -> bytes:
    return b"para\0\0\0\0" + struct.pack(f">HH{len(values)}i", kind, 0, *(round(value * 65536) for value in values))


SRGB_CURVE = parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def profile(
    tags: Mapping[bytes, bytes],
    space: bytes = b"RGB ",
    kind: bytes = b"mntr",
    connection: bytes = b"XYZ ",
    version: int = 4,
) -> bytes:
    entries, bodies, start = b"", b"", 132 + 12 * len(tags)
    for name, body in tags.items():
        entries += struct.pack(">4sII", name, start + len(bodies), len(body))
        bodies += body + bytes(-len(body) % 4)
    size = start + len(bodies)
    head = struct.pack(">I4xI4s4s4s12x4s", size, version << 24, kind, space, connection, b"acsp").ljust(68, b"\0")
    head += struct.pack(">3i", *(round(value * 65536) for value in D50))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + entries + bodies


def matrix(columns: Sequence[Sequence[float]], curve: bytes, **more: bytes) -> bytes:
    """Return an RGB profile of three colorants and one curve."""
    tags = {b"wtpt": xyz(D50)}
    tags |= {name: xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    return profile(tags | {name.encode(): body for name, body in more.items()})


def grey(curve: bytes, connection: bytes = b"XYZ ") -> bytes:
    return profile({b"wtpt": xyz(D50), b"kTRC": curve}, b"GRAY", connection=connection)


def lab_table(corners: Mapping[tuple[int, ...], tuple[float, float, float]], inputs: int, form: str = "mft2") -> bytes:
    """Return a table of two points a side from device colours to L*a*b*."""
    order = [tuple(int(bit) for bit in f"{number:0{inputs}b}") for number in range(2**inputs)]
    if form == "mft1":
        codes = [(light * 2.55, a + 128, b + 128) for light, a, b in map(corners.__getitem__, order)]
        grid = bytes(round(code) for triple in codes for code in triple)
        line = bytes(range(256))
        head = b"mft1\0\0\0\0" + bytes((inputs, 3, 2, 0)) + struct.pack(">9i", *np.eye(3, dtype=int).ravel() * 65536)
        return head + line * inputs + grid + line * 3
    scale = 65280 if form == "mft2" else 65535  # version 2's L* of 100 is FF00
    unit = 256 if form == "mft2" else 257
    codes = [
        (light / 100 * scale, (a + 128) * unit, (b + 128) * unit) for light, a, b in map(corners.__getitem__, order)
    ]
    grid = struct.pack(f">{3 * len(order)}H", *(round(code) for triple in codes for code in triple))
    if form == "mft2":
        head = b"mft2\0\0\0\0" + bytes((inputs, 3, 2, 0)) + struct.pack(">9i", *np.eye(3, dtype=int).ravel() * 65536)
        return head + struct.pack(">HH", 2, 2) + b"\0\0\xff\xff" * inputs + grid + b"\0\0\xff\xff" * 3
    line = b"curv" + bytes(8)
    clut = bytes([2] * inputs).ljust(16, b"\0") + b"\2\0\0\0" + grid
    clut += bytes(-len(clut) % 4)
    after, before = 32 + len(clut), 32 + len(clut) + 12 * 3
    return (
        b"mAB \0\0\0\0"
        + bytes((inputs, 3, 0, 0))
        + struct.pack(">5I", after, 0, 0, 32, before)
        + clut
        + line * (3 + inputs)
    )
