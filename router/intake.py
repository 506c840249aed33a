"""From a request to a queued job: model, gate, limits, policies, images, inputs, add."""

from __future__ import annotations

import hashlib
import time
import uuid
from dataclasses import dataclass, fields, replace
from functools import cached_property
from threading import Semaphore

from registry import BrokenModel, Input, ModelSpec, Registry, Route
from router import effective, gate, images, logs
from router.api_keys import ApiKey
from router.effective import Effective
from router.errors import ModalityMismatch, ModelUnavailable, UnknownModel
from router.idempotency import Key, key_of
from router.jobs import Caps
from router.requests import Options, Picture, Request
from router.system import System
from router.tokens import TokenCounter
from router.values import Job, StoredInput, Task, lacking, too_large

DECODERS = 2  # images decoded at a time: 64 megapixels take up to 1.1 GB, of 16 bits with alpha


class _Received:
    """An input image whose bytes and header are read when they are first needed."""

    def __init__(self, picture: Picture, model: ModelSpec, fetcher: images.Fetcher) -> None:
        self.picture = picture
        self._limits = model.limits
        self._fetcher = fetcher

    @cached_property
    def data(self) -> bytes:
        picture, limit = self.picture, self._limits.image_bytes
        if picture.data is not None:
            return picture.data
        if images.is_remote(picture.url):
            return self._fetcher.fetch(picture.url, param=picture.param, limit=limit)
        return images.parse_data_url(picture.url, limit, param=picture.param)

    @cached_property
    def info(self) -> images.ImageInfo:
        most = {"max_bytes": self._limits.image_bytes, "max_pixels": self._limits.image_pixels}
        return images.inspect(self.data, param=self.picture.param, **most)


@dataclass(frozen=True)
class _Verified:
    """An input image that decodes: its bytes as received, what they hold, and notes on its colours."""

    picture: Picture
    data: bytes
    info: images.ImageInfo
    notes: tuple[str, ...] = ()


class Intake:
    """The way in of one web process. A refusal leaves neither a job nor a file behind."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._decoders = Semaphore(DECODERS)
        hosts = images.Hosts(frozenset(system.settings.image_hosts), system.settings.image_public)
        self._fetcher = images.Fetcher(hosts)
        self._tokens = TokenCounter(system.weights.snapshot)

    def submit(
        self,
        request: Request,
        *,
        owner: str,
        request_id: str,
        key: str | None = None,
        api_key: ApiKey | None = None,
    ) -> Job:
        """Queue a request and return its job; raises a `RequestError` or `Unavailable` that says why not.

        The order is cheapest first, so that a mismatch never waits for an image:

        1. the gate;
        2. the idempotency `key`: the job that the owner has under it is the answer;
        3. the limits, then the service and its queues, that of the `api_key` among them;
        4. the video's size, where nobody named one from the header of the first image, fetched now if it is remote;
        5. the policies, which see the task as it will run;
        6. every image, fetched and decoded.
        """
        registry = self._system.registry
        try:
            model = _choose(request, registry)
        except (UnknownModel, ModelUnavailable, ModalityMismatch):  # it may not be what it was when it was accepted
            sent_before = key is not None and self._system.jobs.is_keyed(owner, key)
            known = self._known(key, request, owner)[1] if sent_before else None
            if known is None:
                raise
            return known
        request = _with_bytes(request) if key else request
        named, known = self._known(key, request, owner)
        if known is not None:
            return known
        _check(model, request)
        caps = _caps(model, api_key)
        self._check_service(model, caps)
        received = self._received(request, model)
        settled = self._settle(model, request, received)
        task = settled.task
        verified = [self._verify(image) for image in received]
        pace = self._system.paces.of(model.name, task.shape)
        job = Job(
            id=uuid.uuid4().hex,
            owner=owner,
            model=model.name,
            task=task,
            form=request.form,
            warnings=(*request.warnings, *settled.warnings, *self._noted(model, task, verified)),
            request_id=request_id,
            created_at=time.time(),
            priority=model.priority + request.tier,
            estimate=pace.seconds(task.steps) if pace else None,
            key=api_key.id if api_key else None,
            revision=registry.revision,
        )
        return self._add(job, verified, named, caps)

    def _known(self, key: str | None, request: Request, owner: str) -> tuple[Key | None, Job | None]:
        """Return the request under its key, and the job that the owner has under it already."""
        named = key_of(key, request)
        known = self._system.jobs.keyed(owner, named) if named else None
        if known is not None:
            logs.job_id.set(known.id)
        return named, known

    def settle(self, request: Request) -> tuple[ModelSpec, Effective]:
        """Return the model that would run a request, and all that it would use; raises as `submit` does."""
        model = _choose(request, self._system.registry)
        _check(model, request)
        return model, self._settle(model, request, self._received(request, model))

    def _settle(self, model: ModelSpec, request: Request, received: list[_Received]) -> Effective:
        """Make the task and show it to the policies; only an image that decides the size is received."""

        def first_image() -> effective.Size:
            first = next(image for image in received if image.picture.role is Input.IMAGE)
            return first.info.width, first.info.height

        settled = effective.settle(model, request, first_image)
        self._system.plugins.hook_for("check_request", model)(model=model, task=settled.task)
        return settled

    def _received(self, request: Request, model: ModelSpec) -> list[_Received]:
        return [_Received(picture, model, self._fetcher) for picture in request.pictures]

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
            form=job.form,
        )

    def _stored_picture(self, job: Job, stored: StoredInput) -> Picture:
        return Picture(stored.role, url="", param="", data=self._system.artifacts.read_input(job.id, stored.name))

    def _check_service(self, model: ModelSpec, caps: Caps) -> None:
        """Raise when the model's weights are not there, when no engine can run it, or when the queue is full.

        Engines have as long as is allowed to take up what this process has just taken up.
        """
        self._system.weights.check(model)
        self._system.disk.require()
        if (reason := too_large(model.name, self._system.engines.alive())) is not None:
            raise ModelUnavailable(reason)
        allowed = self._system.settings.engine_missing_seconds
        engines = self._system.engines.seen()
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

    def _verify(self, received: _Received) -> _Verified:
        picture, data, info = received.picture, received.data, received.info
        with self._decoders:
            notes = images.decode_with_notes(data, param=picture.param).notes
        return _Verified(picture, data, info, notes)

    def _noted(self, model: ModelSpec, task: Task, verified: list[_Verified]) -> tuple[str, ...]:
        """Return what the caller should know of the images and the prompts of a task."""
        notes = (f"image {n} {note}" for n, image in enumerate(verified, 1) for note in image.notes)
        return (*_cropped(verified, task), *notes, *self._tokens.warnings(model, task))

    def _add(self, job: Job, verified: list[_Verified], key: Key | None, caps: Caps) -> Job:
        stored = tuple(_stored(str(n), image) for n, image in enumerate(verified))
        added = None
        try:
            for entry, image in zip(stored, verified, strict=True):
                self._system.artifacts.put_input(job.id, entry.name, image.data)
            added = self._system.jobs.add(replace(job, inputs=stored), key, caps)
        finally:
            if added is None or added.id != job.id:
                self._system.artifacts.delete(job.id)
        logs.job_id.set(added.id)
        if added.id == job.id:  # else another request with this key was faster
            self._system.plugins.announce(added)
        return added


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
    effective.check(model, request)
    num_frames = effective.frames_of(model, request)
    gate.check_frames(model, request.given, num_frames, request.param("num_frames"))


def _with_bytes(request: Request) -> Request:
    """Return the request with the bytes of its `data:` URLs, so that each is decoded once."""
    pictures = [
        one
        if one.data is not None or images.is_remote(one.url)
        else replace(one, data=images.parse_data_url(one.url, param=one.param))
        for one in request.pictures
    ]
    return replace(request, pictures=tuple(pictures))


def _caps(model: ModelSpec, key: ApiKey | None) -> Caps:
    """Return how many jobs of this model, and of this key, may be queued."""
    return Caps(model.name, model.limits.queued, *((key.id, key.limits.queued) if key else (None, None)))


def _cropped(verified: list[_Verified], task: Task) -> tuple[str, ...]:
    """Return a warning for each image of which a good part is not in the video."""
    sizes = [(image.picture.role, (image.info.width, image.info.height)) for image in verified]
    return tuple(warning for role, size in sizes for warning in effective.cropped(role, size, task))


def _stored(name: str, image: _Verified) -> StoredInput:
    digest = hashlib.sha256(image.data).hexdigest()
    return StoredInput(name, image.picture.role, image.info.media_type, digest, len(image.data))
