"""Models, routes, and how the server is."""

from __future__ import annotations

from registry import Modality
from router.web.openapi.shapes import Answer, integer, number, part, several, string, strings, truth, word

MODALITIES = [modality.word for modality in Modality]


class Shift(Answer):
    small = number("up to `boundary` pixels a frame")
    large = number("above")
    boundary = integer("pixels a frame")


class ModelDefaults(Answer):
    """What a request gets where it does not say."""

    width = integer("pixels")
    height = integer("pixels")
    num_frames = integer("4k+1")
    frames_per_second = integer("the rate at which the video plays")
    steps = integer("denoising steps")
    guidance_scale = number("how closely the prompt is followed")
    guidance_scale_2 = number("the same for a second expert", none=True)
    flow_shift = part(Shift, "the scheduler's shift, by size")
    negative_prompt = string("what is kept out of the picture")


class ModelLimits(Answer):
    """The most that one request may ask for."""

    pixels = integer("width times height")
    frames = integer("frames")
    steps = integer("denoising steps")
    prompt = integer("characters")


class Entry(Answer):
    """What models and routes have in common."""

    id = string("its name")
    object = word("its kind", "model")
    created = integer("seconds since 1970: when this server started")
    owned_by = string("`framegate`")
    aliases = strings("other names for it")
    default = truth("whether it is used where a request names no model")


class Route(Entry):
    """One name for several models: the first that takes what a request brings, runs it."""

    members = strings("their names, in the order in which they are asked")


class Model(Entry):
    modality = word("what goes in", *MODALITIES)
    backend = string("who runs it")
    source = string("where its weights come from", none=True)
    revision = string("which version of them", none=True)
    weights = word("where they are", "none", "embedded", "here", "incomplete", "missing")
    state = word("whether an engine has it in memory", "loaded", "cold")
    size_multiple = integer("sizes are rounded down to multiples of this")
    experts = integer("models that take turns within one video")
    defaults = part(ModelDefaults, "what a request gets where it does not say")
    limits = part(ModelLimits, "the most that one request may ask for")


class Models(Answer):
    object = word("its kind", "list")
    data = several("routes, then models", Route, Model)


class Health(Answer):
    status = word("this process answers", "ok")


class Engine(Answer):
    id = string("a process that owns a device")
    device = string("its device, such as `cuda:0`")
    pid = integer("its process")
    resident = strings("the models that it has in memory")
    busy = truth("whether it works on a job")


class Readiness(Answer):
    status = word("whether a device can take work", "ready", "no engine")
    engines = several("the engines that live", Engine)
