"""Callers of several web machines: each request has a key, and is sent again until answered."""

from __future__ import annotations

import base64
import json
import random
import urllib.error
import urllib.request
import uuid
from collections import Counter
from functools import cache
from http.client import HTTPException
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

import cv2
import numpy as np

from support.namespaces import Switch
from support.patience import until

ANSWER_SECONDS = 5.0  # a caller waits this long for an answer, and then asks another machine
LATER = (429, 503)  # these statuses say: come back later
LATER_SECONDS = 0.3
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
Answer = tuple[int, Any]


class KeyedCallers:
    """Threads that request what is `put`; `jobs` has the job of each key."""

    def __init__(self, switch: Switch, addresses: list[str], threads: int = 6) -> None:
        self._switch = switch
        self._addresses = addresses
        self._wanted = SimpleQueue[str | None]()
        self._over = Event()
        self._callers = [Thread(target=self._run, args=(self._call,), daemon=True) for _ in range(threads)]
        self._reader = Thread(target=self._run, args=(self._read,), daemon=True)
        self.keys: list[str] = []
        self.jobs: dict[str, str] = {}
        self.refused = Counter[tuple[str, int, str]]()  # wrong answers: request, status, code of the error or end

    def __enter__(self) -> KeyedCallers:
        for thread in (*self._callers, self._reader):
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for _caller in self._callers:
            self._wanted.put(None)
        for thread in (*self._callers, self._reader):
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

    def _run(self, work: Any) -> None:
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


def send(address: str, path: str, body: Any = None, key: str = "") -> Answer:
    """Send one request from this thread's network; the status is 0 without an answer."""
    data = json.dumps(body).encode() if body is not None else None
    headers = {"content-type": "application/json", **({"idempotency-key": key} if key else {})}
    try:
        with DIRECT.open(urllib.request.Request(address + path, data, headers), timeout=ANSWER_SECONDS) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, _read_body(error)
    except (OSError, HTTPException, ValueError):  # ValueError: half an answer
        return 0, None


def made(switch: Switch, addresses: list[str], model: str, **video: object) -> str:
    """Request one video until it is accepted, and return its job."""
    body = {"model": model, "input": "a", "background": True, "provider_options": {"video": video}}
    key = uuid.uuid4().hex

    def ask() -> Answer | None:
        with switch.inside():
            found = [send(address, "/v1/responses", body, key) for address in addresses]
        return next((each for each in found if each[0] == 200), None)

    return str(until(ask)[1]["id"]).removeprefix("resp_")


def _read_body(error: urllib.error.HTTPError) -> Any:
    try:
        return json.load(error)
    except (OSError, HTTPException, ValueError):
        return None


def _body(key: str) -> dict[str, Any]:
    """Return the request of a key, the same each time; one of four has an image."""
    common = {"background": True, "provider_options": {"video": {}}}
    if int(key, 16) % 4:
        return {"model": "quick", "input": key, **common}
    content = [{"type": "input_text", "text": key}, {"type": "input_image", "image_url": _image()}]
    return {"model": "image", "input": [{"role": "user", "content": content}], **common}


@cache
def _image() -> str:
    png = cv2.imencode(".png", np.full((64, 64, 3), 200, np.uint8))[1].tobytes()
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
