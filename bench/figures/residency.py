"""The memory of several models in one engine, and the time to switch models."""

import tempfile

from bench.figures import heap
from bench.tools.machine import run_code
from bench.tools.table import Figure, Row

SWITCHES = 500
EARLY = 10
CHILD = """
import ctypes, gc, hashlib, json, os, statistics, sys, time
from dataclasses import replace
from pathlib import Path
import psutil
from safetensors.torch import load_file
from router.runtime.byte_size import ByteSize
from router.engine.reporter import heartbeats
from router.engine.residency import Residency
from router.settings import Settings
from router.system import assemble

def resident_bytes():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return psutil.Process().memory_info().rss

def residency(**changes):
    return Residency(assemble(Settings(data=Path(sys.argv[1]), models=Path("models.yaml"), **changes)), "cpu")

quiet = heartbeats(lambda phase: None)
names = ("wan-nano-t2v", "wan-nano-i2v", "wan-nano-ti2v")

def models(held):
    return [held._system.registries.poll().find(name) for name in names]

def load_all(held):
    for model in models(held):
        held.get(model, quiet)

first = residency()
load_all(first)  # libraries that load with the first models are no part of the models' memory
first.clear()
empty = resident_bytes()
trio = residency()
load_all(trio)
taken, counted = resident_bytes() - empty, trio._pool.size
files = {}
for model in models(trio):
    for path in trio._system.weights.locate(model).glob("*/*.safetensors"):
        files[hashlib.sha256(path.read_bytes()).digest()] = path
weights = sum(4 * tensor.numel() for path in files.values() for tensor in load_file(path).values())
trio.clear()

def switch(held, times):
    one, other = models(held)[:2]
    taken = []
    for number in range(times):
        start = time.perf_counter()
        held.get((one, other)[number % 2], quiet)
        taken.append(time.perf_counter() - start)
    return taken

cold = residency(resident_models=1, warm_budget=ByteSize(0, ""))
cold_seconds = statistics.median(switch(cold, 20)[2:])
cold.clear()
warm = residency(resident_models=1)
warm_seconds = statistics.median(switch(warm, 40)[2:])
warm.clear()
long = residency(resident_models=1, warm_budget=ByteSize(0, ""))
switch(long, EARLY)
early = resident_bytes()
switch(long, SWITCHES - EARLY)
late = resident_bytes()
print(json.dumps({"taken": taken, "weights": weights, "counted": counted, "empty": empty,
                  "cold": cold_seconds, "warm": warm_seconds, "early": early, "late": late}))
"""


def measure() -> Figure:
    code = CHILD.replace("SWITCHES", str(SWITCHES)).replace("EARLY", str(EARLY))
    with tempfile.TemporaryDirectory() as folder:
        found = run_code(code, folder)
    return Figure(
        "residency",
        "the three nano models in one engine, fp32 on the CPU",
        (
            Row("weights in the trio's files, each different file once, in fp32", found["weights"] / 1e6, "MB"),
            Row("what the engine says that they take", found["counted"] / 1e6, "MB"),
            Row("memory of the process that they take", found["taken"] / 1e6, "MB"),
            Row("memory / weights", found["taken"] / found["weights"], "", 1.15),
            Row("a switch to a model that is on disk", 1000 * found["cold"], "ms"),
            Row("a switch to a model that waits on the host", 1000 * found["warm"], "ms"),
            Row("warm / cold", found["warm"] / found["cold"], "", 0.2),
            Row(f"memory after {SWITCHES} cold switches / after {EARLY}", found["late"] / found["early"], "", 1.05),
            *heap.rows(),
        ),
        ("room for one model at a time in the switches; on a GPU, where a warm switch is a copy, not measured yet",),
    )
