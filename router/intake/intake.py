"""From a request to a queued job: model, gate, limits, policies, images, inputs, add."""

from __future__ import annotations

import hashlib
import time
import uuid
from dataclasses import dataclass, fields, replace

from registry import BrokenModel, Input, Limits, ModelSpec, Registry, Route
from router import media
from router.auth.keys import ApiKey
from router.errors import InvalidRequest, ModalityMismatch, ModelUnavailable, UnknownModel
from router.intake import gate, resolve
from router.intake.resolve import ResolvedTask
from router.jobs import QueueLimits
from router.jobs.idempotency import Key, check_name, key_of
from router.request import ImageInput, Options, Request
from router.runtime import logs
from router.system import System
from router.tokens import TokenCounter
from router.values import Job, StoredInput, Task, lacking, too_large


class _Received:
    """An input image that is fetched, read and hashed once, when it is first needed, and decoded once, at last.

    Not by `cached_property`: that of Python 3.11 has one lock for all instances, so a silent site would hold up all.
    """

    def __init__(self, picture: ImageInput, limits: Limits, owner: str, fetcher: media.Fetcher) -> None:
        self.picture = picture
        self._limits = limits
        self._owner = owner
        self._fetcher = fetcher
        self._data: bytes | None = None
        self._sha256 = ""
        self._info: media.ImageInfo | None = None

    @property
    def data(self) -> bytes:
        if self._data is None:
            self._data = self._fetched() if _is_remote(self.picture) else _carried(self.picture)
        return self._data

    def _fetched(self) -> bytes:
        url, param, limit = self.picture.url, self.picture.param, self._limits.image_bytes
        return self._fetcher.fetch(url, owner=self._owner, param=param, limit=limit)

    @property
    def sha256(self) -> str:
        self._sha256 = self._sha256 or _digest(self.data)
        return self._sha256

    @property
    def identity(self) -> str:
        """Return what the image counts by under a key."""
        return _address(self.picture) if _is_remote(self.picture) else self.sha256

    @property
    def info(self) -> media.ImageInfo:
        if self._info is None:
            most = {"max_bytes": self._limits.image_bytes, "max_pixels": self._limits.image_pixels}
            self._info = media.inspect(self.data, param=self.picture.param, **most)
        return self._info

    @property
    def size(self) -> resolve.Size:
        """Return the width and height that were received."""
        stored = self.picture.stored
        return (stored.width, stored.height) if stored else (self.info.width, self.info.height)

    def check(self) -> None:
        """Fetch and measure the image; raise `InvalidRequest` for one that is refused by its header."""
        _ = self.size

    def ready(self, task: Task, decoders: media.Decoders, name: str) -> _Ready:
        """Return what is stored; of a job's own image no more than its name is another."""
        if self.picture.stored is not None:
            return _Ready(replace(self.picture.stored, name=name), self.data)
        width, height = self.size
        made = decoders.prepare(
            self.data, (task.width, task.height), self._limits.pixels, owner=self._owner, param=self.picture.param
        )
        stored = StoredInput(
            name=name,
            role=self.picture.role,
            media_type=self.info.media_type,
            sha256=self.sha256,
            size=len(self.data),
            png_sha256=_digest(made.png),
            png_size=len(made.png),
            width=width,
            height=height,
            notes=made.notes,
        )
        return _Ready(stored, made.png)


@dataclass(frozen=True)
class _Ready:
    """An input image as it is stored."""

    stored: StoredInput
    png: bytes


class Intake:
    """The way in of one web process. A refusal leaves neither a job nor a file behind."""

    def __init__(self, system: System, decoders: media.Decoders | None = None) -> None:
        self._system = system
        self._decoders = decoders or media.Decoders()
        hosts = media.Hosts(frozenset(system.settings.image_hosts), system.settings.image_public)
        self._fetcher = media.Fetcher(hosts)
        self._tokens = TokenCounter(system.weights.snapshot)

    def submit(
        self,
        request: Request,
        *,
        owner: str,
        request_id: str,
        key: str | None = None,
        api_key: ApiKey | None = None,
        share: str | None = None,
    ) -> Job:
        """Queue a request and return its job; raises a `RequestError` or `Unavailable` that says why not.

        `share` is whose slots it takes for fetching and decoding images, by default the owner's. The order is cheapest
        first, so that a mismatch never waits for an image:

        1. the gate;
        2. the idempotency `key`, where the owner has used it: the job under it is the answer;
        3. the limits, then the service and its queues, that of the `api_key` among them;
        4. the video's size, where nobody named one from the header of the first image, fetched now if it is remote;
        5. the policies, which see the task as it will run;
        6. every image, fetched and decoded.
        """
        registry = self._system.registry
        if key is not None:
            check_name(key)
        is_keyed = key is not None and self._system.jobs.is_keyed(owner, key)
        try:
            model = _choose(request, registry)
        except (UnknownModel, ModelUnavailable, ModalityMismatch):  # it may not be what it was when it was accepted
            if not is_keyed or (known := self._known_anyway(key, request, owner)) is None:
                raise
            return known
        received = self._received(request, model, share or owner)
        if is_keyed and (known := self._known(_named(key, request, received), owner)) is not None:
            return known
        _check(model, request)
        caps = _caps(model, api_key)
        self._check_service(model, caps)
        settled = self._settle(model, request, received)
        task = settled.task
        if received:
            self._decoders.start()
        for image in received:
            image.check()
        ready = [image.ready(task, self._decoders, str(number)) for number, image in enumerate(received)]
        pace = self._system.paces.of(model.name, task.shape)
        job = Job(
            id=uuid.uuid4().hex,
            owner=owner,
            model=model.name,
            task=task,
            inputs=tuple(image.stored for image in ready),
            presentation=request.presentation,
            warnings=(*request.warnings, *settled.warnings, *self._noted(model, task, received, ready)),
            request_id=request_id,
            created_at=time.time(),
            priority=model.priority + request.tier,
            estimate=pace.seconds(task.steps) if pace else None,
            key=api_key.id if api_key else None,
            revision=registry.revision,
        )
        return self._add(job, ready, _named(key, request, received), caps)

    def _known(self, named: Key | None, owner: str) -> Job | None:
        """Return the job that the owner has under a key already; raise `KeyReused` where its request is another."""
        known = self._system.jobs.keyed(owner, named) if named else None
        if known is not None:
            logs.job_id.set(known.id)
        return known

    def _known_anyway(self, key: str | None, request: Request, owner: str) -> Job | None:
        """Return what `_known` does of a request that no model takes now; None for one whose images cannot be read."""
        try:
            digests = [_address(one) if _is_remote(one) else _digest(_carried(one)) for one in request.pictures]
        except InvalidRequest:
            return None
        return self._known(key_of(key, request, digests) if key else None, owner)

    def settle(self, request: Request, *, share: str) -> tuple[ModelSpec, ResolvedTask]:
        """Return the model that would run a request, and all that it would use; raises as `submit` does."""
        model = _choose(request, self._system.registry)
        _check(model, request)
        return model, self._settle(model, request, self._received(request, model, share))

    def _settle(self, model: ModelSpec, request: Request, received: list[_Received]) -> ResolvedTask:
        """Make the task and show it to the policies; only an image that decides the size is received."""

        def first_image() -> resolve.Size:
            return next(image for image in received if image.picture.role is Input.IMAGE).size

        settled = resolve.settle(model, request, first_image)
        self._system.plugins.hook_for("check_request", model)(model=model, task=settled.task)
        return settled

    def _received(self, request: Request, model: ModelSpec, share: str) -> list[_Received]:
        return [_Received(picture, model.limits, share, self._fetcher) for picture in request.pictures]

    def again(self, job: Job) -> Request:
        """Return the request that makes `job` once more: its model, effective options and seed, its images as stored.

        Raises `FileNotFoundError` when the job is deleted meanwhile.
        """
        said = {field.name for field in fields(Options)} & {field.name for field in fields(Task)}
        return Request(
            model=job.model,
            prompt=job.task.prompt,
            pictures=tuple(self._stored_picture(job, stored) for stored in job.inputs),
            options=Options(**{name: getattr(job.task, name) for name in said}),
            seed=job.task.seed,
            presentation=job.presentation,
        )

    def _stored_picture(self, job: Job, stored: StoredInput) -> ImageInput:
        data = self._system.artifacts.read_input(job.id, stored.name)
        return ImageInput(stored.role, url="", param="", data=data, stored=stored if stored.png_size else None)

    def _check_service(self, model: ModelSpec, caps: QueueLimits) -> None:
        """Raise when the model's weights are not there, when no engine can run it, or when the queue is full.

        Engines have as long as is allowed to take up what this process has just taken up.
        """
        self._system.weights.check(model)
        self._system.disk.require()
        engines = self._system.engines.seen()
        if (reason := too_large(model.name, self._system.engines.alive(engines))) is not None:
            raise ModelUnavailable(reason)
        allowed = self._system.settings.engine_missing_seconds
        if lacks := lacking(model.name, engines, allowed):
            raise ModelUnavailable(f"no engine can run {model.name}: {'; '.join(lacks)}")
        if self._system.registries.age > allowed:
            ages = [engine.age for engine in engines if model.name in engine.models]
            if min(ages, default=allowed) >= allowed:
                raise ModelUnavailable(
                    f"no engine that can run {model.name} was seen for {allowed:.0f} seconds; "
                    "start one with 'framegate engine'"
                )
        self._system.jobs.check_room(caps)

    def _noted(self, model: ModelSpec, task: Task, received: list[_Received], ready: list[_Ready]) -> tuple[str, ...]:
        """Return what the caller should know of the images and the prompts of a task."""
        cropped = (warning for one in received for warning in resolve.cropped(one.picture.role, one.size, task))
        notes = (f"image {n} {note}" for n, one in enumerate(ready, 1) for note in one.stored.notes)
        return (*cropped, *notes, *self._tokens.warnings(model, task))

    def _add(self, job: Job, ready: list[_Ready], key: Key | None, caps: QueueLimits) -> Job:
        added = None
        try:
            for image in ready:
                self._system.artifacts.put_input(job.id, image.stored.name, image.png)
            added = self._system.jobs.add(job, key, caps)
        finally:
            if added is None or added.id != job.id:
                self._system.artifacts.delete(job.id)
        logs.job_id.set(added.id)
        if added.id == job.id:  # else another request with this key was faster
            self._system.plugins.announce(added)
        return added


def _is_remote(picture: ImageInput) -> bool:
    return picture.data is None and media.is_remote(picture.url)


def _carried(picture: ImageInput) -> bytes:
    return media.parse_data_url(picture.url, param=picture.param) if picture.data is None else picture.data


def _address(picture: ImageInput) -> str:
    """Return the digest of an image's URL, by which it counts under a key: it is not fetched again."""
    return _digest(picture.url.encode("utf-8", "surrogatepass"))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _entry(registry: Registry, name: str | None) -> ModelSpec | Route:
    """Return what a request means that names `name`, or nothing; raise `UnknownModel` with what is served."""
    wanted = registry.default if name is None else name
    entry = registry.find(wanted) if wanted else None
    if entry is None:
        served = ", ".join(e.name for e in registry.entries)
        raise UnknownModel(f"no model is called {str(wanted)[:128]!r}; served here: {served}", param="model")
    if isinstance(entry, BrokenModel):
        raise gate.broken(entry)
    return entry


def _choose(request: Request, registry: Registry) -> ModelSpec:
    return gate.choose(_entry(registry, request.model), request.given, registry, request.param("inputs"))


def _check(model: ModelSpec, request: Request) -> None:
    """Hold the limits that need no look at an image: the model's, and its modality's."""
    resolve.check(model, request)
    num_frames = resolve.frames_of(model, request)
    gate.check_frames(model, request.given, num_frames, request.param("num_frames"))


def _named(key: str | None, request: Request, received: list[_Received]) -> Key | None:
    return key_of(key, request, [image.identity for image in received]) if key else None


def _caps(model: ModelSpec, key: ApiKey | None) -> QueueLimits:
    """Return how many jobs of this model, and of this key, may be queued."""
    return QueueLimits(model.name, model.limits.queued, *((key.id, key.limits.queued) if key else (None, None)))
