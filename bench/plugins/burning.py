"""A backend that keeps every core busy until its job is cancelled."""

import time
from typing import NoReturn

import numpy as np

from router import Backend, Modality, Report, Task, hookimpl

SIDE = 1024
REPORT_SECONDS = 0.5


@hookimpl
def declare_backend() -> Backend:
    return Backend(name="burning", modalities=frozenset({Modality.T2V}))


@hookimpl
def load_model() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((SIDE, SIDE), np.float32)


@hookimpl
def generate(loaded: np.ndarray, task: Task, report: Report) -> NoReturn:
    while True:
        until = time.monotonic() + REPORT_SECONDS
        while time.monotonic() < until:
            _ = loaded @ loaded  # BLAS takes one thread a core
        report(0, task.steps)
