"""A body of `POST /v1/videos` as a `Request`: its own words for the prompt, the image, the size and the length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from registry import Input
from router.errors import InvalidRequest
from router.request import ImageInput, Options, Request
from router.values import Dialect, Presentation
from router.web.http import unused_fields
from router.web.http.fields import shown
from router.web.responses.input import picture, refuse_file_id
from router.web.schemas import check
from router.web.videos.form import Upload
from router.web.videos.schema import EXTRAS, FIRST_FRAMES, LAST_FRAMES, ONLY, PLAIN, CreateVideo

VIDEO = "provider_options.video"
NAMES = {"prompt": "prompt", "inputs": "input_reference"}
FRAMES = {**dict.fromkeys(FIRST_FRAMES, Input.IMAGE), **dict.fromkeys(LAST_FRAMES, Input.LAST_IMAGE)}
WHERE = "an image goes into input_reference, a last frame into last_image"
CREATE, ONLY_EXTRAS = CreateVideo(), CreateVideo(only=EXTRAS)


class _Said:
    """What a body says by our names, with the caller's name for each."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.names: dict[str, str] = {}
        self.pictures: dict[Input, ImageInput] = {}

    def put(self, name: str, value: Any, param: str) -> None:
        """Take a value; raise `InvalidRequest` where another name has said something else."""
        if self.values.setdefault(name, value) != value:
            first, other = self.names[name], self.values[name]
            message = f"{first} says {name} {shown(other)}, but {param} is {shown(value)}: give one of them"
            raise InvalidRequest(message, param=param)
        self.names.setdefault(name, param)

    def put_picture(self, given: ImageInput) -> None:
        """Take an image; raise `InvalidRequest` where another one has the same role."""
        first = self.pictures.setdefault(given.role, given)
        if (first.url, first.data) != (given.url, given.data):
            message = f"{first.param} and {given.param} are two images for one frame: give one of them"
            raise InvalidRequest(message, param=given.param)


def read_video_request(body: Mapping[str, Any]) -> Request:
    """Return what `body` asks for; raises `InvalidRequest` naming the field that is wrong."""
    said = _Said()
    unknown: list[str] = []
    searched = dict(body)
    for above, part in _parts(body):
        asked = check(CREATE, part, above)
        _read(said, asked, f"{above}." if above else "")
        unknown += unused_fields.names(part, CREATE, above)
        within = {name: asked[name] for name in (*FRAMES, *EXTRAS) if name in asked}
        searched |= {above: {**part, **within}} if above else within
    pictures = tuple(said.pictures[role] for role in (Input.IMAGE, Input.LAST_IMAGE) if role in said.pictures)
    search = unused_fields.Search(pictures)
    unused_fields.refuse(search.find({name: value for name, value in searched.items() if name != "metadata"}), WHERE)
    unused_fields.refuse(search.find(searched.get("metadata"), "metadata", by_name=False), WHERE)
    options = {name: said.values[name] for name in (f.name for f in fields(Options)) if name in said.values}
    return Request(
        model=said.values.get("model"),
        prompt=_prompt(said.values),
        pictures=pictures,
        options=Options(**options),
        seed=said.values.get("seed"),
        names=_names(said, pictures),
        presentation=Presentation(Dialect.VIDEOS, seconds=said.values.get("seconds")),
        warnings=unused_fields.warning(unknown),
    )


def read_remix(body: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return the prompt of a remix and a warning about what is not used.

    Everything else is the source's, so what else was said is refused by name.
    """
    asked = check(CREATE, body)
    for name in asked:
        if name != "prompt" and name not in ONLY:
            raise InvalidRequest(f"a remix has the {name} of its source: send a prompt only", param=name)
    unused_fields.refuse(unused_fields.Search(()).find(body), "a remix has the images of its source")
    return _prompt(asked), unused_fields.warning(unused_fields.names(body, CREATE))


def _parts(body: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the body, and the objects in it that hold more of its fields, each with its name."""
    yield "", body
    for name, extra in check(ONLY_EXTRAS, body).items():
        for inner in EXTRAS:
            if extra.get(inner) is not None:
                param = f"{name}.{inner}"
                raise InvalidRequest(f"{param} must not be there: {name} is enough", param=param)
        yield name, extra


def _read(said: _Said, asked: Mapping[str, Any], above: str) -> None:
    """Put together what a checked body says in all its words."""
    for name in ("model", "prompt", "seed"):
        if name in asked:
            said.put(name, asked[name], above + name)
    if said.values.get("model") == "":
        raise InvalidRequest("model must be the name of a model, got ''", param=said.names["model"])
    if "size" in asked:
        for name, pixels in zip(("width", "height"), asked["size"].lower().split("x"), strict=True):
            said.put(name, int(pixels), f"{above}size")
    if "seconds" in asked:
        said.put("seconds", asked["seconds"], f"{above}seconds")
    for name, option in PLAIN.items():
        if name in asked:
            said.put(option, asked[name], above + name)
    for name, value in _media(asked.get("provider_options", {}), above).items():
        if name != "last_image":
            said.put(name, value, f"{above}{VIDEO}.{name}")
    for given in _pictures(asked, above):
        said.put_picture(given)


def _pictures(asked: Mapping[str, Any], above: str) -> Iterator[ImageInput]:
    for name, role in FRAMES.items():
        if name in asked:
            yield _picture(asked[name], role, above + name)
    last = asked.get("provider_options", {}).get("video", {}).get("last_image")
    if last is not None:
        yield _picture(last, Input.LAST_IMAGE, f"{above}{VIDEO}.last_image")


def _names(said: _Said, pictures: tuple[ImageInput, ...]) -> dict[str, str]:
    """Return what the caller calls the fields that an error may be about."""
    names = {**NAMES, **said.names}
    if pictures:
        names["inputs"] = pictures[0].param
    if "num_frames" not in names and "seconds" in names:
        names["num_frames"] = names["seconds"]
    for given, lacking in (("width", "height"), ("height", "width")):
        if given in names and lacking not in names:
            names[lacking] = names[given].removesuffix(given) + lacking
    return names


def _prompt(asked: Mapping[str, Any]) -> str:
    prompt: str = asked.get("prompt", "")
    if not prompt.strip():
        message = "prompt is missing: every model here needs one"
        raise InvalidRequest(message, param="prompt", code="missing_required_parameter")
    return prompt


def _media(provider_options: Mapping[str, Any], above: str) -> Mapping[str, Any]:
    """Return `provider_options.video`; refuse what only `POST /v1/responses` does."""
    if "image" in provider_options:
        param = f"{above}provider_options.image"
        raise InvalidRequest(f"{param} is for POST /v1/responses: the options must be {VIDEO} here", param=param)
    media: Mapping[str, Any] = provider_options.get("video", {})
    if media.get("response_format") == "b64_json":
        message = "response_format must be url here: GET /v1/videos/ID/content has the bytes, got b64_json"
        raise InvalidRequest(message, param=f"{above}{VIDEO}.response_format")
    return media


def _picture(value: Any, role: Input, param: str) -> ImageInput:
    if isinstance(value, dict):
        refuse_file_id(value, param)
        if "image_url" not in value and "url" not in value:
            message = f"{param} must be a file, or an object with image_url, got {shown(value)}"
            raise InvalidRequest(message, param=param)
        value = value.get("image_url", value)
    if isinstance(value, Upload):
        return ImageInput(role, url="", param=param, data=value.data)
    return picture(value, role, param)
