"""Record the device's memory after each job, and inject faults named in prompts.

`<job>.json` in the folder $BENCH_FRAMES has bytes of the device; a fault leaves a mark there and occurs once.
With $BENCH_NOISE loaded weights become random on their device: files of zeros prove nothing.
"""

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
    """Make the device fail before the model runs, where the prompt names a fault."""
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
    if not job.status.finished or not _on_card():
        return
    import torch

    found = {"allocated": torch.cuda.memory_allocated(), "most": torch.cuda.max_memory_allocated()}
    draft = _folder() / f"{job.id}.part"
    draft.write_text(json.dumps(found))
    draft.rename(draft.with_suffix(".json"))
    torch.cuda.reset_peak_memory_stats()


def _on_card() -> bool:
    import sys

    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


def _stand_in(words: str) -> None:
    """Raise PyTorch's error inside the backend's own translation of errors."""
    from plugins.wan.memory import out_of_memory

    with out_of_memory("making frames", "ask for fewer frames or a smaller size"):
        raise RuntimeError(words)


def _fault_on_card() -> None:
    """Queue a kernel that reads far outside its tensor."""
    # the next call that waits for the device raises
    import torch

    there = torch.zeros(8, device="cuda")
    there[torch.full((8,), 2**40, device="cuda")]


def _first(name: str) -> bool:
    try:
        (_folder() / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _randomise(loaded: Any) -> None:
    """Fill the weights of `loaded` with random values in place; shared parts once."""
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
