"""From a request to a queued job: model, gate, limits, policies, images, inputs, add."""

from __future__ import annotations

import hashlib
import time
import uuid
from dataclasses import dataclass, fields, replace
from threading import Semaphore

from registry import BrokenModel, Limits, ModelSpec, Registry, Route
from router import gate, images, logs
from router.api_keys import ApiKey
from router.effective import Effective, resized, settle
from router.errors import ModelUnavailable, UnknownModel
from router.idempotency import Key, key_of
from router.jobs import Caps
from router.requests import Options, Picture, Request
from router.system import System
from router.tokens import TokenCounter
from router.values import Job, StoredInput, Task

DECODERS = 2  # images decoded at a time: 64 megapixels take up to 1.1 GB, of 16 bits with alpha


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
        self._tokens = TokenCounter(system.weights.locate)

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

        The order is cheapest first, so that a mismatch never waits for an image. What the owner asked
        before under the same idempotency `key` is answered with that job. Of the `api_key` only so many jobs may be
        queued.
        """
        named = key_of(key, request)
        if named and (known := self._system.jobs.keyed(owner, named)):
            logs.job_id.set(known.id)
            return known
        registry = self._system.registry
        model, effective = self._settle(request, registry)
        caps = _caps(model, api_key)
        self._check_service(model, caps)
        verified = [self._verify(picture, model.limits) for picture in request.pictures]
        task = _sized(model, request, effective, verified)
        pace = self._system.paces.of(model.name, task.shape)
        job = Job(
            id=uuid.uuid4().hex,
            owner=owner,
            model=model.name,
            task=task,
            form=request.form,
            warnings=(*effective.warnings, *_noted(verified), *self._tokens.warnings(model, task)),
            request_id=request_id,
            created_at=time.time(),
            priority=model.priority + request.tier,
            estimate=pace.seconds(task.steps) if pace else None,
            key=api_key.id if api_key else None,
            revision=registry.revision,
        )
        return self._add(job, verified, named, caps)

    def settle(self, request: Request) -> tuple[ModelSpec, Effective]:
        """Return the model that would run a request, and all that it would use; raises as `submit` does."""
        return self._settle(request, self._system.registry)

    def _settle(self, request: Request, registry: Registry) -> tuple[ModelSpec, Effective]:
        entry = _entry(registry, request.model)
        model = gate.choose(entry, request.given, registry, request.param("inputs"))
        effective = settle(model, request)
        self._system.plugins.hook_for("check_request", model)(model=model, task=effective.task)
        return model, effective

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
        """Raise when the model's weights are not there, when no engine runs it, or when the queue is full.

        Engines have as long as is allowed to take up what this process has just taken up.
        """
        self._system.weights.check(model)
        allowed = self._system.settings.engine_missing_seconds
        if self._system.registries.age > allowed:
            ages = [engine.age for engine in self._system.engines.seen() if model.name in engine.models]
            if min(ages, default=allowed) >= allowed:
                raise ModelUnavailable(
                    f"no engine that can run {model.name} was seen for {allowed:.0f} seconds; "
                    "start one with 'framegate engine'"
                )
        self._system.jobs.check_room(caps)

    def _verify(self, picture: Picture, limits: Limits) -> _Verified:
        data = self._bytes(picture, limits.image_bytes)
        info = images.inspect(data, param=picture.param, max_bytes=limits.image_bytes, max_pixels=limits.image_pixels)
        with self._decoders:
            notes = images.decode_with_notes(data, param=picture.param).notes
        return _Verified(picture, data, info, notes)

    def _bytes(self, picture: Picture, limit: int) -> bytes:
        if picture.data is not None:
            return picture.data
        if images.is_remote(picture.url):
            return self._fetcher.fetch(picture.url, param=picture.param, limit=limit)
        return images.parse_data_url(picture.url, limit, param=picture.param)

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


def _caps(model: ModelSpec, key: ApiKey | None) -> Caps:
    """Return how many jobs of this model, and of this key, may be queued."""
    return Caps(model.name, model.limits.queued, *((key.id, key.limits.queued) if key else (None, None)))


def _sized(model: ModelSpec, request: Request, effective: Effective, verified: list[_Verified]) -> Task:
    """Give the task the first image's aspect at the model's area, where the caller named no size."""
    task = effective.task
    if effective.sized or not verified:
        return task
    first, multiple = verified[0].info, model.size_multiple
    area = model.defaults.width * model.defaults.height
    size = images.size_for(first.width, first.height, area, multiple, model.limits.pixels)
    return resized(model, request, task, *size)


def _noted(verified: list[_Verified]) -> tuple[str, ...]:
    """Return the notes on all images as sentences."""
    return tuple(f"image {n} {note}" for n, image in enumerate(verified, 1) for note in image.notes)


def _stored(name: str, image: _Verified) -> StoredInput:
    digest = hashlib.sha256(image.data).hexdigest()
    return StoredInput(name, image.picture.role, image.info.media_type, digest, len(image.data))
