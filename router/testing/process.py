"""Checks of a backend in a separate process, as a backend may end it."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from router.errors import BootError
from router.testing.result import Listing, Result


class ContractProcess:
    """The checks of one backend, in a process that is replaced after its end."""

    def __init__(self, backend: str, environ: Mapping[str, str], output: int | None = None) -> None:
        """`output` is the file number of the backend's standard output, None for this process's."""
        self._backend = backend
        self._output = output
        self._environ = {**environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        self._process: subprocess.Popen[bytes] | None = None
        self._requests, self._answers = -1, -1

    @cached_property
    def listing(self) -> Listing:
        """The models and rules; raises `BootError` where there is nothing to check."""
        return self._start()

    def check(self, model: str, rule: str) -> Result:
        """Check one rule of one model."""
        try:
            if self._process is None:
                self._start()
            os.write(self._requests, json.dumps([model, rule]).encode() + b"\n")
            return Result(**self._answer())
        except BootError as error:
            return Result(error.message)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._forget(self._process)

    def _start(self) -> Listing:
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        numbers = [str(each) for each in (os.getpid(), requests, answers)]
        command = [sys.executable, "-P", "-m", "router.testing.child", self._backend, *numbers]
        try:
            self._process = subprocess.Popen(
                command,
                env=self._environ,
                pass_fds=[requests, answers],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
            )
        finally:
            os.close(requests)
            os.close(answers)
        plain = self._answer()
        listing = Listing(**{**plain, **{name: tuple(plain[name]) for name in ("models", "rules", "notes")}})
        if listing.problem:
            self.close()
            raise BootError(listing.problem)
        return listing

    def _answer(self) -> dict[str, Any]:
        """Return the next answer; raise `BootError` if the process ends first."""
        process = self._process
        assert process is not None
        ended = os.pidfd_open(process.pid)  # a child of the backend may keep the pipe open
        ready = select.poll()  # `select.select` takes no descriptor above 1023
        for each in (self._answers, ended):
            ready.register(each, select.POLLIN)
        received = b""
        try:
            while not received.endswith(b"\n"):
                if self._answers not in dict(ready.poll()) or not (data := os.read(self._answers, 65536)):
                    raise BootError(f"the backend ended its process, {self._forget(process)}")
                received += data
        finally:
            os.close(ended)
        answer: dict[str, Any] = json.loads(received)
        return answer

    def _forget(self, process: subprocess.Popen[bytes]) -> str:
        """Reap a process that has ended, and say how it did."""
        code = process.wait()
        os.close(self._requests)
        os.close(self._answers)
        self._process = None
        return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit status {code}"
