"""The quick end of a process."""

import subprocess
import sys

PROGRAM = """
import atexit, sys
from router.runtime.ending import end_process

atexit.register(print, "last")
atexit.register(print, "first", file=sys.stderr)
sys.stdout.write("whole, ")
end_process(3)
print("never")
"""


def test_exit_handlers_run_and_nothing_that_was_written_is_lost() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (3, "whole, last\n", "first\n")


def test_closed_streams_do_not_matter() -> None:
    program = "import sys; from router.runtime.ending import end_process; sys.stdout.close(); end_process(0)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
