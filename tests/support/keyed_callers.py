"""Callers of several web machines, who repeat each request, with its key, until answered."""

from __future__ import annotations

import base64
import random
import uuid
from collections import Counter
from collections.abc import Callable
from functools import cache
from itertools import cycle
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

import cv2
import numpy as np

from support.namespaces import Switch
from support.one_request import LATER, LATER_SECONDS, Answer, send
from support.patience import until
from support.stream_reader import read_all

FOLLOWED = 5  # a stream is of one of the newest jobs
READERS = 4  # of streams


class KeyedCallers:
    """Threads for requests that are `put`; `jobs` has the job of each key."""

    def __init__(self, switch: Switch, addresses: list[str], threads: int = 6) -> None:
        self._switch = switch
        self._addresses = addresses
        self._wanted = SimpleQueue[str | None]()
        self._over = Event()
        work = [*[self._call] * threads, self._read, *[self._follow] * READERS]
        self._threads = [Thread(target=self._run, args=(each,), daemon=True) for each in work]
        self.keys: list[str] = []
        self.jobs: dict[str, str] = {}
        self.refused = Counter[tuple[str, int, str]]()  # wrong answers: request, status, code of the error or end
        self.streams = Counter[str]()  # by their problem, "" without one

    def __enter__(self) -> KeyedCallers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for _thread in self._threads:
            self._wanted.put(None)
        for thread in self._threads:
            thread.join()

    def put(self, number: int) -> None:
        """Request this number of videos more."""
        new = [uuid.uuid4().hex for _ in range(number)]
        self.keys += new
        for key in new:
            self._wanted.put(key)

    def answered(self) -> bool:
        """Say whether every request has a job, or a refusal."""
        return bool(self.refused) or len(self.jobs) == len(self.keys)

    def _run(self, work: Callable[[], None]) -> None:
        with self._switch.inside():
            work()

    def _call(self) -> None:
        while (key := self._wanted.get()) is not None and not self._over.is_set():
            status, body = self._insist("/v1/responses", _body(key), key)
            if status == 200:
                self.jobs[key] = body["id"].removeprefix("resp_")
            elif not self._over.is_set():
                self._refuse("add", status, body)

    def _read(self) -> None:
        """Read accepted jobs: each is found for ever, and none ends otherwise than completed."""
        while not self._over.wait(0.05):
            if not (jobs := list(self.jobs.values())):
                continue
            path = f"/v1/responses/resp_{random.choice(jobs)}"
            status, body = self._insist(path)
            if not self._over.is_set() and (status != 200 or body["status"] in ("failed", "cancelled")):
                self._refuse("read", status, body)

    def _follow(self) -> None:
        """Follow the streams of new jobs: each has its end."""

        def newest() -> str | None:
            jobs = list(self.jobs.values())[-FOLLOWED:]
            return random.choice(jobs) if jobs else None

        for problem in read_all(newest, cycle(random.sample(self._addresses, len(self._addresses))), self._over):
            self.streams[problem] += 1

    def _refuse(self, request: str, status: int, body: Any) -> None:
        error = body.get("error") if isinstance(body, dict) else None
        self.refused[request, status, error["code"] if error else str(body)[:200]] += 1

    def _insist(self, path: str, body: Any = None, key: str = "") -> Answer:
        """Send a request to one machine after the other until it is answered."""
        answer: Answer = (0, None)
        number = random.randrange(len(self._addresses))
        while not self._over.is_set():
            answer = send(self._addresses[number % len(self._addresses)], path, body, key)
            if answer[0] not in (0, *LATER):
                break
            number += 1
            self._over.wait(LATER_SECONDS)
        return answer


def made(switch: Switch, addresses: list[str], model: str, **video: object) -> str:
    """Request one video until it is accepted, and return its job."""
    body = {"model": model, "input": "a", "background": True, "provider_options": {"video": video}}
    key = uuid.uuid4().hex

    def ask() -> Answer | None:
        with switch.inside():
            found = [send(address, "/v1/responses", body, key) for address in addresses]
        return next((each for each in found if each[0] == 200), None)

    return str(until(ask)[1]["id"]).removeprefix("resp_")


def _body(key: str) -> dict[str, Any]:
    """Return the request of a key; one of four has an image."""
    common = {"background": True, "provider_options": {"video": {}}}
    if int(key, 16) % 4:
        return {"model": "quick", "input": key, **common}
    content = [{"type": "input_text", "text": key}, {"type": "input_image", "image_url": _image()}]
    return {"model": "image", "input": [{"role": "user", "content": content}], **common}


@cache
def _image() -> str:
    png = cv2.imencode(".png", np.full((64, 64, 3), 200, np.uint8))[1].tobytes()
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
