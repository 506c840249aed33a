"""The option `fast`: on, off, or part by part."""

from dataclasses import fields

import pytest
from marshmallow import ValidationError

from plugins.diffusers_backend.options import DiffusersOptions
from plugins.onnx_backend.options import OnnxOptions
from plugins.wan.tuning.switches import OFF, Switches


def test_everything_is_on_where_nothing_is_said_but_what_may_round_otherwise_the_next_time() -> None:
    assert Switches.of(DiffusersOptions().load({})["fast"]) == Switches()
    off = [field.name for field in fields(Switches) if not getattr(Switches(), field.name)]
    assert off == ["measured_attention", "gelu_epilogue", "compile"]


def test_false_turns_everything_off() -> None:
    assert Switches.of(DiffusersOptions().load({"fast": False})["fast"]) == OFF
    assert not any(getattr(OFF, field.name) for field in fields(Switches))


def test_a_mapping_changes_what_it_names() -> None:
    loaded = OnnxOptions().load({"fast": {"chunks": False, "compile": True}})["fast"]

    assert Switches.of(loaded) == Switches(chunks=False, compile=True)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("all", "must be true, false or a mapping of transformer, "),
        ({"tiles": False}, "got tiles"),
        ({"chunks": 0}, "chunks must be true or false, got 0"),
        ({"chunks": "no"}, "chunks must be true or false, got 'no'"),
    ],
)
def test_what_is_neither_is_refused_with_what_would_be(option: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DiffusersOptions().load({"fast": option})
