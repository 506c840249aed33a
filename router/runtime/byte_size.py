"""Byte sizes: `24GB`, `512MiB`, or `90%` of a total."""

from __future__ import annotations

import re
from dataclasses import dataclass

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
SCALES = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3), ("B", 1))


@dataclass(frozen=True)
class ByteSize:
    """A number of bytes, or a percentage of a total."""

    number: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> ByteSize:
        """Parse `text`; raise `ValueError` with the allowed forms."""
        found = re.fullmatch(r"\s*(\d{1,18}(?:\.\d{1,6})?)\s*(%|[A-Za-z]{0,3})\s*", text)
        unit = found[2].upper() if found else ""
        if found is None or (unit != "%" and unit not in UNITS) or (unit == "%" and float(found[1]) > 100):
            raise ValueError(f"must be a byte size such as 24GB, 512MiB or 90%, got {text!r}")
        return cls(float(found[1]), unit)

    def of(self, total: int) -> int:
        """Return the bytes; a percentage is of `total`."""
        return int(total * self.number / 100) if self.unit == "%" else int(self.number * UNITS[self.unit])

    def __str__(self) -> str:
        return f"{self.number:g}{self.unit}"


def format_bytes(size: int) -> str:
    """Format a number of bytes, such as 11.4 GB."""
    unit, scale = next((pair for pair in SCALES if size >= pair[1]), SCALES[-1])
    return f"{size / scale:.1f} {unit}"
