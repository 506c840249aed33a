"""Locks that do not hold: reported at the start, and by the doctor."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.server import FRAMEGATE, ROOT, free_port

from router.doctor import disk
from router.errors import BootError
from router.runtime import lock_probe
from router.settings import Settings
from router.system import assemble


class Faked(lock_probe.Locks):
    """A file system with one broken kind of lock: always free, or an error."""

    def __init__(self, whole: int | None = None, byte: int | None = None) -> None:
        self._whole = whole
        self._byte = byte

    def whole(self, file: int) -> None:
        super().whole(file) if self._whole is None else _answer(self._whole)

    def byte(self, at: int, file: int) -> None:
        super().byte(at, file) if self._byte is None else _answer(self._byte)


def _answer(number: int) -> None:
    if number:
        raise OSError(number, os.strerror(number))


def test_this_machine_s_locks_hold_and_trying_them_leaves_nothing(tmp_path: Path) -> None:
    lock_probe.require(tmp_path / "new" / "data")

    assert list((tmp_path / "new" / "data").iterdir()) == []


def test_trying_them_disturbs_no_lock_that_is_held(tmp_path: Path) -> None:
    with open(tmp_path / "held", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        fcntl.lockf(held, fcntl.LOCK_EX)
        lock_probe.require(tmp_path)
        code = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        other = subprocess.run([sys.executable, "-c", code, held.name], capture_output=True, text=True)

    assert "BlockingIOError" in other.stderr


@pytest.mark.parametrize(
    ("kernel", "problem"),
    [
        (Faked(whole=0), "two processes would get the same flock lock there"),
        (Faked(byte=0), "two processes would get the same fcntl lock there"),
        (Faked(whole=errno.ENOLCK), "flock locks fail there: No locks available"),
        (Faked(byte=errno.EOPNOTSUPP), "fcntl locks fail there: Operation not supported"),
        (Faked(byte=errno.EINVAL), "fcntl locks fail there: Invalid argument"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_system_whose_locks_do_not_hold_is_refused(tmp_path: Path, kernel: Faked, problem: str) -> None:
    with pytest.raises(BootError) as refused:
        lock_probe.require(tmp_path, kernel)

    assert refused.value.message.endswith(f"cannot be relied on: {problem}; {lock_probe.ADVICE}")
    assert "\n" not in refused.value.message
    found = disk.locked(tmp_path, kernel)
    assert (found.level, found.message, found.advice) == ("fail", problem, lock_probe.ADVICE)


def test_the_doctor_says_that_they_hold(tmp_path: Path) -> None:
    assert disk.locked(tmp_path).level == "ok"
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_serves_tries_them_first(settings: Settings) -> None:
    assemble(settings)
    opened = os.listdir("/proc/self/fd")

    lock_probe.require(settings.data)
    assert len(os.listdir("/proc/self/fd")) == len(opened)


@pytest.mark.slow
@pytest.mark.parametrize("command", [("serve", "--port", "{port}"), ("web", "--port", "{port}"), ("engine",)])
def test_a_kernel_that_gives_every_lock_is_refused_in_one_line(tmp_path: Path, command: tuple[str, ...]) -> None:
    """The kernel's answer to `flock` is made up by strace, in the real command."""
    made_up = ["strace", "-f", "-qq", "-e", "trace=flock", "-e", "inject=flock:retval=0", "-o", "/dev/null"]
    try:
        tried = subprocess.run([*made_up, "true"], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("needs the command strace on this machine")
    if tried.returncode:
        pytest.skip(f"strace may not watch processes here: {tried.stderr.strip()}")
    words = [word.format(port=free_port()) for word in command]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "FRAMEGATE_DATA": str(tmp_path / "data")}
    ended = subprocess.run([*made_up, *FRAMEGATE, *words], env=environ, cwd=ROOT, capture_output=True, text=True)

    assert ended.returncode == 1
    assert ended.stderr == (
        f"framegate: {tmp_path}/data is on a file system whose locks cannot be relied on: two processes would get the "
        "same flock lock there; put the data folder on a local disk\n"
    )
