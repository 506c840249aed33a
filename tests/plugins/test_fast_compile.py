"""Compiling in the background: nobody waits for it, and nobody needs it."""

from __future__ import annotations

import logging
import shutil
import sys
import threading
from typing import Any

import numpy as np
import pytest
from driving import T2V, load, run, spec, task, video
from likeness import require_same

from registry import Modality

pytestmark = pytest.mark.slow


def test_a_shape_is_ready_once_it_has_run() -> None:
    import torch

    from plugins.diffusers_backend.fast.compile import Compiler

    started, go_on = threading.Event(), threading.Event()
    compiler = Compiler(torch.neg)

    def request(block: Any) -> None:
        started.set()
        assert go_on.wait(60)
        assert block is not torch.neg

    compiler.ask("shape", request)
    assert started.wait(60)
    assert compiler.block_for("shape") is None  # and this did not wait
    go_on.set()
    compiler.wait()

    assert compiler.block_for("shape") is not None
    assert compiler.block_for("another") is None


def test_shapes_are_compiled_in_turn_once_each_and_not_without_end() -> None:
    import torch

    from plugins.diffusers_backend.fast.compile import MOST_SHAPES, Compiler

    compiler = Compiler(torch.neg)
    seen: list[int] = []
    for shape in [0, 0, *range(MOST_SHAPES + 3)]:
        compiler.ask(shape, lambda _, shape=shape: seen.append(shape))
    compiler.wait()

    assert seen == list(range(MOST_SHAPES))


@pytest.mark.parametrize("error", [None, RuntimeError("no compiler")])
def test_who_compiles_gives_way_to_others_until_it_is_done(error: Exception | None) -> None:
    import torch

    from plugins.diffusers_backend.fast.compile import SWITCH_SECONDS, Compiler

    before, seen = sys.getswitchinterval(), []

    def request(block: Any) -> None:
        seen.append(sys.getswitchinterval())
        if error is not None:
            raise error

    compiler = Compiler(torch.neg)
    compiler.ask("shape", request)
    compiler.wait()

    assert seen == [pytest.approx(SWITCH_SECONDS)]
    assert sys.getswitchinterval() == before


def test_without_a_compiler_there_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    import torch

    from plugins.diffusers_backend.fast.compile import Compiler

    compiler = Compiler(torch.neg)

    def request(block: Any) -> None:
        raise RuntimeError("no C++ compiler was found\nlong advice")

    with caplog.at_level(logging.WARNING):
        compiler.ask("shape", request)
        compiler.wait()

    assert compiler.block_for("shape") is None
    assert "stay uncompiled, compiling them gave RuntimeError: no C++ compiler was found" in caplog.text
    assert "long advice" not in caplog.text


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_later_requests_run_compiled_and_make_the_same_video(family: Any, pool: Any) -> None:
    model = spec(family / T2V, Modality.T2V, {"fast": {"compile": True}})
    loaded = load(model, pool)
    network = loaded.networks["transformer"]
    eager = video(run(model, loaded, task()))
    network.compiler.wait()
    assert network.compiler.ready

    compiled, again = (video(run(model, loaded, task())) for _ in "ab")

    assert np.array_equal(compiled, again)
    require_same(compiled, eager)
