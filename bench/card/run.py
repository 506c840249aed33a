"""`python -m bench card [SECTION ...]`: run the sections in order and summarise them."""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.card.clocks import watch
from bench.card.plan import GRACE, SECTIONS, TOY_AT_ONCE, TOY_SECONDS, WHOLE
from bench.tools.machine import ROOT
from bench.tools.table import RESULTS, load, remarks
from router.engine.device import devices

ABOUT = "Check in five minutes, on this GPU, what Framegate promises for a GPU."


def main(arguments: Sequence[str]) -> int:
    """Return 0 if every section ran whole and met its bounds."""
    usual = [name for name, section in SECTIONS.items() if not section.by_name]
    parser = argparse.ArgumentParser(prog="python -m bench card", description=ABOUT)
    about = f"{', '.join(SECTIONS)} [default: {', '.join(usual)}]"
    parser.add_argument("names", nargs="*", metavar="SECTION", help=about)
    about = "for the JSON files [default: bench/results on a GPU]"
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=about)
    parser.add_argument("--limit", type=float, metavar="SECONDS", help="for each section, in place of its own")
    parser.add_argument("--device", help="[default: cuda:0, or cpu at toy size where there is no GPU]")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - SECTIONS.keys():
        parser.error(f"a section is one of {', '.join(SECTIONS)}, got {', '.join(sorted(unknown))}")
    device = options.device or devices(())[0]
    out = (options.out or (ROOT / "data" / "card" if device == "cpu" else RESULTS)).absolute()
    out.mkdir(parents=True, exist_ok=True)
    run = Run(out, device, options.limit, None if options.names or options.limit else WHOLE)
    with watch(device, out):
        run.all(options.names or usual)
    return run.summary()


class Run:
    """A run of sections, each in a process of its own.

    `limit` replaces each section's own seconds; `whole` is the limit of all together on a GPU.
    """

    def __init__(self, out: Path, device: str, limit: float | None, whole: float | None) -> None:
        self._out = out
        self._device = device
        self._limit = limit
        self._whole = whole
        self._begun = time.monotonic()
        self._processes: list[subprocess.Popen[str]] = []
        self._statuses: dict[str, int] = {}

    def all(self, names: Sequence[str]) -> None:
        """Run the sections in this order; at toy size some in parallel."""
        if self._device == "cpu":
            print("No GPU: every section runs at toy size, which checks the code and measures nothing.", flush=True)
        longest_first = sorted(names, key=lambda name: self._device == "cpu" and name != "truth")
        with ThreadPoolExecutor(TOY_AT_ONCE if self._device == "cpu" else 1) as pool:
            try:
                list(pool.map(self._section, longest_first))
            except BaseException:  # such as SIGTERM
                pool.shutdown(wait=False, cancel_futures=True)
                for process in self._processes:
                    process.terminate()  # its servers must not outlive us
                raise

    def _section(self, name: str) -> None:
        toy, seconds = self._device == "cpu", self._seconds(name)
        heading = f"\n{name}: {SECTIONS[name].title}"
        if not toy:
            print(heading, flush=True)
        (self._out / f"card_{name}.json").unlink(missing_ok=True)
        begun = time.monotonic()
        command = [sys.executable, "-m", "bench.card", name, str(self._out), self._device, str(seconds)]
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if toy else {}
        process = subprocess.Popen(command, cwd=ROOT, text=True, start_new_session=True, **output)  # type: ignore[call-overload]
        self._processes.append(process)
        text = heading + "\n" + (_ended(process, seconds) or "")
        print(f"{text if toy else ''}  ({time.monotonic() - begun:.0f} s of {seconds:g})", flush=True)
        self._statuses[name] = process.returncode

    def _seconds(self, name: str) -> float:
        if self._device == "cpu":
            return self._limit or TOY_SECONDS
        seconds = self._limit or SECTIONS[name].seconds
        left = seconds if self._whole is None else self._whole - (time.monotonic() - self._begun)
        return round(max(0.0, min(seconds, left)), 1)

    def summary(self) -> int:
        """Print a line for each section, and its problems; return 0 without any."""
        seconds = time.monotonic() - self._begun
        print(f"\n{'section':<10} {'rows':>5} {'missed':>7} {'failed':>7} {'not run':>8}   in {seconds:.0f} s")
        whole = True
        for name in SECTIONS:
            if (status := self._statuses.get(name)) is None:
                continue
            known = load(f"card_{name}", self._out)
            if known is None:
                print(f"{name:<10} it ended with {status} before its first row")
                whole = False
                continue
            figure, _ = known
            missed = [row for row in figure.rows if row.missed]
            counts = len(figure.rows), len(missed), len(figure.failures), len(figure.skipped)
            ended = "" if status in (0, 1) else f"  ended with {status}"
            print(f"{name:<10} {counts[0]:>5} {counts[1]:>7} {counts[2]:>7} {counts[3]:>8}{ended}")
            for row in missed:
                print(f"    missed: {row.what}: {row.value:.4g}, wanted {row.wanted}")
            for line in remarks(figure):
                print(f"    {line}")
            whole = whole and status == 0 and not figure.skipped
        print(f"The JSON is in {self._out}", flush=True)
        return 0 if whole else 1


def _ended(process: subprocess.Popen[str], seconds: float) -> str | None:
    """Wait for a section, at most `GRACE` beyond its limit; return captured output."""
    try:
        return process.communicate(timeout=seconds + GRACE)[0]
    except subprocess.TimeoutExpired:
        print(f"  STOPPED in the middle of a check, {GRACE:g} s after the limit", flush=True)
        process.terminate()
    try:
        return process.communicate(timeout=GRACE)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its servers too, whose engines hold the card
        return process.communicate()[0]
