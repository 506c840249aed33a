"""The card's clocks, power and throttling, sampled every second."""

import shutil
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.tools.machine import describe
from bench.tools.table import Figure, Row, save

FIELDS = ("clocks.sm", "clocks.mem", "power.draw", "temperature.gpu", "utilization.gpu", "clocks_event_reasons.active")
SHOWN = (("SM clock", "MHz"), ("memory clock", "MHz"), ("power", "W"), ("temperature", "C"))  # the first fields
BUSY = 50.0  # percent of utilisation; the clocks of an idle card mean nothing
SLOWING = {0x4: "power cap", 0x8: "hardware slowdown", 0x20: "thermal, by software", 0x40: "thermal, by hardware"}


@contextmanager
def watch(device: str, out: Path) -> Iterator[None]:
    """Sample nvidia-smi while the block runs; the card's settings stay."""
    tool, readings = shutil.which("nvidia-smi"), out / "card_clocks.csv"
    if tool is None or device == "cpu":
        yield
        return
    index, query = device.partition(":")[2] or "0", f"--query-gpu={','.join(FIELDS)}"
    command = [tool, "-i", index, query, "--format=csv,noheader,nounits", "-l", "1"]
    with readings.open("wb") as file:  # an interrupted run keeps the file
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()
        if rows := rows_of(readings.read_text().splitlines()):
            title = "the card's clocks over the whole run, read once a second"
            save(Figure("card_clocks", title, tuple(rows)), describe(), out)
            readings.unlink()


def rows_of(lines: Sequence[str]) -> list[Row]:
    """Return the spread of readings of the busy card, and the seconds of throttling."""
    readings = [parsed for line in lines if (parsed := _parsed(line)) is not None]
    busy = [each for each in readings if each[4] >= BUSY]
    if not busy:
        return []
    rows = [Row("seconds read", len(readings), "s"), Row("of them busy", len(busy), "s")]
    for index, (what, unit) in enumerate(SHOWN):
        values = [each[index] for each in busy]
        for name, pick in (("least", min), ("median", statistics.median), ("most", max)):
            rows.append(Row(f"{what} while busy, {name}", float(pick(values)), unit))
    for bit, reason in SLOWING.items():
        rows.append(Row(f"slowed while busy: {reason}", sum(bool(int(each[5]) & bit) for each in busy), "s"))
    return rows


def _parsed(line: str) -> tuple[float, ...] | None:
    words = [word.strip() for word in line.split(",")]
    if len(words) != len(FIELDS):
        return None
    try:
        return (*(float(word) for word in words[:-1]), float(int(words[-1], 16)))
    except ValueError:
        return None
