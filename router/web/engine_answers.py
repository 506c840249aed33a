"""A model on disk and on engines, in the answers of `/v1/models`."""

from router.values import EstimateBasis
from router.web.answer_fields import Answer, enum, integer, number, one_of, string, strings

BASES = (EstimateBasis.MEASURED, EstimateBasis.FITTED)


class OnPath(Answer):
    """A part of a loaded model, and by which code it runs."""

    part = string("its name", examples=["transformer"])
    path = string("the code, in a word", examples=["fast", "diffusers"])
    reason = string("why, where it is not the usual one, else empty")


class OnDisk(Answer):
    """A part of a model on disk."""

    part = string("its name", examples=["transformer"])
    source = string("the file that replaces the weights of the model's source, null for none", none=True)
    revision = string("which version of that file", none=True)
    formats = strings("the number formats of its weights, that of the most bytes first", examples=[["Q4_K", "F32"]])
    bytes = integer("of its weights; null where they are not here, or cannot be read", none=True)


class PlannedBytes(Answer):
    """The bytes of weights that a model will take of a device."""

    device = string("the device of an engine", examples=["cuda:0"])
    bytes = integer("by the headers of the files")


class OnEngine(Answer):
    """A model on one engine, in bytes of weights."""

    device = string("its device", examples=["cuda:0"])
    state = enum("on the device, or on the host to come back fast", "loaded", "warm")
    bytes_owned = integer("that no other model has")
    bytes_shared = integer("that other loaded models have too")
    paths = one_of("by which code its parts run, as far as its backend says", OnPath)


class ExpectedSeconds(Answer):
    """Expected seconds on one kind of device, by measured ones."""

    kind = string("the kind of device", examples=["NVIDIA H200", "cpu"])
    seconds = number("of a request without options, without a load; null before the model's first job", none=True)
    basis = enum("jobs of this size, or of other sizes; null without seconds", *BASES, none=True)
    load_cold = number("to load it from disk; null before the first such load", none=True)
    load_warm = number("to load it from the host's memory; that from disk before the first such load", none=True)
