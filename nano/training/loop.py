"""The training loop: learning rate schedule, averaged weights, progress bar, checkpoints."""

import copy
import json
import math
import os
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from tqdm import tqdm

SEED = 2206  # changes every draw of the training
SAVE_EVERY = 60.0  # seconds


@dataclass(frozen=True)
class Plan:
    name: str
    steps: int
    rate: float
    warmup: int = 100
    decay: float = 0.01
    memory: float = 0.998  # the decay of the averaged weights; less in the first steps
    muon: float = 0.0  # the rate of the blocks' matrices under Muon; AdamW trains the rest, and all at 0

    def share_at(self, step: int) -> float:
        """Return the share of the rate at a step: linear warm-up, cosine decay."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Draw:
    """The random numbers of one step, independent of interruptions before it."""

    step: int
    rng: np.random.Generator
    torch: torch.Generator


def autocast(device: torch.device) -> torch.autocast:
    """Return a context of bf16, or of fp32 on a CPU without bf16 instructions."""
    # without them PyTorch's convolutions in bf16 take tens of times as long as in fp32
    native = device.type != "cpu" or torch.cpu.get_capabilities().get("avx512_bf16", False)
    return torch.autocast(device.type, torch.bfloat16, enabled=native)


M = TypeVar("M", bound=torch.nn.Module)
Loss = Callable[[Draw], dict[str, torch.Tensor]]  # the terms by name; "loss" is minimised


def train(plan: Plan, module: M, loss: Loss, folder: Path, save_every: float = SAVE_EVERY) -> M:
    """Train `module` in place, from a checkpoint if any; return its averaged copy.

    `loss(draw)` is called once a step. `folder/NAME.pt` holds the checkpoint and `folder/NAME.json` the losses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(plan, module, folder)
    run.resume()
    saved_at = time.monotonic()
    with tqdm(total=plan.steps, initial=run.step, desc=plan.name, mininterval=5.0) as bar:
        while run.step < plan.steps:
            terms = run.advance(loss)
            bar.set_postfix({name: f"{value:.4f}" for name, value in terms.items()}, refresh=False)
            bar.update()
            if run.step == plan.steps or time.monotonic() - saved_at > save_every:
                run.save()
                saved_at = time.monotonic()
    return run.average


class _Run(Generic[M]):
    def __init__(self, plan: Plan, module: M, folder: Path) -> None:
        self._plan = plan
        self._module = module
        self.average: M = copy.deepcopy(module).requires_grad_(False)
        self._optimizers = _optimizers(plan, module)
        self.step = 0
        self._history: list[dict[str, float]] = []
        self._checkpoint = folder / f"{plan.name}.pt"

    def resume(self) -> None:
        if not self._checkpoint.exists():
            return
        saved = torch.load(self._checkpoint, map_location="cpu", weights_only=True)
        self.step, self._history = saved["step"], saved["history"]
        self._module.load_state_dict(saved["module"])
        self.average.load_state_dict(saved["average"])
        for optimizer, state in zip(self._optimizers, saved.get("optimizers", ()), strict=False):
            optimizer.load_state_dict(state)

    def save(self) -> None:
        state = {"step": self.step, "history": self._history}
        state |= {"module": self._module.state_dict(), "average": self.average.state_dict()}
        if self.step < self._plan.steps:  # a finished run needs no optimizers
            state["optimizers"] = [optimizer.state_dict() for optimizer in self._optimizers]
        draft = self._checkpoint.with_suffix(".tmp")
        torch.save(state, draft)
        os.replace(draft, self._checkpoint)
        self._checkpoint.with_suffix(".json").write_text(json.dumps(self._history) + "\n")

    def advance(self, loss: Loss) -> dict[str, float]:
        plan, module = self._plan, self._module
        terms = loss(draw(plan.name, self.step))
        module.zero_grad(set_to_none=True)
        terms["loss"].backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * plan.share_at(self.step)
            optimizer.step()
        self.step += 1
        # a young average forgets faster: it should not remember the initial weights
        _follow(self.average, module, min(plan.memory, (1 + self.step) / (10 + self.step)))
        self._history.append({name: round(float(value.detach()), 6) for name, value in terms.items()})
        return self._history[-1]


def draw(name: str, step: int) -> Draw:
    """Return the random numbers of one step of one stage."""
    seed = (SEED, zlib.crc32(name.encode()), step)
    rng = np.random.default_rng(seed)
    return Draw(step, rng, torch.Generator().manual_seed(int(rng.integers(2**62))))


def _optimizers(plan: Plan, module: torch.nn.Module) -> list[torch.optim.Optimizer]:
    """Return the optimizers; `peak` is the highest rate of a group of parameters."""
    learning = {name: p for name, p in module.named_parameters() if p.requires_grad}
    orthogonal = {name: p for name, p in learning.items() if plan.muon and p.ndim == 2 and "blocks." in name}
    others = [p for name, p in learning.items() if name not in orthogonal]
    groups = [
        {"params": [p for p in others if p.ndim > 1], "weight_decay": plan.decay, "peak": plan.rate},
        {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0, "peak": plan.rate},
    ]
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98), eps=1e-8, foreach=True)
    ]
    if orthogonal:
        matrices = [{"params": list(orthogonal.values()), "peak": plan.muon}]
        found.append(torch.optim.Muon(matrices, lr=plan.muon, weight_decay=plan.decay, momentum=0.95))
    return found


@torch.no_grad()
def _follow(average: torch.nn.Module, module: torch.nn.Module, memory: float) -> None:
    parameters = [p.detach() for p in average.parameters()]
    torch._foreach_lerp_(parameters, [p.detach() for p in module.parameters()], 1.0 - memory)
