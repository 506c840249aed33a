"""Notes what an engine's device holds after each job, and makes the faults that some prompts ask for.

In the folder $BENCH_FRAMES: `<job>.json` has bytes of the device; a fault leaves a mark, so that it comes once.
With $BENCH_NOISE the weights of what is loaded become random on their device, as a file of zeros says nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

from bench.plugins.raw_frames import FOLDER
from router import Frames, Job, Task, hookimpl

NOISE = "BENCH_NOISE"
OUT_OF_MEMORY, FAULT = "[out of memory]", "[fault]"  # in a prompt
DEVIATION = 0.02  # of random weights; norms become one


@hookimpl(wrapper=True)
def load_model(device: str) -> Generator[None, Any, Any]:
    loaded = yield
    if os.environ.get(NOISE) and loaded is not None:
        _randomise(loaded)
    return loaded


@hookimpl(wrapper=True)
def generate(task: Task) -> Generator[None, Frames, Frames]:
    """Let the device fail first, where the prompt says so."""
    if OUT_OF_MEMORY in task.prompt and not _on_card():
        _stand_in("DefaultCPUAllocator: can't allocate memory: a stand-in")
    if FAULT in task.prompt and _first("fault"):
        if _on_card():
            _fault_on_card()
        else:
            _stand_in("CUDA error: an illegal memory access was encountered (a stand-in)")
    return (yield)


@hookimpl
def job_changed(job: Job) -> None:
    """Write down what the device holds once a job is done, its frames gone."""
    if not job.status.finished or not _on_card():
        return
    import torch

    found = {"allocated": torch.cuda.memory_allocated(), "most": torch.cuda.max_memory_allocated()}
    draft = _folder() / f"{job.id}.part"
    draft.write_text(json.dumps(found))
    draft.rename(draft.with_suffix(".json"))
    torch.cuda.reset_peak_memory_stats()


def _on_card() -> bool:
    """Say whether this process is an engine that has used a GPU."""
    import sys

    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


def _stand_in(words: str) -> None:
    """Raise as PyTorch would, where the backend turns such errors into the router's."""
    from plugins.wan.memory import out_of_memory

    with out_of_memory("making frames", "ask for fewer frames or a smaller size"):
        raise RuntimeError(words)


def _fault_on_card() -> None:
    """Queue a kernel that reads far outside its tensor: what waits for the device next hears of it."""
    import torch

    there = torch.zeros(8, device="cuda")
    there[torch.full((8,), 2**40, device="cuda")]


def _first(name: str) -> bool:
    """Say whether nobody has asked yet."""
    try:
        (_folder() / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _randomise(loaded: Any) -> None:
    """Give every weight of `loaded` a random value where it is, once for parts that several models share."""
    import torch

    for part in {id(part): part for part in (*loaded.parts.values(), loaded.decoder)}.values():
        if not isinstance(part, torch.nn.Module) or getattr(part, "_is_random", False):
            continue
        part._is_random = True  # type: ignore[assignment]
        with torch.no_grad():
            for name, weight in part.named_parameters():
                if "norm" in name and name.endswith(("weight", "gamma")):
                    weight.fill_(1)
                else:
                    weight.normal_(std=DEVIATION)


def _folder() -> Path:
    return Path(os.environ[FOLDER])
