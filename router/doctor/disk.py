"""Checks of disks: free space, file system and locks."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from router.doctor.finding import DoctorContext, Finding, fail, ok, warn
from router.runtime import lock_probe
from router.runtime.byte_size import ByteSize, format_bytes
from router.runtime.disk import Disk

LEAST_BYTES = 10**9  # for videos, inputs and the store
GOOD_BYTES = 10 * 10**9
HUB_BYTES = 30 * 10**9  # the models that are known take 3 to 126 GB
REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs"}
PASSING = {"tmpfs": "a reboot", "ramfs": "a reboot", "overlay": "the container"}


def check(context: DoctorContext) -> Iterator[Finding]:
    from huggingface_hub.constants import HF_HUB_CACHE

    data = context.settings.data
    yield writable(data)
    yield free_space("data", data, LEAST_BYTES, GOOD_BYTES)
    yield reserve(data, context.settings.min_free)
    yield free_space("hub cache", Path(HF_HUB_CACHE), 0, HUB_BYTES)
    yield file_system(data, Path("/proc/self/mounts").read_text())
    yield locked(data)


def existing(path: Path) -> Path:
    """Return the folder or its nearest existing parent."""
    return path if path.exists() or path == path.parent else existing(path.parent)


def writable(data: Path) -> Finding:
    there = existing(data)
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return ok("data", f"{data} {'is writable' if there == data else 'will be made'}")
    advice = "give it to this user (chown), or choose another with --data or FRAMEGATE_DATA"
    return fail("data", f"{there} is no folder in which this user may write", advice)


def free_space(check: str, folder: Path, least: int, good: int) -> Finding:
    """Check the free bytes at `folder`; below `least` nothing works."""
    free = shutil.disk_usage(existing(folder)).free
    shown = f"{format_bytes(free)} are free for {folder}"
    if free < least:
        return fail(check, shown, f"at least {format_bytes(least)} are needed")
    if free < good:
        return warn(check, shown, f"{format_bytes(good)} are recommended")
    return ok(check, shown)


def reserve(data: Path, least: ByteSize) -> Finding:
    """Check whether a server accepts jobs with this much free space."""
    shortage = Disk(existing(data), least).shortage()
    if shortage:
        return fail("data", f"new jobs are refused: {shortage}", "free some of it, or lower FRAMEGATE_MIN_FREE")
    return ok("data", f"new jobs are taken until less than {least} of the disk are free (FRAMEGATE_MIN_FREE)")


def locked(data: Path, kernel: lock_probe.Locks | None = None) -> Finding:
    """Try the file system's locks on an unnamed temporary file."""
    try:
        problem = lock_probe.problem(existing(data), kernel)
    except OSError as error:
        return warn("locks", f"they could not be tried in {data}: {error.strerror}", "run this as the server's user")
    return fail("locks", problem, lock_probe.ADVICE) if problem else ok("locks", f"they hold in {existing(data)}")


def file_system(data: Path, mounts: str) -> Finding:
    """Check the kind of file system below the data; `mounts` is /proc/self/mounts."""
    where = existing(data).resolve()
    fields = [line.split() for line in mounts.splitlines()]
    points = [(Path(_plain(point)), kind) for _, point, kind, *_ in fields]
    holding = [(point, kind) for point, kind in points if where.is_relative_to(point)]
    if not holding:
        return ok("file system", f"{data} is on one of unknown kind")
    # the last mount of the longest path is the visible one
    point, kind = max(enumerate(holding), key=lambda entry: (len(entry[1][0].parts), entry[0]))[1]
    if kind in REMOTE or kind.startswith("fuse."):
        advice = "put it on a local disk, or at least run all processes that use it on this one machine"
        return warn("file system", f"{data} is on {kind} ({point}), where SQLite's log cannot be shared", advice)
    if kind in PASSING:
        return warn("file system", f"{data} is on {kind} ({point}) and goes with {PASSING[kind]}", "mount a disk there")
    return ok("file system", f"{data} is on {kind} ({point})")


def _plain(point: str) -> str:
    """Return a mount point without the kernel's escapes, such as `\\040` for a space."""
    return point.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
