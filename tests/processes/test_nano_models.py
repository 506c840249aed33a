"""Real Wan architectures of toy size in a real engine, over HTTP."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from conftest import data_url, png, with_image
from support.server import Server, frames

pytestmark = pytest.mark.slow

TEXT, PICTURE = "a red ball rolls to the right", with_image("it rolls to the right", data_url(png()))


def ask(server: Server, model: str, content: Any, *, status: int = 200, **body: Any) -> dict[str, Any]:
    got, answer = server.call("/v1/responses", {"model": model, "input": content, "seed": 7, **body})
    assert got == status, answer
    return answer


@pytest.mark.parametrize(
    ("model", "content", "ran"),
    [
        ("wan-nano-t2v", TEXT, "wan-nano-t2v"),
        ("wan-nano-i2v", PICTURE, "wan-nano-i2v"),
        ("wan-nano-ti2v", TEXT, "wan-nano-ti2v"),
        ("wan-nano-ti2v", PICTURE, "wan-nano-ti2v"),
        ("wan-nano", TEXT, "wan-nano-t2v"),
        ("wan-nano", PICTURE, "wan-nano-i2v"),
    ],
)
def test_each_kind_of_request_becomes_a_video(nano: Server, tmp_path: Path, model: str, content: Any, ran: str) -> None:
    answer = ask(nano, model, content)
    pixels = frames(nano, answer, tmp_path)

    assert answer["model"] == ran
    assert pixels.shape == (17, 64, 64, 3)
    assert pixels.std() > 5  # something to see


@pytest.mark.parametrize(("model", "content"), [("wan-nano-t2v", PICTURE), ("wan-nano-i2v", TEXT)])
def test_a_mismatch_is_refused_before_there_is_a_job(nano: Server, model: str, content: Any) -> None:
    before = sorted((nano.data / "inputs").rglob("*"))
    answer = ask(nano, model, content, status=400)

    assert answer["error"]["code"] == "modality_mismatch"
    assert sorted((nano.data / "inputs").rglob("*")) == before


def test_a_seed_gives_the_same_file_and_another_seed_another(nano: Server) -> None:
    def video(seed: int) -> bytes:
        answer = ask(nano, "wan-nano-t2v", TEXT, seed=seed)
        return nano.fetch(answer["output"][0]["content"][0]["video_url"])

    first = video(1)
    assert (video(1) == first, video(2) == first) == (True, False)


def test_another_size_and_one_frame_work(nano: Server, tmp_path: Path) -> None:
    larger = ask(nano, "wan-nano", TEXT, provider_options={"video": {"width": 96, "height": 96, "num_frames": 5}})
    assert frames(nano, larger, tmp_path).shape == (5, 96, 96, 3)
    image = ask(nano, "wan-nano", TEXT, provider_options={"image": {"response_format": "url"}})["output"][0]["content"][
        0
    ]

    assert nano.fetch(image["image_url"])[:4] == b"\x89PNG"


def test_cancel_in_mid_run_stops_the_device(nano: Server) -> None:
    ask(nano, "wan-nano-t2v", TEXT)  # loaded
    job = ask(nano, "wan-nano-t2v", TEXT, background=True, provider_options={"video": {"steps": 60, "num_frames": 49}})
    nano.in_step(job, steps=2)
    nano.call(f"/v1/responses/{job['id']}/cancel", method="POST")
    ask(nano, "wan-nano-t2v", TEXT, provider_options={"video": {"steps": 1, "num_frames": 1}})

    assert nano.call(f"/v1/responses/{job['id']}")[1]["status"] == "cancelled"
    with sqlite3.connect(nano.data / "jobs.sqlite") as store:
        (progress,) = store.execute("SELECT progress FROM jobs WHERE id = ?", [job["id"][5:]]).fetchone()
    assert json.loads(progress)["done"] < 60


def test_a_killed_engine_in_mid_job_costs_an_attempt_and_never_the_job(nano: Server, tmp_path: Path) -> None:
    job = ask(nano, "wan-nano-ti2v", TEXT, background=True, provider_options={"video": {"steps": 30}})
    nano.in_step(job, steps=2)
    engine = nano.engine()
    engine.kill()
    done = nano.finished(job, seconds=180)

    assert done["status"] == "completed"
    assert frames(nano, done, tmp_path).shape == (17, 64, 64, 3)
    assert [path.name for path in (nano.data / "videos" / job["id"][5:]).iterdir()] == ["2.mp4"]


def test_models_in_turn_do_not_change_each_other(nano: Server) -> None:
    def video(model: str, content: Any) -> bytes:
        return nano.fetch(ask(nano, model, content)["output"][0]["content"][0]["video_url"])

    requests = [("wan-nano-t2v", TEXT), ("wan-nano-ti2v", TEXT), ("wan-nano-i2v", PICTURE)]
    first = [video(*request) for request in requests]

    assert [video(*request) for request in reversed(requests)] == first[::-1]
