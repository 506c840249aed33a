"""Tables of a models file's keys, the backends' options, and the published families."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING
from dataclasses import fields as fields_of
from typing import Any

from marshmallow import Schema, fields, validate

from docs.reference.meanings import BACKEND_OPTIONS, MODEL_KEYS, meaning
from docs.reference.table import code, table
from plugins.wan.tuning.switches import FastField, Switches
from registry.adapter_list import Adapters
from registry.families import FAMILIES, Family, stand_in
from registry.modality import Modality
from registry.models import Limits, ModelSpec
from registry.part_schema import PartFileField
from registry.schema import ModelSchema, Shift, WarmUp
from registry.schema_fields import Mapped, Texts
from router.plugins import Plugins, find

KINDS = {
    Adapters: "mapping, or list of published ones",
    Mapped: "mapping",
    PartFileField: "path, `OWNER/NAME/FILE`, or `{source: OWNER/NAME, file: FILE}`",
    Shift: "number above 0 to 100, or `{small: 3, large: 5}`",
    WarmUp: "`true`, `false` or sizes, such as `[832x480x81]`",
    FastField: "`true`, `false` or a mapping",
    Texts: "list of texts",
    fields.Boolean: "`true` or `false`",
}


def model_keys() -> str:
    """Return every key of an entry under `models:`."""
    rows = [
        (code(name), kind, default, meaning(MODEL_KEYS, name))
        for name, kind, default in _keys(ModelSchema(), _defaults())
    ]
    return table(("key", "value", "default", "meaning"), rows)


def backend_options() -> str:
    """Return the options of each backend of the package."""
    backends = Plugins(find([])).backends.values()
    schemas = {backend.name: backend.options() for backend in backends if backend.options}
    rows: dict[str, tuple[str, str, list[str]]] = {}
    for backend, schema in schemas.items():
        for name, kind, default in _keys(schema, {}):
            rows.setdefault(name, (kind, default, []))[2].append(code(backend))
    return table(
        ("option", "of", "value", "default", "meaning"),
        [
            (code(name), ", ".join(names), kind, default, meaning(BACKEND_OPTIONS, name))
            for name, (kind, default, names) in rows.items()
        ],
    )


def switches() -> str:
    """Return the switches of the option `fast`, by their docstring."""
    abouts = dict(re.findall(r"^ *(\w+): (.*)$", Switches.__doc__ or "", re.MULTILINE))
    rows = [(code(each.name), "on" if each.default else "off", abouts[each.name]) for each in fields_of(Switches)]
    return table(("switch", "default", "meaning"), rows)


def families() -> str:
    headings = ("family, and its `source`", "modality", "default video", "steps", "guidance", "limits")
    return table(headings, map(_family, FAMILIES))


def other_defaults() -> str:
    """Return the defaults and limits of models of no published variant."""
    rows = []
    for modality in Modality:
        basis = stand_in(modality)
        _, _, video, *numbers = _family(basis)
        rows.append((code(modality.word), video, f"multiples of {basis.size_multiple}", *numbers))
    return table(("modality", "default video", "sizes", "steps", "guidance", "limits"), rows)


def _family(family: Family) -> tuple[str, ...]:
    used, limits = family.defaults, family.limits
    guidance = [used.guidance_scale] if used.guidance_scale_2 is None else [used.guidance_scale, used.guidance_scale_2]
    return (
        f"{code(family.name)}<br>{code(family.source)}",
        code(family.modality.word),
        f"{used.width}x{used.height}, {used.num_frames} frames at {used.frames_per_second}/s",
        str(used.steps),
        " / ".join(f"{each:g}" for each in guidance),
        f"{limits.pixels:,} pixels, {limits.frames} frames, {limits.steps} steps",
    )


def _keys(schema: Schema, defaults: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield name, kind and default of each field, nested ones by their path."""
    for name, field in schema.fields.items():
        if isinstance(field, fields.Nested):
            yield from _keys(field.schema, defaults, f"{prefix}{name}.")
            continue
        path = prefix + name
        yield path, _kind(field), _default(path, field.required, defaults.get(path, field.load_default))


def _kind(field: fields.Field[Any]) -> str:
    choices = [check.choices for check in field.validators if isinstance(check, validate.OneOf)]
    if choices:
        return ", ".join(code(choice) for choice in choices[0])
    if (bounds := getattr(field, "bounds", None)) is not None:
        return f"{'integer' if isinstance(field, fields.Integer) else 'number'} {bounds}"
    ranges = [check for check in field.validators if isinstance(check, validate.Range)]
    if ranges:
        return f"{'integer' if isinstance(field, fields.Integer) else 'number'} from {ranges[0].min} to {ranges[0].max}"
    return next((kind for base, kind in KINDS.items() if isinstance(field, base)), "text")


def _default(path: str, required: bool, value: Any) -> str:
    if required:
        return "required"
    if path.startswith("defaults.") or path in ("limits.pixels", "limits.frames", "limits.steps"):
        return "the family's"
    if value in (None, (), MISSING) or not isinstance(value, str | int | float | bool):
        return "-"
    return code(str(value).lower() if isinstance(value, bool) else value)


def _defaults() -> dict[str, Any]:
    """Return the default of each key, by its path."""
    own = {each.name: each.default for each in fields_of(ModelSpec)}
    return own | {f"limits.{each.name}": each.default for each in fields_of(Limits)}
