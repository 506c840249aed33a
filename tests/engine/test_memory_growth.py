"""The memory of an engine: its gauges, and the warning of a leak."""

import gc
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.prometheus import Scraped
from support.server import ROOT

from registry import Input
from router import Backend, Frames, Modality, Task, hookimpl
from router.engine import encoder
from router.engine.memory_growth import MemoryGrowth
from router.engine.memory_use import host_bytes, memory_use, own_bytes, resident_bytes
from router.engine.worker import Worker
from router.metrics import page
from router.settings import Settings
from router.system import System, assemble
from router.values import Job
from router.web import create_app

MB = 10**6
TASK = Task("a", "", 64, 64, 5, 8, 2, 1.0, None, 1.0, 0, frozenset({Input.TEXT}))
SMALL = "defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 2}"


def warned(sizes: list[int], caplog: pytest.LogCaptureFixture, after: list[int] | None = None) -> list[str]:
    """Return the warnings of jobs of one kind, by the megabytes after each."""
    growth = MemoryGrowth(lambda: seen.pop(0) * MB)
    job = Job("1", "local", "m", TASK)
    growth.after(job, "m")  # the first of its kind is not measured
    for n, size in enumerate(sizes):
        seen = [size, after[n] if after else size]
        growth.after(job, "m")
    return [record.getMessage() for record in caplog.records]


def test_a_steady_leak_is_one_line_with_the_numbers(caplog: pytest.LogCaptureFixture) -> None:
    lines = warned([100 + 40 * n for n in range(11)], caplog)

    assert lines == [
        "the memory of this engine grew from 100 MB to 420 MB over 9 jobs of loaded models, 40 MB a job, the last of m: "
        "its backend or another plugin may keep something of each job"
    ]


def test_a_leak_that_goes_on_is_a_line_each_time_it_has_doubled(caplog: pytest.LogCaptureFixture) -> None:
    assert len(warned([100 + 40 * n for n in range(600)], caplog)) == 7


def test_a_slow_leak_is_found_after_more_jobs(caplog: pytest.LogCaptureFixture) -> None:
    lines = warned([100 + 3 * n for n in range(90)], caplog)

    assert ["over 90 jobs" in line for line in lines] == [True]


@pytest.mark.parametrize(
    "sizes",
    [
        [100] * 1000,
        [500 + 300 * (n % 2) for n in range(1000)],  # up and down
        [100 + min(n, 8) * 20 for n in range(1000)],  # a cache that gets full
        [100 + min(n, 4) * 100 for n in range(1000)],  # buffers of the first jobs
        [1000 - n % 500 for n in range(1000)],
        [100 + n // 6 for n in range(1000)],  # less than any limit
    ],
    ids=["even", "swings", "cache", "buffers", "falls", "little"],
)
def test_memory_that_does_not_keep_growing_is_no_line(sizes: list[int], caplog: pytest.LogCaptureFixture) -> None:
    assert warned(sizes, caplog) == []


def test_garbage_that_a_collection_frees_is_no_leak(caplog: pytest.LogCaptureFixture) -> None:
    assert warned([100 + 40 * n for n in range(60)], caplog, after=[150] * 60) == []


def test_loads_and_first_jobs_of_a_size_are_no_leak(caplog: pytest.LogCaptureFixture) -> None:
    size = 0

    def grown() -> int:
        nonlocal size
        size += 50 * MB
        return size

    growth = MemoryGrowth(grown)
    for n in range(200):
        task = replace(TASK, width=64 + 16 * n)
        growth.after(Job("1", "local", "m", task), ("m",))  # each job of another size
        growth.after(Job("1", "local", "m", TASK), ("m", str(n)))  # each with another model in memory

    assert caplog.records == []


def test_a_leak_is_found_while_models_come_and_go(caplog: pytest.LogCaptureFixture) -> None:
    size = 0

    def grown() -> int:
        nonlocal size
        size += 25 * MB
        return size

    growth = MemoryGrowth(grown)
    for n in range(24):
        growth.after(Job("1", "local", "ab"[n % 2], TASK), "ab"[n % 2])

    assert len(caplog.records) == 2


class Leaks:
    """Keeps 40 MB of each job, more than the allocator takes from freed memory."""

    def __init__(self) -> None:
        self.kept: list[bytearray] = []

    @hookimpl
    def declare_backend(self) -> Backend:
        return Backend("leaks", frozenset({Modality.T2V}))

    @hookimpl
    def load_model(self) -> object:
        return bytearray(b"x") * 300 * MB

    @hookimpl
    def generate(self, task: Task) -> Frames:
        import numpy as np

        self.keep(bytearray(b"x") * 40 * MB)
        pixels = iter([np.zeros((task.num_frames, task.height, task.width, 3), np.uint8)])
        return Frames(pixels, task.num_frames, task.width, task.height, task.frames_per_second)

    def keep(self, weights: bytearray) -> None:
        self.kept.append(weights)


class Frees(Leaks):
    def keep(self, weights: bytearray) -> None:
        self.kept = [weights]


@pytest.fixture(autouse=True)
def _collect() -> Iterator[None]:
    yield
    gc.collect()


def run_jobs(settings: Settings, plugin: Leaks, number: int) -> System:
    settings.models.write_text(f"models: {{m: {{backend: leaks, modality: t2v, {SMALL}}}}}")
    system = assemble(settings, plugins=[encoder, plugin])
    client, worker = create_app(system).test_client(), Worker(system, "cpu")
    for _ in range(number):
        client.post("/v1/responses", json={"input": "a", "background": True})
        worker.run_one()
    system.engines.heartbeat(worker._state())
    return system


@pytest.mark.parametrize(("plugin", "lines"), [(Leaks, 1), (Frees, 0)])
def test_a_backend_that_keeps_something_of_each_job_is_found(
    settings: Settings, caplog: pytest.LogCaptureFixture, plugin: Any, lines: int
) -> None:
    caplog.set_level(logging.WARNING)
    before = resident_bytes() or 0
    system = run_jobs(settings, plugin(), 12)

    scraped = Scraped(page(system.metrics.folder, system.jobs, system.engines, system.ledger, (), free=0).decode())
    grown = scraped.value("framegate_engine_resident_bytes", device="cpu") - before
    found = [record.getMessage() for record in caplog.records if "memory of this engine grew" in record.getMessage()]
    assert len(found) == lines, caplog.text
    assert (grown > 600 * MB) == bool(lines)
    assert scraped.value("framegate_device_used_bytes", device="cpu") > 0


def test_the_memory_of_an_engine_is_in_its_state(system: System) -> None:
    system.engines.heartbeat(Worker(system, "cpu")._state())
    (engine,) = system.engines.alive()

    assert engine.use.resident is not None
    assert engine.use.resident > 10 * MB
    assert engine.memory == {}


def test_a_heartbeat_of_an_older_version_has_no_memory(system: System) -> None:
    system.engines.heartbeat(Worker(system, "cpu")._state())
    with system.engines._db.write() as db:
        db.exec_driver_sql("UPDATE engines SET memory = '{}'")
    page_text = page(system.metrics.folder, system.jobs, system.engines, system.ledger, (), free=0).decode()

    assert (system.engines.alive()[0].use.resident, system.engines.alive()[0].use.device) == (None, None)
    assert Scraped(page_text).of("framegate_engine_resident_bytes") == []


def test_of_a_container_its_own_memory_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("2000\n")
    (tmp_path / "memory.current").write_text("1500\n")
    (tmp_path / "memory.stat").write_text("anon 900\ninactive_file 400\n")

    assert host_bytes(tmp_path) == 1100
    (tmp_path / "memory.max").write_text("max\n")
    assert host_bytes(tmp_path) == pytest.approx(memory_use("cpu").device, rel=0.5)


def test_mapped_files_are_no_memory_of_its_own() -> None:
    assert (own_bytes() or 0) < (resident_bytes() or 0)


CUDA = """
#include <string.h>
int cuInit(unsigned flags) { return 0; }
int cuDeviceGet(int *card, int number) { *card = number + 10; return number > 1; }
int cuDeviceGetPCIBusId(char *bus, int most, int card) { strcpy(bus, card == 11 ? "0000:02:00.0" : "0000:01:00.0"); return 0; }
"""
NVML = """
#include <string.h>
int nvmlInit_v2() { return 0; }
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **handle) { *handle = (void *)bus; return 0; }
int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long *memory) {
    memory[0] = 150000000000; memory[1] = 149999999993; memory[2] = strcmp(handle, "0000:02:00.0") ? 5 : 7;
    return 0;
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler")
def test_the_memory_of_a_gpu_is_that_of_its_bus_address(tmp_path: Path) -> None:
    """Libraries of two cards stand for the driver's."""
    for name, code in (("libcuda.so.1", CUDA), ("libnvidia-ml.so.1", NVML)):
        command = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(tmp_path / name)]
        subprocess.run(command, input=code, text=True, check=True)
    code = "from router.engine.memory_use import memory_use as m; print(*(m(f'cuda:{n}').device for n in range(3)))"
    environ = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": str(ROOT)}
    printed = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)

    assert printed.stdout == "5 7 None\n"


def test_a_gpu_that_is_not_there_has_no_number() -> None:
    assert memory_use("cuda:99").device is None
