"""`python -m bench compare OLD NAME...`: figures of two commits, measured alternately, and their ratios."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.tools.machine import describe
from bench.tools.server import ROOT
from bench.tools.table import number

ROUNDS = 10
ALIKE = 0.1  # a ratio within this of 1 is no difference
OUT = ROOT / "build" / "compare.json"
Values = dict[str, list[float]]  # a row's name -> its value in each round


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench compare", description=__doc__)
    parser.add_argument("old", metavar="OLD", help="the commit to compare with")
    parser.add_argument("names", nargs="+", metavar="NAME", help="figures that both commits have, such as overhead")
    parser.add_argument("--new", default="HEAD", help="the other commit [HEAD]; what is not committed is not measured")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often each figure is measured [{ROUNDS}]")
    parser.add_argument("--out", type=Path, default=OUT, help="the JSON to write [build/compare.json]")
    options = parser.parse_args(arguments)
    machine = describe()
    rows: dict[str, list[dict[str, Any]]] = {}
    with _checkout(options.old) as old, _checkout(options.new) as new:
        trees = {"old": old, "new": new}
        commits = {side: _git("rev-parse", "HEAD", folder=tree) for side, tree in trees.items()}
        for name in options.names:  # each is shown and saved at once: a run may be stopped
            rows[name] = compared(*_rounds(name, trees, options.rounds))
            _show(name, rows[name], options.rounds)
            entry = {"commits": commits, "rounds": options.rounds, "machine": machine, "figures": rows}
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(entry, indent=1) + "\n")


@contextmanager
def _checkout(ref: str) -> Iterator[Path]:
    """Yield a worktree of the commit, its modules compiled; it is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="framegate-compare-", ignore_cleanup_errors=True) as folder:
        tree = Path(folder) / "tree"
        _git("worktree", "add", "--quiet", "--detach", str(tree), ref)
        try:
            subprocess.run([sys.executable, "-m", "compileall", "-q", str(tree)], check=False)
            yield tree
        finally:
            _git("worktree", "remove", "--force", str(tree))


def _git(*arguments: str, folder: Path = ROOT) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def _rounds(name: str, trees: Mapping[str, Path], rounds: int) -> tuple[Values, Values, dict[str, str]]:
    values: dict[str, Values] = {"old": {}, "new": {}}
    units: dict[str, str] = {}
    for count in range(rounds):  # the order alternates, against a drift of the machine
        for side in ("old", "new") if count % 2 == 0 else ("new", "old"):
            print(f"{name}, round {count + 1} of {rounds}: {side}", flush=True)
            for row in _measured(name, trees[side]):
                values[side].setdefault(row["what"], []).append(row["value"])
                units[row["what"]] = row["unit"]
    return values["old"], values["new"], units


def _measured(name: str, tree: Path) -> list[dict[str, Any]]:
    saved = tree / "bench" / "results" / f"{name}.json"
    saved.unlink(missing_ok=True)  # that of the commit
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and Path(path) != ROOT]
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(tree), *paths])}
    done = subprocess.run(
        [sys.executable, "-m", "bench", name], cwd=tree, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode or not saved.is_file():
        sys.exit(f"{name} failed in {tree}:\n{(done.stdout + done.stderr)[-3000:]}")
    return json.loads(saved.read_text())["rows"]


def compared(old: Values, new: Values, units: Mapping[str, str]) -> list[dict[str, Any]]:
    rows = []
    for what in dict.fromkeys((*old, *new)):
        row: dict[str, Any] = {"what": what, "unit": units[what]}
        for side, values in (("old", old), ("new", new)):
            row[side] = statistics.median(values[what]) if what in values else None
            row[f"{side}_values"] = values.get(what, [])
        row["ratio"] = row["new"] / row["old"] if row["old"] and row["new"] is not None else None
        rows.append(row)
    return rows


def _show(name: str, rows: Sequence[Mapping[str, Any]], rounds: int) -> None:
    print(f"\n{name}, medians of {rounds} rounds; * is a ratio further than {ALIKE:.0%} from 1")
    width = max(len(row["what"]) for row in rows)
    print(f"  {'':<{width}}  {'old':>12}  {'new':>12}  new / old")
    for row in rows:
        cells = [number(row[side], row["unit"]) if row[side] is not None else "-" for side in ("old", "new")]
        print(f"  {row['what']:<{width}}  {cells[0]:>12}  {cells[1]:>12}  {_ratio(row['ratio'])}".rstrip(), flush=True)


def _ratio(ratio: float | None) -> str:
    if ratio is None:
        return "-"
    return f"{ratio:.3f}{' *' if abs(ratio - 1) > ALIKE else ''}"
