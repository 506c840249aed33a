"""The time to read one model folder, and many at a process's start."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.tools.layout import TRUE_SIZE, write_model
from bench.tools.table import Figure, Row
from registry import folders
from router.plugins import Plugins, find
from router.settings import Settings
from router.system import read

RUNS = 9
MANY = 48


def measure() -> Figure:
    with tempfile.TemporaryDirectory() as folder:
        large = write_model(Path(folder, "large"), TRUE_SIZE)
        size = sum(path.stat().st_size for path in large.rglob("*") if path.is_file())
        anew = _median(lambda: (os.utime(large / "model_index.json"), folders.read(large)))
        known = _median(lambda: folders.read(large))
        boot, again = _many(Path(folder))
    return Figure(
        "folders",
        "a folder of weights is read for what it is: its configurations, and the header of each file",
        (
            Row(f"a model of {size / 1e9:.0f} GB in fp32, median", anew * 1000, "ms", 50),
            Row("the same once more, nothing changed, median", known * 1000, "ms"),
            Row(f"a models file of {MANY} such folders, by a process that starts", boot, "s", 1),
            Row("the same once more, as at a reload", again, "s"),
        ),
        (f"{RUNS} runs; holes with the headers of Wan 2.2 A14B: two transformers in {TRUE_SIZE.shards} shards each",),
    )


def _many(folder: Path) -> tuple[float, float]:
    lines = ["models:\n"]
    for number in range(MANY):
        write_model(folder / f"m{number}", replace(TRUE_SIZE, dtype="BF16" if number % 2 else "F32", shards=6))
        lines.append(f"  m{number}: {{backend: diffusers, source: ./m{number}}}\n")
    (folder / "models.yaml").write_text("".join(lines))
    settings, backends = Settings(models=folder / "models.yaml"), Plugins(find(())).backends.values()
    taken = []
    for _ in range(2):
        start = time.perf_counter()
        registry = read(settings, backends)
        taken.append(time.perf_counter() - start)
        assert len(registry.models) == MANY, registry.broken
    return taken[0], taken[1]


def _median(call: Callable[[], object]) -> float:
    taken = []
    for _ in range(RUNS):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)
