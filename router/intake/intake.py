"""The way of a request: key, model, adapters, limits, queue, size, policies, images, job."""

import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from itertools import product

from sqlalchemy.exc import SQLAlchemyError

from registry import ModelSpec, PerExpert
from router import media
from router.accounting.budgets import Need
from router.auth.keys import ApiKey
from router.errors import InvalidRequest, is_outage
from router.intake.acceptance import Acceptance, AcceptedRequest
from router.intake.estimate import RequestEstimate
from router.intake.images import PreparedInput, ReceivedImage
from router.intake.resolve import SEEDS, ResolvedTask
from router.jobs import QueueLimits
from router.jobs.idempotency import Key, check_name, key_of
from router.request import AdapterChoice, ImageInput, Options, Request
from router.runtime import logs
from router.system import System
from router.tokens import TokenCounter
from router.values import Job, StoredInput, Task


class Intake:
    """The intake of one web process: requests in, queued jobs out."""

    def __init__(self, system: System, decoders: media.Decoders | None = None) -> None:
        self._system = system
        self._decoders = decoders or media.Decoders()
        hosts = media.Hosts(frozenset(system.settings.image_hosts), system.settings.image_public)
        self._fetcher = media.Fetcher(hosts)
        self._acceptance = Acceptance(system)
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
        """Queue a request and return its job, the first of several.

        `share` names whose slots for fetching and decoding images are taken, by default the owner's. A refusal, any
        `RequestError` or `Unavailable`, leaves neither a job nor a file behind.
        """
        images = self._images(request, share or owner)
        # cheapest first, so that a mismatch never waits for an image
        if key is not None and (known := self._find_keyed(key, request, images, owner)) is not None:
            return known
        accepted = self._acceptance.accept(request, images, owner, api_key)
        inputs = self._prepare(accepted, images)
        job = self._job(request, accepted, inputs, owner, request_id, api_key)
        named = key_of(key, request, [image.identity for image in images]) if key else None
        return self._add(_with_siblings(job, request.count), inputs, named, accepted.limits)

    def estimate(
        self, request: Request, *, owner: str, api_key: ApiKey | None = None, share: str | None = None
    ) -> RequestEstimate:
        """Return what the first job of a request would be and take; store nothing.

        Raises as `submit` does, but decodes no image, and fetches none but one that decides the size of the video.
        """
        images = self._images(request, share or owner)
        accepted = self._acceptance.accept(request, images, owner, api_key)
        model, task, seconds = accepted.model, accepted.resolved.task, accepted.seconds
        need = Need(owner, api_key.id if api_key else None, request.count, seconds, model.price)
        self._system.jobs.check_limits(accepted.limits, need)
        for image in images:
            if not image.is_remote:
                image.receive(model.limits)
        crops = (warning for image in images for warning in image.crop(task))
        return RequestEstimate(
            model=model,
            task=task,
            seed=request.seed,
            warnings=self._warnings(request, accepted, crops),
            work=accepted.estimate,
            load=self._acceptance.expectation.load_seconds(model),
            remaining=self._system.jobs.expected_end(model.name, model.priority + request.priority_offset, seconds),
        )

    def resolve(self, request: Request, *, share: str) -> tuple[ModelSpec, ResolvedTask]:
        """Return the model and the effective task of a request; raises as `submit` does."""
        return self._acceptance.resolve(request, self._images(request, share))

    def again(self, job: Job) -> Request:
        """Return a request for the same video; raise `FileNotFoundError` for a deleted job."""
        names = {field.name for field in fields(Options)} & {field.name for field in fields(Task)}
        return Request(
            model=job.model,
            prompt=job.task.prompt,
            pictures=tuple(self._stored_picture(job, stored) for stored in job.inputs),
            options=Options(**{name: getattr(job.task, name) for name in names}),
            adapters=tuple(AdapterChoice(used.name, PerExpert(used.high, used.low)) for used in job.task.adapters),
            seed=job.task.seed,
            presentation=job.presentation,
        )

    def _images(self, request: Request, share: str) -> list[ReceivedImage]:
        return [ReceivedImage(picture, self._fetcher, share) for picture in request.pictures]

    def _find_keyed(self, key: str, request: Request, images: Sequence[ReceivedImage], owner: str) -> Job | None:
        """Return the owner's job under a key; raise `KeyReused` for another request."""
        # before the gate: the model may not be what it was when the job was accepted
        check_name(key)
        if not self._system.jobs.is_keyed(owner, key):
            return None
        try:
            named = key_of(key, request, [image.identity for image in images])
        except InvalidRequest:  # an unreadable image: it is refused in the usual order, as without a key
            return None
        known = self._system.jobs.keyed(owner, named)
        if known is not None:
            logs.job_id.set(known.id)
        return known

    def _prepare(self, accepted: AcceptedRequest, images: Sequence[ReceivedImage]) -> list[PreparedInput]:
        limits, task = accepted.model.limits, accepted.resolved.task
        if images:
            self._decoders.start()
        for image in images:
            image.receive(limits)
        return [image.prepare(limits, task, self._decoders, str(n)) for n, image in enumerate(images)]

    def _job(
        self,
        request: Request,
        accepted: AcceptedRequest,
        inputs: Sequence[PreparedInput],
        owner: str,
        request_id: str,
        api_key: ApiKey | None,
    ) -> Job:
        model, task = accepted.model, accepted.resolved.task
        crops = (warning for image in inputs for warning in image.crop)
        colours = (f"image {n} {note}" for n, image in enumerate(inputs, 1) for note in image.stored.notes)
        return Job(
            id=uuid.uuid4().hex,
            owner=owner,
            model=model.name,
            task=task,
            inputs=tuple(image.stored for image in inputs),
            presentation=request.presentation,
            warnings=self._warnings(request, accepted, (*crops, *colours)),
            request_id=request_id,
            created_at=time.time(),
            priority=model.priority + request.priority_offset,
            estimate=accepted.seconds,
            key=api_key.id if api_key else None,
            revision=accepted.revision,
            numerics=self._system.plugins.numerics(model, task),
            price=model.price,
        )

    def _warnings(self, request: Request, accepted: AcceptedRequest, of_images: Iterable[str]) -> tuple[str, ...]:
        resolved = accepted.resolved
        tokens = self._tokens.warnings(accepted.model, resolved.task)
        return tuple(dict.fromkeys((*request.warnings, *resolved.warnings, *of_images, *tokens)))

    def _add(self, jobs: Sequence[Job], inputs: Sequence[PreparedInput], key: Key | None, limits: QueueLimits) -> Job:
        added, (first, *siblings) = None, jobs
        is_unknown = False  # whether the rows were committed: then the sweeper takes what has none
        try:
            for job, image in product(jobs, inputs):
                self._system.artifacts.put_input(job.id, image.stored.name, image.png)
            added = self._system.jobs.add(first, key, limits, siblings)
        except SQLAlchemyError as error:
            is_unknown = is_outage(error)
            raise
        finally:
            if not is_unknown and (added is None or added.id != first.id):
                for job in jobs:
                    self._system.artifacts.delete(job.id)
        logs.job_id.set(added.id)
        if added.id == first.id:  # else another request with this key was faster
            for job in (added, *siblings):
                self._system.plugins.announce(job)
        return added

    def _stored_picture(self, job: Job, stored: StoredInput) -> ImageInput:
        data = self._system.artifacts.read_input(job.id, stored.name)
        return ImageInput(stored.role, url="", param="", data=data, stored=stored if stored.png_size else None)


def _with_siblings(job: Job, count: int) -> list[Job]:
    """Return the jobs of a request; the first has the ids of the others."""
    alone = replace(job.presentation, attended=False)
    siblings = [
        replace(job, id=uuid.uuid4().hex, task=replace(job.task, seed=(job.task.seed + n) % SEEDS), presentation=alone)
        for n in range(1, count)
    ]
    known = replace(job.presentation, siblings=tuple(sibling.id for sibling in siblings))
    return [replace(job, presentation=known), *siblings]
