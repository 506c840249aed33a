"""Cancellation within a step: soon, at no cost, and without a changed bit."""

import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.driving import I2V, T2V, load, picture, run, spec, task, video

from plugins import diffusers_backend, onnx_backend
from registry import Input, Modality
from router import JobCancelled

pytestmark = pytest.mark.slow

SLOW = 0.1  # seconds of an attention, of which a block has two


class StopsWithinAStep:
    """A `report` that cancels the job at the first repeated report after `step`."""

    def __init__(self, step: int) -> None:
        self._step = step
        self.heard: list[int] = []

    def __call__(self, done: int, total: int, preview: object = None) -> None:
        again = done in self.heard or not done
        self.heard.append(done)
        if done == self._step and again:
            raise JobCancelled("within a step")


def slowed(name: str, seconds: float, call: Any) -> int:
    """Return the number of calls of a slowed PyTorch function before the cancellation."""
    from torch.overrides import TorchFunctionMode

    class Slow(TorchFunctionMode):
        seen = 0

        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(function, "__name__", "") == name:
                self.seen += 1
                time.sleep(seconds)
            return function(*args, **(kwargs or {}))

    with Slow() as slow, pytest.raises(JobCancelled, match="within a step"):
        call()
    return slow.seen


def test_looks_are_some_time_apart_and_repeat_what_was_reported_last() -> None:
    from plugins.wan.generate.cancel_watch import SECONDS, cancel_watch, check_cancelled

    now, heard = [0.0], []
    with cancel_watch(lambda done, total, preview=None: heard.append((now[0], done, total)), 4) as report:
        job = type(report)(lambda done, total, preview=None: heard.append((now[0], done, total)), 4, lambda: now[0])
        for _ in range(100):
            now[0] += SECONDS / 10
            job.check()
            if len(heard) == 3:
                job(1, 4)
        check_cancelled()  # of the job whose clock is the true one: too early

    assert [done for _, done, _ in heard[:5]] == [0, 0, 0, 1, 1]
    times = [when for when, _, _ in heard]
    apart = np.diff(times)
    assert apart[apart > 0].min() >= SECONDS * 0.99
    assert len(heard) <= 12
    check_cancelled()  # and there is no job


def test_another_thread_is_not_stopped_with_the_job() -> None:
    from plugins.wan.generate.cancel_watch import cancel_watch, check_cancelled

    def stop(done: int, total: int, preview: object = None) -> None:
        raise JobCancelled("stop")

    ended: list[str] = []
    with cancel_watch(stop, 4) as report:
        report._due = 0.0
        beside = threading.Thread(target=lambda: (check_cancelled(), ended.append("well")))  # type: ignore[func-returns-value]
        beside.start()
        beside.join()
        with pytest.raises(JobCancelled):
            check_cancelled()
    assert ended == ["well"]


@pytest.mark.parametrize("options", [{}, {"fast": False}, {"group_offload": True}], ids=str)
def test_a_cancelled_job_ends_within_a_step(whole_family: Path, pool: Any, options: dict[str, bool]) -> None:
    model = spec(whole_family / T2V, Modality.T2V, options)
    loaded = load(model, pool)
    fast = not options
    asked = task(steps=2)
    before = video(run(model, loaded, asked))  # its prompts are known from here on
    blocks = len(loaded.parts["transformer"].blocks)
    passes = 1 if fast else 2  # both halves of guidance together, or one after the other
    in_a_step = 2 * blocks * passes

    for step in (0, 1):
        stops = StopsWithinAStep(step)
        job = partial(diffusers_backend.generate, model, loaded, asked, stops)
        seen = slowed("scaled_dot_product_attention", SLOW, job)

        assert step * in_a_step <= seen <= step * in_a_step + 6  # two blocks, and one for a machine that is busy
        assert stops.heard[-1] == step
        assert loaded.paths.are_ours() is fast  # no hook has stayed
    assert np.array_equal(video(run(model, loaded, asked)), before)


def test_a_cancelled_job_ends_within_its_text_encoder_and_its_image(family: Path, pool: Any) -> None:
    """A check runs before each block of the encoder and each chunk."""
    from plugins.wan.generate import cancel_watch

    model = spec(family / I2V, Modality.I2V)
    loaded = load(model, pool)
    given = frozenset({Input.TEXT, Input.IMAGE})
    asked = task(steps=1, num_frames=17, image=picture(), input_kinds=given, prompt="a green disc")
    looks: list[str] = []
    modules = [*loaded.parts["text_encoder"].encoder.block, loaded.parts["vae"].encoder]
    token = cancel_watch._check.set(lambda: looks.append("before"))
    try:
        from plugins.wan.generate.run import _checks_in_encoders

        with _checks_in_encoders(loaded):
            run_within(loaded, asked)
    finally:
        cancel_watch._check.reset(token)

    assert len(looks) >= len(modules)
    assert not any(module._forward_pre_hooks for module in modules)


def run_within(loaded: Any, asked: Any) -> None:
    """Encode a prompt and an image as a job does."""
    import torch

    from plugins.wan.generate.run import _prompts
    from plugins.wan.generate.sample import pipeline

    pipe = pipeline(loaded, asked)
    _prompts(loaded, pipe, asked)
    with torch.no_grad():
        pipe.vae.encode(torch.zeros(1, 3, 17, 64, 64))


def test_a_graph_is_looked_at_between_its_passes(exports: Any, pool: Any) -> None:
    from dataclasses import replace

    onnx = replace(spec(exports[T2V], Modality.T2V), backend="onnxruntime")
    model = replace(onnx, options=onnx_backend.declare_backend().options().load({}))  # type: ignore[misc]
    loaded = onnx_backend.load_model(model, "cpu", pool, lambda *_: None)
    stops = StopsWithinAStep(1)

    slowed("to", SLOW, lambda: onnx_backend.generate(model, loaded, task(steps=2), stops))

    assert stops.heard[-2:] == [1, 1]


def test_what_is_compiled_gets_no_hook() -> None:
    from torch import nn

    from plugins.wan.generate.cancel_watch import check_before_each

    plain, compiled = nn.Linear(2, 2), nn.Linear(2, 2)
    compiled.compile(backend="eager")
    with check_before_each([plain, compiled, None]):
        assert (len(plain._forward_pre_hooks), len(compiled._forward_pre_hooks)) == (1, 0)
    assert not plain._forward_pre_hooks
