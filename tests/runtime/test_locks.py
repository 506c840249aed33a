"""File locks: one holder at a time, freed by the kernel, in one module."""

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.patience import until

from router.runtime import locks

ROOT = Path(__file__).parents[2]
OWN_LOCKS = {  # those that cannot import `router.runtime.locks`, or test the locks of a file system
    "nano/family.py",
    "plugins/wan/new_folder.py",
    "router/runtime/lock_probe.py",
    "router/runtime/locks.py",
}
HOLD = """
import sys, time
from pathlib import Path
from router.runtime import locks

with locks.exclusive(Path(sys.argv[1])) as file:
    locks.share_byte(file, 2**60)
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Yield a function to kill another process with locks of `lock`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"

        def kill() -> None:
            process.send_signal(signal.SIGKILL)
            process.wait()

        yield kill
        kill()


def test_a_lock_has_one_holder_and_is_free_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locks.exclusive(path), locks.exclusive_if_free(path) as inner:
        assert not inner
    with locks.exclusive_if_free(path) as outer:
        assert outer


def test_one_waits_for_the_lock_until_the_block_of_another_ends(tmp_path: Path) -> None:
    order: list[str] = []

    def wait() -> None:
        with locks.exclusive(tmp_path / "lock"):
            order.append("second")

    with ThreadPoolExecutor(1) as pool:
        with locks.exclusive(tmp_path / "lock"):
            waiting = pool.submit(wait)
            until(waiting.running)
            order.append("first")
        waiting.result(30)

    assert order == ["first", "second"]


def test_a_killed_holder_leaves_its_lock_and_its_byte_free(tmp_path: Path, elsewhere: Callable[[], None]) -> None:
    file = os.open(tmp_path / "lock", os.O_RDWR)

    assert (locks.is_free(file), locks.acquire(file)) == (False, False)
    assert (locks.is_byte_free(file, 2**60), locks.is_byte_free(file, 2**60 + 1)) == (False, True)
    elsewhere()
    assert (locks.is_free(file), locks.acquire(file)) == (True, True)
    assert locks.is_byte_free(file, 2**60)
    os.close(file)


def test_a_lock_file_keeps_its_bytes_and_is_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locks.exclusive(path) as file:
        os.write(file, b"progress")
    with locks.exclusive(path, 0o664), locks.exclusive_if_free(path):
        pass

    assert path.read_bytes() == b"progress"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_locks_are_taken_in_one_module() -> None:
    files = [path for top in ("nano", "plugins", "registry", "router") for path in (ROOT / top).rglob("*.py")]
    taking = {str(path.relative_to(ROOT)) for path in files if re.search(r"\bfcntl\.\w*lock", path.read_text())}

    assert taking - OWN_LOCKS == set()
