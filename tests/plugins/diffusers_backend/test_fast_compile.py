"""Compiling in the background: nobody waits for it, and nobody needs it."""

import gc
import logging
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import low_rank as lora
from support.driving import T2V, TI2V, load, run, spec, task, video
from support.likeness import require_same

from registry import Modality

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow


def negate(x: Any) -> Any:
    return -x


def test_a_shape_is_ready_once_it_has_run() -> None:
    from plugins.diffusers_backend.compile import Compiler

    started, go_on = threading.Event(), threading.Event()
    compiler = Compiler(negate)

    def request(block: Any) -> None:
        started.set()
        assert go_on.wait(60)
        assert block is not negate

    compiler.request("shape", request)
    assert started.wait(60)
    assert compiler.block_for("shape") is None  # and this did not wait
    go_on.set()
    compiler.wait()

    assert compiler.block_for("shape") is not None
    assert compiler.block_for("another") is None


def test_shapes_are_compiled_in_turn_and_once_each() -> None:
    from plugins.diffusers_backend.compile import MAX_SHAPES, Compiler

    compiler = Compiler(negate)
    seen: list[int] = []
    for shape in [0, 0, *range(MAX_SHAPES)]:
        compiler.request(shape, lambda _, shape=shape: seen.append(shape))
    compiler.wait()
    compiler.request(0, lambda _: seen.append(0))
    compiler.wait()

    assert seen == list(range(MAX_SHAPES))


def test_a_shape_that_is_asked_for_twice_takes_the_place_of_the_one_that_was_used_longest_ago() -> None:
    from plugins.diffusers_backend.compile import MAX_SHAPES, Compiler

    compiler = Compiler(negate)
    for shape in range(MAX_SHAPES):
        compiler.request(shape, lambda block: None)
        compiler.wait()
    assert compiler.block_for(0) is not None  # so 1 is the oldest now

    compiler.request("once", lambda block: None)
    compiler.wait()
    assert compiler.ready == frozenset(range(MAX_SHAPES))
    for _ in "ab":
        compiler.request("twice", lambda block: None)
        compiler.wait()

    assert compiler.ready == {0, *range(2, MAX_SHAPES), "twice"}
    assert compiler.block_for(1) is None


@pytest.fixture
def few_objects() -> Iterator[None]:
    """Hide older objects from the garbage collector, which else takes seconds for millions."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_what_was_compiled_for_a_shape_that_has_left_is_given_back(few_objects: None) -> None:
    import torch

    from plugins.diffusers_backend.compile import Compiler

    def graphs() -> int:
        gc.collect()
        return sum(isinstance(each, torch.fx.GraphModule) for each in gc.get_objects())

    compiler, counts = Compiler(lambda x: 2 * x + 1, limit=2), []
    for shape in range(5):
        for _ in "ab":
            compiler.request(shape, lambda block: block(torch.ones(3)))
            compiler.wait()
        counts.append(graphs())

    assert compiler.ready == {3, 4}
    assert counts[1] == counts[0] + 1
    assert counts[1:] == counts[1:2] * 4


def test_what_failed_is_tried_again_later_each_time_after_twice_as_long() -> None:
    from plugins.diffusers_backend.compile import MAX_RETRY_SECONDS, RETRY_SECONDS, Compiler

    now, tried = [0.0], []
    compiler = Compiler(negate, clock=lambda: now[0])

    def ask(shape: str = "shape") -> int:
        def request(block: Any) -> None:
            tried.append(now[0])
            if len(tried) < 12:
                raise RuntimeError("for now")

        compiler.request(shape, request)
        compiler.wait()
        return len(tried)

    pauses = [min(RETRY_SECONDS * 2**n, MAX_RETRY_SECONDS) for n in range(11)]
    for number, pause in enumerate(pauses, 1):
        assert ask() == number
        now[0] += pause - 1
        assert ask() == number  # too early
        now[0] += 1
    assert compiler.block_for("shape") is None
    assert ask() == 12

    assert compiler.block_for("shape") is not None


def test_a_failure_keeps_no_other_shape_from_being_compiled() -> None:
    from plugins.diffusers_backend.compile import Compiler

    compiler = Compiler(negate)

    def fail(block: Any) -> None:
        raise RuntimeError("never")

    for number in range(20):
        compiler.request(f"bad {number}", fail)
        compiler.wait()
    compiler.request("good", lambda block: None)
    compiler.wait()

    assert compiler.ready == {"good"}


def test_a_model_that_was_unloaded_is_not_kept_for_what_was_to_be_compiled(family: Any, pool: Any) -> None:
    """Its request waits behind another shape, then ends without compilation or failure."""
    import weakref

    started, go_on = threading.Event(), threading.Event()
    model = spec(family / T2V, Modality.T2V, {"fast": {"compile": True}})
    loaded = load(model, pool)
    network = loaded.paths.networks["transformer"]
    compiler, transformer = network.compiler, weakref.ref(network.model)

    def occupy(block: Any) -> None:
        started.set()
        assert go_on.wait(60)

    compiler.request("busy", occupy)
    assert started.wait(60)
    video(run(model, loaded, task(steps=2)))
    del network
    loaded.drop(True)
    pool.parts.clear()
    del loaded
    gc.collect()

    assert transformer() is None
    go_on.set()
    compiler.wait()
    assert compiler.ready == {"busy"}


STOPS = """
import sys, threading, time
import torch
from plugins.diffusers_backend.compile import Compiler

compiling = threading.Event()

def slowly(block):
    compiling.set()
    while True:
        block(torch.ones(2) + time.time() % 1)  # neither sleeps nor ends

Compiler(lambda x: -x).request("shape", slowly)
assert compiling.wait(60)
time.sleep(0.5)
print("stops", flush=True)
"""


def test_a_process_that_compiles_stops_at_once() -> None:
    child = subprocess.run([sys.executable, "-c", STOPS], cwd=ROOT, capture_output=True, text=True, timeout=120)

    assert (child.returncode, child.stdout) == (0, "stops\n"), child.stderr


@pytest.mark.parametrize("error", [None, RuntimeError("no compiler")])
def test_who_compiles_gives_way_to_others_until_it_is_done(error: Exception | None) -> None:
    from plugins.diffusers_backend.compile import SWITCH_SECONDS, Compiler

    before, seen = sys.getswitchinterval(), []

    def request(block: Any) -> None:
        seen.append(sys.getswitchinterval())
        if error is not None:
            raise error

    compiler = Compiler(negate)
    compiler.request("shape", request)
    compiler.wait()

    assert seen == [pytest.approx(SWITCH_SECONDS)]
    assert sys.getswitchinterval() == before


def test_without_a_compiler_there_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    from plugins.diffusers_backend.compile import Compiler

    compiler = Compiler(negate)

    def request(block: Any) -> None:
        raise RuntimeError("no C++ compiler was found\nlong advice")

    with caplog.at_level(logging.WARNING):
        compiler.request("shape", request)
        compiler.wait()

    assert compiler.block_for("shape") is None
    assert "stay uncompiled for 60 s, compiling them gave RuntimeError: no C++ compiler was found" in caplog.text
    assert "long advice" not in caplog.text


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_later_requests_run_compiled_and_make_the_same_video(family: Any, pool: Any) -> None:
    from torch._dynamo.utils import counters

    model = spec(family / T2V, Modality.T2V, {"fast": {"compile": True}})
    loaded = load(model, pool)
    network = loaded.paths.networks["transformer"]
    eager = video(run(model, loaded, task()))
    network.compiler.wait()
    assert network.compiler.ready

    graphs = counters["stats"]["unique_graphs"]
    compiled, again = (video(run(model, loaded, task())) for _ in "ab")

    assert counters["stats"]["unique_graphs"] == graphs  # no request compiles
    assert np.array_equal(compiled, again)
    require_same(compiled, eager)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_requests_with_adapters_are_compiled_for_their_ranks(family: Any, pool: Any, tmp_path: Path) -> None:
    model = spec(family / TI2V, Modality.TI2V, {"fast": {"compile": True}})
    loaded = load(model, pool)
    compiler = loaded.paths.networks["transformer"].compiler
    path = lora.write(tmp_path / "a.safetensors", lora.comfy(lora.pairs(loaded.parts["transformer"])))
    having = lora.having(model, lora.adapter(path))
    asked = task(width=32, height=32, num_frames=5, steps=2, adapters=lora.use("style"))
    eager = video(run(having, loaded, asked))
    compiler.wait()
    ready = compiler.ready
    weaker = task(width=32, height=32, num_frames=5, steps=2, adapters=lora.use("style", strength=0.5))

    compiled, _ = (video(run(having, loaded, each)) for each in (asked, weaker))
    compiler.wait()

    assert len(ready) == 1
    assert compiler.ready == ready  # a strength is no other code
    require_same(compiled, eager)
