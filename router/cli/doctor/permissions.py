"""Who else may read what callers sent, or change what this server runs."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from router.cli.doctor.finding import Case, Finding, fail, ok, warn
from router.permissions import around, listed, open_to_all


def check(case: Case) -> Iterator[Finding]:
    settings = case.settings
    yield private(settings.data, os.geteuid())
    yield unchangeable("models file", [settings.models])
    if settings.plugins:
        yield unchangeable("plugins", settings.plugins)


def private(data: Path, user: int) -> Finding:
    """Look at who may come into the data folder; it holds prompts, images and videos."""
    if not data.exists():
        return ok("permissions", f"{data} is not there yet")
    found = data.stat()
    if found.st_mode & stat.S_IWOTH:
        return fail("permissions", f"everybody may write in {data}", f"chmod o-rwx {data}")
    if user not in (found.st_uid, 0):
        return warn("permissions", f"{data} belongs to user {found.st_uid}, this is {user}", "run as the server's user")
    if found.st_mode & (stat.S_IROTH | stat.S_IXOTH):
        return warn("permissions", f"every user of this machine may look into {data}", f"chmod o-rwx {data}")
    return ok("permissions", f"{data} is closed to others")


def unchangeable(check: str, paths: Iterable[Path]) -> Finding:
    """Look for files and folders that everybody may write: whoever can change them can run code here."""
    seen = around(paths)
    if found := [path for path in seen if open_to_all(path)]:
        return warn(check, f"everybody may change {listed(found)}", "chmod o-w what is yours")
    return ok(check, f"{len(seen)} files and folders, none of which everybody may change")
