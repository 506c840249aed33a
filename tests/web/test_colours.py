"""Warnings about the colours of images."""

import hashlib
import io
from typing import Any

import cv2
import numpy as np
import pillow_heif
import pytest
from conftest import data_url, png, with_image
from flask.testing import FlaskClient
from PIL import Image
from support import profiles

from router.engine.worker import Worker
from router.media.pixels import decode, to_png

P3 = profiles.matrix(profiles.DISPLAY_P3, profiles.SRGB_CURVE)


def picture(kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image = Image.new("RGB", (64, 64), (234, 90, 40))
    if kind == "HEIC":
        pillow_heif.from_pillow(image).save(stream, **options)
    else:
        image.save(stream, kind, **options)
    return stream.getvalue()


def made(client: FlaskClient, *pictures: bytes, model: str = "image", **more: object) -> dict[str, Any]:
    message = with_image("a", *(data_url(data) for data in pictures))
    answer = client.post("/v1/responses", json={"model": model, "input": message, **more})
    assert answer.status_code == 200, answer.get_json()
    return dict(answer.get_json())


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "HEIC"])
def test_a_profile_that_is_followed_is_no_reason_to_warn(client: FlaskClient, worker: Worker, kind: str) -> None:
    body = made(client, picture(kind, icc_profile=P3))

    assert (body["status"], body["warnings"]) == ("completed", [])


def test_a_profile_that_cannot_be_used_is_a_warning(client: FlaskClient, worker: Worker) -> None:
    body = made(client, picture("JPEG", icc_profile=b"no profile" * 20))

    assert body["status"] == "completed"
    assert body["warnings"] == [
        "image 1 has a colour profile that cannot be used: it is no ICC profile; its colours were taken as sRGB"
    ]


def test_the_image_that_is_meant_is_named(client: FlaskClient) -> None:
    body = made(client, png(), picture("JPEG", icc_profile=b"no profile" * 20), model="ends", background=True)

    assert body["warnings"][0].startswith("image 2 has a colour profile that cannot be used")


def test_the_engine_has_the_colours_that_were_verified(client: FlaskClient, worker: Worker) -> None:
    """The test's backend repeats the image."""
    options = {"provider_options": {"image": {"steps": 1, "response_format": "url"}}}
    (image,) = made(client, picture("PNG", icc_profile=P3), **options)["output"][0]["content"]
    pixels = cv2.imdecode(np.frombuffer(client.get(image["image_url"]).data, np.uint8), cv2.IMREAD_COLOR_RGB)

    assert np.abs(pixels.astype(int) - (253, 76, 0)).max() <= 8


@pytest.mark.parametrize("kind", ["AVIF", "HEIC"])
def test_a_phone_s_picture_comes_back_as_a_png(client: FlaskClient, kind: str) -> None:
    data = picture(kind)
    job = made(client, data, background=True)["id"]
    items = client.get(f"/v1/responses/{job}/input_items?include=message.input_image.image_url").get_json()
    (image, _) = items["data"][0]["content"]

    assert image["media_type"] == f"image/{kind.lower()}"
    assert image["sha256"] == hashlib.sha256(data).hexdigest()
    assert image["image_url"] == data_url(to_png(decode(data)))
