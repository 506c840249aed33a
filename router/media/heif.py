"""HEIC and AVIF headers, with the sizes for which their decoders would allocate."""

import struct
from collections.abc import Iterator
from fractions import Fraction

from registry.models import IMAGE_PIXELS
from router.media import bitstreams
from router.media.boxes import Item, Items, box, boxes, read_items
from router.media.exif import Orientation
from router.media.header_fields import Channels, ColourTags, Header

HEIC, AVIF = "image/heic", "image/avif"
_CODED = {b"hvc1": HEIC, b"av01": AVIF}
_NO_PICTURES = {b"", b"Exif", b"mime", b"uri ", b"tmap"}
_SLACK = 64  # pixels by which a coded picture is larger than what is shown of it, at the right and below
_MAX_DECODED = IMAGE_PIXELS * 3  # of a picture's tiles and those of its transparency, each with slack
_UNSPECIFIED = 2


def is_heif(data: bytes) -> bool:
    brands = data[8:12] + data[16 : min(int.from_bytes(data[:4]), 256)]
    names = {brands[start : start + 4] for start in range(0, len(brands), 4)}
    return data[4:8] == b"ftyp" and any(name[:3] in (b"hei", b"hev", b"avi") or name == b"mif1" for name in names)


def read_heif(data: bytes) -> Header:
    """Return the header of the primary picture.

    The size is that after rotation and crop for HEIC, before both for AVIF.
    """
    if moov := box(data, b"moov"):
        media_type = AVIF if data[8:11] == b"avi" else HEIC
        return Header(media_type, 1, 1, frames=max(2, _samples(moov)))  # of whatever size: it is refused
    items = read_items(data, box(data, b"meta"))
    if (primary := items.items.get(items.primary)) is None:
        raise ValueError("it has no primary picture")
    decoded = list(_decoded(items))
    tiles = [item for item in decoded if item.kind in _CODED]
    media_type = _CODED[tiles[0].kind]
    left, top, width, height, orientation = _shown(primary, *_size(primary))
    if media_type == HEIC:  # whose decoder rotates and crops; AVIF's does neither
        if orientation.transpose:
            width, height = height, width
        left, top, orientation = 0, 0, Orientation()
    return Header(
        media_type,
        width,
        height,
        alpha=any(item.named(b"auxC") is not None for item in decoded),
        pictures=1 + _others(items),
        colour=_colour(primary, tiles[0]),
        turned=orientation,
        corner=(left, top),
    )


def _samples(moov: bytes) -> int:
    counts = [0]
    for kind, start, end in boxes(moov):
        if kind == b"trak":
            table = box(box(box(moov[start:end], b"mdia"), b"minf"), b"stbl")
            counts.append(int.from_bytes(box(table, b"stsz")[8:12]))
    return max(counts)


def _others(items: Items) -> int:
    """Count the pictures beside the primary one, its parts, thumbnails, maps and alternatives."""
    parts = {source for kind, source, _ in items.references if kind in (b"thmb", b"auxl")}
    parts |= {number for kind, _, targets in items.references if kind == b"dimg" for number in targets}
    for kind, members in items.groups:  # the other eye's, or another version for other screens
        if kind in (b"altr", b"ster") and items.primary in members:
            parts |= set(members)
    shown = {n for n, item in items.items.items() if item.kind not in _NO_PICTURES and not item.hidden}
    return len(shown - parts - {items.primary})


def _decoded(items: Items) -> Iterator[Item]:
    waiting, seen, pixels = [items.primary], set[int](), 0
    alphas, budget = _alphas(items), bitstreams.Budget()
    while waiting:
        number = waiting.pop(0)
        item = items.items.get(number)
        if item is None:
            raise ValueError("one of its parts is missing")
        width, height = _size(item)
        if item.kind == b"grid":
            if number in seen:
                raise ValueError("it is a part of itself")
            waiting += _tiles(items, number, item)
        elif item.kind in _CODED:
            pixels += (width + _SLACK) * (height + _SLACK)
            if number not in seen:
                _check_coded(items, item, budget)
        else:
            raise ValueError(f"it is coded as {item.kind.decode('latin-1')!r}, and must be as 'hvc1' or 'av01'")
        if pixels > _MAX_DECODED or width * height > IMAGE_PIXELS:
            raise ValueError(f"its parts have more than {IMAGE_PIXELS:,} pixels")
        if number not in seen:
            seen.add(number)
            waiting += alphas.get(number, [])
            yield item


def _tiles(items: Items, number: int, grid: Item) -> tuple[int, ...]:
    body = items.body(grid)
    flags, rows, columns = struct.unpack_from("xBBB", body)
    size = struct.unpack_from(">II" if flags & 1 else ">HH", body, 4)
    tiles = items.targets(b"dimg", number)
    if size != _size(grid) or len(tiles) != (rows + 1) * (columns + 1):
        raise ValueError("its grid is not that of its header")
    if len({items.items[tile].kind for tile in tiles if tile in items.items} | {b"grid"}) != 2:
        raise ValueError("its tiles are of several kinds")
    return tiles


def _alphas(items: Items) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for kind, source, targets in items.references:
        if kind == b"auxl" and source in items.items:
            name = items.items[source].named(b"auxC") or b""
            if b"alpha" in name or b"auxid:1" in name:
                for target in targets:
                    found.setdefault(target, []).append(source)
    return found


def _check_coded(items: Items, item: Item, budget: bitstreams.Budget) -> None:
    width, height = _size(item)
    body, config = items.body(item), item.named(b"hvcC") or b""
    is_av1 = item.kind == b"av01"
    sizes = list(bitstreams.av1_sizes(body, budget) if is_av1 else bitstreams.hevc_sizes(config, body, budget))
    if not sizes:
        raise struct.error
    for wide, high in sizes:
        if wide > width + _SLACK or high > height + _SLACK:
            raise ValueError(f"it has a part of {wide} x {high} pixels, and says {width} x {height}")


def _size(item: Item) -> tuple[int, int]:
    body = item.named(b"ispe")
    if body is None:
        raise ValueError("one of its parts has no size")
    size: tuple[int, int] = struct.unpack_from(">4xII", body)
    return size


def _shown(item: Item, width: int, height: int) -> tuple[int, int, int, int, Orientation]:
    """Return left, top, width and height of the crop, and the orientation."""
    left, top, orientation = 0, 0, Orientation()
    for kind, body in item.properties:
        if kind == b"clap":
            if orientation != Orientation() or (left, top) != (0, 0):
                raise ValueError("it is cropped after it was turned")
            left, top, width, height = _cropped(body, width, height)
        elif kind == b"irot":
            orientation = orientation.rotated(struct.unpack_from("B", body)[0] & 3)
        elif kind == b"imir":
            orientation = orientation.mirrored(columns=bool(struct.unpack_from("B", body)[0] & 1))
    return left, top, width, height, orientation


def _cropped(body: bytes, width: int, height: int) -> tuple[int, int, int, int]:
    """Return left, top, width and height of a clean aperture."""
    numbers = struct.unpack_from(">IIIIiIiI", body)
    if 0 in numbers[1::2]:
        raise ValueError("its crop divides by zero")
    wide, high, across, down = (Fraction(*numbers[n : n + 2]) for n in (0, 2, 4, 6))
    left, top = (width - wide) / 2 + across, (height - high) / 2 + down
    inside = left >= 0 and top >= 0 and left + wide <= width and top + high <= height
    if not inside or wide.denominator != 1 or high.denominator != 1:
        raise ValueError("its crop is not inside it")
    return int(left), int(top), int(wide), int(high)


def _colour(primary: Item, tile: Item) -> ColourTags:
    """Return a profile, else code points: of the picture, else of its first tile."""
    described = [body for kind, body in [*primary.properties, *tile.properties] if kind == b"colr"]
    profiles = [body[4:] for body in described if body[:4] in (b"prof", b"rICC")]
    numbers = [struct.unpack_from(">HH", body, 4) for body in described if body[:4] == b"nclx"]
    points = None
    if numbers and not profiles:
        space, transfer = numbers[0]
        points = 1 if space == _UNSPECIFIED else space, 13 if transfer == _UNSPECIFIED else transfer
    channels = Channels.GREY if _is_grey(tile) else Channels.RGB
    return ColourTags(channels, profiles[0] if profiles else b"", code_points=points)


def _is_grey(tile: Item) -> bool:
    if tile.kind == b"av01":
        return bool((tile.named(b"av1C") or b"")[2] & 0x10)
    return not (tile.named(b"hvcC") or b"")[16] & 3
