"""A reader of one job's events, over several connections."""

import json
from collections.abc import Callable, Iterator
from http.client import HTTPException
from threading import Event
from urllib.error import HTTPError

from support.one_request import ANSWER_SECONDS, DIRECT, LATER, LATER_SECONDS, send

SILENT_BEATS = 3  # after the job's end: then its reader has been forgotten


class StreamReader:
    """Follows a job through several web machines, which take turns."""

    def __init__(self, addresses: Iterator[str], job: str, over: Event) -> None:
        self._addresses = addresses
        self._path = f"/v1/responses/resp_{job}"
        self._over = over
        self._last = -1
        self._kind = ""  # of the last event
        self._silent = 0

    def problem(self) -> str:
        """Read to the end of the stream; return its fault, or ""."""
        while not self._over.is_set() and self._silent < SILENT_BEATS:
            address = next(self._addresses)
            try:
                if self._read(address):
                    return "" if self._kind == "response.completed" else f"[DONE] after {self._kind or 'no event'}"
            except HTTPError as error:
                if error.code not in LATER:
                    return f"status {error.code}"
            except (OSError, HTTPException, ValueError):  # ValueError: half an event
                pass
            self._over.wait(LATER_SECONDS)
        return "" if self._over.is_set() else f"silent after the job's end, last {self._kind or 'no event'}"

    def _read(self, address: str) -> bool:
        """Read one connection; return whether the stream has ended."""
        after = f"&starting_after={self._last}" if self._last >= 0 else ""
        with DIRECT.open(f"{address}{self._path}?stream=true{after}", timeout=ANSWER_SECONDS) as lines:
            for line in lines:
                if line.startswith(b"data: [DONE]"):
                    return True
                if line.startswith(b"data: "):
                    event = json.loads(line.removeprefix(b"data: "))
                    self._last, self._kind = event["sequence_number"], event["type"]
                elif line.startswith(b":") and self._has_ended(address):
                    self._silent += 1
                if self._over.is_set() or self._silent == SILENT_BEATS:
                    break
        return False

    def _has_ended(self, address: str) -> bool:
        status, body = send(address, self._path)
        return status == 200 and body["status"] == "completed"


def read_all(job: Callable[[], str | None], addresses: Iterator[str], over: Event) -> Iterator[str]:
    """Follow one job after the other, and yield the problem of each."""
    while not over.wait(LATER_SECONDS):
        if (this := job()) is not None:
            yield StreamReader(addresses, this, over).problem()
