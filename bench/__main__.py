"""`python -m bench [NAME ...] [--readme]`: measure, print, save, and write the documentation.

`python -m bench card` is the run on a GPU and `python -m bench compare` compares two commits; both have options of
their own.
"""

import argparse
import os
import signal
import sys
from importlib import import_module

from bench.tools import readme
from bench.tools.machine import describe
from bench.tools.table import save, show
from router.engine.openmp import wait_policy

FIGURES = (  # modules of bench.figures, in the order of docs/figures.md
    "boot", "overhead", "refusal", "folders", "plan", "hostile", "waiting", "streams", "previews", "claim", "load",
    "scheduling", "estimates", "studio", "nano", "onnx", "fast", "adapters", "quantised", "export", "onnx_gpu",
    "residency", "shared", "house", "download",
)  # fmt: skip


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
    parser.add_argument(
        "--readme", action="store_true", help="write the saved figures into the documentation; alone: only that"
    )
    options = parser.parse_args()
    if unknown := set(options.names) - set(FIGURES):
        parser.error(f"a figure is one of {', '.join(FIGURES)}, got {', '.join(sorted(unknown))}")
    for name in options.names or ([] if options.readme else FIGURES):
        machine = describe()
        figure = import_module(f"bench.figures.{name}").measure()
        if figure is None:
            print(f"\n{name}: not measured, this machine has no GPU that PyTorch can use")
            continue
        show(figure)
        save(figure, machine)
    if options.readme:
        readme.write(FIGURES)


if __name__ == "__main__":
    main()
