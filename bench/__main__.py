"""`python -m bench [NAME ...] [--readme]`: measure, print, save, and write the READMEs.

`python -m bench card` is the run on a GPU and `python -m bench compare` compares two commits; both have options of
their own.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

from bench.figures import (
    boot,
    claim,
    copies,
    download,
    export,
    fast,
    folders,
    hostile,
    house,
    load,
    nano,
    onnx,
    onnx_gpu,
    overhead,
    previews,
    refusal,
    residency,
    scheduling,
    streams,
    waiting,
)
from bench.tools import readme
from bench.tools.machine import describe
from bench.tools.table import save, show
from router.engine.openmp import wait_policy

FIGURES = {
    "boot": boot.measure,
    "overhead": overhead.measure,
    "refusal": refusal.measure,
    "folders": folders.measure,
    "hostile": hostile.measure,
    "waiting": waiting.measure,
    "streams": streams.measure,
    "previews": previews.measure,
    "claim": claim.measure,
    "load": load.measure,
    "scheduling": scheduling.measure,
    "nano": nano.measure,
    "onnx": onnx.measure,
    "fast": fast.measure,
    "export": export.measure,
    "onnx_gpu": onnx_gpu.measure,
    "residency": residency.measure,
    "copies": copies.measure,
    "house": house.measure,
    "download": download.measure,
}


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are stopped too
    os.environ |= wait_policy(os.environ)  # as the engines have it
    if sys.argv[1:2] == ["card"]:
        from bench.card.run import main as run_on_card

        sys.exit(run_on_card(sys.argv[2:]))
    if sys.argv[1:2] == ["compare"]:
        from bench.tools.compare import main as compare

        sys.exit(compare(sys.argv[2:]))
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure a whole server.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(FIGURES)} [default: all]")
    parser.add_argument("--readme", action="store_true", help="write what was saved into the READMEs; alone: only that")
    options = parser.parse_args()
    if unknown := set(options.names) - FIGURES.keys():
        parser.error(f"a figure is one of {', '.join(FIGURES)}, got {', '.join(sorted(unknown))}")
    for name in options.names or ([] if options.readme else FIGURES):
        machine = describe()
        figure = FIGURES[name]()
        if figure is None:
            print(f"\n{name}: not measured, this machine has no GPU that PyTorch can use")
            continue
        show(figure)
        save(figure, machine)
    if options.readme:
        readme.write(FIGURES)


if __name__ == "__main__":
    main()
