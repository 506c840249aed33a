"""`python -m bench.card SECTION OUT DEVICE SECONDS`: run a section's checks, saving each row."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from bench.card.plan import SECTIONS
from bench.card.shapes import NO_FIGURES
from bench.tools.machine import describe
from bench.tools.table import Figure, Row, number, save

if TYPE_CHECKING:
    from bench.card.session import Check, Session


def main(name: str, out: Path, device: str, seconds: float) -> None:
    """Run a section; exit with 1 on a failed check or a missed bound."""
    from bench.card.session import Session

    section, machine = SECTIONS[name], describe()
    title = f"{NO_FIGURES}: {section.title}" if device == "cpu" else section.title
    figure = Figure(f"card_{name}", title, ())
    checks = import_module(f"bench.card.sections.{name}").CHECKS
    with tempfile.TemporaryDirectory(prefix="framegate-card-", ignore_cleanup_errors=True) as folder:
        session = Session(device, Path(folder), seconds)
        with session.stack:
            for what, check in checks.items():
                for partial in _checked(figure, session, what, check):
                    figure = partial
                    save(figure, machine, out)
    sys.exit(bool(figure.failures) or any(row.missed for row in figure.rows))


def _checked(figure: Figure, session: Session, what: str, check: Check) -> Iterator[Figure]:
    if session.left <= 0:
        yield replace(figure, skipped=(*figure.skipped, f"{what}, the limit of {session.seconds:g} s had passed"))
        return
    begun = time.monotonic()
    try:
        for finding in check(session):
            figure = _with(figure, finding)
            yield figure
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and not isinstance(error.code, str):
            raise  # a signal; a server that did not start exits with a message
        traceback.print_exc()
        print(f"  FAILED: {what}: {_brief(error)}", flush=True)
        yield replace(figure, failures=(*figure.failures, f"{what}: {_brief(error)}"))
    print(f"  ({what}: {time.monotonic() - begun:.1f} s)", flush=True)


def _with(figure: Figure, finding: Row | str) -> Figure:
    if isinstance(finding, str):
        print(f"  {finding}", flush=True)
        return replace(figure, notes=(*figure.notes, finding))
    wanted = f"   wanted {finding.wanted}" if finding.wanted else ""
    missed = "   MISSED" if finding.missed else ""
    print(f"  {finding.what}: {number(finding.value, finding.unit)}{wanted}{missed}", flush=True)
    return replace(figure, rows=(*figure.rows, finding))


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # exit, so that servers are stopped too
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
