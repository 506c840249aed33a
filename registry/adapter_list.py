"""The field `adapters` of an entry: the adapters by name, before each is read."""

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields


class Adapters(fields.Field[Mapping[str, object]]):
    """A mapping of names to adapters, or a list of published ones."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Mapping[str, object]:
        if isinstance(value, Mapping):
            return value
        if not isinstance(value, list):
            raise ValidationError(
                "must be a mapping of names to adapters, or a list of published ones, such as [fast4]"
            )
        wrong: dict[int, list[str]] = {}
        found: dict[str, object] = {}
        for at, name in enumerate(value):
            if not isinstance(name, str):
                wrong[at] = [
                    "must be the name of a published adapter; a file of your own needs a mapping, {NAME: PATH}"
                ]
            elif name in found:
                wrong[at] = ["must be named once"]
            else:
                found[name] = None
        if wrong:
            raise ValidationError(wrong)
        return found
