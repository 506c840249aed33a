"""The images of a request: bytes, digest and header are read once, pixels last."""

import hashlib
from dataclasses import dataclass, replace

from registry import Input, Limits
from router import media
from router.request import ImageInput
from router.values import StoredInput, Task

MOST_OF_IT = 0.995
CROPPED = 0.03  # the least share of an image that is worth a warning; rounding to a multiple cuts less


@dataclass(frozen=True)
class PreparedInput:
    """An image for the store, and a warning if the video crops it."""

    stored: StoredInput
    png: bytes
    crop: tuple[str, ...]


class ReceivedImage:
    """An image of a request, fetched, measured and hashed at first use."""

    # Not by `cached_property`: that of Python 3.11 has one lock for all instances, so a silent site would hold up all.

    def __init__(self, source: ImageInput, fetcher: media.Fetcher, owner: str) -> None:
        self.source = source
        self._fetcher = fetcher
        self._owner = owner
        self._data = source.data
        self._sha256: str | None = None
        self._info: media.ImageInfo | None = None

    @property
    def identity(self) -> str:
        """Return the digest under an idempotency key; raise `InvalidRequest` for a broken `data:` URL."""
        if self.is_remote:  # so that a repeated request fetches nothing
            return _digest(self.source.url.encode("utf-8", "surrogatepass"))
        return self._digest_of(self._content())

    def receive(self, limits: Limits) -> media.ImageInfo:
        """Fetch a remote image, read the header, and return type and size.

        Raises `InvalidRequest` for an image that its header or the limits refuse, and what `Fetcher.fetch` raises.
        """
        if (stored := self.source.stored) is not None:
            return media.ImageInfo(stored.media_type, stored.width, stored.height)
        if self._info is None and self.source.size is not None:
            media.hold_pixels(*self.source.size, limits.image_pixels, self.source.param)
            self._info = media.ImageInfo("", *self.source.size)
        if self._info is None:
            data = self._fetched(limits) if self.is_remote else self._content()
            bounds = {"max_bytes": limits.image_bytes, "max_pixels": limits.image_pixels}
            self._info = media.inspect(data, param=self.source.param, **bounds)
        return self._info

    def crop(self, task: Task) -> tuple[str, ...]:
        """Return a warning if the video crops the image; none before it is received."""
        return _crop_warning(self.source.role, self._info, task) if self._info else ()

    def prepare(self, limits: Limits, task: Task, decoders: media.Decoders, name: str) -> PreparedInput:
        """Decode the image and return the PNG to store under `name`.

        The image of an earlier job is a stored PNG already. Raises what `receive` and `Decoders.prepare` raise.
        """
        info = self.receive(limits)
        crop = _crop_warning(self.source.role, info, task)
        data = self._content()
        if (known := self.source.stored) is not None:
            return PreparedInput(replace(known, name=name), data, crop)
        size, param = (task.width, task.height), self.source.param
        made = decoders.prepare(data, size, limits.pixels, owner=self._owner, param=param)
        stored = StoredInput(
            name=name,
            role=self.source.role,
            media_type=info.media_type,
            sha256=self._digest_of(data),
            size=len(data),
            png_sha256=_digest(made.png),
            png_size=len(made.png),
            width=info.width,
            height=info.height,
            notes=made.notes,
        )
        return PreparedInput(stored, made.png, crop)

    @property
    def is_remote(self) -> bool:
        """Say whether the image is at another server."""
        return self.source.data is None and media.is_remote(self.source.url)

    def _fetched(self, limits: Limits) -> bytes:
        if self._data is None:
            url, param = self.source.url, self.source.param
            self._data = self._fetcher.fetch(url, owner=self._owner, param=param, limit=limits.image_bytes)
        return self._data

    def _content(self) -> bytes:
        if self._data is None:
            self._data = media.parse_data_url(self.source.url, param=self.source.param)
        return self._data

    def _digest_of(self, data: bytes) -> str:
        self._sha256 = self._sha256 or _digest(data)
        return self._sha256


def _crop_warning(role: Input, image: media.ImageInfo, task: Task) -> tuple[str, ...]:
    width, height = media.crop_size(image.width, image.height, task.width, task.height)
    lost = 1 - width * height / (image.width * image.height)
    if lost <= CROPPED:
        return ()
    share = f"{lost:.0%}".replace("%", " %") if lost < MOST_OF_IT else "more than 99 %"
    name = "last image" if role is Input.LAST_IMAGE else "image"
    size, video = f"{image.width}x{image.height}", f"{task.width}x{task.height}"
    return (f"{name} {size} was cropped to {video}: {share} of it is not in the video",)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
