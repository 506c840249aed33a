"""The checks of a request before anything is stored: gate, limits, size, policies."""

from collections.abc import Sequence
from dataclasses import dataclass

from registry import Input, ModelSpec, Registry
from router.accounting.budgets import Need
from router.auth.keys import ApiKey
from router.errors import InvalidRequest
from router.intake import adapters, gate, resolve
from router.intake.adapters import Used
from router.intake.availability import ModelAvailability
from router.intake.expectation import Expectation
from router.intake.images import ReceivedImage
from router.intake.resolve import ResolvedTask
from router.jobs import QueueLimits
from router.request import Request
from router.system import System
from router.values import Estimate, OutputPart


@dataclass(frozen=True)
class AcceptedRequest:
    """A request that passed the checks.

    `revision` is that of the models file; `estimate` is that of one job, None before the first measured one.
    """

    model: ModelSpec
    revision: int | None
    resolved: ResolvedTask
    limits: QueueLimits
    estimate: Estimate | None

    @property
    def seconds(self) -> float | None:
        return self.estimate.seconds.total if self.estimate else None


class Acceptance:
    """Checks requests; receives no image but one that decides the size."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._availability = ModelAvailability(system)
        self.expectation = Expectation(system)

    def accept(
        self, request: Request, images: Sequence[ReceivedImage], owner: str, api_key: ApiKey | None
    ) -> AcceptedRequest:
        """Check a request of an owner; raise any `RequestError` or `Unavailable`."""
        registry = self._system.registries.poll()
        model, used = self._model_for(request, registry)
        key_id, of_key = (api_key.id, api_key.limits.queued) if api_key else (None, None)
        param = request.param("num_images")
        limits = QueueLimits(model.name, model.limits.queued, key_id, of_key, request.count, param)
        need = None
        if images:  # before any is fetched; without them the check of `add` comes as soon
            # the image's size, if that is the video's, has as many pixels as the default one
            before = resolve.resolve(model, request, None, used).task
            need = Need(owner, key_id, request.count, self.expectation.of(model, before), model.price)
        gate.check_available(self._system, model, limits, need, used)
        resolved = self._resolved(model, request, images, used)
        estimate = self.expectation.estimate(model, resolved.task)
        return AcceptedRequest(model, registry.revision, resolved, limits, estimate)

    def resolve(self, request: Request, images: Sequence[ReceivedImage]) -> tuple[ModelSpec, ResolvedTask]:
        """Return the model and the effective task of a request; raises as `accept` does."""
        model, used = self._model_for(request, self._system.registries.poll())
        return model, self._resolved(model, request, images, used)

    def _model_for(self, request: Request, registry: Registry) -> tuple[ModelSpec, Used]:
        """Return the model, with the defaults of the adapters in use, and these."""
        entry = gate.find(request.model, registry)
        param = request.param("inputs")
        model = gate.choose(entry, request.input_kinds, registry, self._availability.of, param)
        _check_text_only(model, request)
        model, used = adapters.choose(model, request)
        resolve.check(model, request)
        gate.check_frames(model, request.input_kinds, resolve.frames_of(model, request), request.param("num_frames"))
        return model, used

    def _resolved(
        self, model: ModelSpec, request: Request, images: Sequence[ReceivedImage], used: Used
    ) -> ResolvedTask:
        size = None
        if resolve.follows_image(request):  # no other image is received before the policies
            first = next(image for image in images if image.source.role is Input.IMAGE)
            info = first.receive(model.limits)
            size = info.width, info.height
        resolved = resolve.resolve(model, request, size, used)
        self._system.plugins.hook_for("check_request", model)(model=model, task=resolved.task)
        return resolved


def _check_text_only(model: ModelSpec, request: Request) -> None:
    """Raise `InvalidRequest` for a chat's request to a model that makes videos of none."""
    asked = request.presentation
    if model.text_only == "refuse" and asked.part is OutputPart.TEXT and not asked.text_output:
        message = f"{model.name} answers requests with provider_options.video only, got one without options"
        raise InvalidRequest(message, param="provider_options", code="missing_required_parameter")
