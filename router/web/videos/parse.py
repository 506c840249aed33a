"""Parse the body of `POST /v1/videos`, in OpenAI's and other servers' names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import Schema

from registry import Input
from router.errors import InvalidRequest
from router.intake.resolve import frames_in, whole_frames
from router.request import ImageInput, Request
from router.values import Dialect, Presentation
from router.web.http import unused_fields
from router.web.http.fields import invalid_value, shown
from router.web.schemas import LORAS, check, check_model, read_image, read_options, refuse_file_id
from router.web.videos.form import Upload
from router.web.videos.schema import EXTRAS, FIRST_FRAMES, LAST_FRAMES, ONLY, PLAIN, SIZES, CreateVideo, pixels_of

NAMES = {"prompt": "prompt", "inputs": "input_reference"}
OF_ANSWERS = ("n", "output_format", "response_format")
MEANINGS = {
    **{name: name for name in ("model", "prompt", "seed", "seconds", *OF_ANSWERS)},
    **PLAIN,
    **dict.fromkeys(LORAS, "adapters"),
}
FRAMES = {**dict.fromkeys((*FIRST_FRAMES, "url"), Input.IMAGE), **dict.fromkeys(LAST_FRAMES, Input.LAST_IMAGE)}
SIZED_FRAMES = dict(zip(SIZES, (Input.IMAGE, Input.LAST_IMAGE), strict=True))
WHERE = "an image goes into input_reference, a last frame into last_image"
CREATE, ONLY_EXTRAS = CreateVideo(), CreateVideo(only=EXTRAS)


class _MergedFields:
    """The values of a body under our names, with the caller's name of each."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.names: dict[str, str] = {}
        self.pictures: dict[Input, ImageInput] = {}

    def put(self, name: str, value: Any, param: str) -> None:
        """Take a value; raise `InvalidRequest` where another name has another value."""
        if self.values.setdefault(name, value) != value:
            first, other = self.names[name], self.values[name]
            verb = "is" if first == name else f"says {name}"
            message = f"{first} {verb} {_text(other)}, but {param} is {_text(value)}: give one of them"
            raise InvalidRequest(message, param=param)
        self.names.setdefault(name, param)

    def drop_seconds(self) -> tuple[str, ...]:
        """Drop `seconds` beside a plain `num_frames`; return a warning where they differ."""
        # as SGLang's and MLPerf's servers do
        frames, param = self.values.get("num_frames"), self.names.get("num_frames", "")
        if frames is None or "provider_options" in param or "seconds" not in self.values:
            return ()
        seconds, rate = self.values.pop("seconds"), self.values.get("frames_per_second")
        if rate is not None and frames_in(seconds, rate) == whole_frames(frames):
            return ()
        return (f"{self.names['seconds']} {seconds:g} is not used: {param} is {frames}",)

    def put_picture(self, image: ImageInput) -> None:
        """Take an image; raise `InvalidRequest` where another one has the same role."""
        first = self.pictures.setdefault(image.role, image)
        if (first.url, first.data, first.size) != (image.url, image.data, image.size):
            message = f"{first.param} and {image.param} are two images for one frame: give one of them"
            raise InvalidRequest(message, param=image.param)


@dataclass(frozen=True)
class FlatRequest:
    """A parsed body, with all of its values under our names."""

    request: Request
    values: Mapping[str, Any]


def read_video_request(body: Mapping[str, Any]) -> Request:
    """Parse a body of `POST /v1/videos`; raise `InvalidRequest` for a wrong field."""
    return read_flat_request(body).request


def read_flat_request(
    body: Mapping[str, Any],
    schema: Schema = CREATE,
    *,
    block: str = "video",
    where: str = WHERE,
    attended: bool = False,
) -> FlatRequest:
    """Parse a body of `schema`; raise `InvalidRequest` with the name of the wrong field.

    `block` is the one of `provider_options` that has options here, `where` says which fields images have.
    An `attended` job is cancelled when its caller disconnects.
    """
    merged = _MergedFields()
    unknown: list[str] = []
    searched = dict(body)
    for above, part in _parts(body):
        sent = check(schema, part, above)
        _read(merged, sent, f"{above}." if above else "", block)
        unknown += unused_fields.names(part, schema, above)
        within = {name: sent[name] for name in (*FRAMES, *EXTRAS) if name in sent}
        searched |= {above: {**part, **within}} if above else within
    warnings = (*unused_fields.warning(unknown), *merged.drop_seconds())
    pictures = tuple(merged.pictures[role] for role in (Input.IMAGE, Input.LAST_IMAGE) if role in merged.pictures)
    unused_fields.Search(pictures, where).refuse_in(searched, ("metadata",))
    request = Request(
        model=merged.values.get("model"),
        prompt=_prompt(merged.values),
        pictures=pictures,
        options=read_options(merged.values),
        adapters=merged.values.get("adapters"),
        seed=merged.values.get("seed"),
        names=_names(merged, pictures),
        presentation=Presentation(Dialect.VIDEOS, seconds=merged.values.get("seconds"), attended=attended),
        warnings=warnings,
    )
    return FlatRequest(request, merged.values)


def read_remix(body: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return the prompt of a remix and a warning about unused keys.

    Everything else is the source's, so any other field is refused by name.
    """
    sent = check(CREATE, body)
    for name in sent:
        if name != "prompt" and name not in ONLY:
            raise InvalidRequest(f"a remix has the {name} of its source: send a prompt only", param=name)
    unused_fields.Search((), "a remix has the images of its source").refuse(body)
    return _prompt(sent), unused_fields.warning(unused_fields.names(body, CREATE))


def _text(value: Any) -> str:
    if isinstance(value, tuple):  # adapters
        return ", ".join(map(str, value)) or "none"
    return shown(value)


def _parts(body: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the body and its `extra_body` objects, each with its name."""
    yield "", body
    for name, extra in check(ONLY_EXTRAS, body).items():
        for inner in EXTRAS:
            if extra.get(inner) is not None:
                param = f"{name}.{inner}"
                raise InvalidRequest(f"{param} must not be there: {name} is enough", param=param)
        yield name, extra


def _read(merged: _MergedFields, sent: Mapping[str, Any], above: str, block: str) -> None:
    if "size" in sent:
        for name, pixels in zip(("width", "height"), pixels_of(sent["size"]), strict=True):
            merged.put(name, pixels, f"{above}size")
    for name, meaning in MEANINGS.items():
        if name in sent:
            merged.put(meaning, sent[name], above + name)
    check_model(merged.values.get("model"), merged.names.get("model", "model"))
    for name, role in FRAMES.items():
        if name in sent:
            merged.put_picture(_picture(sent[name], role, above + name))
    for name, role in SIZED_FRAMES.items():
        if name in sent:
            merged.put_picture(ImageInput(role, url="", param=above + name, size=pixels_of(sent[name])))
    for name, value in _media(sent.get("provider_options", {}), above, block).items():
        param = f"{above}provider_options.{block}.{name}"
        if name == "last_image":
            merged.put_picture(_picture(value, Input.LAST_IMAGE, param))
        else:
            merged.put("n" if name == "num_images" else name, value, param)


def _names(merged: _MergedFields, pictures: tuple[ImageInput, ...]) -> dict[str, str]:
    """Return the caller's names of the fields, for errors."""
    names = {**NAMES, **merged.names}
    if pictures:
        names["inputs"] = pictures[0].param
    if "num_frames" not in names and "seconds" in names:
        names["num_frames"] = names["seconds"]
    for present, lacking in (("width", "height"), ("height", "width")):
        if present in names and lacking not in names:
            names[lacking] = names[present].removesuffix(present) + lacking
    return names


def _prompt(sent: Mapping[str, Any]) -> str:
    prompt: str = sent.get("prompt", "")
    if not prompt.strip():
        message = "prompt is missing: every model here needs one"
        raise InvalidRequest(message, param="prompt", code="missing_required_parameter")
    return prompt


def _media(provider_options: Mapping[str, Any], above: str, block: str) -> Mapping[str, Any]:
    """Return the options of a block; refuse the other block, and bytes."""
    ours = f"provider_options.{block}"
    for other in set(unused_fields.BLOCKS) - {block}:
        if other in provider_options:
            param = f"{above}provider_options.{other}"
            raise InvalidRequest(f"{param} is for POST /v1/responses: the options must be {ours} here", param=param)
    media: Mapping[str, Any] = provider_options.get(block, {})
    if block == "video" and media.get("response_format") == "b64_json":
        message = "response_format must be url here: GET /v1/videos/ID/content has the bytes, got b64_json"
        raise InvalidRequest(message, param=f"{above}{ours}.response_format")
    return media


def _picture(value: Any, role: Input, param: str) -> ImageInput:
    if isinstance(value, dict):
        refuse_file_id(value, param)
        if "image_url" not in value and "url" not in value:
            raise invalid_value(param, "a file, or an object with image_url", value)
        value = value.get("image_url", value)
    if isinstance(value, Upload):
        return ImageInput(role, url="", param=param, data=value.data)
    return read_image(value, role, param)
