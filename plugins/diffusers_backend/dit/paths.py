"""The forward pass of each transformer: ours, or diffusers' own and the reason."""

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from diffusers import WanTransformer3DModel

from plugins.diffusers_backend.compile import Compiler
from plugins.diffusers_backend.dit.adapted import Used, with_adapters
from plugins.diffusers_backend.dit.attention import FLASH_4
from plugins.diffusers_backend.dit.block import run_blocks
from plugins.diffusers_backend.dit.loop import denoise
from plugins.diffusers_backend.dit.network import Network
from plugins.diffusers_backend.tuning.chooser import Chooser
from plugins.diffusers_backend.tuning.proof import disproof
from plugins.diffusers_backend.tuning.support import ForeignError, Guard, marks_of
from plugins.wan.tuning.autotune import Autotuner, gpu_seconds
from plugins.wan.tuning.switches import Switches
from router import GenerationFailed, PartPath, Pool

log = logging.getLogger(__name__)

OURS, STOCK = "fast", "diffusers"
OFF = "switched off in the model's options"


class Paths:
    """Our forward pass for each transformer, if proven at load and unchanged since.

    A request runs by ours if all of its transformers do. `attention` is the option's value.
    """

    def __init__(self, parts: Mapping[str, Any], switches: Switches, pool: Pool, attention: str = "") -> None:
        self.networks: dict[str, Network] = {}
        self.denoise = partial(denoise, self.networks)
        self._now: dict[str, PartPath] = {}
        self._guards: dict[str, Guard] = {}
        self._reasons: dict[str, str] = {}  # of transformers that never run by ours
        self._foreign = False  # a transformer of another library, which gets no path
        for name, part in parts.items():
            if isinstance(part, WanTransformer3DModel):
                self._add(name, part, switches, pool, attention)
            else:
                self._foreign = self._foreign or name.startswith("transformer")
        self.are_ours()

    @property
    def now(self) -> Mapping[str, PartPath]:
        return self._now

    def are_ours(self) -> bool:
        """Say whether our forward pass may run every transformer now; log changes."""
        reasons = self._reasons | {name: guard.obstacle() for name, guard in self._guards.items()}
        against = {name: reason for name, reason in reasons.items() if reason is not None}
        for name in reasons:
            first = next(iter(against), None)
            path = PartPath(OURS) if first is None else PartPath(STOCK, against.get(name, f"as {first} does"))
            if self._now.get(name) != path:
                self._now[name] = path
                _log(name, path)
        return not against and bool(self._guards) and not self._foreign

    def adapted(self, name: str, part: Any, used: Used) -> Any:
        """Return the transformer `name` with adapters, which `require_adaptable` may still refuse."""
        return with_adapters(part, used)

    def require_adaptable(self, name: str, part: Any) -> None:
        """Raise `GenerationFailed` if diffusers' own path may not run adapted layers."""
        try:
            marks_of(part)
        except ForeignError as error:
            raise GenerationFailed(f"the {name} takes no adapters here: {error}") from error

    def clear(self) -> None:
        for each in (self.networks, self._guards, self._reasons, self._now):
            each.clear()

    def _add(self, name: str, part: WanTransformer3DModel, switches: Switches, pool: Pool, attention: str) -> None:
        if not switches.transformer:
            self._reasons[name] = OFF
            return
        try:
            guard = Guard(part, marks_of(part))
        except ForeignError as error:
            self._reasons[name] = str(error)
            return
        network = Network(part, switches, _compiler(part, switches, pool), _chooser(part, switches, pool, attention))
        if (reason := disproof(network)) is not None:
            self._reasons[name] = reason
            log.warning("our forward pass of the %s is not proven: %s", name, reason)
            return
        self.networks[name], self._guards[name] = network, guard


def _log(name: str, path: PartPath) -> None:
    if path.path == OURS:
        log.info("the %s runs by our forward pass", name)
    else:
        log.info("the %s runs by diffusers' own forward pass: %s", name, path.reason)


def _compiler(model: WanTransformer3DModel, switches: Switches, pool: Pool) -> Compiler | None:
    if not switches.compile:
        return None
    cpp_wrapper = model.patch_embedding.weight.device.type == "cpu"
    return pool.part(("compiler", cpp_wrapper), lambda: Compiler(run_blocks, cpp_wrapper))


def _chooser(model: WanTransformer3DModel, switches: Switches, pool: Pool, attention: str) -> Chooser:
    # flash_4 alone is named here: diffusers' own backends are set on the model
    device, name = model.patch_embedding.weight.device, FLASH_4 if attention == FLASH_4 else None
    measured = switches.measured_attention, switches.gelu_epilogue, switches.rope_kernel, switches.norm_kernel
    if device.type != "cuda" or not any(measured):
        return Chooser(name)
    return Chooser(name, pool.part(("autotuner", str(device)), lambda: Autotuner(gpu_seconds)))
