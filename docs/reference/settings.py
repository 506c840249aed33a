"""Every setting of an operator, as a table shows it."""

from dataclasses import fields
from typing import Any

from router.settings import Settings, variable

NAMED = {"data": "~/.local/share/framegate", "models": "models.yaml of the package"}


def settings_of_operators() -> tuple[tuple[str, str, str], ...]:
    """Return (variable, default, meaning) of each, without the constants of the protocol."""
    return tuple(
        (variable(entry.name), NAMED.get(entry.name) or _shown(entry.default), entry.metadata["meaning"])
        for entry in fields(Settings)
        if not entry.metadata["internal"]
    )


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return "" if value in (None, ()) else str(value).removesuffix(".0")
