"""The supervisor restarts dead children, kills hung ones, and ends after a failed start."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support.patience import PATIENCE

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

BEAT = "os.write(int(sys.argv[2]), b'step' + bytes([10]))"
SCRIPT = """
import sys
from router.fleet import Child, Supervisor
sys.exit(Supervisor([{children}], lambda: print("reloading", file=sys.stderr, flush=True)).run())
"""


def child(name: str, code: str, stall: str = "{}", stopped: float = 20) -> str:
    command = f"(sys.executable, '-c', {code!r}, '{{parent}}', '{{beats}}')"
    return f"Child({name!r}, {command}, stall={stall}, stopped={stopped})"


def start(*children: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
    code = SCRIPT.format(children=", ".join(children))
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", code], env=environ, stderr=stderr, text=True)


def counting(path: Path, then: str) -> str:
    """Return a child's code: append a line at each start, then run `then`."""
    return f"import os, sys, time\nopen({str(path)!r}, 'a').write(str(os.getpid()) + chr(10))\n{then}"


def starts(path: Path, at_least: int, seconds: float = 30) -> list[int]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if path.exists() and len(found := path.read_text().split()) >= at_least:
            return [int(pid) for pid in found]
        time.sleep(0.05)
    raise AssertionError(f"{at_least} starts were needed in {seconds} s")


def test_what_dies_is_started_again_and_all_stop_on_a_signal(tmp_path: Path) -> None:
    supervisor = start(
        child("dies", counting(tmp_path / "dies", f"{BEAT}\ntime.sleep(0.1)\nsys.exit(1)")),
        child("stays", counting(tmp_path / "stays", "time.sleep(600)")),
    )
    starts(tmp_path / "dies", 3)
    (stays,) = starts(tmp_path / "stays", 1)
    supervisor.send_signal(signal.SIGTERM)

    assert supervisor.wait(15) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(stays, 0)


def test_a_child_that_could_never_start_ends_it(tmp_path: Path) -> None:
    supervisor = start(
        child("never", "import sys; sys.exit(4)"), child("stays", counting(tmp_path / "s", "time.sleep(600)"))
    )

    assert supervisor.wait(20) == 4


def test_one_that_has_started_once_and_cannot_come_back_is_tried_again(tmp_path: Path) -> None:
    once = f"{BEAT}\ntime.sleep(0.1)\nsys.exit(4)"
    supervisor = start(child("once", counting(tmp_path / "once", once)))
    starts(tmp_path / "once", 3)

    assert supervisor.poll() is None
    supervisor.terminate()
    assert supervisor.wait(15) == 0


def test_what_hangs_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    hangs = (
        "import subprocess\n"
        f"grandchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(tmp_path / 'grand')!r}, 'a').write(str(grandchild.pid) + ' ')\n"
        f"{BEAT}\ntime.sleep(600)"
    )
    supervisor = start(child("hangs", counting(tmp_path / "hangs", hangs), stall="{'step': 0.5}"))
    first, *_ = starts(tmp_path / "hangs", 2)
    grandchild = int((tmp_path / "grand").read_text().split()[0])
    time.sleep(0.2)

    for pid in (first, grandchild):
        assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]
    supervisor.terminate()
    supervisor.wait(15)


def test_a_hang_up_reloads_and_stops_nothing(tmp_path: Path) -> None:
    supervisor = start(child("stays", counting(tmp_path / "stays", "time.sleep(600)")))
    starts(tmp_path / "stays", 1)
    assert supervisor.stderr is not None
    for _ in range(2):
        supervisor.send_signal(signal.SIGHUP)
        assert supervisor.stderr.readline() == "reloading\n"
    supervisor.terminate()

    assert supervisor.wait(15) == 0
    assert len(starts(tmp_path / "stays", 1)) == 1


def test_a_terminal_that_is_closed_stops_what_was_started_from_it(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    supervisor = start(child("stays", counting(tmp_path / "stays", "time.sleep(600)")), stderr=theirs)
    (stays,) = starts(tmp_path / "stays", 1)
    supervisor.send_signal(signal.SIGHUP)
    output = b""
    while b"reloading" not in output:
        output += os.read(ours, 1000)
    for end in (ours, theirs):
        os.close(end)
    supervisor.send_signal(signal.SIGHUP)

    assert supervisor.wait(15) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(stays, 0)


def last(path: Path) -> psutil.Process:
    return psutil.Process(starts(path, 1)[-1])


BEATING = "while True: os.write(int(sys.argv[2]), b'step' + bytes([10])); time.sleep(0.1)"


def test_what_is_stopped_is_replaced_at_once_and_in_any_phase(tmp_path: Path) -> None:
    """Three stops in turn: growing pauses would take longer than the first two."""
    started = time.monotonic()
    supervisor = start(child("stays", counting(tmp_path / "stays", BEATING), stopped=0.3))
    for count in range(1, 6):
        starts(tmp_path / "stays", count)
        last(tmp_path / "stays").suspend()
    starts(tmp_path / "stays", 6)
    supervisor.terminate()
    _, output = supervisor.communicate(timeout=15)

    assert output.count("replacing stays") == 5
    assert "starting it again in" not in output
    assert time.monotonic() - started < PATIENCE


def test_a_start_that_takes_too_long_is_tried_again(tmp_path: Path) -> None:
    supervisor = start(child("never", counting(tmp_path / "never", "time.sleep(600)"), stall="{'start': 0.5}"))
    starts(tmp_path / "never", 3)

    assert supervisor.poll() is None
    supervisor.terminate()
    supervisor.wait(15)


def test_one_that_cannot_start_for_now_is_tried_again(tmp_path: Path) -> None:
    supervisor = start(child("busy", counting(tmp_path / "busy", "sys.exit(75)")))
    starts(tmp_path / "busy", 3)

    assert supervisor.poll() is None
    supervisor.terminate()
    assert supervisor.wait(15) == 0


def test_who_says_that_it_starts_has_not_shown_that_it_can(tmp_path: Path) -> None:
    starting = "os.write(int(sys.argv[2]), b'start' + bytes([10]))\ntime.sleep(0.5)\nsys.exit(4)"
    supervisor = start(child("never", counting(tmp_path / "never", starting)))

    assert supervisor.wait(20) == 4


def test_a_pause_of_the_machine_is_nobodys_silence(tmp_path: Path) -> None:
    supervisor = start(child("stays", counting(tmp_path / "stays", BEATING), stall="{'step': 2.2}"))
    (stays,) = starts(tmp_path / "stays", 1)
    time.sleep(0.5)
    for process in (stays, supervisor.pid):
        os.kill(process, signal.SIGSTOP)
        time.sleep(0.3)
    time.sleep(2)
    for process in (supervisor.pid, stays):
        os.kill(process, signal.SIGCONT)
        time.sleep(0.4)

    assert starts(tmp_path / "stays", 1) == [stays]
    assert psutil.pid_exists(stays)
    supervisor.terminate()
    assert supervisor.wait(15) == 0


def test_a_process_that_cannot_be_had_now_is_tried_again_and_ends_nobody(tmp_path: Path) -> None:
    program = tmp_path / "program"
    stays = child("stays", counting(tmp_path / "stays", "time.sleep(600)"))
    supervisor = start(f"Child('later', ({str(program)!r},))", stays)
    starts(tmp_path / "stays", 1)
    program.write_text(f"#!/bin/sh\necho 1 >>{tmp_path / 'later'}\nsleep 600\n")
    program.chmod(0o700)
    starts(tmp_path / "later", 1)

    assert len(starts(tmp_path / "stays", 1)) == 1
    supervisor.terminate()
    assert supervisor.wait(15) == 0


def test_a_machine_without_files_to_open_ends_nobody(tmp_path: Path) -> None:
    stays = child("stays", counting(tmp_path / "stays", "time.sleep(600)"))
    ends = child("ends", counting(tmp_path / "ends", f"{BEAT}; time.sleep(0.5)"))
    supervisor = start(ends, stays)
    starts(tmp_path / "stays", 1)
    starts(tmp_path / "ends", 1)
    soft, hard = resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE, (3, hard))
    assert supervisor.stderr is not None
    while "cannot be started now" not in supervisor.stderr.readline():
        assert supervisor.poll() is None
    before = len(starts(tmp_path / "ends", 1))
    resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE, (soft, hard))
    starts(tmp_path / "ends", before + 1)

    assert len(starts(tmp_path / "stays", 1)) == 1
    supervisor.terminate()
    assert supervisor.wait(15) == 0


def test_a_reload_that_hangs_or_fails_keeps_nobody_from_being_watched(tmp_path: Path) -> None:
    code = SCRIPT.replace('print("reloading", file=sys.stderr, flush=True)', "__import__('time').sleep(600)")
    stays = child("stays", counting(tmp_path / "stays", BEATING), stopped=0.3)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    supervisor = subprocess.Popen([sys.executable, "-c", code.format(children=stays)], env=environ)
    starts(tmp_path / "stays", 1)
    supervisor.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    last(tmp_path / "stays").suspend()
    starts(tmp_path / "stays", 2)
    supervisor.terminate()

    assert supervisor.wait(15) == 0
