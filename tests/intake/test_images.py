"""The images of a request before they are stored."""

import hashlib
from dataclasses import replace

from conftest import data_url, png
from support.driving import task

from registry import Input, Limits
from router.intake.images import ReceivedImage
from router.media import Decoders, Fetcher, Hosts
from router.request import ImageInput

LIMITS = Limits(pixels=16384, frames=49, steps=60)
TASK = task()
NOWHERE = Fetcher(Hosts(public=False))


def received(url: str) -> ReceivedImage:
    return ReceivedImage(ImageInput(Input.IMAGE, url, "input"), NOWHERE, "local")


def test_header_and_digest_are_of_the_bytes_that_came(decoders: Decoders) -> None:
    image = received(data_url(png(48, 40)))
    info = image.receive(LIMITS)
    stored = image.prepare(LIMITS, TASK, decoders, "0").stored

    assert (info.media_type, info.width, info.height) == ("image/png", 48, 40)
    assert image.receive(LIMITS) is info
    assert stored.sha256 == image.identity == hashlib.sha256(png(48, 40)).hexdigest()
    assert (stored.width, stored.height, stored.size) == (48, 40, len(png(48, 40)))


def test_a_remote_image_counts_by_its_url_and_is_not_fetched() -> None:
    url = "https://example.org/cat.png"
    assert received(url).identity == hashlib.sha256(url.encode()).hexdigest()


def test_a_stored_image_stays_as_it_is_under_another_name(decoders: Decoders) -> None:
    first = received(data_url(png(128, 64))).prepare(LIMITS, TASK, decoders, "0")
    source = ImageInput(Input.IMAGE, "", "", data=first.png, stored=first.stored)
    again = ReceivedImage(source, NOWHERE, "local").prepare(LIMITS, TASK, decoders, "1")

    assert again == replace(first, stored=replace(first.stored, name="1"))
    assert again.crop == ("image 128x64 was cropped to 64x64: 50 % of it is not in the video",)
