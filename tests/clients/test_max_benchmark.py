"""MAX's load generator, `max benchmark`, unchanged: each backend and each visual task."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from clients.packages import python
from clients.programs import MODELS, SCRIPTS, execute, latest
from support.server import FRAMEGATE, ROOT, Server, serve_in

pytestmark = [pytest.mark.slow, pytest.mark.storm]

SIZE = {"width": 48, "height": 32, "steps": 3, "guidance_scale": 4.5, "seed": 7}
VIDEO = {**SIZE, "num_frames": 9, "negative_prompt": "blur"}
PROMPTS = 2


def benchmark(
    server: Server, folder: Path, backend: str, task: str, model: str, *options: str, steps: int = 3, key: str = "none"
) -> dict[str, Any]:
    """Run the benchmark and return its results, with the log as `log`."""
    command = [
        python("max").parent / "max", "benchmark", "--backend", backend, "--benchmark-task", task, "--model", model,
        "--dataset-name", "synthetic-pixel", "--host", "127.0.0.1", "--port", str(server.port),
        "--num-prompts", str(PROMPTS), "--max-concurrency", "2", "--server-ready-timeout-s", "0",
        "--image-width", "48", "--image-height", "32", "--image-steps", str(steps), "--image-seed", "7",
        "--image-guidance-scale", "4.5", "--image-negative-prompt", "blur",
        "--result-filename", "result.json", *options,
    ]  # fmt: skip
    # it keeps the images that it sends in the temporary folder, and a cache at home
    ended = execute(command, folder, HOME=str(folder), TMPDIR=str(folder), OPENAI_API_KEY=key)
    result = folder / "result.json"
    return {**(json.loads(result.read_text()) if result.exists() else {}), "log": ended.stdout + ended.stderr}


@pytest.mark.parametrize(
    ("backend", "task", "model", "ran_model"),
    [
        ("modular", "text-to-video", "wan-nano-t2v", "wan-nano-t2v"),
        ("modular", "image-to-video", "wan-nano-i2v", "wan-nano-i2v"),
        ("modular", "image-to-video", "wan-nano", "wan-nano-i2v"),
        ("sglang", "text-to-video", "wan-nano", "wan-nano-t2v"),
        ("sglang", "image-to-video", "wan-nano", "wan-nano-i2v"),
        ("vllm", "text-to-video", "wan-nano", "wan-nano-t2v"),
        ("vllm", "image-to-video", "wan-nano", "wan-nano-i2v"),
    ],
)
def test_max_measures_the_videos_that_it_asked_for(
    server: Server, tmp_path: Path, backend: str, task: str, model: str, ran_model: str
) -> None:
    result = benchmark(server, tmp_path, backend, task, model, "--num-frames", "9")

    assert result.get("completed") == PROMPTS, result["log"][-3000:]
    for job in latest(server, PROMPTS + 1):  # the first is a test run
        assert (job.model, job.warnings) == (ran_model, [])
        job.has(**VIDEO)


@pytest.mark.parametrize(
    ("backend", "task", "ran_model", "options"),
    [
        ("modular", "text-to-image", "wan-nano-t2v", {**SIZE, "negative_prompt": "blur"}),
        ("modular", "image-to-image", "wan-nano-i2v", {**SIZE, "negative_prompt": "blur"}),
        ("sglang", "text-to-image", "wan-nano-t2v", SIZE),  # its driver sends no negative prompt
    ],
)
def test_max_measures_the_images_that_it_asked_for(
    server: Server, tmp_path: Path, backend: str, task: str, ran_model: str, options: dict[str, Any]
) -> None:
    result = benchmark(server, tmp_path, backend, task, "wan-nano")

    assert result.get("completed") == PROMPTS, result["log"][-3000:]
    for job in latest(server, PROMPTS + 1):
        assert (job.model, job.warnings) == (ran_model, [])
        job.has(num_frames=1, **options)


@pytest.mark.parametrize("backend", ["modular", "sglang", "vllm"])
@pytest.mark.parametrize(
    ("model", "steps", "message"),
    [
        ("wan-nano-i2v", 3, "wan-nano-i2v is image-to-video: it needs an image, got text only"),
        ("wan-nano-t2v", 61, "wan-nano-t2v takes at most 60 steps, got 61"),
    ],
)
def test_max_shows_why_a_request_was_refused(
    server: Server, tmp_path: Path, backend: str, model: str, steps: int, message: str
) -> None:
    result = benchmark(server, tmp_path, backend, "text-to-video", model, "--num-frames", "9", steps=steps)

    assert "completed" not in result
    assert message in result["log"]


def test_max_measures_on_a_server_with_keys(tmp_path: Path) -> None:
    server = serve_in(tmp_path, MODELS, "--plugin", str(SCRIPTS.parent / "broken.py"))
    try:
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "FRAMEGATE_DATA": str(server.data)}
        create = [*FRAMEGATE, "keys", "create", "bench"]
        key = subprocess.run(create, env=environ, capture_output=True, text=True, check=True).stdout.splitlines()[0]
        server.until(lambda: server.call("/v1/models")[0] == 401)
        # with --host and --port it asks for paths of MAX without the key, and stops at a 401
        url = f"http://127.0.0.1:{server.port}"
        options = ("--num-frames", "9", "--base-url", url)
        result = benchmark(server, tmp_path, "modular", "text-to-video", "wan-nano", *options, key=key)
    finally:
        server.stop()

    assert result.get("completed") == PROMPTS, result["log"][-3000:]


def test_max_is_sent_from_the_chat_route_to_ours(server: Server, tmp_path: Path) -> None:
    result = benchmark(server, tmp_path, "vllm", "text-to-image", "wan-nano")

    assert "completed" not in result
    assert "HTTP 404" in result["log"]
    assert "POST /v1/responses" in result["log"]
