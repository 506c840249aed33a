"""A part's configuration, whose numbers are read within bounds."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from registry.errors import FolderError

Shape = tuple[int, ...]

MOST_BLOCKS = 1000
MOST_SIDE = 2**20  # of a tensor


class Numbers:
    """The settings of one part; `config` is their file and `class_name` the part's class."""

    def __init__(self, part: str, settings: Mapping[str, Any], config: Path, class_name: str = "") -> None:
        self.class_name = class_name
        self._part = part
        self._settings = settings
        self._config = config

    def __contains__(self, key: str) -> bool:
        return key in self._settings

    def whole(self, key: str, default: int, most: int = MOST_SIDE) -> int:
        value = self._settings.get(key, default)
        if type(value) is not int or not 1 <= value <= most:
            raise self._wrong(key, f"from 1 to {most}", value)
        return value

    def perhaps(self, key: str, most: int = MOST_SIDE, *, zero: bool = False) -> int | None:
        """Return an optional number; `zero` counts 0 as absent."""
        value = self._settings.get(key)
        if value is None or (zero and type(value) is int and value == 0):
            return None
        return self.whole(key, 0, most)

    def several(self, key: str, default: list[int], count: tuple[int, int], most: int) -> list[int]:
        value = self._settings.get(key, default)
        fewest, largest = count
        if not isinstance(value, list) or not fewest <= len(value) <= largest:
            many = str(fewest) if fewest == largest else f"{fewest} to {largest}"
            raise self._wrong(key, f"a list of {many} numbers", value)
        for each in value:
            if type(each) is not int or not 1 <= each <= most:
                raise self._wrong(key, f"numbers from 1 to {most}", each)
        return value

    def listed(self, key: str, count: int, kinds: tuple[type, ...], default: list[Any] | None = None) -> list[Any]:
        """Return the optional list of `count` such values at `key`; raise for anything else."""
        value = self._settings.get(key, default)
        if value is None and key not in self._settings:
            return []
        if not isinstance(value, list) or len(value) != count or not all(type(each) in kinds for each in value):
            raise self._wrong(key, f"a list of {count}", value)
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        value = self._settings.get(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false", value)
        return value

    def text(self, key: str, default: str) -> str:
        value = self._settings.get(key, default)
        if not isinstance(value, str):
            raise self._wrong(key, "a text", value)
        return value

    def refusal(self, message: str) -> FolderError:
        return FolderError(message, self._config)

    def _wrong(self, key: str, needed: str, got: object) -> FolderError:
        return self.refusal(f"{key} of {self._part} must be {needed}, got {str(got)[:100]}")


def layer(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    """Yield the weight of a layer, of this shape, and its bias."""
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]
