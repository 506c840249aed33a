"""Files of two types at once: images come out as images, and never run."""

import base64
import hashlib
import io
import struct
import zipfile
import zlib
from dataclasses import replace

import cv2
import numpy as np
import pytest
from conftest import data_url, leftovers, png, with_image
from flask.testing import FlaskClient
from support.website import Website, status
from werkzeug.test import TestResponse

from router.engine.worker import Worker
from router.media.pixels import decode, to_png
from router.settings import Settings
from router.system import System

SCRIPT = b"<html><script>alert('owned')</script></html>"
SHELL = b"\n#!/bin/sh\necho owned\n"
INCLUDED = "?include=message.input_image.image_url"


def jpeg(comment: bytes = b"") -> bytes:
    """Return a JPEG with a comment right behind its beginning."""
    whole = cv2.imencode(".jpg", np.full((64, 64, 3), 128, np.uint8))[1].tobytes()
    return whole[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + whole[2:]


def webp(chunk: bytes) -> bytes:
    """Return a WebP with an unknown chunk behind its picture."""
    whole = cv2.imencode(".webp", np.full((64, 64, 3), 128, np.uint8))[1].tobytes()
    body = whole[12:] + b"JUNK" + struct.pack("<I", len(chunk)) + chunk + b"\0" * (len(chunk) % 2)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def png_with(kind: bytes, chunk: bytes) -> bytes:
    """Return a PNG with a chunk in front of its pixels."""
    whole, start = png(), 33  # the signature and IHDR
    made = struct.pack(">I", len(chunk)) + kind + chunk + struct.pack(">I", zlib.crc32(kind + chunk))
    return whole[:start] + made + whole[start:]


def archive() -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as made:
        made.writestr("owned.py", "print('owned')")
    return written.getvalue()


PICTURES = {
    "a PNG and a page": png() + SCRIPT,
    "a PNG with a page in its text": png_with(b"tEXt", b"Comment\0" + SCRIPT),
    "a PNG and an archive": png() + archive(),
    "a PNG and a shell script": png() + SHELL,
    "a PNG and a pickle": png() + b"cos\nsystem\n(S'echo owned'\ntR.",
    "a JPEG and a page": jpeg(SCRIPT),
    "a JPEG and JavaScript": jpeg(b"*/=alert('owned')/*") + b"*/;alert('owned')//",
    "a JPEG and an archive": jpeg() + archive(),
    "a WebP and a page": webp(SCRIPT),
}
OTHERS = {
    "a page with a JPEG's first bytes": b"\xff\xd8\xff" + SCRIPT * 20,
    "a JPEG's beginning and an archive": jpeg()[:300] + archive(),
    "a page with a PNG's signature": b"\x89PNG\r\n\x1a\n" + SCRIPT * 20,
    "a page with a WebP's first bytes": b"RIFF\0\0\0\0WEBP" + SCRIPT * 20,
    "a page and a PNG": SCRIPT + png(),
    "an archive and a PNG": archive() + png(),
    "a script and a PNG": SHELL + png(),
    "an SVG that shows a PNG": b'<svg xmlns="http://www.w3.org/2000/svg" onload="owned()"/>' + png(),
    "a GIF and JavaScript": b"GIF89a=1;alert('owned')//" + png(),
    "a BMP and a PNG": b"BM" + png(),
    "a PDF and a PNG": b"%PDF-1.4\n" + png(),
}
CLAIMS = ("text/html", "image/svg+xml", "application/zip", "image/png,<script>owned</script>")


@pytest.fixture
def settings(settings: Settings, site: Website) -> Settings:
    return replace(settings, image_hosts=(f"127.0.0.1:{site.port}",))


def asked(client: FlaskClient, url: str, **more: object) -> TestResponse:
    return client.post("/v1/responses", json={"model": "image", "input": with_image("a", url), **more})


def is_inert(answer: TestResponse) -> bool:
    """Say whether an answer is of its own type only, for browsers too."""
    hidden = any(word in answer.data for word in (b"owned", b"<script", b"PK\x03\x04"))
    return answer.headers["x-content-type-options"] == "nosniff" and not hidden


@pytest.mark.parametrize("data", PICTURES.values(), ids=PICTURES.keys())
def test_what_is_made_of_a_polyglot_has_its_pixels_and_nothing_else(
    client: FlaskClient, worker: Worker, data: bytes
) -> None:
    options = {"provider_options": {"image": {"steps": 1, "response_format": "url"}}}
    (video,) = asked(client, data_url(data)).get_json()["output"][0]["content"]
    (image,) = asked(client, data_url(data), **options).get_json()["output"][0]["content"]
    sent = {
        video["video_url"]: "video/mp4",
        video["video_url"] + "?variant=thumbnail": "image/webp",
        video["video_url"] + "?variant=spritesheet": "image/jpeg",
        video["video_url"] + "?variant=last_frame": "image/png",
        image["image_url"]: "image/png",
    }
    for path, media_type in sent.items():
        answer = client.get(path)
        assert (answer.status_code, answer.mimetype, is_inert(answer)) == (200, media_type, True), path
        assert answer.headers["content-disposition"].startswith("inline; filename=")


@pytest.mark.parametrize("data", PICTURES.values(), ids=PICTURES.keys())
def test_a_polyglot_comes_back_as_a_png_of_its_pixels(client: FlaskClient, system: System, data: bytes) -> None:
    job = asked(client, data_url(data, CLAIMS[0]), background=True).get_json()["id"]
    answer = client.get(f"/v1/responses/{job}/input_items{INCLUDED}")
    (image, _) = answer.get_json()["data"][0]["content"]
    head, _, body = image["image_url"].partition(",")

    assert (answer.mimetype, answer.headers["x-content-type-options"]) == ("application/json", "nosniff")
    assert head == "data:image/png;base64"
    assert image["media_type"] in ("image/png", "image/jpeg", "image/webp")
    assert image["sha256"] == hashlib.sha256(data).hexdigest()
    (stored,) = leftovers(system)
    assert (stored.suffix, stored.stat().st_mode & 0o111) == ("", 0)
    assert base64.b64decode(body) == stored.read_bytes() == to_png(decode(data))
    assert not any(word in stored.read_bytes() for word in (b"owned", b"script", b"PK\x03\x04"))


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_a_data_url_claims_to_be_is_never_repeated(client: FlaskClient, claim: str) -> None:
    answer = asked(client, data_url(png(), claim), background=True)
    if answer.status_code == 200:
        shown = client.get(f"/v1/responses/{answer.get_json()['id']}/input_items{INCLUDED}").get_json()
        assert shown["data"][0]["content"][0]["image_url"].startswith("data:image/png;base64,")
    else:
        assert answer.get_json()["error"]["code"] == "invalid_image"


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS.keys())
@pytest.mark.parametrize("door", ["a data URL", "a URL", "a file"])
def test_another_file_with_an_image_in_it_is_refused_at_every_door(
    client: FlaskClient, system: System, site: Website, data: bytes, door: str
) -> None:
    site.answers["/a.png"] = status(200, "Content-Type: image/png", body=data)
    if door == "a file":
        file = (io.BytesIO(data), "../../../a.png", "image/png")
        answer = client.post("/v1/videos", data={"model": "image", "prompt": "a", "input_reference": file})
    else:
        answer = asked(client, site.url("/a.png") if door == "a URL" else data_url(data))

    assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "invalid_image")
    assert is_inert(answer)
    assert leftovers(system) == []
