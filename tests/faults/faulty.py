"""A backend that fails as the prompt says, or as the model's name does."""

import os
import signal
import time
from itertools import count
from pathlib import Path

import numpy as np

from router import Backend, Frames, LoadFailed, Modality, NumericalError, OutOfMemory, hookimpl

data = Path(os.environ["FRAMEGATE_DATA"])
once = data / "once"
gate, waiting = data.parent / "gate", data.parent / "waiting"


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def first(fault):
    """Return a fault that happens once in a data folder."""

    def fail():
        if not once.exists():
            once.touch()
            fault()

    return fail


def hang():
    time.sleep(600)


def fork():
    if os.fork() == 0:
        hang()
    die()


def stumble():
    raise RuntimeError("a secret of the backend")


def run_out():
    raise OutOfMemory("the device ran out of memory: ask for fewer frames")


def lose_numbers():
    raise NumericalError("the model made NaN")


STARTS = {
    "die": die,
    "hang": hang,
    "hang once": first(hang),
    "fork": first(fork),
    "stumble": stumble,
    "run out of memory": run_out,
    "lose numbers": lose_numbers,
}
LOADS = {"kills": die, "breaks": stumble, "hangs": first(hang)}


@hookimpl
def declare_backend():
    return Backend("faulty", frozenset({Modality.T2V}))


@hookimpl
def load_model(model):
    if model.name == "refuses":
        raise LoadFailed("it has no head")
    LOADS.get(model.name, lambda: None)()
    return 1


@hookimpl
def generate(task, report):
    STARTS.get(task.prompt, lambda: None)()
    if task.prompt == "held steps":
        wait(lambda step: report(step, 10_000))
    pixels = MADE.get(task.prompt, noise)(task)
    return Frames(pixels, task.num_frames, task.width, task.height, task.frames_per_second)


def noise(task):
    """Yield frames of noise, which no encoder makes small."""
    for number in range(task.num_frames):
        yield np.random.default_rng(number).integers(0, 256, (1, task.height, task.width, 3), np.uint8)


def wait(each=lambda step: None):
    """Leave a sign, then call `each` with step numbers until the gate is open."""
    waiting.touch()
    for step in count(1):
        each(step)
        if not gate.exists():
            return
        time.sleep(0.01)


def held_frame(task):
    """Yield the last frame only when the gate is open."""
    *before, last = noise(task)
    yield from before
    wait()
    yield last


def held_end(task):
    """Yield all frames, and end only when the gate is open."""
    yield from noise(task)
    wait()


def not_numbers(task):
    yield np.full((task.num_frames, task.height, task.width, 3), np.nan, np.float32)


def too_few(task):
    yield from list(noise(task))[1:]


MADE = {"held frame": held_frame, "held end": held_end, "not numbers": not_numbers, "too few": too_few}
