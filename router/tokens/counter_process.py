"""The counting process, started on demand and killed when it hangs."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from threading import Timer
from typing import Any

from router.tokens import counter_child


class CounterProcess:
    """A process of `counter_child`, used by one thread."""

    def __init__(self, stall_seconds: float) -> None:
        self._stall_seconds = stall_seconds
        self.child: subprocess.Popen[bytes] | None = None

    def is_running(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def exchange(self, file: str, limit: int, texts: Sequence[str]) -> dict[str, Any]:
        """Return the process's answer; raise `OSError` or `ValueError` without one."""
        child = self._running()
        assert child.stdin is not None
        assert child.stdout is not None
        request = {"file": file, "limit": limit, "texts": texts}
        watchdog = Timer(self._stall_seconds, child.kill)
        watchdog.start()
        try:
            child.stdin.write(json.dumps(request).encode() + b"\n")
            child.stdin.flush()
            line = child.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            raise OSError(f"the process that read it ended with status {child.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer

    def end(self) -> None:
        child, self.child = self.child, None
        if child is not None:
            child.kill()
            child.communicate()  # which closes the pipes, whatever was not written or read yet

    def _running(self) -> subprocess.Popen[bytes]:
        if self.child is None or not self.is_running():
            self.end()
            self.child = subprocess.Popen(
                [sys.executable, "-P", counter_child.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # a library's panic would print what a file holds
                env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
            )
        return self.child
