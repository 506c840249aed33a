"""The reports of the Python clients; standard library only."""

import json
import sys
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urljoin

BASE = sys.argv[1]  # such as http://127.0.0.1:8000/v1


def refusal(call: Callable[[], Any]) -> dict[str, Any]:
    """Return the exception that the user met."""
    try:
        call()
    except Exception as error:  # whatever it is, the test says what it should have been
        facts = {name: getattr(error, name, None) for name in ("code", "param", "type", "status_code", "request_id")}
        classes = [parent.__name__ for parent in type(error).__mro__]
        return {"class": classes[0], "is_a": classes, "message": str(error), **facts}
    return {"class": None, "message": "nothing was raised"}


def kind(data: bytes) -> str:
    """Name the format of a file by its first bytes."""
    if data[4:8] == b"ftyp":
        return "mp4"
    starts = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg"}
    return (
        "webp"
        if data[8:12] == b"WEBP"
        else next((starts[one] for one in starts if data.startswith(one)), repr(data[:20]))
    )


def download(path: str) -> str:
    """Fetch a `video_url` without a key and name its format."""
    with urllib.request.urlopen(urljoin(BASE, path), timeout=60) as answer:
        return kind(answer.read())


def latest(count: int = 1) -> dict[str, Any]:
    """Return what ran of the first of the `count` newest jobs."""
    with urllib.request.urlopen(f"{BASE}/videos?limit={count}", timeout=60) as answer:
        job = json.load(answer)["data"][count - 1]
    (options,) = job["provider_options"].values()
    return {"id": job["id"], "model": job["model"], "options": options, "warnings": job["warnings"]}


def report(version: str, calls: Iterable[Callable[[], dict[str, Any]]]) -> None:
    print(json.dumps({"version": version, **{call.__name__: call() for call in calls}}))
