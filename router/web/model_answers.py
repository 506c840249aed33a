"""The answers of `/v1/models`."""

from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Any

import registry
from registry import Modality
from registry.source import public
from router.web.answer_fields import Answer, boolean, constant, enum, integer, nested, number, one_of, string, strings

WEIGHTS = "^(none|embedded|here|incomplete|unsuited|missing|downloading [0-9]{1,3} %)$"
MODALITIES = [modality.word for modality in Modality]


@dataclass(frozen=True)
class Listed:
    """An entry of the registry with its state.

    `engines` are rendered; `body_bytes` is the server's limit.
    """

    entry: registry.ModelSpec | registry.Route | registry.BrokenModel
    created: int
    default: bool
    weights: str = ""
    state: str = ""
    engines: tuple[dict[str, Any], ...] = ()
    body_bytes: int = 0


def _source(listed: Any) -> str | None:
    return public(listed.entry.source)


def _modality(listed: Any) -> str | None:
    modality = listed.entry.modality
    return modality.word if modality else None


def _limits(listed: Any) -> dict[str, Any]:
    tokens = listed.entry.prompt_tokens
    return {**asdict(listed.entry.limits), "prompt_tokens": tokens, "body_bytes": listed.body_bytes}


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
    flow_shift = nested(Shift, "the scheduler's shift, by size")
    negative_prompt = string("what is kept out of the picture")


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
    """What models and routes have in common."""

    id = string("its name", attrgetter("entry.name"))
    object = constant("its kind", "model")
    created = integer("seconds since 1970: when this server started")
    owned_by = string("`framegate`", lambda _: "framegate")
    aliases = strings("other names for it", attrgetter("entry.aliases"))
    default = boolean("whether it is used where a request names no model")


class Route(Entry):
    """One name for several models; the first that takes the inputs runs."""

    members = strings("their names, in the order in which they are asked", attrgetter("entry.members"))


class OnPath(Answer):
    """A part of a loaded model, and by which code it runs."""

    part = string("its name", examples=["transformer"])
    path = string("the code, in a word", examples=["fast", "diffusers"])
    reason = string("why, where it is not the usual one, else empty")


class OnEngine(Answer):
    """A model on one engine, in bytes of weights."""

    device = string("its device", examples=["cuda:0"])
    state = enum("on the device, or on the host to come back fast", "loaded", "warm")
    bytes_owned = integer("that no other model has")
    bytes_shared = integer("that other loaded models have too")
    paths = one_of("by which code its parts run, as far as its backend says", OnPath)


class Model(Entry):
    modality = enum("what goes in", *MODALITIES, read=attrgetter("entry.modality.word"))
    backend = string("who runs it", attrgetter("entry.backend"))
    source = string("where its weights come from", _source, none=True)
    revision = string("which version of them", attrgetter("entry.revision"), none=True)
    weights = string("where they are", pattern=WEIGHTS, examples=["here", "downloading 42 %"])
    state = enum("where its weights are in memory: on a device, on the host, nowhere", "loaded", "warm", "cold")
    engines = one_of("the engines that have it in memory", OnEngine)
    size_multiple = integer("sizes are rounded down to multiples of this", attrgetter("entry.size_multiple"))
    experts = integer("models that take turns within one video", attrgetter("entry.experts"))
    defaults = nested(ModelDefaults, "what a request gets where it does not say", attrgetter("entry.defaults"))
    limits = nested(ModelLimits, "the most that one request may ask for", _limits)


class BrokenModel(Entry):
    """A model with unusable weights; a request for it gets 503."""

    modality = enum("what goes in, null where only the folder could say", *MODALITIES, read=_modality, none=True)
    backend = string("who runs it", attrgetter("entry.backend"))
    source = string("where its weights come from", _source, none=True)
    revision = string("which version of them", attrgetter("entry.revision"), none=True)
    weights = string("why it cannot be served", pattern="^broken: ", examples=["broken: it lacks the folder vae"])
    state = constant("where its weights are in memory: nowhere", "cold")
    engines = one_of("none", OnEngine, read=lambda _: [])


class KeyLimits(Answer):
    """What a key may have and do; null for no limit."""

    queued = integer("its jobs that may be queued at a time", none=True)
    running = integer("its jobs that may run at a time; others wait", none=True)
    per_minute = integer("its requests a minute", none=True)


class ServerLimits(Answer):
    """The limits that are no model's."""

    queued = integer("jobs that may be queued at a time")
    key = nested(KeyLimits, "of the key that asked, null where none is needed", none=True)


class Models(Answer):
    object = constant("its kind", "list")
    data = one_of("routes, then models, then those that cannot be served", Route, Model, BrokenModel)
    limits = nested(ServerLimits, "the limits that are no model's")
