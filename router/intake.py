"""From a request to a queued job: model, gate, limits, policies, images, inputs, add."""

from __future__ import annotations

import hashlib
import time
import uuid
from dataclasses import dataclass, fields, replace
from threading import Semaphore

from registry import ModelSpec, Route
from router import gate, images
from router.effective import Effective, resized, settle
from router.errors import ModelUnavailable, UnknownModel
from router.idempotency import Key, key_of
from router.requests import Options, Picture, Request
from router.system import System
from router.values import Job, StoredInput, Task

DECODERS = 2  # images decoded at a time: 64 megapixels take up to 700 MB


@dataclass(frozen=True)
class _Verified:
    """An input image that decodes: its bytes as received and what they hold."""

    picture: Picture
    data: bytes
    info: images.ImageInfo


class Intake:
    """The way in of one web process. A refusal leaves neither a job nor a file behind."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._decoders = Semaphore(DECODERS)
        hosts = images.Hosts(frozenset(system.settings.image_hosts), system.settings.image_public)
        self._fetcher = images.Fetcher(hosts)
        self._started = time.monotonic()

    def submit(self, request: Request, *, owner: str, request_id: str, key: str | None = None) -> Job:
        """Queue a request and return its job; raises a `RequestError` or `Unavailable` that says why not.

        The order is cheapest first, so that a mismatch never waits for an image. What the owner asked
        before under the same idempotency `key` is answered with that job.
        """
        named = key_of(key, request)
        if named and (known := self._system.jobs.keyed(owner, named)):
            return known
        model, effective = self.settle(request)
        self._check_service(model)
        verified = [self._verify(picture) for picture in request.pictures]
        task = _sized(model, request, effective, verified)
        job = Job(
            id=uuid.uuid4().hex,
            owner=owner,
            model=model.name,
            task=task,
            form=request.form,
            warnings=effective.warnings,
            request_id=request_id,
            created_at=time.time(),
        )
        return self._add(job, verified, named)

    def settle(self, request: Request) -> tuple[ModelSpec, Effective]:
        """Return the model that would run a request, and all that it would use; raises as `submit` does."""
        entry = self._entry(request.model)
        model = gate.choose(entry, request.given, self._system.registry, request.param("inputs"))
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

    def _entry(self, name: str | None) -> ModelSpec | Route:
        registry = self._system.registry
        wanted = registry.default if name is None else name
        entry = registry.find(wanted) if wanted else None
        if entry is None:
            served = ", ".join(e.name for e in registry.entries)
            raise UnknownModel(f"no model is called {str(wanted)[:128]!r}; served here: {served}", param="model")
        return entry

    def _check_service(self, model: ModelSpec) -> None:
        """Raise when the model's weights are not there, when no engine runs it, or when the queue is full."""
        self._system.weights.check(model)
        allowed = self._system.settings.engine_missing_seconds
        if time.monotonic() - self._started > allowed:
            ages = [engine.age for engine in self._system.engines.seen() if model.name in engine.models]
            if min(ages, default=allowed) >= allowed:
                raise ModelUnavailable(
                    f"no engine that can run {model.name} was seen for {allowed:.0f} seconds; "
                    "start one with 'framegate engine'"
                )
        self._system.jobs.check_room()

    def _verify(self, picture: Picture) -> _Verified:
        data = self._bytes(picture)
        info = images.inspect(data, param=picture.param)
        with self._decoders:
            images.decode(data, param=picture.param)
        return _Verified(picture, data, info)

    def _bytes(self, picture: Picture) -> bytes:
        if picture.data is not None:
            return picture.data
        if images.is_remote(picture.url):
            return self._fetcher.fetch(picture.url, param=picture.param)
        return images.parse_data_url(picture.url, images.MAX_BYTES, param=picture.param)

    def _add(self, job: Job, verified: list[_Verified], key: Key | None) -> Job:
        stored = tuple(_stored(str(n), image) for n, image in enumerate(verified))
        added = None
        try:
            for entry, image in zip(stored, verified, strict=True):
                self._system.artifacts.put_input(job.id, entry.name, image.data)
            added = self._system.jobs.add(replace(job, inputs=stored), key)
        finally:
            if added is None or added.id != job.id:
                self._system.artifacts.delete(job.id)
        if added.id == job.id:  # else another request with this key was faster
            self._system.plugins.announce(added)
        return added


def _sized(model: ModelSpec, request: Request, effective: Effective, verified: list[_Verified]) -> Task:
    """Give the task the first image's aspect at the model's area, where the caller named no size."""
    task = effective.task
    if effective.sized or not verified:
        return task
    first, multiple = verified[0].info, model.size_multiple
    area = model.defaults.width * model.defaults.height
    size = images.size_for(first.width, first.height, area, multiple, model.limits.pixels)
    return resized(model, request, task, *size)


def _stored(name: str, image: _Verified) -> StoredInput:
    digest = hashlib.sha256(image.data).hexdigest()
    return StoredInput(name, image.picture.role, image.info.media_type, digest, len(image.data))
