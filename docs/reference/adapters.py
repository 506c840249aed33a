"""Tables of an adapter's keys, and of the published adapters."""

from marshmallow import fields

from docs.reference.meanings import ADAPTER_KEYS, meaning
from docs.reference.models import KINDS
from docs.reference.table import code, table
from registry.adapter_schema import AdapterSchema, Files, Strength
from registry.adapters import STRENGTH
from registry.families import EMBEDDED
from registry.known_adapters import KNOWN, KnownAdapter
from registry.models import FlowShift

TYPES = {
    Files: "path, or `{high: PATH, low: PATH}`",
    Strength: f"number {STRENGTH}, or `{{high: 3, low: 1.5}}`",
    fields.Nested: "mapping",
    **KINDS,
}


def adapter_keys() -> str:
    """Return every key of an entry under `adapters:`."""
    schema = AdapterSchema().fields
    rows = [(code(name), _type(field), meaning(ADAPTER_KEYS, name)) for name, field in schema.items()]
    return table(("key", "value", "meaning"), rows)


def published() -> str:
    headings = ("name", "of", "source", "steps", "guidance", "shift", "strength")
    return table(headings, map(_published, KNOWN))


def _published(known: KnownAdapter) -> tuple[str, ...]:
    steps, guidance = (str(known.defaults.get(field, "-")) for field in ("steps", "guidance_scale"))
    shift = known.defaults.get("flow_shift")
    its = "the package" if known.source.startswith(EMBEDDED) else code(known.source)
    return (
        code(known.name),
        code(known.family),
        its,
        steps,
        guidance.removesuffix(".0"),
        f"{shift.small:g}" if isinstance(shift, FlowShift) else "-",
        f"{known.strength:g}",
    )


def _type(field: fields.Field[object]) -> str:
    return next((kind for base, kind in TYPES.items() if isinstance(field, base)), "text")
