"""Answers: the schema renders what it describes."""

from dataclasses import dataclass
from enum import StrEnum

from marshmallow import missing

from router.web.answer_fields import Answer, constant, enum, nested, number, one_of, string, when
from router.web.responses.render import RESPONSE
from router.web.responses.schema import ANSWER_FIELDS, AS_IS, REQUEST_FIELDS
from router.web.responses.tools import BASE


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Part:
    size: float


@dataclass(frozen=True)
class Whole:
    name: str
    colour: Colour = Colour.RED
    part: Part | None = None
    parts: tuple[dict[str, float], ...] = ()


class PartAnswer(Answer):
    size = number("its size")


class WholeAnswer(Answer):
    object = constant("its kind", "whole")
    title = string("its name", lambda whole: whole.name.title())
    colour = enum("its colour", "red")
    part = nested(PartAnswer, "its part", none=True)
    parts = one_of("its parts", PartAnswer)
    note = string("there where it has parts", when(lambda whole: whole.parts, lambda _: "many"), sometimes=True)


def test_an_answer_has_the_fields_of_its_schema_in_their_order() -> None:
    answer = WholeAnswer().dump(Whole("a", part=Part(1), parts=({"size": 2},)))

    assert list(answer.items()) == [
        ("object", "whole"),
        ("title", "A"),
        ("colour", "red"),
        ("part", {"size": 1}),
        ("parts", [{"size": 2}]),
        ("note", "many"),
    ]


def test_a_number_stays_an_integer() -> None:
    assert repr(PartAnswer().dump(Part(1))) == "{'size': 1}"


def test_none_is_answered_and_a_missing_value_is_left_out() -> None:
    answer = WholeAnswer().dump(Whole("a"))

    assert answer["part"] is None
    assert "note" not in answer
    assert when(lambda _: False, lambda _: 1)(None) is missing


def test_keys_of_a_dict_that_are_not_there_are_left_out() -> None:
    assert PartAnswer().dump({}) == {}


def test_only_fields_that_may_be_left_out_are_not_required() -> None:
    assert [name for name, field in WholeAnswer().fields.items() if not field.required] == ["note"]


def test_each_echoed_key_is_declared_once_for_request_and_answer() -> None:
    assert set(AS_IS) < set(REQUEST_FIELDS) < set(ANSWER_FIELDS)
    assert set(ANSWER_FIELDS) < set(BASE.fields) < set(RESPONSE.fields)
    assert len(BASE.fields) == 31
