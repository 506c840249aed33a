"""The start-up time of the web half, and the heavy packages it imports."""

import statistics
from pathlib import Path
from typing import Any

from bench.tools.machine import run_code
from bench.tools.server import environment, scratch_folder, serve_web
from bench.tools.table import Figure, Row

RUNS = 9
HEAVY = ("torch", "diffusers", "transformers", "onnxruntime", "av")
IMPORT = """
import json, sys, time
started = time.perf_counter()
import wsgi
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "packages": sorted({name.partition(".")[0] for name in sys.modules})}))
"""


def measure() -> Figure:
    with scratch_folder() as data:
        _boot(data)  # compiles the modules and creates the store
        one = [_boot(data, workers=1) for _ in range(RUNS)]
        default = [_boot(data) for _ in range(RUNS)]
        imports = [run_code(IMPORT, environ=environment(data, no_auth=1)) for _ in range(RUNS)]
    empty = [_first_boot() for _ in range(RUNS)]
    heavy = [package for package in HEAVY if package in imports[0]["packages"]]
    return Figure(
        "boot",
        "from the start of gunicorn to the first 200 of /healthz",
        (
            Row("first answer, 1 web process, median", statistics.median(one), "s", 1.5),
            Row("first answer, the default web processes, median", statistics.median(default), "s", 1.5),
            Row("first answer, empty data folder, median", statistics.median(empty), "s"),
            Row("import wsgi, median", statistics.median(entry["seconds"] for entry in imports), "s"),
            Row("heavy packages that import wsgi loads", len(heavy)),
        ),
        (f"{RUNS} runs each; looked for {', '.join(HEAVY)}, found {', '.join(heavy) or 'none'}",),
    )


def _boot(data: Path, **settings: Any) -> float:
    with serve_web(data, **settings) as server:
        return server.boot_seconds


def _first_boot() -> float:
    with scratch_folder() as data:
        return _boot(data, workers=1)
