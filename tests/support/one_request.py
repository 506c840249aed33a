"""Requests of one try each, for callers of machines that come and go."""

import json
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

ANSWER_SECONDS = 5.0  # a caller waits this long for an answer, and then asks another machine
LATER = (429, 503)  # these statuses say: come back later
LATER_SECONDS = 0.3
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
Answer = tuple[int, Any]


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


def _read_body(error: urllib.error.HTTPError) -> Any:
    try:
        return json.load(error)
    except (OSError, HTTPException, ValueError):
        return None
