"""PNG pixels a band of rows at a time.

libpng undoes the filters of bands, and sees nothing else of a caller's file: it would inflate all that follows
the pixels, and print names in colour profiles to standard error.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.media.conversion import Samples
from router.media.png import CHANNELS, PALETTE, SIGNATURE, Layout, is_whole
from router.values import Pixels

_BAND = 2**19  # pixels, and bytes of filtered rows, which stay in a core's cache
_PIECE = 2**18  # bytes of a chunk inflated at a time


def bands(data: bytes, layout: Layout) -> Iterator[tuple[slice, slice, Samples]]:
    """Yield rows, columns and their samples, of 8 or 16 bits.

    They are grey, grey with alpha, RGB, or RGB with alpha; grey has two axes, the others three. Raise `ValueError` for
    data that is damaged or too short.
    """
    if not all(is_whole(data, start - 8, end + 4) for start, end in layout.pieces):
        raise ValueError("its IDAT is damaged")
    rows_of = _Rows(data, layout.pieces)
    for grid in layout.grids:
        row_bytes, before = layout.row_bytes(grid.width), b""
        most = max(1, min(_BAND // grid.width, _BAND // (1 + row_bytes)))
        for first in range(0, grid.height, most):
            count = min(most, grid.height - first)
            filtered = np.frombuffer(rows_of.take(count * (1 + row_bytes)), np.uint8).reshape(count, 1 + row_bytes)
            plain = _unfiltered(filtered, max(1, layout.bits // 8), before)
            before = (plain[-1].byteswap() if plain.dtype == np.uint16 else plain[-1]).tobytes()
            rows, columns = grid.rows(first, count)
            yield rows, columns, _samples(plain, layout, grid.width)


class _Rows:
    """A zlib stream in pieces, inflated on demand."""

    def __init__(self, data: bytes, pieces: tuple[tuple[int, int], ...]) -> None:
        self._inflater = zlib.decompressobj()
        self._packed = _split(memoryview(data), pieces)

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes; raise `ValueError` where there are fewer."""
        found: list[bytes] = []
        inflater = self._inflater
        while size:
            packed = inflater.unconsumed_tail or next(self._packed, None)
            try:
                if packed is None or inflater.eof:
                    raise ValueError("it ends too early")
                found.append(inflater.decompress(packed, size))
            except zlib.error:
                raise ValueError("its pixels cannot be decompressed") from None
            size -= len(found[-1])
        return found[0] if len(found) == 1 else b"".join(found)


def _split(data: memoryview, pieces: tuple[tuple[int, int], ...]) -> Iterator[memoryview]:
    for first, last in pieces:
        for start in range(first, last, _PIECE):
            yield data[start : min(last, start + _PIECE)]


def _unfiltered(filtered: Pixels, step: int, before: bytes) -> NDArray[Any]:
    """Return rows without their filters.

    They are bytes, or numbers of 16 bits for pixels of six or eight bytes. `step` is the bytes of a pixel, `before` the
    bytes of the row above, empty for a first one.
    """
    kinds = filtered[:, 0]
    if not kinds.any():
        return filtered[:, 1:]
    if kinds.max() > 4:
        raise ValueError(f"its rows have a filter {kinds.max()}")
    body, rows = filtered.tobytes(), len(filtered)
    if before:
        body, rows = b"\0" + before + body, rows + 1
    if step == 2:  # two bytes, each of which is filtered by itself
        pair = np.frombuffer(body, np.uint8).reshape(rows, -1)
        made = np.empty((rows, pair.shape[1] // 2, 2), np.uint8)
        for lane in range(2):
            lane_rows = np.concatenate([pair[:, :1], pair[:, 1 + lane :: 2]], 1)
            made[..., lane] = _by_libpng(lane_rows.tobytes(), rows, 1)
    else:
        upwards = not kinds.astype(bool)[kinds != 2].any()
        made = _by_libpng(body, rows, 1 if upwards else step)
    plain: NDArray[Any] = made.reshape(rows, -1)[1 if before else 0 :]
    return plain


# By the bytes of a pixel: depth, colour type, and OpenCV's way to read it.
_FORMS = {1: (8, 0, "IMREAD_UNCHANGED"), 3: (8, 2, "IMREAD_COLOR_RGB"), 4: (8, 6, "IMREAD_UNCHANGED"),
          6: (16, 2, "IMREAD_UNCHANGED"), 8: (16, 6, "IMREAD_UNCHANGED")}  # fmt: skip


def _by_libpng(body: bytes, rows: int, step: int) -> NDArray[Any]:
    """Return rows of pixels without their filters, as numbers of 8 or 16 bits."""
    import cv2

    depth, colour, way = _FORMS[step]
    width = (len(body) // rows - 1) // step
    head = struct.pack(">IIBBBBB", width, rows, depth, colour, 0, 0, 0)
    file = b"".join(
        [SIGNATURE, *_chunk(b"IHDR", [head]), *_chunk(b"IDAT", list(_not_packed(body))), *_chunk(b"IEND", [])]
    )
    made: Any = cv2.imdecode(np.frombuffer(file, np.uint8), getattr(cv2, way))
    if made is None or made.shape[:2] != (rows, width):
        raise ValueError("its rows cannot be read")
    if step in (4, 8):
        cv2.cvtColor(made, cv2.COLOR_BGRA2RGBA, made)
    elif step == 6:
        cv2.cvtColor(made, cv2.COLOR_BGR2RGB, made)
    return np.asarray(made)


def _not_packed(body: bytes) -> Iterator[bytes]:
    """Yield a zlib stream of stored blocks."""
    yield b"\x78\x01"
    for start in range(0, len(body), 65535):
        block = body[start : start + 65535]
        yield struct.pack("<BHH", start + 65535 >= len(body), len(block), len(block) ^ 0xFFFF)
        yield block
    yield struct.pack(">I", zlib.adler32(body))


def _chunk(kind: bytes, parts: list[bytes]) -> Iterator[bytes]:
    check = zlib.crc32(kind)
    for part in parts:
        check = zlib.crc32(part, check)
    yield from (struct.pack(">I", sum(map(len, parts))), kind, *parts, struct.pack(">I", check))


def _samples(rows: NDArray[Any], layout: Layout, width: int) -> Samples:
    channels, depth = CHANNELS[layout.colour], layout.depth
    samples: NDArray[Any] = rows
    if rows.dtype == np.uint16:
        pass
    elif depth == 16:
        samples = np.ascontiguousarray(rows).view(np.uint16).byteswap()
    elif depth < 8:
        each = np.arange(8 - depth, -1, -depth, dtype=np.uint8)
        samples = (rows[..., None] >> each & ((1 << depth) - 1)).reshape(len(rows), -1)[:, :width]
    if channels > 1:
        samples = samples.reshape(len(rows), width, channels)
    if layout.colour == PALETTE:
        return _painted(samples, layout)
    transparent = _is_transparent(samples, layout) if layout.transparency else None
    if depth < 8:
        samples = samples * np.uint8(255 // ((1 << depth) - 1))
    if transparent is None:
        return samples
    colours = samples[..., None] if samples.ndim == 2 else samples
    alpha = np.where(transparent, 0, 65535 if depth == 16 else 255).astype(samples.dtype)
    return np.concatenate([colours, alpha[..., None]], -1)


def _painted(samples: Samples, layout: Layout) -> Samples:
    colours = np.frombuffer(layout.palette, np.uint8).reshape(-1, 3)
    if samples.max() >= len(colours):  # black, as libpng has it
        colours = np.concatenate([colours, np.zeros((256 - len(colours), 3), np.uint8)])
    if layout.transparency:
        alpha = np.full(len(colours), 255, np.uint8)
        few = np.frombuffer(layout.transparency, np.uint8)[: len(colours)]
        alpha[: len(few)] = few
        colours = np.concatenate([colours, alpha[:, None]], -1)
    return np.take(colours, samples, axis=0)


def _is_transparent(samples: Samples, layout: Layout) -> NDArray[np.bool_]:
    mask = (1 << layout.depth) - 1  # the colour's numbers are as wide as the samples
    form = ">3H" if layout.colour == 2 else ">H"
    wanted = [number & mask for number in struct.unpack_from(form, layout.transparency)]
    if samples.ndim == 2:
        return np.asarray(samples == wanted[0])
    return np.asarray((samples == np.array(wanted, samples.dtype)).all(-1))
