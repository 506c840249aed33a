"""`python -m bench [NAME ...] [--readme]`: measure, print, save, and tell the READMEs."""

from __future__ import annotations

import argparse
import signal
import sys

from bench import boot, claim, nano, overhead, previews, readme, refusal, streams, waiting
from bench.machine import describe
from bench.table import save, show

FIGURES = {
    "boot": boot.measure,
    "overhead": overhead.measure,
    "refusal": refusal.measure,
    "waiting": waiting.measure,
    "streams": streams.measure,
    "previews": previews.measure,
    "claim": claim.measure,
    "nano": nano.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure a whole server.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(FIGURES)} [default: all]")
    parser.add_argument("--readme", action="store_true", help="write what was saved into the READMEs; alone: only that")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are stopped too
    asked = parser.parse_args()
    if unknown := set(asked.names) - FIGURES.keys():
        parser.error(f"a figure is one of {', '.join(FIGURES)}, got {', '.join(sorted(unknown))}")
    for name in asked.names or ([] if asked.readme else FIGURES):
        machine = describe()
        figure = FIGURES[name]()
        show(figure)
        save(figure, machine)
    if asked.readme:
        readme.write(FIGURES)


if __name__ == "__main__":
    main()
