"""A whole server of real processes: faults cost an attempt, never a job."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import av
import psutil
import pytest
from conftest import data_url, png, with_image
from support.books import listed
from support.patience import until
from support.server import FRAMEGATE, ROOT, Server, free_port

from router.engine.openmp import wait_policy

pytestmark = pytest.mark.slow

SMALL = "defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 20, negative_prompt: ''}"
MODELS = f"""
models:
  text: {{backend: still, modality: t2v, {SMALL}}}
  image: {{backend: still, modality: i2v, {SMALL}}}
  slow: {{backend: still, modality: t2v, options: {{step_seconds: 0.1}}, {SMALL}}}
  heavy: {{backend: still, modality: t2v, options: {{load_seconds: 4}}, {SMALL}}}
routes:
  any: [text, image]
"""
Serve = Callable[..., Server]


def ask(server: Server, model: str, background: bool = True, **video: object) -> dict:
    status, body = server.call(
        "/v1/responses",
        {"model": model, "input": "a", "background": background, "provider_options": {"video": video}},
    )
    assert status == 200, body
    return body


def test_a_request_goes_through_gunicorn_and_an_engine_process(serve: Serve, tmp_path: Path) -> None:
    server = serve(MODELS)
    assert wait_policy(os.environ).items() <= server.engine().environ().items()
    part = ask(server, "any", background=False)["output"][0]["content"][0]
    (tmp_path / "a.mp4").write_bytes(server.fetch(part["video_url"]))

    with av.open(str(tmp_path / "a.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        assert video.streams.video[0].average_rate == 8
    assert [frame.shape for frame in frames] == [(64, 64, 3)] * 5

    status, body = server.call("/v1/responses", {"model": "any", "input": with_image("a", data_url(png()))})
    assert (status, body["model"]) == (200, "image")


def test_a_load_that_takes_longer_than_a_lease_runs_once(serve: Serve) -> None:
    server = serve(MODELS, lease_seconds=2, renew_seconds=0.3)
    job = ask(server, "heavy")
    done = server.finished(job)

    assert done["status"] == "completed"
    assert [path.name for path in (server.data / "videos").rglob("*.mp4")] == ["1.mp4"]


def test_two_models_in_turn_share_an_engine(serve: Serve) -> None:
    server = serve(MODELS, resident_models=1)
    ended = [server.finished(ask(server, model))["status"] for model in ("text", "slow", "text", "slow")]

    assert ended == ["completed"] * 4
    assert server.log.read_text().count("unloaded") == 3


def test_cancel_stops_a_running_job(serve: Serve) -> None:
    server = serve(MODELS)
    job = ask(server, "slow", steps=60)
    server.in_step(job)
    server.call(f"/v1/responses/{job['id']}/cancel", method="POST")
    ask(server, "text", background=False)

    with sqlite3.connect(server.data / "jobs.sqlite") as store:
        (progress,) = store.execute("SELECT progress FROM jobs WHERE id = ?", [job["id"][5:]]).fetchone()
    assert json.loads(progress)["done"] < 60
    assert server.call(f"/v1/responses/{job['id']}")[1]["status"] == "cancelled"


def test_serve_stops_in_time_and_its_jobs_go_on_at_the_next_start(serve: Serve) -> None:
    server = serve(MODELS)
    job = ask(server, "slow", steps=100)
    server.in_step(job)
    with ThreadPoolExecutor() as threads:
        waiter = threads.submit(server.call, "/v1/responses", {"model": "slow", "input": "b"})
        server.until(lambda: len(listed(server)) == 2)
        children = psutil.Process(server.process.pid).children(recursive=True)
        assert server.stop() < 10
        status, body = waiter.result(5)

    assert server.process.returncode == 0
    assert (status, body["error"]["code"]) == (503, "restarting")
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    again = serve(MODELS)
    now = again.call(f"/v1/responses/{job['id']}")[1]
    assert now["status"] in ("queued", "in_progress")
    assert again.finished(job)["status"] == "completed"
    assert [path.name for path in (again.data / "videos" / job["id"][5:]).iterdir()] == ["2.mp4"]


def test_a_stop_by_many_signals_answers_all_who_wait(serve: Serve) -> None:
    # gunicorn's master sends each worker two; a supervisor, a terminal and systemd may each add one
    server = serve(MODELS, workers=1)
    (worker,) = server.master().children()
    with ThreadPoolExecutor(24) as threads:
        calls = [threads.submit(server.call, "/v1/responses", {"model": "slow", "input": "b"}) for _ in range(24)]
        server.until(lambda: len(listed(server)) == 24)
        server.process.send_signal(signal.SIGTERM)
        with suppress(ProcessLookupError):
            while not all(call.done() for call in calls):
                os.kill(worker.pid, signal.SIGTERM)
        answers = [call.result(20) for call in calls]

    assert {(status, body["error"]["code"]) for status, body in answers} == {(503, "restarting")}


def test_an_interrupt_of_the_web_half_answers_those_who_wait(serve: Serve) -> None:
    server = serve(MODELS, workers=1)
    with ThreadPoolExecutor() as threads:
        waiter = threads.submit(server.call, "/v1/responses", {"model": "slow", "input": "b"})
        server.until(lambda: len(listed(server)) == 1)
        server.master().send_signal(signal.SIGINT)
        status, body = waiter.result(20)

    assert (status, body["error"]["code"]) == (503, "restarting")
    server.ready()


def test_a_killed_web_worker_is_replaced(serve: Serve) -> None:
    server = serve(MODELS, workers=1)
    master = server.master()
    for worker in master.children():
        worker.send_signal(signal.SIGKILL)
    server.ready()

    assert ask(server, "text", background=False)["status"] == "completed"


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_the_web_half_refuses_to_listen_to_strangers(tmp_path: Path, host: str) -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "FRAMEGATE_DATA": str(tmp_path)}
    command = [*FRAMEGATE, "serve", "--host", host, "--port", "18999", "--device", "cpu"]
    ended = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 4
    assert "FRAMEGATE_NO_AUTH=1" in ended.stderr


def test_the_halves_run_apart(tmp_path: Path) -> None:
    models = tmp_path / "models.yaml"
    models.write_text(MODELS)
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "FRAMEGATE_DATA": str(tmp_path / "data"),
        "FRAMEGATE_MODELS": str(models),
        "FRAMEGATE_NO_AUTH": "1",
    }
    listens = tmp_path / "web.sock"
    gunicorn = ("-m", "gunicorn", "-c", "router/deploy/gunicorn.conf.py", "-b", f"unix:{listens}", "wsgi:app")
    halves = [
        subprocess.Popen([sys.executable, *gunicorn], env=environ, cwd=ROOT),
        subprocess.Popen([*FRAMEGATE, "engine", "--device", "cpu"], env=environ, cwd=ROOT),
    ]
    try:
        body = json.dumps({"model": "text", "input": "a"})
        ask = [
            "curl",
            "-sS",
            "--unix-socket",
            str(listens),
            "--retry",
            "50",
            "--retry-connrefused",
            "--retry-delay",
            "1",
        ]
        until(listens.exists)
        answer = subprocess.run(
            [*ask, "-H", "content-type: application/json", "-d", body, "http://localhost/v1/responses"],
            capture_output=True, timeout=60, check=True,
        )  # fmt: skip
        assert json.loads(answer.stdout)["status"] == "completed"
    finally:
        for half in halves:
            half.terminate()
        assert [half.wait(20) for half in halves] == [0, 0]


def test_a_port_in_use_is_said_once_and_ends_it(tmp_path: Path) -> None:
    models = tmp_path / "models.yaml"
    models.write_text(MODELS)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [*FRAMEGATE, "serve", "--port", str(taken.getsockname()[1]), "--device", "cpu"]
        command += ["--models", str(models), "--data", str(tmp_path / "data")]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert ended.returncode > 0
    assert "already in use" in ended.stderr.lower()


def test_a_second_server_on_one_data_folder_ends_and_says_why(serve: Serve, tmp_path: Path) -> None:
    serve(MODELS)
    command = [*FRAMEGATE, "serve", "--port", str(free_port()), "--device", "cpu", "--data", str(tmp_path / "data")]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "FRAMEGATE_MODELS": str(tmp_path / "models.yaml")}
    ended = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert ended.returncode > 0
    assert "cpu is held by another engine" in ended.stderr


def test_a_models_file_that_breaks_while_serving_ends_nothing(serve: Serve, tmp_path: Path) -> None:
    server = serve(MODELS, workers=2)
    server.until(lambda: server.log.read_text().count("takes requests") == 2)
    (tmp_path / "models.yaml").write_text("models: [")
    master = server.master()
    master.children()[0].kill()
    time.sleep(4)

    assert server.process.poll() is None
    assert ask(server, "text", background=False)["status"] == "completed"


def test_serve_ignores_a_wsgi_file_of_the_folder_it_is_started_in(tmp_path: Path) -> None:
    (tmp_path / "wsgi.py").write_text("raise RuntimeError('not mine')\n")
    (tmp_path / "models.yaml").write_text(MODELS)
    port = free_port()
    command = [*FRAMEGATE, "serve", "--port", str(port), "--device", "cpu", "--models", "models.yaml", "--data", "data"]
    log = tmp_path / "log"
    with open(log, "wb") as output:
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, env=environ, cwd=tmp_path, stdout=output, stderr=output)
    server = Server(process, port, tmp_path / "data", log)
    server.ready()

    assert ask(server, "text", background=False)["status"] == "completed"
    assert server.stop() < 10


def test_a_body_of_broken_chunks_is_a_bad_request(serve: Serve) -> None:
    server = serve(MODELS)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = "POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        connection.sendall(head.encode() + b"zz\r\nhello\r\n0\r\n\r\n")
        answer = connection.recv(65536).decode()

    assert answer.startswith("HTTP/1.1 400")
    assert "x-request-id" in answer


def test_a_header_cannot_move_the_application(serve: Serve) -> None:
    server = serve(MODELS)
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/healthz", headers={"SCRIPT_NAME": "/foo"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer) == {"status": "ok"}
