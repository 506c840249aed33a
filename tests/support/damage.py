"""A corpus of hostile pictures: whole ones, bombs, and random damage to files."""

import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from random import Random

from support.pictures import PNG, Case, animations, bombs, chunk, sized, whole


def corpus(count: int, seed: int) -> Iterator[Case]:
    """Yield `count` pictures: whole ones, animations, bombs, then damaged ones."""
    yield from islice(_all(Random(seed)), count)


def _all(dice: Random) -> Iterator[Case]:
    yield from (*whole(), *animations(), *bombs().values())
    seeds = (*whole(), *whole(16, 16), *animations())
    while True:
        case = dice.choice(seeds)
        rule = dice.choice(_rules(case.data))
        data = rule(dice, case.data)
        if dice.random() < 0.3:
            data = _bytes_changed(dice, data)
        yield Case(f"{case.name}: {rule.__name__.strip('_')}", data)


Rule = Callable[[Random, bytes], bytes]


def _rules(data: bytes) -> tuple[Rule, ...]:
    """Return the possible damages to a file and its parts."""
    if data.startswith(b"GIF"):
        return (_truncated, _bytes_changed)
    return (
        _truncated,
        _bytes_changed,
        _part_dropped,
        _part_repeated,
        _part_inflated,
        _parts_swapped,
        _size_changed,
        _spliced,
    )


def _truncated(dice: Random, data: bytes) -> bytes:
    return data[: dice.randrange(len(data))]


def _bytes_changed(dice: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.choice([1, 2, 4, 16])):
        at = dice.randrange(min(len(changed), dice.choice([64, 300, len(changed)])) or 1)
        new = dice.choice([dice.randbytes(3), b"", b"\xff" * 4, bytes(4)])
        changed[at : at + dice.choice([0, len(new)])] = new
    return bytes(changed)


def _part_dropped(dice: Random, data: bytes) -> bytes:
    head, parts = _parts(data)
    parts.pop(dice.randrange(len(parts)))
    return _joined(head, parts)


def _part_repeated(dice: Random, data: bytes) -> bytes:
    head, parts = _parts(data)
    at = dice.randrange(len(parts))
    return _joined(head, parts[:at] + [parts[at]] * dice.choice([2, 3, 50, 1000]) + parts[at:])


def _part_inflated(dice: Random, data: bytes) -> bytes:
    """Return a PNG with a chunk of another inflated size, or a lengthened part."""
    head, parts = _parts(data)
    at = dice.randrange(len(parts))
    if data.startswith(PNG):
        kind = dice.choice([parts[at][4:8], b"IDAT", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"tRNS", b"PLTE"])
        packed = zlib.compress(bytes(dice.choice([1, 500, 2_000_000])))
        parts[at] = chunk(kind, (b"" if kind == b"IDAT" else b"a\0\0") + packed)
    else:
        parts[at] += bytes(dice.choice([1, 1000, 300_000]))
    return _joined(head, parts)


def _parts_swapped(dice: Random, data: bytes) -> bytes:
    head, parts = _parts(data)
    dice.shuffle(parts)
    return _joined(head, parts)


def _size_changed(dice: Random, data: bytes) -> bytes:
    """Return a file with another size or depth in a valid header."""
    sides = [dice.choice([0, 1, 17, 60, 62, 500, 1500, 20_000, 2**31]) for _ in range(2)]
    if data.startswith(PNG):
        rest = bytes([dice.choice([1, 2, 4, 8, 16, 3]), dice.choice([0, 2, 3, 4, 6, 1]), 0, 0, dice.choice([0, 1])])
        return PNG + chunk(b"IHDR", struct.pack(">II", *sides) + dice.choice([rest, data[24:29]])) + data[33:]
    changed = bytearray(data)
    for marker in (b"\xff\xc0", b"\xff\xc2"):
        if data.startswith(b"\xff\xd8") and (at := data.find(marker)) > 0:
            changed[at + 5 : at + 9] = struct.pack(">HH", *(side % 65536 for side in sides))
    if data.startswith(b"RIFF"):
        changed[24:30] = struct.pack("<I", sides[0])[:3] + struct.pack("<I", sides[1])[:3]
    if (at := data.find(b"ispe")) > 0:
        changed[at + 8 : at + 16] = struct.pack(">II", *sides)
    return bytes(changed)


def _spliced(dice: Random, data: bytes) -> bytes:
    other = dice.choice(whole()).data
    return data[: dice.randrange(len(data))] + other[dice.randrange(len(other)) :]


def _parts(data: bytes) -> tuple[bytes, list[bytes]]:
    """Return the first bytes of a file, and its chunks, segments or boxes."""
    ends: list[int] = []
    if data.startswith(PNG):
        head, at = 8, 8
        while at < len(data):
            at += 12 + int.from_bytes(data[at : at + 4])
            ends.append(at)
    elif data.startswith(b"\xff\xd8"):
        head, at = 2, 2
        while at < len(data) and data[at : at + 2] not in (b"\xff\xd9", b""):
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
            while at < len(data) and (data[at] != 0xFF or data[at + 1] in (0, *range(0xD0, 0xD8))):
                at += 1
            ends.append(at)
        ends.append(len(data))
    elif data.startswith(b"RIFF"):
        head, at = 12, 12
        while at < len(data):
            size = int.from_bytes(data[at + 4 : at + 8], "little")
            at += 8 + size + size % 2
            ends.append(at)
    else:
        head, at = 0, 0
        while at < len(data):
            at += max(8, int.from_bytes(data[at : at + 4]))
            ends.append(at)
    return data[:head], [data[start:end] for start, end in zip([head, *ends], ends, strict=False)]


def _joined(head: bytes, parts: list[bytes]) -> bytes:
    data = head + b"".join(parts)
    return sized(data) if data.startswith(b"RIFF") else data
