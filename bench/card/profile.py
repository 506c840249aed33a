"""The kernels of a run, by name and by kind, with their times."""

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
    """Seconds by kind of kernel, and by kernel, the longest first."""

    seconds: dict[str, float]
    longest: list[tuple[str, float]]


def profiled(run: Callable[[], object], device: str) -> Profile:
    on_card = device != "cpu"
    activity, kind_of_device = (
        (ProfilerActivity.CUDA, DeviceType.CUDA) if on_card else (ProfilerActivity.CPU, DeviceType.CPU)
    )
    with profile(activities=[activity]) as profiler:
        run()
        if on_card:
            torch.cuda.synchronize(device)
    seconds: dict[str, float] = defaultdict(float)
    kernels: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        if event.device_type != kind_of_device:
            continue
        taken = (event.self_device_time_total if on_card else event.self_cpu_time_total) / 1e6
        seconds[kind_of(event.key)] += taken
        kernels[event.key[:LONGEST]] += taken
    return Profile(dict(seconds), sorted(kernels.items(), key=lambda item: -item[1]))


def kind_of(kernel: str) -> str:
    return next((kind for kind, pattern in KINDS.items() if pattern.search(kernel)), ELSE)
