"""Unused fields of a body: images are refused, other fields named in a warning."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from marshmallow import Schema

from registry.errors import printable
from router.errors import InvalidRequest, LimitExceeded
from router.request import ImageInput
from router.web.http.fields import shown
from router.web.videos.form import Upload

BLOCKS = ("video", "image")
SIMILARITY = 0.7  # difflib's ratio for names meant as ours: vidoe, videos, img
MAX_NAMES = 20  # in a warning
MAX_BLOCKS = 100  # of other providers, each compared with ours
MAX_VALUES = 200_000  # searched in one body
MAX_PATH = 200  # characters
START = 4096  # characters of a text in which a URL may be written in capitals
# A `data:` URL with a payload; the description in a tool's schema may mention one without.
# No part matches in two ways or beyond a colon, so that a text of many beginnings is read once.
MEDIA_URL = re.compile(
    r"data:(?:(?:image|video|audio)[^,:]{0,200}+,[A-Za-z0-9+/%=_<-]{16}"
    r"|[^,:]{0,200}+,(?:iVBORw0KGgo|/9j/|UklGR|R0lGOD|AAAA[A-Za-z0-9+/]{4}ZnR5c))"
)
MEDIA_START = re.compile(MEDIA_URL.pattern, re.IGNORECASE)
WHOLE_URL = re.compile(r"\s*data:(?:image|video|audio)[^,:\s]{0,200}+,\S*", re.IGNORECASE)
SAFE_NAME = re.compile(r"[A-Za-z0-9_.\-\[\]]{1,60}")
# An image field's name ends in a word of MEDIA, and perhaps words of FORMS: image, promptImage, mask_url.
MEDIA = {
    "image", "img", "picture", "pic", "photo", "video", "clip", "audio", "mask", "reference", "frame", "keyframe",
    "file", "media", "attachment", "inline",
}  # fmt: skip
FORMS = {
    "url", "uri", "path", "data", "byte", "base", "json", "id", "list", "tail", "end", "prompt", "encoded", "source",
    "src", "content", "input", "link", "ref", "asset", "start", "first", "last",
}  # fmt: skip
LONG = [each for each in MEDIA if len(each) > 4]  # recognised inside another word too
NO_INPUT = {"output", "target", "return", "save", "callback"}  # first words of names for results
HINT = re.compile("|".join(sorted(MEDIA | FORMS)), re.IGNORECASE)  # most names have no match
# Texts that may be an image under such a name: a link, path or file id; a file's name; encoded bytes.
LINK = re.compile(r"(?:[a-z][a-z0-9+.-]{0,20}:|[./~\\]|file[-_]|img[-_])", re.IGNORECASE)
FILE_NAME = re.compile(r"\.(?:png|jpe?g|webp|gif|bmp|tiff?|avif|hei[cf]|mp4|mov|webm|mkv|avi|wav|mp3)$", re.IGNORECASE)
BYTES = re.compile(r"[A-Za-z0-9+/=_\s-]{64}|[A-Za-z0-9+/_-]{6,62}={1,2}$")
Path = tuple["Path | None", str]


class Search:
    """A search of one body for unused images; `where` names the right fields.

    It finds images, videos and sounds: files, `data:` URLs, and text under names such as `first_frame`.
    """

    def __init__(self, pictures: Sequence[ImageInput], where: str) -> None:
        self._pictures = pictures
        self._where = where
        self._left = MAX_VALUES

    def refuse_in(self, body: Mapping[str, Any], quoted: tuple[str, ...]) -> None:
        """Raise `InvalidRequest` for a find; `quoted` fields may name images without sending any."""
        self.refuse({name: value for name, value in body.items() if name not in quoted})
        self.refuse({name: body.get(name) for name in quoted}, by_name=False)

    def refuse(self, value: Any, path: str = "", *, by_name: bool = True) -> None:
        """Raise `InvalidRequest` for the first path found."""
        for found in self.find(value, path, by_name=by_name):
            raise unused(found, self._where)

    def find(self, value: Any, path: str = "", *, by_name: bool = True) -> Iterator[str]:
        """Yield the path of each; without `by_name` only of files and `data:` URLs.

        Raises `LimitExceeded` for a body of too many values.
        """
        start: bool | None = False if by_name else None  # None: names do not count
        unseen: list[tuple[Any, Path | None, bool | None]] = [(value, (None, path) if path else None, start)]
        while unseen:
            value, path_here, named = unseen.pop()
            if isinstance(value, str | Upload):
                if self._is_unused(value, named):
                    yield _written(path_here)
            elif isinstance(value, Mapping | list):
                self._left -= len(value)
                if self._left < 0:
                    raise LimitExceeded(f"a body may hold {MAX_VALUES:,} values, got more")
                pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
                if named is not None and _is_inline(value):
                    yield _written(path_here)
                for key, entry in pairs:
                    if not entry or not isinstance(entry, str | Upload | Mapping | list):
                        continue
                    below = named if named is None or isinstance(key, int) else _is_media(key, named)
                    unseen.append((entry, (path_here, f"[{key}]" if isinstance(key, int) else f".{key[:100]}"), below))

    def _is_unused(self, value: str | Upload, named: bool | None) -> bool:
        if isinstance(value, Upload):
            return bool(value.data) and all(picture.data != value.data for picture in self._pictures)
        if any(picture.url and picture.url == value for picture in self._pictures):
            return False
        if (named and _may_be_media(value)) or (named is not None and WHOLE_URL.fullmatch(value)):
            return True
        return bool(MEDIA_START.search(value, 0, START) or MEDIA_URL.search(value))


def unused(path: str, where: str) -> InvalidRequest:
    """Return the error of an unused image; `where` names the right fields."""
    param = printable(path[:MAX_PATH])
    message = f"{param} has an image, a video or a sound that is not used: {where}"
    return InvalidRequest(message, param=param, code="unknown_parameter")


def names(body: Mapping[str, Any], schema: Schema, above: str = "") -> list[str]:
    """Return unknown keys, with the blocks of other providers.

    Raises `InvalidRequest` for a block with a misspelt name of ours.
    """
    prefix = f"{above}." if above else ""
    found = [f"{prefix}{name}" for name, value in body.items() if value is not None and name not in schema.fields]
    blocks = body.get("provider_options")
    others = blocks.items() if isinstance(blocks, Mapping) else ()
    foreign = [name for name, value in others if value is not None and name not in BLOCKS]
    if len(foreign) > MAX_BLOCKS:
        param = f"{prefix}provider_options"
        raise LimitExceeded(f"{param} may have {MAX_BLOCKS} other blocks, got {len(foreign):,}", param=param)
    return found + [_block(name, f"{prefix}provider_options") for name in foreign]


def warning(found: Sequence[str]) -> tuple[str, ...]:
    """Return one sentence about unused keys, if there are any."""
    return (f"not used, as nothing here has that name: {listed(found)}",) if found else ()


def listed(found: Sequence[str]) -> str:
    """Format the first names of a list for a message."""
    names = [name if SAFE_NAME.fullmatch(name) else shown(name[:60]) for name in found[:MAX_NAMES]]
    more = f" and {len(found) - MAX_NAMES:,} more" if len(found) > MAX_NAMES else ""
    return ", ".join(names) + more


def _block(name: str, above: str) -> str:
    for block in difflib.get_close_matches(name[:20].lower(), BLOCKS, 1, SIMILARITY):
        param = f"{above}.{name[:60]}"
        message = f"{above} has no block {shown(name[:60])}: did you mean {block}?"
        raise InvalidRequest(message, param=param, code="unknown_parameter")
    return f"{above}.{name}"


def _is_media(key: str, above: bool) -> bool | None:
    """Say whether a key names media; `above`: whether the enclosing object's key does.

    None for annotations.
    """
    if key == "annotations":
        return None  # a text's citations, whose files are no input
    if not above and HINT.search(key, 0, 100) is None:
        return False
    words = _words(key[:100])
    form = not words or (words[-1] in FORMS and words[-1] != "prompt")  # provider_options.video.negative_prompt
    if (words[:1] and words[0] in NO_INPUT) or words == ("reference", "id"):  # the latter is the caller's own
        return False
    while words and (words[-1] in FORMS or len(words[-1]) == 1):
        words = words[:-1]
    return (bool(words) and _has_media(words[-1])) or (above and form)


def _has_media(word: str) -> bool:
    """Say whether a word is in MEDIA, also in a compound: `firstframe`, `imageurl`."""
    return word in MEDIA or any(
        (word.startswith(each) and word.removeprefix(each) in FORMS)
        or (word.endswith(each) and word.removesuffix(each) in FORMS)
        for each in LONG
    )


@lru_cache(4096)
def _words(key: str) -> tuple[str, ...]:
    """Split a key into lower-case singular words: `imageUrls2` into image and url."""
    parts = re.split("[^a-z0-9]+", re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", key).lower())
    return tuple(word for part in parts if (word := part.rstrip("0123456789").removesuffix("s")))


def _may_be_media(text: str) -> bool:
    """Say whether a text under an image's name may be one, unlike `oil painting`."""
    text = text.strip()
    if text[:1] in ("[", "{"):  # JSON in a form's field
        return len(text) > len("[]")
    return bool(LINK.match(text) or FILE_NAME.search(text[-8:]) or BYTES.match(text))


def _is_inline(value: Mapping[str, Any] | list[Any]) -> bool:
    """Say whether an object has a media type and data, as Anthropic's clients send."""
    if not isinstance(value, Mapping):
        return False
    kind = value.get("media_type") or value.get("mime_type") or value.get("mimeType")
    return isinstance(kind, str) and kind[:6].lower() in ("image/", "video/", "audio/") and bool(value.get("data"))


def _written(path: Path | None) -> str:
    keys = []
    while path is not None:
        path, key = path
        keys.append(key)
    return "".join(reversed(keys)).removeprefix(".")
