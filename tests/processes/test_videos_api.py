"""The `openai` package's Videos API against a server of real processes."""

import base64
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from conftest import png
from openai import BadRequestError, NotFoundError, OpenAI
from support.patience import until, watch
from support.server import Server, serve_in

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")]

SMALL = "defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 4, negative_prompt: ''}"
LIMITS = "limits: {pixels: 16384, frames: 49, steps: 60}"
MODELS = f"""
models:
  text: {{backend: still, modality: t2v, {SMALL}, {LIMITS}}}
  image: {{backend: still, modality: i2v, {SMALL}, {LIMITS}}}
  slow: {{backend: still, modality: t2v, options: {{step_seconds: 0.1}}, {SMALL}, {LIMITS}}}
routes:
  any: [text, image]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = serve_in(tmp_path_factory.mktemp("videos"), MODELS, max_body_bytes=2**20)
    yield started
    started.stop()


@pytest.fixture
def videos(server: Server) -> Iterator[Any]:
    with OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0) as client:
        yield client.videos


def frames(data: bytes, folder: Path) -> int:
    path = folder / "a.mp4"
    path.write_bytes(data)
    with av.open(str(path)) as video:
        return sum(1 for _ in video.decode(video=0))


def test_create_poll_download_remix_delete(videos: Any, tmp_path: Path) -> None:
    video = videos.create_and_poll(model="text", prompt="a red ball", seconds="4", size="64x32")
    remix = videos.poll(videos.remix(video.id, prompt="a blue ball").id)

    assert (video.status, video.progress, video.seconds, video.size) == ("completed", 100, "4", "64x32")
    assert frames(videos.download_content(video.id).read(), tmp_path) == 33
    assert videos.download_content(video.id, variant="thumbnail").read()[8:12] == b"WEBP"
    assert videos.download_content(video.id, variant="spritesheet").read()[:3] == b"\xff\xd8\xff"
    last = videos.download_content(video.id, variant="last_frame").read()
    assert last.startswith(b"\x89PNG")
    assert (remix.status, remix.remixed_from_video_id, remix.seed) == ("completed", video.id, video.seed)
    deleted = videos.delete(video.id)
    assert (deleted.id, deleted.object, deleted.deleted) == (video.id, "video.deleted", True)
    with pytest.raises(NotFoundError, match=r"video_\w+ was not found"):
        videos.retrieve(video.id)


@pytest.mark.parametrize("way", ["bytes", "path", "named", "object"])
def test_an_image_goes_in_as_the_sdk_sends_it(videos: Any, tmp_path: Path, way: str) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(png(96, 48))
    if way == "object":  # the SDK cannot send one in a form
        url = "data:image/png;base64," + base64.b64encode(png(96, 48)).decode()
        made = videos.create(
            prompt="go", model="any", extra_headers={"Content-Type": "application/json"},
            extra_body={"input_reference": {"image_url": url}},
        )  # fmt: skip
    else:
        file = {"bytes": path.read_bytes(), "path": path, "named": ("a.heic", path.read_bytes(), "image/heic")}[way]
        made = videos.create(prompt="go", model="any", input_reference=file)
    video = videos.poll(made.id)

    width, height = map(int, video.size.split("x"))
    assert (video.status, video.model, width > height) == ("completed", "image", True)


def test_options_go_in_as_brackets(videos: Any) -> None:
    options = {
        "video": {"steps": 3, "num_frames": 9, "guidance_scale": 2.5, "cfg_normalization": True, "flow_shift": None}
    }
    video = videos.create(
        prompt="a", model="text", extra_body={"provider_options": options, "seed": 11, "tags": ["a", "b"]}
    )
    used = video.provider_options["video"]

    assert (used["steps"], used["num_frames"], used["guidance_scale"], video.seed) == (3, 9, 2.5, 11)


def test_the_sdk_pages_through_the_list_and_may_delete_as_it_goes(videos: Any) -> None:
    made = [videos.create(prompt="a", model="text").id for _ in range(7)]
    listed = [video.id for video in videos.list(limit=3)]
    assert listed[:7] == made[::-1]
    assert [video.id for video in videos.list(limit=3, order="asc")] == listed[::-1]
    one = videos.create(prompt="a red cube", model="text").id
    query = {"q": "RED cube", "model": "text"}
    assert [video.id for video in videos.list(limit=1, extra_query=query)] == [one]
    assert [video.id for video in videos.list(limit=2, extra_query={"model": "text"})][:8] == [one, *made[::-1]]
    for video in videos.list(limit=3):
        videos.delete(video.id)

    assert list(videos.list()) == []


def test_a_user_sees_what_is_wrong(videos: Any) -> None:
    with pytest.raises(BadRequestError, match="image is image-to-video: it needs an image, got text only") as mismatch:
        videos.create(prompt="a", model="image")
    with pytest.raises(BadRequestError, match="size must be WIDTHxHEIGHT") as size:
        videos.create(prompt="a", model="text", size="720p")
    with pytest.raises(BadRequestError, match="has no field 'frames'") as option:
        videos.create(prompt="a", model="text", extra_body={"provider_options": {"video": {"frames": 3}}})
    with pytest.raises(NotFoundError, match="there is no /v1/videos/edits here"):
        videos.edit(prompt="a", video=b"x" * 100)
    with pytest.raises(NotFoundError, match="there is no /v1/videos/characters here"):
        videos.create_character(name="a", video=b"x" * 100)

    assert (mismatch.value.code, mismatch.value.param) == ("modality_mismatch", "input_reference")
    assert (size.value.code, size.value.param) == ("invalid_value", "size")
    assert (option.value.code, option.value.param) == ("unknown_parameter", "provider_options.video.frames")


def test_polling_goes_at_the_pace_that_the_server_names(videos: Any) -> None:
    options = {"provider_options": {"video": {"steps": 20}}}
    with watch() as took:
        video = videos.create_and_poll(prompt="a", model="slow", extra_body=options)

    assert video.status == "completed"
    assert took.seconds < 15
    raw = videos.with_raw_response.retrieve(videos.create(prompt="a", model="slow", extra_body=options).id)
    assert 500 <= int(raw.headers["openai-poll-after-ms"]) <= 5000


def test_cancelling_and_failing_end_a_poll(videos: Any, server: Server) -> None:
    made = videos.create(prompt="a", model="slow", extra_body={"provider_options": {"video": {"steps": 60}}})
    server.call(f"/v1/responses/{made.id.replace('video', 'resp')}/cancel", method="POST")
    video = videos.poll(made.id)

    assert (video.status, video.error.code, video.error.message) == ("failed", "cancelled", "the job was cancelled")


def test_deleting_a_running_video_frees_the_device(videos: Any) -> None:
    made = videos.create(prompt="a", model="slow", extra_body={"provider_options": {"video": {"steps": 60}}})
    until(lambda: videos.retrieve(made.id).status != "queued")
    videos.delete(made.id)
    with watch() as took:
        videos.create_and_poll(prompt="a", model="text", poll_interval_ms=20)

    assert took.seconds < 4  # of the six seconds that it would have taken


def test_an_upload_over_the_limit_can_read_its_refusal(videos: Any) -> None:
    from openai import APIStatusError

    with pytest.raises(APIStatusError, match="a body may have 1,048,576 bytes") as refused:
        videos.create(prompt="a", model="image", input_reference=b"x" * 2**22)

    assert (refused.value.status_code, refused.value.code) == (413, "body_too_large")


def chunked(server: Server, pieces: list[bytes], end: bool = True) -> bytes:
    """Send a form in chunks over a raw socket and return the answer."""
    head = (
        "POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head.encode())
        for piece in pieces:
            connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            time.sleep(0.01)
        if end:
            connection.sendall(b"0\r\n\r\n")
        else:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer


def test_a_form_may_come_in_chunks_that_cut_it_anywhere(server: Server) -> None:
    data = b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na cat\r\n--b--\r\n'
    pieces = [data[at : at + 7] for at in range(0, len(data), 7)]
    whole, cut = chunked(server, pieces), chunked(server, pieces[:-2], end=False)

    assert whole.startswith(b"HTTP/1.1 200")
    assert json.loads(whole.partition(b"\r\n\r\n")[2])["prompt"] == "a cat"
    assert b"400" in cut[:12]
    assert "breaks off" in json.loads(cut.partition(b"\r\n\r\n")[2])["error"]["message"]
