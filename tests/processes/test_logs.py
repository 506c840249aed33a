"""The logs of a whole server follow one job through every process."""

import json
import re
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from conftest import data_url, with_image
from support import pictures
from support.server import Server

pytestmark = pytest.mark.slow

SMALL = "defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 4, negative_prompt: ''}"
MODELS = f"models:\n  text: {{backend: still, modality: t2v, {SMALL}}}\n"


def ask(server: Server, name: str, **body: object) -> None:
    """Make a video and read the whole answer."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/v1/responses",
        json.dumps({"model": "text", "input": "a", **body}).encode(),
        {"content-type": "application/json", "x-request-id": name},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()


def about(lines: list[dict[str, Any]], request: str) -> list[dict[str, Any]]:
    return [line for line in lines if line.get("request") == request]


def test_a_job_is_followed_through_the_logs_of_both_halves(serve: Callable[..., Server]) -> None:
    server = serve(MODELS, log_format="json")
    ask(server, "waited")
    ask(server, "watched", stream=True)
    server.until(lambda: server.log.read_text().count("POST /v1/responses 200") == 2)
    server.stop()
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]

    for name in ("waited", "watched"):
        followed = about(lines, name)
        access = [line for line in followed if line["logger"] == "router.web.access"]
        (job,) = {line["job"] for line in followed if "job" in line}
        states = {line["state"]: line for line in followed if line["logger"] == "router.job"}
        assert [(line["status"], line["job"]) for line in access] == [(200, job)]
        assert states.keys() == {"queued", "in_progress", "completed"}
        assert "engine" not in states["queued"]
        engine, process = states["completed"]["engine"], states["completed"]["process"]
        assert engine.startswith(f"cpu-{process}-")
        assert states["in_progress"]["engine"] == engine
        assert states["queued"]["process"] == access[0]["process"] != process
    loaded = next(line for line in about(lines, "waited") if "loaded text" in line["message"])
    assert loaded["engine"].startswith("cpu-")


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_libraries_say_of_a_picture_forges_no_line(serve: Callable[..., Server], form: str) -> None:
    """Keep libpng and libjpeg, which print names and warnings, from forging a line."""
    server = serve(MODELS.replace("t2v", "i2v"), log_format=form)
    named = pictures.png(64, 64, 2, 8, more=pictures.chunk(b"iCCP", pictures.LINE[:70] + b"\0\0" + bytes(9)))
    whole = pictures.encoded(pictures.scene(640, 480), "JPEG")
    for data in (named, whole[:-800] + b"\xff\xd9", named[:80]):
        server.call("/v1/responses", {"model": "text", "input": with_image("a", data_url(data)), "background": True})
    server.until(lambda: "a library says of an image" in server.log.read_text())
    server.stop()
    log = server.log.read_text()

    assert "forged" not in log
    assert "\x1b" not in log
    if form == "json":
        assert all(json.loads(line)["logger"] for line in log.splitlines())
    else:
        line_of_ours = re.compile(r"\d{4}-\d\d-\d\d |Server (ready )?on |    |\[")
        assert [line for line in log.splitlines() if not line_of_ours.match(line)] == []
