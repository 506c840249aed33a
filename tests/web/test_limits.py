"""Limits of models, queue and keys: listed, held, and cheap to refuse by."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from conftest import MODELS, data_url, png, with_image
from support.callers import client_of, make_key
from support.patience import until
from werkzeug.test import TestResponse

from router.auth.keys import KeyLimits
from router.settings import Settings
from router.system import System, assemble
from router.web import create_app
from router.web.auth.rate_limit import LocalRateLimit

ASK = {"model": "text", "input": "a", "background": True}


def system_with(settings: Settings, limits: str = "", **more: Any) -> System:
    """Return a system with other limits for its model `text`."""
    settings.models.write_text(MODELS.replace("steps: 60}", f"steps: 60, {limits}}}", 1) if limits else MODELS)
    return assemble(replace(settings, **more))


def refusal(answer: TestResponse, code: str) -> tuple[int, str]:
    """Return the seconds of `retry-after`, and the message."""
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (429, code), answer.text
    assert answer.get_json()["error"]["type"] == "rate_limit_error"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    return int(answer.headers["retry-after"]), answer.get_json()["error"]["message"]


def test_every_limit_is_listed(settings: Settings) -> None:
    limits = "prompt: 99, image_bytes: 1000, image_pixels: 4096, queued: 3"
    client = create_app(system_with(settings, limits, max_queued=7, max_body_bytes=5000)).test_client()
    listed = client.get("/v1/models").get_json()
    (text,) = (model for model in listed["data"] if model["id"] == "text")

    assert listed["limits"] == {"queued": 7, "key": None}
    assert text["limits"] == {
        "pixels": 16384, "frames": 49, "steps": 60, "prompt": 99, "prompt_tokens": None, "image_bytes": 1000, "image_pixels": 4096, "queued": 3, "body_bytes": 5000,
    }  # fmt: skip
    assert client.get("/v1/models/text").get_json()["limits"] == text["limits"]
    assert client.get("/v1/models/both").get_json()["limits"]["queued"] is None


def test_a_key_sees_its_own_limits(settings: Settings) -> None:
    system = system_with(settings, key_queued=9, key_per_minute=100)
    text = make_key(system, "team", queued=2, running=1)

    assert client_of(create_app(system), text).get("/v1/models").get_json()["limits"]["key"] == {
        "queued": 2, "running": 1, "per_minute": 100, "gpu_seconds": None, "cost": None,
    }  # fmt: skip


def test_a_model_s_queue_fills_and_the_others_go_on(settings: Settings) -> None:
    client = create_app(system_with(settings, "queued: 2")).test_client()
    answers = [client.post("/v1/responses", json=ASK) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert "2 jobs for text are queued, its limit is 2" in refusal(answers[2], "queue_full")[1]
    assert client.post("/v1/responses", json={**ASK, "model": "both"}).status_code == 200
    assert client.post("/v1/videos", json={"model": "text", "prompt": "a"}).status_code == 429


def test_a_key_s_queue_fills_and_another_s_does_not(system: System) -> None:
    few, many = make_key(system, "few", "team", queued=1), make_key(system, "many", "team")
    app = create_app(system)
    assert client_of(app, few).post("/v1/responses", json=ASK).status_code == 200

    assert (
        "1 jobs of this key are queued, its limit is 1"
        in refusal(client_of(app, few).post("/v1/responses", json=ASK), "rate_limit_exceeded")[1]
    )
    assert [client_of(app, many).post("/v1/responses", json=ASK).status_code for _ in range(3)] == [200] * 3


def test_a_key_without_a_limit_has_the_usual_one(settings: Settings) -> None:
    system = system_with(settings, key_queued=1)
    usual, own = make_key(system, "usual"), make_key(system, "own", queued=2)
    app = create_app(system)

    assert [client_of(app, usual).post("/v1/responses", json=ASK).status_code for _ in range(2)] == [200, 429]
    assert [client_of(app, own).post("/v1/responses", json=ASK).status_code for _ in range(3)] == [200, 200, 429]


def test_the_last_place_is_taken_once_by_requests_that_race(system: System) -> None:
    text = make_key(system, "team", queued=3)
    app = create_app(system)

    def ask(_: int) -> int:
        return int(client_of(app, text).post("/v1/responses", json=ASK).status_code)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(16)))
    assert sorted(answers) == [200] * 3 + [429] * 13


def test_a_refused_request_is_refused_before_its_image_is_looked_at(settings: Settings) -> None:
    system = system_with(settings)
    text = make_key(system, "team", queued=1)
    keyed = client_of(create_app(system), text)
    keyed.post("/v1/responses", json=ASK)
    bad = {"model": "image", "input": with_image("a", "data:image/png;base64,AAAA"), "background": True}

    refusal(keyed.post("/v1/responses", json=bad), "rate_limit_exceeded")


def test_a_key_calls_as_often_as_it_may_and_then_when_it_is_told(system: System) -> None:
    text, other = make_key(system, "team", per_minute=60), make_key(system, "other")
    app = create_app(system)
    keyed = client_of(app, text)
    answers = [keyed.get("/v1/models") for _ in range(70)]
    refused = [answer for answer in answers if answer.status_code == 429]

    assert answers[59].status_code == 200
    assert refused
    seconds, message = refusal(refused[0], "rate_limit_exceeded")
    assert message == "this key may call 60 times a minute; try again in 1 s"
    assert client_of(app, other).get("/v1/models").status_code == 200
    time.sleep(seconds)
    assert keyed.get("/v1/models").status_code == 200


def test_refusing_writes_nothing(system: System) -> None:
    text = make_key(system, "team", per_minute=1, queued=1)
    keyed = client_of(create_app(system), text)
    keyed.post("/v1/responses", json=ASK)
    before = {path: path.stat().st_mtime_ns for path in system.settings.data.rglob("*")}
    for _ in range(20):
        refusal(keyed.post("/v1/responses", json=ASK), "rate_limit_exceeded")

    assert {path: path.stat().st_mtime_ns for path in system.settings.data.rglob("*")} == before


def test_a_limit_that_is_changed_holds_at_once(system: System) -> None:
    text = make_key(system, "team")
    keyed = client_of(create_app(system), text)
    assert keyed.get("/v1/models").status_code == 200
    system.keys.limit("team", KeyLimits(per_minute=1))
    until(lambda: keyed.get("/v1/models").status_code != 200)


@pytest.mark.parametrize(
    ("limits", "message"),
    [("image_bytes: 100", "up to 100 bytes"), ("image_pixels: 4095", "up to 4,095 pixels, got 64 x 64")],
)
def test_an_image_may_be_as_large_as_the_model_takes(settings: Settings, limits: str, message: str) -> None:
    models = MODELS.replace(
        "image: {backend: still, modality: i2v", f"image: {{backend: still, modality: i2v, limits: {{{limits}}}", 1
    )
    settings.models.write_text(
        models.replace("}, limits: {pixels: 16384, frames: 49, steps: 60}}\n  both", "}}\n  both", 1)
    )
    client = create_app(assemble(settings)).test_client()
    answer = client.post(
        "/v1/responses", json={"model": "image", "input": with_image("a", data_url(png())), "background": True}
    )

    assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "invalid_image")
    assert message in answer.get_json()["error"]["message"]


def test_a_bucket_holds_a_minute_and_fills_steadily(tmp_path: Path) -> None:
    rates = LocalRateLimit(tmp_path / "rates")
    assert [rates.count(3, 6, now=100.0) for _ in range(6)] == [0.0] * 6
    assert rates.count(3, 6, now=100.0) == pytest.approx(10)
    assert rates.count(3, 6, now=107.0) == pytest.approx(3)
    assert rates.count(3, 6, now=110.0) == 0.0
    assert rates.count(3, 6, now=110.0) == pytest.approx(10)
    assert [rates.count(3, 6, now=500.0) for _ in range(7)] == [0.0] * 6 + [pytest.approx(10)]


def test_whoever_comes_when_they_are_told_to_is_let_in(tmp_path: Path) -> None:
    rates, now = LocalRateLimit(tmp_path / "rates"), 5.0
    for per_minute in (1, 7, 59, 1000):
        for _ in range(3 * per_minute):
            if wait := rates.count(per_minute, per_minute, now):
                now += wait
                assert rates.count(per_minute, per_minute, now) == 0.0


def test_keys_do_not_count_for_each_other(tmp_path: Path) -> None:
    rates = LocalRateLimit(tmp_path / "rates")

    assert [rates.count(number, 1, now=1.0) for number in (1, 2, 900)] == [0.0] * 3
    assert [rates.count(number, 1, now=1.0) > 0 for number in (1, 2, 900)] == [True] * 3


@pytest.mark.parametrize("left", [b"", b"\xff" * 64, b"\x00" * 9, (1e300).hex().encode() * 9])
def test_a_file_that_is_broken_or_of_another_boot_counts_as_empty(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "rates").write_bytes(left)
    rates = LocalRateLimit(tmp_path / "rates")
    LocalRateLimit(tmp_path / "other").count(1, 1, now=1e6)

    assert rates.count(1, 1, now=10.0) == 0.0
    assert rates.count(1, 1, now=10.0) > 0


def test_an_instant_of_a_longer_boot_is_forgotten(tmp_path: Path) -> None:
    rates = LocalRateLimit(tmp_path / "rates")
    rates.count(1, 1, now=1e6)

    assert rates.count(1, 1, now=10.0) == 0.0


def _take(path: Path, times: int, let_in: Any) -> None:
    rates = LocalRateLimit(path)
    with ThreadPoolExecutor(4) as pool:
        let_in.put(sum(wait == 0.0 for wait in pool.map(lambda _: rates.count(1, 100, now=50.0), range(times))))


@pytest.mark.slow
def test_processes_and_threads_count_together(tmp_path: Path) -> None:
    spawn = get_context("spawn")
    let_in = spawn.Queue()
    takers = [spawn.Process(target=_take, args=[tmp_path / "rates", 200, let_in]) for _ in range(3)]
    for taker in takers:
        taker.start()
    counted = [let_in.get(timeout=60) for _ in takers]
    for taker in takers:
        taker.join()

    assert sum(counted) == 100


def test_estimates_are_counted_apart_and_four_for_each_call(settings: Settings) -> None:
    system = assemble(settings)
    client = client_of(create_app(system), make_key(system, "team", per_minute=2))
    estimates = [client.post("/v1/videos/estimate", json={"prompt": "a"}) for _ in range(9)]

    assert [answer.status_code for answer in estimates] == [200] * 8 + [429]
    _, message = refusal(estimates[-1], "rate_limit_exceeded")
    assert message.startswith("this key may ask for 8 estimates a minute")
    assert [client.get("/v1/videos").status_code for _ in range(3)] == [200, 200, 429]
