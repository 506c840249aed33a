"""Checks of file permissions: private data, and files that run code."""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from router.doctor.finding import DoctorContext, Finding, fail, ok, warn
from router.runtime.permissions import changeable


def check(context: DoctorContext) -> Iterator[Finding]:
    settings = context.settings
    yield private(settings.data, os.geteuid())
    user = server(settings.data)
    yield unchangeable("permissions", [settings.data], user, below=False)
    if settings.model is None:
        yield unchangeable("models file", [settings.models], user)
    if settings.plugins:
        yield unchangeable("plugins", settings.plugins, user)


def server(data: Path) -> int:
    """Return the server's user: this one, or for root the data folder's owner."""
    user = os.geteuid()
    return data.stat().st_uid if user == 0 and data.exists() else user


def private(data: Path, user: int) -> Finding:
    """Check the access to the data folder with its prompts, images and videos."""
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


def unchangeable(check: str, paths: Iterable[Path], user: int, *, below: bool = True) -> Finding:
    """Report files and parent folders that other users may change."""
    # such a user may run code as the server
    found = changeable(paths, user, below=below)
    if found.advice:
        return warn(check, str(found), found.advice)
    return ok(check, f"{found.seen} files and folders, which nobody else may change")
