"""Which kernels a run takes, by name, and what share of its time each kind has."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

KINDS = {
    "attention": re.compile("sdpa|flash|fmha|attention", re.IGNORECASE),
    "convolution": re.compile("conv|implicit", re.IGNORECASE),
    "products": re.compile("gemm|nvjet|xmma|cutlass|mm", re.IGNORECASE),
}
ELSE = "elementwise"
LONGEST = 90  # characters of a kernel's name


@dataclass(frozen=True)
class Profile:
    """Seconds by kind, and the kernel that took longest of each."""

    seconds: dict[str, float]
    kernels: dict[str, str]


def profiled(run: Callable[[], object], device: str) -> Profile:
    """Return where the time of one `run` goes on `device`."""
    on_card = device != "cpu"
    activity, kind_of_device = (
        (ProfilerActivity.CUDA, DeviceType.CUDA) if on_card else (ProfilerActivity.CPU, DeviceType.CPU)
    )
    with profile(activities=[activity]) as profiler:
        run()
        if on_card:
            torch.cuda.synchronize(device)
    seconds: dict[str, float] = defaultdict(float)
    longest: dict[str, tuple[float, str]] = {}
    for event in profiler.key_averages():
        if event.device_type != kind_of_device:
            continue
        kind, taken = kind_of(event.key), event.self_device_time_total if on_card else event.self_cpu_time_total
        seconds[kind] += taken / 1e6
        longest[kind] = max(longest.get(kind, (0.0, "")), (taken, event.key[:LONGEST]))
    return Profile(dict(seconds), {kind: name for kind, (_, name) in longest.items()})


def kind_of(kernel: str) -> str:
    return next((kind for kind, pattern in KINDS.items() if pattern.search(kernel)), ELSE)
