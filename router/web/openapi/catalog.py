"""Models, routes, and how the server is."""

from __future__ import annotations

from registry import Modality
from router.web.openapi.shapes import Answer, integer, number, part, several, string, strings, truth, word

WEIGHTS = "^(none|embedded|here|incomplete|unsuited|missing|downloading [0-9]{1,3} %)$"
BROKEN = "^broken: "
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
    prompt_tokens = integer("tokens of a prompt that are read; the rest is cut; null for all of them", none=True)
    image_bytes = integer("bytes of an input image")
    image_pixels = integer("pixels of an input image, by its header")
    body_bytes = integer("bytes of the request's body")
    queued = integer("jobs of this model that may be queued at a time; null for any number", none=True)


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


class OnPath(Answer):
    """A part of a loaded model, and by which code it runs."""

    part = string("its name", examples=["transformer"])
    path = string("the code, in a word", examples=["fast", "diffusers"])
    reason = string("why, where it is not the usual one, else empty")


class OnEngine(Answer):
    """A model on one engine, in bytes of weights."""

    device = string("its device", examples=["cuda:0"])
    state = word("on the device, or on the host to come back fast", "loaded", "warm")
    bytes_owned = integer("that no other model has")
    bytes_shared = integer("that other loaded models have too")
    paths = several("by which code its parts run, as far as its backend says", OnPath)


class Model(Entry):
    modality = word("what goes in", *MODALITIES)
    backend = string("who runs it")
    source = string("where its weights come from", none=True)
    revision = string("which version of them", none=True)
    weights = string("where they are", pattern=WEIGHTS, examples=["here", "downloading 42 %"])
    state = word("where its weights are in memory: on a device, on the host, nowhere", "loaded", "warm", "cold")
    engines = several("the engines that have it in memory", OnEngine)
    size_multiple = integer("sizes are rounded down to multiples of this")
    experts = integer("models that take turns within one video")
    defaults = part(ModelDefaults, "what a request gets where it does not say")
    limits = part(ModelLimits, "the most that one request may ask for")


class BrokenModel(Entry):
    """A model that cannot be served, as its folder of weights was when it was read; a request gets 503."""

    modality = word("what goes in, null where only the folder could say", *MODALITIES, none=True)
    backend = string("who runs it")
    source = string("where its weights come from", none=True)
    revision = string("which version of them", none=True)
    weights = string("why it cannot be served", pattern=BROKEN, examples=["broken: it lacks the folder vae"])
    state = word("where its weights are in memory: nowhere", "cold")
    engines = several("none", OnEngine)


class KeyLimits(Answer):
    """What a key may have and do; null for no limit."""

    queued = integer("its jobs that may be queued at a time", none=True)
    running = integer("its jobs that may run at a time; others wait", none=True)
    per_minute = integer("its requests a minute", none=True)


class ServerLimits(Answer):
    """The limits that are no model's."""

    queued = integer("jobs that may be queued at a time")
    key = part(KeyLimits, "of the key that asked, null where none is needed", none=True)


class Models(Answer):
    object = word("its kind", "list")
    data = several("routes, then models, then those that cannot be served", Route, Model, BrokenModel)
    limits = part(ServerLimits, "the limits that are no model's")


class Health(Answer):
    status = word("this process answers", "ok")


class Engine(Answer):
    id = string("a process that owns a device")
    device = string("its device, such as `cuda:0`")
    pid = integer("its process")
    resident = strings("the models that it has in memory")
    busy = truth("whether it works on a job")


class Readiness(Answer):
    status = word("whether a new job is taken and done", "ready", "no engine", "disk full", "store unavailable")
    reason = string("why not; where one can, it is not there", sometimes=True)
    engines = several("the engines that live", Engine)
