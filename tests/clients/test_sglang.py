"""SGLang's diffusion benchmark and its ComfyUI client, of the wheel without the engine.

The benchmark's `main` runs as it is; of its imports, the engine's logger and printing of tables are stubbed.
"""

import json
import shutil
from pathlib import Path

import pytest
from clients.packages import python, release
from clients.programs import SCRIPTS, Seen, execute, latest, ran, report
from support.server import Server

pytestmark = [pytest.mark.slow, pytest.mark.storm]

SIZE = {"width": 48, "height": 32, "steps": 3, "guidance_scale": 4.5, "seed": 7}
VIDEO = {**SIZE, "num_frames": 9, "frames_per_second": 4}
EXTRA = (
    "--extra-body",
    json.dumps({"seed": 7, "guidance_scale": 4.5, "num_inference_steps": 3}),
)  # forms have no other


def bench(server: Server, folder: Path, task: str, *options: str, model: str = "wan-nano") -> Seen:
    """Run the benchmark of two prompts; return its metrics and `log`."""
    command = [
        python("sglang"), SCRIPTS / "sglang_bench.py", "--base-url", f"http://127.0.0.1:{server.port}",
        "--task", task, "--model", model, "--num-prompts", "2", "--warmup-requests", "0", "--disable-tqdm",
        "--width", "48", "--height", "32", "--output-file", "metrics.json", *options,
    ]  # fmt: skip
    ended = execute(command, folder, HOME=str(folder))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return {**json.loads((folder / "metrics.json").read_text()), "log": ended.stderr}


@pytest.fixture(scope="module")
def comfyui(server: Server, image: Path) -> Seen:
    return report([python("sglang"), SCRIPTS / "sglang_comfyui.py"], server, image)


@pytest.mark.parametrize(
    ("task", "dataset", "model"),
    [("text-to-video", "random", "wan-nano-t2v"), ("image-to-video", "vbench", "wan-nano-i2v")],
)
def test_sglang_measures_the_videos_that_it_asked_for(
    server: Server, image: Path, tmp_path: Path, task: str, dataset: str, model: str
) -> None:
    shutil.copy(image, tmp_path)
    options = ("--dataset", dataset, "--dataset-path", str(tmp_path), "--num-frames", "9", "--fps", "4")
    metrics = bench(server, tmp_path, task, *options, "--num-inference-steps", "3", *EXTRA)

    assert (metrics["completed_requests"], metrics["completed_outputs"], metrics["failed_requests"]) == (2, 2, 0)
    for job in latest(server, 2):
        assert (job.model, job.warnings) == (model, [])
        job.has(**VIDEO)


@pytest.mark.parametrize(
    ("task", "dataset", "model"),
    [("text-to-image", "random", "wan-nano-t2v"), ("image-to-image", "vbench", "wan-nano-i2v")],
)
def test_sglang_measures_the_images_that_it_asked_for(
    server: Server, image: Path, tmp_path: Path, task: str, dataset: str, model: str
) -> None:
    shutil.copy(image, tmp_path)
    metrics = bench(server, tmp_path, task, "--dataset", dataset, "--dataset-path", str(tmp_path), *EXTRA)

    assert (metrics["completed_requests"], metrics["completed_outputs"], metrics["failed_requests"]) == (2, 2, 0)
    for job in latest(server, 2):
        assert (job.model, job.warnings) == (model, [])
        job.has(num_frames=1, **SIZE)


def test_sglang_counts_what_was_refused_as_failed(server: Server, tmp_path: Path) -> None:
    metrics = bench(server, tmp_path, "text-to-video", "--dataset", "random", model="wan-nano-i2v")

    assert (metrics["completed_requests"], metrics["failed_requests"]) == (0, 2)


def test_comfyui_makes_videos_of_text_and_of_an_image(server: Server, comfyui: Seen) -> None:
    assert comfyui["version"] == release("sglang")
    for name, model in {"text_to_video": "t2v", "image_to_video": "i2v", "data_url_to_video": "i2v"}.items():
        seen = comfyui[name]
        job = ran(server, seen["id"])
        assert (seen["file"], seen["size"], job.model) == ("mp4", "48x32", f"wan-nano-{model}")
        job.has(**VIDEO, negative_prompt="blur")


def test_the_number_of_frames_wins_over_comfyuis_seconds(server: Server, comfyui: Seen) -> None:
    seen = comfyui["frames_beside_seconds"]

    assert "error" not in seen
    ran(server, seen["id"]).has(num_frames=9, frames_per_second=4)


def test_comfyui_makes_and_edits_images(comfyui: Seen) -> None:
    assert comfyui["model"]["id"] == "wan-nano"
    assert (comfyui["text_to_image"]["files"], comfyui["edited"]["files"]) == (["png", "png"], ["png"])
    for options in (comfyui["text_to_image"]["options"], comfyui["edited"]["options"]):
        wanted = {**SIZE, "num_frames": 1, "negative_prompt": "blur"}
        assert {name: options[name] for name in wanted} == wanted


def test_comfyui_fails_where_a_request_was_refused(comfyui: Seen) -> None:
    # requests' raise_for_status hides our message; the status is all that the node shows
    for name, status in {"steps": 400, "video": 400, "no_file": 400, "lora": 404}.items():
        assert f"{status} Client Error" in comfyui["refused"][name]["message"]
