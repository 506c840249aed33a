"""Fields of requests for adapters, by name and strength; never a path."""

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields

from registry import PerExpert
from registry.adapters import STRENGTH
from router.request import AdapterChoice
from router.web.http.fields import nullable, number_in, object_in, shown, unclean

MOST = 16  # adapters of one request
LONGEST = 64  # characters of a name
KEYS = {"name": "name", "strength": "strength"}
OF_VLLM_OMNI = {"name": "name", "lora_name": "name", "scale": "strength", "lora_scale": "strength"}
NUMBERS_OF_CACHES = ("int_id", "lora_int_id")  # of vLLM's own cache: without meaning here
PATHS = ("path", "local_path", "lora_path", "lora_local_path")


class Adapters(fields.Raw):
    """A list of names, or of objects with name and strength."""

    keys: Mapping[str, str] = KEYS
    ignored: tuple[str, ...] = ()
    wanted = "a list of names, or of objects with name and strength"

    def __init__(self, about: str, **schema: Any) -> None:
        whole = {"type": ["array", "null"], "maxItems": MOST, "items": {"$ref": "#/components/schemas/AdapterChoice"}}
        super().__init__(**nullable(about, **(schema or whole)))

    def of_form(self, value: Any) -> Any:
        """Return the value behind a form's text: JSON, a name, or a list."""
        if isinstance(value, list):
            return [_typed(_parsed(entry), self.keys) for entry in value]
        if isinstance(value, dict):
            return _typed(value, self.keys)
        found = _parsed(value)
        return found if isinstance(found, list) else [found]

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **more: Any
    ) -> tuple[AdapterChoice, ...]:
        if not isinstance(value, list):
            raise ValidationError(f"must be {self.wanted}, got {shown(value)}")
        if len(value) > MOST:
            raise ValidationError(f"may have {MOST} adapters, got {len(value):,}")
        found = []
        for index, entry in enumerate(value):
            try:
                found.append(self._choice(entry))
            except ValidationError as error:
                raise ValidationError({index: error.messages}) from None
        return tuple(found)

    def _choice(self, entry: Any) -> AdapterChoice:
        if not isinstance(entry, dict):
            return AdapterChoice(_name(entry, "must be a name, or an object with name and strength"))
        if path := next((key for key in PATHS if entry.get(key) is not None), None):
            raise ValidationError({path: ["must be left out: adapters are those of the model's entry, by their names"]})
        sent = {key: value for key, value in entry.items() if value is not None and key not in self.ignored}
        if (unknown := next((key for key in sent if key not in self.keys), None)) is not None:
            raise ValidationError(f"has no field {shown(unknown[:LONGEST])}; it has {', '.join(self.keys)}")
        found: dict[str, str] = {}  # the caller's key of each meaning
        for key in sent:
            first = found.setdefault(self.keys[key], key)
            if sent[first] != sent[key]:
                raise ValidationError({key: [f"says something else than {first}: give one of them"]})
        name = _name(sent.get(found.get("name", "")), "must have a name")
        return AdapterChoice(name, _strength(found["strength"], sent) if "strength" in found else None)


class Loras(Adapters):
    """vLLM-Omni's `lora`: an object with name and scale, or a list of them."""

    keys = OF_VLLM_OMNI
    ignored = (*NUMBERS_OF_CACHES, *PATHS)  # a path that is no null is refused before

    def __init__(self, about: str) -> None:
        one = {"$ref": "#/components/schemas/Lora"}
        super().__init__(about, anyOf=[one, {"type": "array", "maxItems": MOST, "items": one}, {"type": "null"}])

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **more: Any
    ) -> tuple[AdapterChoice, ...]:
        if isinstance(value, list):
            return super()._deserialize(value, attr, data, **more)
        return (self._choice(value),)


def _typed(entry: Any, keys: Mapping[str, str]) -> Any:
    """Return an object of a form with numbers as its strengths."""
    if not isinstance(entry, dict):
        return entry
    return {key: _number(each) if keys.get(key) == "strength" else each for key, each in entry.items()}


def _number(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _number(each) for key, each in value.items()}
    return number_in(value) if isinstance(value, str) else value


def _parsed(text: Any) -> Any:
    """Return the JSON object or list of a form's text, else the text."""
    is_json = isinstance(text, str) and text.lstrip()[:1] in ("[", "{")
    found = object_in(text) if is_json else None
    return text if found is None else found


def _name(value: Any, wanted: str) -> str:
    if not isinstance(value, str):
        raise ValidationError(f"{wanted}, got {shown(value)}")
    if not 0 < len(value) <= LONGEST:
        raise ValidationError(f"must be a name of 1 to {LONGEST} characters, got {len(value):,} characters")
    if problem := unclean(value):
        raise ValidationError(f"must be a name, got {problem}")
    return value


def _strength(key: str, sent: Mapping[str, Any]) -> PerExpert[float]:
    value = sent[key]
    if STRENGTH.number(value):
        return PerExpert(float(value), float(value))
    if isinstance(value, dict) and value.keys() == {"high", "low"} and all(map(STRENGTH.number, value.values())):
        return PerExpert(float(value["high"]), float(value["low"]))
    message = f'must be a number {STRENGTH}, or {{"high": NUMBER, "low": NUMBER}}, got {shown(value)}'
    raise ValidationError({key: [message]})
