"""The picture sizes in HEVC and AV1 bitstreams, by which their decoders allocate memory.

Each function raises `struct.error` for what ends too early and `ValueError`, saying what is wrong, for the rest.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

MAX_UNITS = 100_000
_SPS, _LAST_SLICE = 33, 31
_SEQUENCE, _FRAME_HEADER, _FRAME = 1, 3, 6
_MAX_LAYERS = 4  # of one AV1 still; HEVC's has one picture
Size = tuple[int, int]


class Budget:
    """The number of units left to all bitstreams of a file."""

    def __init__(self, units: int = MAX_UNITS) -> None:
        self._left = units

    def spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"it has more than {MAX_UNITS:,} units")


def hevc_sizes(config: bytes, body: bytes, budget: Budget) -> Iterator[Size]:
    """Yield the width and height of every parameter set, in `hvcC` and in band."""
    arrays, start = struct.unpack_from("B", config, 22)[0], 23
    for _ in range(arrays):
        (count,) = struct.unpack_from(">xH", config, start)
        start += 3
        for _ in range(count):
            budget.spend()
            (length,) = struct.unpack_from(">H", config, start)
            if _kind(config, start + 2) == _SPS:
                yield _sps_size(config[start + 2 : start + 2 + length])
            start += 2 + length
    yield from _in_band(body, (config[21] & 3) + 1, budget)


def _in_band(body: bytes, prefix: int, budget: Budget) -> Iterator[Size]:
    start, pictures = 0, 0
    while start < len(body):
        budget.spend()
        length = int.from_bytes(body[start : start + prefix])
        start += prefix
        if length < 3 or start + length > len(body):
            raise struct.error
        kind = _kind(body, start)
        if kind == _SPS:
            yield _sps_size(body[start : start + min(length, 1000)])
        pictures += kind <= _LAST_SLICE and body[start + 2] >> 7
        if pictures > 1:
            raise ValueError("it has several pictures in one")
        start += length


def _kind(data: bytes, start: int) -> int:
    (first,) = struct.unpack_from("B", data, start)
    return int(first) >> 1 & 0x3F


def _sps_size(unit: bytes) -> Size:
    """Return the coded width and height of a sequence parameter set (H.265, 7.3.2.2)."""
    bits = _Bits(unit[2:].replace(b"\0\0\3", b"\0\0"))
    bits.skip(4)
    layers = bits.read(3)
    bits.skip(1 + 88 + 8)
    present = [(bits.read(1), bits.read(1)) for _ in range(layers)]
    bits.skip(2 * (8 - layers) if layers else 0)
    for profile, level in present:
        bits.skip(88 * profile + 8 * level)
    bits.exponential()
    if bits.exponential() == 3:
        bits.skip(1)
    return bits.exponential(), bits.exponential()


def av1_sizes(body: bytes, budget: Budget) -> Iterator[Size]:
    """Yield the largest width and height of every sequence header in an AV1 picture."""
    start, frames = 0, 0
    while start < len(body):
        budget.spend()
        head, start = body[start], start + 1
        start += head >> 2 & 1
        length = len(body) - start
        if head & 2:
            length, start = _leb128(body, start)
        if start + length > len(body):
            raise struct.error
        kind = head >> 3 & 15
        if kind == _SEQUENCE:
            yield _sequence_size(body[start : start + min(length, 1000)])
        frames += kind in (_FRAME_HEADER, _FRAME)
        if frames > _MAX_LAYERS:
            raise ValueError("it has several pictures in one")
        start += length


def _leb128(data: bytes, start: int) -> tuple[int, int]:
    value = 0
    for number in range(8):
        (byte,) = struct.unpack_from("B", data, start + number)
        value |= (byte & 127) << 7 * number
        if byte < 128:
            return value, start + number + 1
    raise ValueError("one of its lengths has more than 8 bytes")


def _sequence_size(unit: bytes) -> Size:
    """Return the largest width and height of a sequence header (AV1, 5.5.1)."""
    bits = _Bits(unit)
    bits.skip(4)
    if bits.read(1):  # reduced_still_picture_header
        bits.skip(5)
    else:
        _skip_operating_points(bits)
    width, height = bits.read(4) + 1, bits.read(4) + 1
    return bits.read(width) + 1, bits.read(height) + 1


def _skip_operating_points(bits: _Bits) -> None:
    model, delay = 0, 0
    if bits.read(1):  # timing_info_present_flag
        bits.skip(64)
        if bits.read(1):
            bits.exponential()
        model = bits.read(1)
        if model:
            delay = bits.read(5) + 1
            bits.skip(32 + 5 + 5)
    display = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.skip(12)
        if bits.read(5) > 7:
            bits.skip(1)
        if model and bits.read(1):
            bits.skip(2 * delay + 1)
        if display and bits.read(1):
            bits.skip(4)


class _Bits:
    """A reader of bits, the highest first."""

    def __init__(self, data: bytes) -> None:
        self._bits = int.from_bytes(data[:1000])
        self._left = 8 * len(data[:1000])

    def read(self, count: int) -> int:
        self.skip(count)
        return self._bits >> self._left & ((1 << count) - 1)

    def skip(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise struct.error

    def exponential(self) -> int:
        """Return a number in exponential Golomb code."""
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > 31:
                raise ValueError("one of its numbers is too large")
        return (1 << zeros) - 1 + self.read(zeros)
