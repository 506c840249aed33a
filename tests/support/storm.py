"""A storm of keyed requests, each repeated until it is answered."""

from __future__ import annotations

import json
import random
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from http.client import HTTPException
from pathlib import Path
from threading import Event, Thread
from typing import Any

from support.server import Server

ASK_SECONDS = 5.0  # a caller waits so long for an answer, and then asks again
CALLERS = 3
REST_SECONDS = 0.5


class Storm:
    """Tireless callers; `jobs` has the answered job of each key."""

    def __init__(self, server: Server, model: str = "good") -> None:
        self._server = server
        self._model = model
        self._over = Event()
        self._threads = [Thread(target=self._run) for _ in range(CALLERS)]
        self.jobs: list[str] = []

    def __enter__(self) -> Storm:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            job = make(self._server, self._model)
            self.jobs.append(job["id"].removeprefix("resp_"))
            time.sleep(random.random() * REST_SECONDS)


def make(server: Server, model: str = "good", seconds: float = 120) -> dict[str, Any]:
    """Request one video until the server names its job."""
    body = {"model": model, "input": "a", "background": True, "provider_options": {"video": {}}}
    return insist(server, "/v1/responses", body, {"idempotency-key": uuid.uuid4().hex}, seconds)


def insist(
    server: Server, path: str, body: Any = None, headers: dict[str, str] | None = None, seconds: float = 120
) -> dict[str, Any]:
    """Send a request, the same each time, until it is answered with 200."""
    data = json.dumps(body).encode() if body is not None else None
    url = f"http://127.0.0.1:{server.port}{path}"
    deadline, last = time.monotonic() + seconds, ""
    while time.monotonic() < deadline:
        request = urllib.request.Request(url, data, {"content-type": "application/json", **(headers or {})})
        try:
            with urllib.request.urlopen(request, timeout=ASK_SECONDS) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            last = error.read().decode()
            if error.code not in (429, 503):  # which say: come back later
                break
        except (OSError, HTTPException) as error:
            last = repr(error)
        time.sleep(0.1)
    raise AssertionError(f"{path} was not answered, last: {last}\n{_end_of(server.log)}")


def served_again(server: Server) -> float:
    """Wait for answers and a video; return the seconds until then."""
    started = time.monotonic()
    job = make(server)
    while (status := insist(server, f"/v1/responses/{job['id']}")["status"]) != "completed":
        assert status in ("queued", "in_progress"), status
        assert time.monotonic() - started < 120, _end_of(server.log)
        time.sleep(0.05)
    for _ in range(20):  # of several web workers, each is asked
        insist(server, "/healthz")
    return time.monotonic() - started


def endings(server: Server) -> Counter[str]:
    """Count the log's completions of each job; a killed engine may miss one."""
    lines = [line for line in server.log.read_text().splitlines() if ": completed, " in line]
    return Counter(line.rpartition("job=")[2].partition("]")[0].split()[0] for line in lines)


def _end_of(log: Path) -> str:
    return log.read_text()[-5000:]
