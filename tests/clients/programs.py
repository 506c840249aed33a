"""Programs of others: run one, read its report, ask the server what ran."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.environments import Node
from support.server import Server

SCRIPTS = Path(__file__).parent / "scripts"
SMALL = "defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 4, negative_prompt: ''}"
LIMITS = "limits: {pixels: 16384, frames: 49, steps: 60}"
# Called as the models of the package are, so that the examples of docs/clients.md run against it too.
MODELS = f"""
default: wan-nano
models:
  wan-nano-t2v: {{backend: still, modality: t2v, aliases: [org/text], {SMALL}, {LIMITS}}}
  wan-nano-i2v: {{backend: still, modality: i2v, {SMALL}, {LIMITS}}}
  broken: {{backend: broken, modality: t2v, {SMALL}, {LIMITS}}}
  slow: {{backend: still, modality: t2v, options: {{step_seconds: 0.2}}, {SMALL}, {LIMITS}}}
routes:
  wan-nano: [wan-nano-t2v, wan-nano-i2v]
"""
NEEDS_INPUT = "wan-nano-i2v is image-to-video: it needs an image, got text only. Of the models served here"
FRAMES = "provider_options.video.num_frames"
REFUSALS = {
    "mismatch": ("BadRequestError", 400, "modality_mismatch", "input", NEEDS_INPUT),
    "mismatch_stream": ("BadRequestError", 400, "modality_mismatch", "input", NEEDS_INPUT),
    "mismatch_video": ("BadRequestError", 400, "modality_mismatch", "input_reference", NEEDS_INPUT),
    "mismatch_images": ("BadRequestError", 400, "modality_mismatch", "image", NEEDS_INPUT),
    "mismatch_image": (
        "BadRequestError", 400, "modality_mismatch", "input",
        "wan-nano-t2v is text-to-video: it takes text only, got text and an image",
    ),
    "bad_value": (
        "BadRequestError", 400, "invalid_value", FRAMES, f"{FRAMES} must be an integer from 1 to 2147483647, got 'five'",
    ),
    "bad_value_video": (
        "BadRequestError", 400, "invalid_value", "size", "size must be WIDTHxHEIGHT in pixels, such as 832x480, got '720p'",
    ),
    "limit": (
        "BadRequestError", 400, "limit_exceeded", "provider_options.video.steps",
        "wan-nano-t2v takes at most 60 steps, got 61",
    ),
    "no_model": (
        "NotFoundError", 404, "model_not_found", "model",
        "no model is called 'nobody'; served here: wan-nano, wan-nano-t2v, wan-nano-i2v, broken, slow",
    ),
    "not_ready": ("NotFoundError", 404, "not_ready", "", "is not ready: its job is "),
    "bad_json": (None, 400, "invalid_json", "", "the body must be a JSON object: "),
    "no_path": (None, 404, "not_found", "", "there is no GET /v1/nowhere"),
    "failed": ("InternalServerError", 500, "generation_failed", "", "the video could not be generated; the server's log has the reason"),
    "gone": ("NotFoundError", 404, "not_found", "", "it never was, or it was deleted"),
}  # fmt: skip
STREAM = [
    "response.created", "response.queued", "response.in_progress", "response.output_item.added",
    "response.content_part.added", "response.output_text.delta", "response.output_text.done",
    "response.content_part.done", "response.output_item.done", "response.completed",
]  # fmt: skip
Seen = dict[str, Any]


@dataclass(frozen=True)
class Ran:
    """A finished job: its model, effective options and warnings."""

    model: str
    options: dict[str, Any]
    warnings: list[str]

    def has(self, **wanted: Any) -> None:
        """Check effective options by name; nothing of the request may be lost."""
        assert {name: self.options.get(name) for name in wanted} == wanted


def ran(server: Server, identifier: str) -> Ran:
    """Return what ran of a job, by its id in any dialect."""
    status, answer = server.call(f"/v1/responses/resp_{identifier.rpartition('_')[2]}")
    assert (status, answer["status"]) == (200, "completed"), answer
    (options,) = answer["provider_options"].values()
    return Ran(answer["model"], options, answer["warnings"])


def latest(server: Server, number: int) -> list[Ran]:
    """Return the jobs that ran last, the newest first."""
    listed = server.call(f"/v1/videos?limit={number}")[1]["data"]
    assert len(listed) == number
    return [ran(server, job["id"]) for job in listed]


def execute(command: list[str | Path], folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command without the tests' own environment."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    alone = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # or its import asks GitHub for prices
    return subprocess.run(
        command, cwd=folder, env={**kept, **alone, **environ}, capture_output=True, text=True, timeout=240
    )


def run(command: list[str | Path], folder: Path) -> str:
    ended = execute(command, folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def report(command: list[str | Path], server: Server, image: Path) -> Seen:
    """Run a script of ours around a foreign client and return what it saw."""
    output = run([*command, f"http://127.0.0.1:{server.port}/v1", image], image.parent)
    return dict(json.loads(output.splitlines()[-1]))


def beside(node: Node, script: Path, folder: Path) -> Path:
    """Copy a script to a folder from which Node finds its packages."""
    (folder / "node_modules").symlink_to(node.packages)
    return Path(shutil.copy(script, folder))


def needs(*commands: str) -> None:
    if missing := [command for command in commands if not shutil.which(command)]:
        pytest.skip(f"needs the commands {' and '.join(missing)} on this machine")


def check_refusal(name: str, seen: Mapping[str, Any]) -> None:
    kind, status, code, param, message = REFUSALS[name]
    if "class" in seen:
        assert kind in seen.get("is_a", [seen["class"]]), (name, seen)
    assert (seen["status_code"], seen["code"], seen["param"]) == (status, code, param), name
    assert message in seen["message"], name
    assert len(seen["request_id"]) == 32, name
