"""What a body carries and its request does not use: refused where it is an image, else named in a warning."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from marshmallow import Schema

from router.errors import InvalidRequest, LimitExceeded
from router.requests import Picture
from router.web.fields import shown
from router.web.form import Upload

BLOCKS = ("video", "image")
ALIKE = 0.7  # of difflib: vidoe, videos, img
MOST_NAMES = 20  # in a warning
MOST_BLOCKS = 100  # of providers, each compared with ours
MOST_VALUES = 200_000  # looked at in one body
MOST_PATH = 200  # characters
START = 4096  # characters of a text in which a URL may be written in capitals
MEDIA_URL = re.compile(r"data:(?:image|video|audio)/[^,;\s]{0,80}[,;]")
MEDIA_START = re.compile(MEDIA_URL.pattern, re.IGNORECASE)
SAFE_NAME = re.compile(r"[A-Za-z0-9_.\-\[\]]{1,60}")
# An image's name ends in a word of MEDIA, and maybe in some of FORMS: image, promptImage, mask_url.
MEDIA = {
    "image", "img", "picture", "pic", "photo", "video", "clip", "audio", "mask", "reference", "keyframe", "file",
    "media", "attachment", "inline",
}  # fmt: skip
FORMS = {
    "url", "uri", "path", "data", "byte", "base", "json", "id", "list", "tail", "end", "prompt", "encoded", "source",
    "src", "content",
}  # fmt: skip
NO_INPUT = {  # as the first word: num_images, generate_audio
    "num", "max", "min", "n", "number", "total", "target", "output", "generate", "enable", "with", "without", "return",
    "save", "use", "has",
}  # fmt: skip
Path = tuple["Path | None", str]


class Search:
    """A search of one body for the images, videos and sounds that its request does not use.

    It finds files, `data:` URLs of these types, and text under names such as `first_frame`.
    """

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self._pictures = pictures
        self._left = MOST_VALUES

    def find(self, value: Any, path: str = "", *, by_name: bool = True) -> Iterator[str]:
        """Yield the path of each; without `by_name` only of files and `data:` URLs.

        Raises `LimitExceeded` for a body of too many values.
        """
        unseen: list[tuple[Any, Path | None, bool]] = [(value, (None, path) if path else None, False)]
        while unseen:
            value, place, named = unseen.pop()
            if isinstance(value, str | Upload):
                if self._is_unused(value, named):
                    yield _written(place)
            elif isinstance(value, Mapping | list):
                self._count(len(value))
                pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
                for key, entry in pairs:
                    below = named if isinstance(key, int) else by_name and _is_media(key, named)
                    unseen.append((entry, (place, f"[{key}]" if isinstance(key, int) else f".{key[:100]}"), below))

    def _count(self, values: int) -> None:
        self._left -= values
        if self._left < 0:
            raise LimitExceeded(f"a body may hold {MOST_VALUES:,} values, got more")

    def _is_unused(self, value: str | Upload, named: bool) -> bool:
        if isinstance(value, Upload):
            return all(picture.data is not value.data for picture in self._pictures)
        if any(picture.url and picture.url == value for picture in self._pictures):
            return False
        return (named and bool(value.strip())) or bool(MEDIA_START.search(value, 0, START) or MEDIA_URL.search(value))


def refuse(found: Iterator[str], where: str) -> None:
    """Raise `InvalidRequest` about the first image that was found; `where` says where an image goes."""
    for path in found:
        param = path[:MOST_PATH]
        message = f"{param} has an image, a video or a sound that is not used: {where}"
        raise InvalidRequest(message, param=param, code="unknown_parameter")


def names(body: Mapping[str, Any], schema: Schema, above: str = "") -> list[str]:
    """Return the keys that `schema` has no field for, the blocks of other providers among them.

    Raises `InvalidRequest` for a block whose name is nearly one of ours.
    """
    prefix = f"{above}." if above else ""
    found = [f"{prefix}{name}" for name, value in body.items() if value is not None and name not in schema.fields]
    blocks = body.get("provider_options")
    others = blocks.items() if isinstance(blocks, Mapping) else ()
    said = [name for name, value in others if value is not None and name not in BLOCKS]
    if len(said) > MOST_BLOCKS:
        param = f"{prefix}provider_options"
        raise LimitExceeded(f"{param} may have {MOST_BLOCKS} other blocks, got {len(said):,}", param=param)
    return found + [_block(name, f"{prefix}provider_options") for name in said]


def warning(found: Sequence[str]) -> tuple[str, ...]:
    """Return one sentence about the keys that were not used, if there are any."""
    if not found:
        return ()
    return (f"not used, as nothing here has that name: {listed(found)}",)


def listed(found: Sequence[str]) -> str:
    """Return the first names of a list as a message shows them."""
    told = [name if SAFE_NAME.fullmatch(name) else shown(name[:60]) for name in found[:MOST_NAMES]]
    more = f" and {len(found) - MOST_NAMES:,} more" if len(found) > MOST_NAMES else ""
    return ", ".join(told) + more


def _block(name: str, above: str) -> str:
    for block in difflib.get_close_matches(name[:20].lower(), BLOCKS, 1, ALIKE):
        param = f"{above}.{name[:60]}"
        message = f"{above} has no block {shown(name[:60])}: did you mean {block}?"
        raise InvalidRequest(message, param=param, code="unknown_parameter")
    return f"{above}.{name}"


def _is_media(key: str, above: bool) -> bool:
    """Say whether a key names an image, a video or a sound; `above` says it of the key of the object around."""
    words = _words(key)
    form = not words or (words[-1] in FORMS and words[-1] != "prompt")  # provider_options.video.negative_prompt
    if (words[:1] and words[0] in NO_INPUT) or words == ["reference", "id"]:  # the latter is the caller's own
        return False
    while words and (words[-1] in FORMS or len(words[-1]) == 1):
        words.pop()
    named = words[-1:] and (words[-1] in MEDIA or (words[-1] == "frame" and (above or len(words) > 1)))
    return bool(named) or (above and form)


def _words(key: str) -> list[str]:
    """Return the words of a key in small letters and the singular, without numbers: `imageUrls2` has image and url."""
    parts = re.split("[^a-z0-9]+", re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", key[:100]).lower())
    return [word for part in parts if (word := part.rstrip("0123456789").removesuffix("s"))]


def _written(place: Path | None) -> str:
    keys = []
    while place is not None:
        place, key = place
        keys.append(key)
    return "".join(reversed(keys)).removeprefix(".")
