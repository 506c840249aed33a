"""The way of a request: key, model, adapters, limits, queue, size, policies, images, job."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import product

from registry import Input, ModelSpec, PerExpert, Registry
from router import media
from router.accounting.budgets import Need
from router.auth.keys import ApiKey
from router.errors import InvalidRequest
from router.intake import adapters, gate, resolve
from router.intake.adapters import Used
from router.intake.availability import ModelAvailability
from router.intake.expectation import Expectation
from router.intake.images import PreparedInput, ReceivedImage
from router.intake.resolve import SEEDS, ResolvedTask
from router.jobs import QueueLimits
from router.jobs.idempotency import Key, check_name, key_of
from router.request import AdapterChoice, ImageInput, Options, Request
from router.runtime import logs
from router.system import System
from router.tokens import TokenCounter
from router.values import Job, OutputPart, StoredInput, Task


class Intake:
    """The intake of one web process: requests in, queued jobs out."""

    def __init__(self, system: System, decoders: media.Decoders | None = None) -> None:
        self._system = system
        self._decoders = decoders or media.Decoders()
        hosts = media.Hosts(frozenset(system.settings.image_hosts), system.settings.image_public)
        self._fetcher = media.Fetcher(hosts)
        self._availability = ModelAvailability(system)
        self._expectation = Expectation(system)
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
        registry = self._system.registries.poll()
        model, used = _model_for(request, registry, self._availability.of)
        key_id, of_key = (api_key.id, api_key.limits.queued) if api_key else (None, None)
        param = request.param("num_images")
        limits = QueueLimits(model.name, model.limits.queued, key_id, of_key, request.count, param)
        need = None
        if images:  # before any is fetched; without them the check of `add` comes as soon
            # the image's size, if that is the video's, has as many pixels as the default one
            before = resolve.resolve(model, request, None, used).task
            need = Need(owner, key_id, request.count, self._expectation.of(model, before), model.price)
        gate.check_available(self._system, model, limits, need, used)
        resolved = self._resolve(model, request, images, used)
        estimate = self._expectation.of(model, resolved.task)
        inputs = self._prepare(model, resolved.task, images)
        job = self._job(request, model, resolved, inputs, owner, request_id, api_key, registry.revision, estimate)
        named = key_of(key, request, [image.identity for image in images]) if key else None
        return self._add(_with_siblings(job, request.count), inputs, named, limits)

    def resolve(self, request: Request, *, share: str) -> tuple[ModelSpec, ResolvedTask]:
        """Return the model and the effective task of a request; raises as `submit` does."""
        model, used = _model_for(request, self._system.registries.poll(), self._availability.of)
        return model, self._resolve(model, request, self._images(request, share), used)

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

    def _resolve(self, model: ModelSpec, request: Request, images: Sequence[ReceivedImage], used: Used) -> ResolvedTask:
        size = None
        if resolve.follows_image(request):  # no other image is received before the policies
            first = next(image for image in images if image.source.role is Input.IMAGE)
            info = first.receive(model.limits)
            size = info.width, info.height
        resolved = resolve.resolve(model, request, size, used)
        self._system.plugins.hook_for("check_request", model)(model=model, task=resolved.task)
        return resolved

    def _prepare(self, model: ModelSpec, task: Task, images: Sequence[ReceivedImage]) -> list[PreparedInput]:
        if images:
            self._decoders.start()
        for image in images:
            image.receive(model.limits)
        return [image.prepare(model.limits, task, self._decoders, str(n)) for n, image in enumerate(images)]

    def _job(
        self,
        request: Request,
        model: ModelSpec,
        resolved: ResolvedTask,
        inputs: Sequence[PreparedInput],
        owner: str,
        request_id: str,
        api_key: ApiKey | None,
        revision: int | None,
        estimate: float | None,
    ) -> Job:
        task = resolved.task
        warnings = (*request.warnings, *resolved.warnings, *self._warnings(model, task, inputs))
        return Job(
            id=uuid.uuid4().hex,
            owner=owner,
            model=model.name,
            task=task,
            inputs=tuple(image.stored for image in inputs),
            presentation=request.presentation,
            warnings=tuple(dict.fromkeys(warnings)),
            request_id=request_id,
            created_at=time.time(),
            priority=model.priority + request.priority_offset,
            estimate=estimate,
            key=api_key.id if api_key else None,
            revision=revision,
            numerics=self._system.plugins.numerics(model, task),
            price=model.price,
        )

    def _warnings(self, model: ModelSpec, task: Task, inputs: Sequence[PreparedInput]) -> tuple[str, ...]:
        crops = (warning for image in inputs for warning in image.crop)
        colours = (f"image {n} {note}" for n, image in enumerate(inputs, 1) for note in image.stored.notes)
        return (*crops, *colours, *self._tokens.warnings(model, task))

    def _add(self, jobs: Sequence[Job], inputs: Sequence[PreparedInput], key: Key | None, limits: QueueLimits) -> Job:
        added, (first, *siblings) = None, jobs
        try:
            for job, image in product(jobs, inputs):
                self._system.artifacts.put_input(job.id, image.stored.name, image.png)
            added = self._system.jobs.add(first, key, limits, siblings)
        finally:
            if added is None or added.id != first.id:
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


def _model_for(request: Request, registry: Registry, available: gate.Available) -> tuple[ModelSpec, Used]:
    """Return the model, with the defaults of the adapters in use, and these."""
    entry = gate.find(request.model, registry)
    model = gate.choose(entry, request.input_kinds, registry, available, request.param("inputs"))
    _check_text_only(model, request)
    model, used = adapters.choose(model, request)
    resolve.check(model, request)
    gate.check_frames(model, request.input_kinds, resolve.frames_of(model, request), request.param("num_frames"))
    return model, used


def _check_text_only(model: ModelSpec, request: Request) -> None:
    """Raise `InvalidRequest` for a chat's request to a model that makes videos of none."""
    asked = request.presentation
    if model.text_only == "refuse" and asked.part is OutputPart.TEXT and not asked.text_output:
        message = f"{model.name} answers requests with provider_options.video only, got one without options"
        raise InvalidRequest(message, param="provider_options", code="missing_required_parameter")
