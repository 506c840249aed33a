"""The answers of `/v1/models`."""

from collections.abc import Mapping
from copy import copy
from operator import itemgetter
from typing import Any

from marshmallow import fields

from registry import Modality
from registry.source import public
from router.web.answer_fields import (
    Answer,
    Read,
    boolean,
    constant,
    enum,
    integer,
    nested,
    number,
    one_of,
    string,
    strings,
)
from router.web.engine_answers import ExpectedSeconds, OnDisk, OnEngine, PlannedBytes
from router.web.http.fields import described

WEIGHTS = "^(none|embedded|here|incomplete|unsuited|missing|downloading [0-9]{1,3} %)$"
ADAPTER_WEIGHTS = "^(embedded|here|incomplete|missing|broken|downloading [0-9]{1,3} %)$"
MODALITIES = [modality.word for modality in Modality]


def _source(entry: Mapping[str, Any]) -> str | None:
    return public(entry["source"])


def _modality(entry: Mapping[str, Any]) -> str | None:
    return entry["modality"].word if entry["modality"] else None


def _for_each_expert(strength: tuple[float, float]) -> float | dict[str, float]:
    high, low = strength
    return high if high == low else {"high": high, "low": low}


def strength_field(read: Read) -> fields.Raw:
    """Return the field of an adapter's strength; `read` returns that for each expert."""
    both = {"type": "object", "properties": {"high": {"type": "number"}, "low": {"type": "number"}}}
    kinds = [{"type": "number"}, {**both, "required": ["high", "low"]}]
    about = described("how strongly; an object where that differs for the experts", anyOf=kinds)
    return fields.Raw(metadata={**about, "read": lambda adapter: _for_each_expert(read(adapter))})


def _stated(adapter: Mapping[str, Any]) -> dict[str, Any]:
    return dict(adapter["defaults"])


def _text_of(name: str) -> Read:
    """Return a reader of a limit as text."""
    return lambda limits: None if (limit := getattr(limits, name)) is None else str(limit)


def _sometimes(field: fields.Field[Any]) -> fields.Field[Any]:
    field = copy(field)
    field.metadata = {**field.metadata, "sometimes": True}
    return field


class Shift(Answer):
    small = number("up to `boundary` pixels a frame")
    large = number("above")
    boundary = integer("pixels a frame")


class ModelDefaults(Answer):
    """The values of the options that a request leaves out."""

    width = integer("pixels")
    height = integer("pixels")
    num_frames = integer("4k+1")
    frames_per_second = integer("the rate at which the video plays")
    steps = integer("denoising steps")
    guidance_scale = number("how closely the prompt is followed")
    guidance_scale_2 = number("the same for a second expert", none=True)
    flow_shift: fields.Field[Any] = nested(Shift, "the scheduler's shift, by size")
    negative_prompt = string("what is kept out of the picture")


class AdapterDefaults(Answer):
    """The defaults that an adapter brings, without the others."""

    class Meta(Answer.Meta):
        include = {name: _sometimes(field) for name, field in ModelDefaults._declared_fields.items()}  # noqa: RUF012


class ModelAdapter(Answer):
    """A LoRA that requests may name."""

    name = string("its name")
    source = string("where its file comes from", _source)
    revision = string("which version of that", none=True)
    strength = strength_field(itemgetter("strength"))
    defaults = nested(AdapterDefaults, "what takes the place of the model's where it is used", _stated)
    merged = boolean("whether it is a part of the weights, and always used", itemgetter("merge"))
    default = boolean("whether it is used where a request names no adapters")
    weights = string("where its file is", pattern=ADAPTER_WEIGHTS, examples=["here"])


class ModelLimits(Answer):
    """The most that one request may ask for."""

    pixels = integer("width times height")
    frames = integer("frames")
    steps = integer("denoising steps")
    prompt = integer("characters")
    image_bytes = integer("bytes of an input image")
    image_pixels = integer("pixels of an input image, by its header")
    queued = integer("jobs of this model that may be queued at a time; null for any number", none=True)
    prompt_tokens = integer("tokens of a prompt that are read; the rest is cut; null for all of them", none=True)
    body_bytes = integer("bytes of the request's body")


class Entry(Answer):
    """The keys of models and routes: values of the registry, and their state."""

    id = string("its name", itemgetter("name"))
    object = constant("its kind", "model")
    created = integer("seconds since 1970: when this server started")
    owned_by = string("`framegate`", lambda _: "framegate")
    aliases = strings("other names for it")
    default = boolean("whether it is used where a request names no model")


class Route(Entry):
    """One name for several models; the first that takes the inputs runs."""

    members = strings("their names, in the order in which they are asked")


class Model(Entry):
    modality = enum("what goes in", *MODALITIES, read=_modality)
    backend = string("who runs it")
    source = string("where its weights come from", _source, none=True)
    revision = string("which version of them", none=True)
    weights = string("where they are", pattern=WEIGHTS, examples=["here", "downloading 42 %"])
    download = boolean("whether its first job downloads weights that are not here")
    parts = one_of("its weights on disk by part, empty where nothing is known of them", OnDisk)
    planned = one_of("what it will take of the devices that may load it, as far as that is known", PlannedBytes)
    state = enum("where its weights are in memory: on a device, on the host, nowhere", "loaded", "warm", "cold")
    engines = one_of("the engines that have it in memory", OnEngine)
    expected = one_of("the expected seconds by kind of device, empty before the first load", ExpectedSeconds)
    size_multiple = integer("sizes are rounded down to multiples of this")
    experts = integer("models that take turns within one video")
    defaults = nested(ModelDefaults, "what a request gets where it does not say")
    adapters = one_of("the adapters that requests may name", ModelAdapter)
    limits = nested(ModelLimits, "the most that one request may ask for")
    price = number("of a second of work, in the server's unit of money; null for none", none=True)


class BrokenModel(Entry):
    """A model with unusable weights; a request for it gets 503."""

    modality = enum("what goes in, null where only the folder could say", *MODALITIES, read=_modality, none=True)
    backend = string("who runs it")
    source = string("where its weights come from", _source, none=True)
    revision = string("which version of them", none=True)
    weights = string("why it cannot be served", pattern="^broken: ", examples=["broken: the folder vae is missing"])
    state = constant("where its weights are in memory: nowhere", "cold")
    engines = one_of("none", OnEngine, read=lambda _: [])


class KeyLimits(Answer):
    """What a key may have and do; null for no limit."""

    queued = integer("its jobs that may be queued at a time", none=True)
    running = integer("its jobs that may run at a time; others wait", none=True)
    per_minute = integer("its requests a minute", none=True)
    gpu_seconds = string(
        "its budget: gpu-seconds in each UTC day, week or month",
        _text_of("gpu_seconds"),
        none=True,
        examples=["3600/day"],
    )
    cost = string(
        "its budget in money, in the unit of the models' prices", _text_of("cost"), none=True, examples=["20/month"]
    )


class ServerLimits(Answer):
    """The limits that are no model's."""

    queued = integer("jobs that may be queued at a time")
    key = nested(KeyLimits, "of the key that asked, null where none is needed", none=True)


class Models(Answer):
    object = constant("its kind", "list")
    data = one_of("routes, then models, then those that cannot be served", Route, Model, BrokenModel)
    limits = nested(ServerLimits, "the limits that are no model's")
