"""The name of a weight file, and the rule for it."""

from pathlib import PurePosixPath
from typing import Any

from marshmallow import ValidationError

from registry.folders.files import PICKLES
from registry.folders.weights import SUFFIX
from registry.schema_fields import Text

GGUF = ".gguf"


class File(Text):
    """A weight file's path within a folder or repository, with one of `suffixes`."""

    def __init__(self, suffixes: tuple[str, ...] = (SUFFIX,), example: str = "loras/high.safetensors") -> None:
        super().__init__()
        self._suffixes = suffixes
        self._example = example

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        path: str = super()._deserialize(value, attr, data, **kwargs)
        if rule := outside(path, self._example) or misnamed(path, self._suffixes):
            raise ValidationError(rule)
        return path


def outside(path: str, example: str) -> str | None:
    """Return the rule that a path breaks; None for one within its source."""
    if PurePosixPath(path).is_absolute() or "\\" in path or not {"", ".", ".."}.isdisjoint(path.split("/")):
        return f"must be a path within the source, such as {example}"
    return None


def misnamed(path: str, suffixes: tuple[str, ...] = (SUFFIX,)) -> str | None:
    """Return the rule that a file's name breaks; None with one of `suffixes`."""
    if path.endswith(suffixes):
        return None
    rule = f"must be a {' or '.join(suffixes)} file"
    if path.endswith(PICKLES):
        return f"{rule}: pickles can run code and are not read"
    if path.endswith(GGUF):
        return f"{rule}: GGUF is not read"
    return rule
