"""One training run: a learning rate that warms up and falls, averaged weights, a progress bar, and checkpoints."""

from __future__ import annotations

import copy
import json
import math
import os
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from tqdm import tqdm

SEED = 2206  # changes every draw of the training
SAVE_EVERY = 60.0  # seconds


@dataclass(frozen=True)
class Plan:
    """How long and how fast a stage learns."""

    name: str
    steps: int
    rate: float
    warmup: int = 100
    decay: float = 0.01
    memory: float = 0.998  # of the averaged weights, once there are steps enough
    muon: float = 0.0  # the rate of the matrices of the blocks, which Muon then trains; all else is AdamW's

    def share_at(self, step: int) -> float:
        """Return what share of its rate a step has: up in a line, then down along a cosine to a fiftieth."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Draw:
    """The random numbers of one step: the same whether or not the run was interrupted before it."""

    step: int
    rng: np.random.Generator
    torch: torch.Generator


M = TypeVar("M", bound=torch.nn.Module)
Loss = Callable[[Draw], dict[str, torch.Tensor]]  # names the terms; "loss" is the one to descend


def train(plan: Plan, module: M, loss: Loss, folder: Path, save_every: float = SAVE_EVERY) -> M:
    """Train `module` in place, or go on where a checkpoint in `folder` left off; return its averaged copy.

    `loss(draw)` is called once a step. `folder/NAME.pt` holds the checkpoint and `folder/NAME.json` the losses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / f"{plan.name}.pt"
    average = copy.deepcopy(module).requires_grad_(False)
    optimizers = _optimizers(plan, module)
    step, history = 0, []
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
        step, history = saved["step"], saved["history"]
        module.load_state_dict(saved["module"])
        average.load_state_dict(saved["average"])
        for optimizer, state in zip(optimizers, saved.get("optimizers", ()), strict=False):
            optimizer.load_state_dict(state)

    def save() -> None:
        state = {"step": step, "history": history, "module": module.state_dict(), "average": average.state_dict()}
        if step < plan.steps:
            state["optimizers"] = [optimizer.state_dict() for optimizer in optimizers]
        draft = checkpoint.with_suffix(".tmp")
        torch.save(state, draft)
        os.replace(draft, checkpoint)
        (folder / f"{plan.name}.json").write_text(json.dumps(history) + "\n")

    saved_at = time.monotonic()
    with tqdm(total=plan.steps, initial=step, desc=plan.name, mininterval=5.0) as bar:
        while step < plan.steps:
            terms = loss(draw(plan.name, step))
            module.zero_grad(set_to_none=True)
            terms["loss"].backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = group["peak"] * plan.share_at(step)
                optimizer.step()
            step += 1
            _follow(average, module, min(plan.memory, (1 + step) / (10 + step)))
            history.append({name: round(float(value.detach()), 6) for name, value in terms.items()})
            bar.set_postfix({name: f"{value:.4f}" for name, value in history[-1].items()}, refresh=False)
            bar.update()
            if step == plan.steps or time.monotonic() - saved_at > save_every:
                save()
                saved_at = time.monotonic()
    return average


def draw(name: str, step: int) -> Draw:
    """Return the random numbers of one step of one stage."""
    seed = (SEED, zlib.crc32(name.encode()), step)
    rng = np.random.default_rng(seed)
    return Draw(step, rng, torch.Generator().manual_seed(int(rng.integers(2**62))))


def _optimizers(plan: Plan, module: torch.nn.Module) -> list[torch.optim.Optimizer]:
    """Return what descends: each group of parameters has its highest rate as `peak`."""
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
    mine: Sequence[torch.Tensor] = list(average.parameters())
    torch._foreach_lerp_(mine, [p.detach() for p in module.parameters()], 1.0 - memory)
