"""The description of a changed models file, and the fields that need other weights."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from registry import Registry
from registry.changes import changes

FILE = """
default: any
models:
  a: {backend: still, modality: t2v, aliases: [first]}
  b: {backend: still, modality: i2v}
routes:
  any: [a, b]
"""
Read = Callable[[str | bytes], Registry]


def said(read: Read, *edits: tuple[str, str]) -> tuple[str, ...]:
    text = FILE
    for old, new in edits:
        text = text.replace(old, new)
    return changes(read(FILE), read(text))


def test_what_was_added_removed_and_changed_is_named_with_its_fields(read: Read) -> None:
    edits = (
        ("  b: {backend: still", "  c: {backend: still"),
        ("aliases: [first]", "limits: {steps: 70}, pin: true"),
        ("any: [a, b]", "any: [c]\n  new: [a]"),
        ("default: any", "default: new"),
    )

    assert said(read, *edits) == (
        "models: added c; removed b; changed a (limits, pin, aliases)",
        "routes: added new; changed any (members)",
        "default: new instead of any",
    )


def test_a_comment_changes_nothing(read: Read) -> None:
    assert said(read, ("default: any", "default: any # a comment")) == ()


@pytest.mark.parametrize(
    ("change", "serves"),
    [
        ({"aliases": ("other",)}, True),
        ({"pin": True, "warm_up": True}, True),
        ({"download": True}, True),
        ({"source": "./elsewhere"}, False),
        ({"revision": "v2"}, False),
        ({"options": {"dtype": "bf16"}}, False),
        ({"backend": "onnx"}, False),
        ({"size_multiple": 32}, False),
        ({"name": "c"}, False),
    ],
)
def test_what_is_loaded_serves_a_model_that_differs_in_what_is_asked_of_it(
    read: Read, change: dict[str, object], serves: bool
) -> None:
    model = read(FILE).models[0]
    limits = replace(model.limits, steps=1)

    assert replace(model, **change, limits=limits).loads_as(model) is serves  # type: ignore[arg-type]
