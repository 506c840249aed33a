"""Foreign clients of pinned versions against a real server; all with `--all`."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import png
from support.environments import node_major, node_with, python_with
from support.server import ROOT, Server, serve_in

pytestmark = pytest.mark.slow
storm = pytest.mark.storm  # pip or npm installs these first: the openai package of the tests and curl speak for them

HERE = Path(__file__).parent
README = (ROOT / "docs" / "clients.md").read_text().replace("docs/circle.png", "cat.png")
SMALL = "defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 4, negative_prompt: ''}"
LIMITS = "limits: {pixels: 16384, frames: 49, steps: 60}"
# Called as the models of the package are, so that the README's examples run against it too.
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
PYTHON = {
    "openai 3": ("openai==3.54.0",),
    "openai 2": ("openai==2.54.0",),
    "litellm": ("litellm==1.106.2", "mcp==2.3.0"),  # its responses calls import mcp and its package does not say so
    "langchain": ("langchain-openai==1.7.3",),
}
NEEDS_INPUT = "wan-nano-i2v is image-to-video: it needs an image, got text only. Of the models served here"
FRAMES = "provider_options.video.num_frames"
REFUSALS = {
    "mismatch": ("BadRequestError", 400, "modality_mismatch", "input", NEEDS_INPUT),
    "mismatch_stream": ("BadRequestError", 400, "modality_mismatch", "input", NEEDS_INPUT),
    "mismatch_video": ("BadRequestError", 400, "modality_mismatch", "input_reference", NEEDS_INPUT),
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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = serve_in(tmp_path_factory.mktemp("clients"), MODELS, "--plugin", str(HERE / "broken.py"))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "cat.png"
    path.write_bytes(png(96, 64))
    return path


def run(command: list[str | Path], folder: Path) -> str:
    """Run a command without the tests' own environment."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environ = {**kept, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # or its import asks GitHub for prices
    ended = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def report(command: list[str | Path], server: Server, image: Path) -> Seen:
    output = run([*command, f"http://127.0.0.1:{server.port}/v1", image], image.parent)
    return dict(json.loads(output.splitlines()[-1]))


def python(client: str) -> Path:
    return python_with(*PYTHON[client])


def openai_for_node() -> str:
    """Name the newest version that the machine's Node runs."""
    return "7.57.0" if node_major() >= 22 else "6.49.0"


def beside_openai(script: Path, folder: Path) -> Path:
    """Copy a script to where Node finds the `openai` package."""
    packages = node_with(f"openai@{openai_for_node()}") / "node_modules"
    (folder / "node_modules").symlink_to(packages)
    return Path(shutil.copy(script, folder))


def needs(*commands: str) -> None:
    if missing := [command for command in commands if not shutil.which(command)]:
        pytest.skip(f"needs the commands {' and '.join(missing)} on this machine")


@pytest.fixture(
    scope="module", params=["openai 3", pytest.param("openai 2", marks=storm), pytest.param("node", marks=storm)]
)
def sdk(
    request: pytest.FixtureRequest, server: Server, image: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Seen]:
    """Return the expected version of one of OpenAI's packages, and its report."""
    if request.param == "node":
        script = beside_openai(HERE / "openai_node.mjs", tmp_path_factory.mktemp("node"))
        return openai_for_node(), report(["node", script], server, image)
    version = PYTHON[request.param][0].partition("==")[2]
    return version, report([python(request.param), HERE / "openai_python.py"], server, image)


@pytest.fixture(scope="module")
def litellm(server: Server, image: Path) -> Seen:
    return report([python("litellm"), HERE / "litellm_video.py"], server, image)


@pytest.fixture(scope="module")
def langchain(server: Server, image: Path) -> Seen:
    return report([python("langchain"), HERE / "langchain_chat.py"], server, image)


@pytest.fixture(scope="module")
def curl(server: Server, image: Path) -> Seen:
    needs("curl", "jq")
    return report(["bash", HERE / "curl.sh"], server, image)


def check_refusal(name: str, seen: Mapping[str, Any]) -> None:
    kind, status, code, param, message = REFUSALS[name]
    if "class" in seen:
        assert kind in seen.get("is_a", [seen["class"]]), (name, seen)
    assert (seen["status_code"], seen["code"], seen["param"]) == (status, code, param), name
    assert message in seen["message"], name
    assert len(seen["request_id"]) == 32, name


def test_the_sdk_makes_videos_of_text_and_of_an_image(sdk: tuple[str, Seen]) -> None:
    version, seen = sdk

    assert seen["version"] == version
    assert seen["created"] == {
        "model": "wan-nano-t2v", "part": "output_video", "output_text": "", "file": "mp4", "request_id": True,
    }  # fmt: skip
    assert seen["with_an_image"] == {"model": "wan-nano-i2v", "file": "mp4"}
    assert seen["called"] == {"type": "function_call", "name": "look"}


def test_the_sdk_polls_streams_resumes_and_cancels(sdk: tuple[str, Seen]) -> None:
    _, seen = sdk
    polled, streamed = seen["polled"], seen["streamed"]

    assert (polled["first"], polled["last"], polled["prompt"]) == ("queued", "completed", "a red ball")
    assert polled["polls"] > 2
    assert [kind for kind in STREAM if kind in streamed["types"]] == streamed["types"]
    assert set(STREAM) - set(streamed["types"]) <= {"response.queued"}  # a job may start before anybody looks
    assert streamed["progress"] == sorted(streamed["progress"])
    assert streamed["progress"][-1] > 50
    assert (streamed["last"], streamed["file"]) == ("completed", "mp4")
    assert seen["resumed"] == {"in_order": True, "last": "response.completed"}
    assert seen["cancelled"] == {"status": "cancelled", "again": "cancelled"}


def test_the_sdk_uses_the_videos_api(sdk: tuple[str, Seen]) -> None:
    _, seen = sdk
    listed = seen["listed"]

    assert seen["video"] == {
        "status": "completed", "size": "64x64", "seconds": "1", "file": "mp4", "thumbnail": "webp",
        "remixed": True, "image_model": "wan-nano-i2v",
    }  # fmt: skip
    assert (listed["page"], listed["has_more"]) == (2, True)
    assert listed["all"] == listed["unique"] > 8
    assert seen["models"] == {
        "ids": ["broken", "slow", "wan-nano", "wan-nano-i2v", "wan-nano-t2v"], "alias": "wan-nano-t2v", "modality": "t2v",
    }  # fmt: skip


def test_the_sdk_deletes_for_good(sdk: tuple[str, Seen]) -> None:
    deleted = sdk[1]["deleted"]

    assert (deleted["deleted"], deleted["object"]) == (True, "video.deleted")
    for name in ("video", "content", "response"):
        check_refusal("gone", deleted[name])


def test_the_sdk_tells_of_a_job_that_failed(sdk: tuple[str, Seen]) -> None:
    failed = sdk[1]["failed"]

    check_refusal("failed", failed["waited"])
    assert failed["streamed"] == ["response.failed", "generation_failed"]
    assert failed["polled"] == ["failed", "generation_failed"]


def test_the_sdk_says_why_a_request_was_refused(sdk: tuple[str, Seen]) -> None:
    version, seen = sdk
    refused = seen["refused"]

    assert len(refused) == 9
    for name, refusal in refused.items():
        check_refusal(name, refusal)
    if version == "3.54.0":  # the whole of what is printed
        assert refused["limit"]["message"] == f"Error code: 400 - {REFUSALS['limit'][-1]}"
    if version[0] in "67":  # of Node
        assert refused["limit"]["message"] == f"400 {REFUSALS['limit'][-1]}"


@storm
def test_litellm_makes_downloads_lists_and_remixes_videos(litellm: Seen) -> None:
    assert litellm["version"] == "1.106.2"
    assert litellm["video"] == {
        "status": "completed", "size": "64x64", "seconds": "1", "file": "mp4", "thumbnail": "webp",
        "remixed": True, "image_model": "wan-nano-i2v",
    }  # fmt: skip
    assert litellm["listed"] == {"page": 2, "has_more": True}
    assert litellm["created"] == {"model": "wan-nano-t2v", "file": "mp4", "file_of_options": "mp4"}
    assert litellm["failed"] == {"status": "failed", "code": "generation_failed"}
    assert litellm["streamed"] == {"last": "response.completed", "file": "mp4"}


@storm
def test_litellm_says_why_a_request_was_refused(litellm: Seen) -> None:
    assert litellm["deleted"]["deleted"] is True
    refused = {**litellm["refused"], "gone": litellm["deleted"]["video"]}

    assert len(refused) == 8
    for name, refusal in refused.items():
        kind, status, code, param, message = REFUSALS[name]
        envelope = json.loads(refusal["message"].partition(" - ")[2])["error"]  # it has no `code` of its own
        # whatever has invalid_request_error in its text is a BadRequestError to LiteLLM
        assert refusal["class"] == (kind if name != "not_ready" else "BadRequestError")
        assert (refusal["status_code"], envelope["code"], envelope["param"]) == (status, code, param)
        assert message in envelope["message"]


@storm
def test_langchain_gets_the_url_of_a_video_as_its_text(langchain: Seen) -> None:
    assert langchain["version"] == "1.7.3"
    assert langchain["created"] == {"model": "wan-nano-t2v", "content": ["text"], "file": "mp4"}
    assert langchain["with_an_image"] == {"model": "wan-nano-i2v", "file": "mp4"}
    assert langchain["streamed"] == {"chunks_with_text": 1, "file": "mp4"}
    assert langchain["with_options"] == {"content": [], "file": "mp4"}
    assert langchain["listed"] == {"page": 2, "has_more": True}


@storm
def test_langchain_gets_a_tool_call_and_comes_back_for_the_video(langchain: Seen) -> None:
    assert langchain["called"] == {
        "auto": ["look", {"place": "the sea"}], "named": ["look"], "streamed": '{"place": "the sea"}', "after": "mp4",
    }  # fmt: skip


@storm
def test_langchain_tells_of_a_job_that_failed(langchain: Seen) -> None:
    failed = langchain["failed"]

    assert (failed["waited"]["class"], failed["waited"]["code"]) == ("OpenAIAPIError", "generation_failed")
    assert failed["streamed"]["class"] == "ValueError"  # all that LangChain makes of `response.failed`
    assert "generation_failed" in failed["streamed"]["message"]


@storm
def test_langchain_says_why_a_request_was_refused(langchain: Seen) -> None:
    refused = {**langchain["refused"], "gone": langchain["deleted"]["response"]}

    assert len(refused) == 7
    for name, refusal in refused.items():
        check_refusal(name, refusal)
    assert refused["mismatch"]["class"] == "OpenAIInvalidRequestError"
    assert refused["no_model"]["class"] == "OpenAIModelNotFoundError"


def test_curl_makes_polls_streams_lists_and_deletes(curl: Seen) -> None:
    assert curl["created"] == {
        "model": "wan-nano-t2v", "part": "206 video/mp4", "file": "200 video/mp4", "head": "200 video/mp4",
    }  # fmt: skip
    assert curl["with_an_image"]["model"] == "wan-nano-i2v"
    assert re.fullmatch(r"/v1/videos/video_[0-9a-f]{32}/content", curl["with_an_image"]["text"])
    assert curl["polled"] == {"first": "queued", "last": "completed"}
    assert set(STREAM) - set(curl["streamed"]["types"]) <= {"response.queued"}
    assert curl["streamed"]["done"] is True
    assert curl["video"] == {
        "status": "completed", "size": "64x64", "seconds": "1", "file": "200 video/mp4", "thumbnail": "200 image/webp",
        "image_model": "wan-nano-i2v",
    }  # fmt: skip
    assert curl["listed"] == {"page": 2, "has_more": True}
    assert (curl["deleted"]["object"], curl["deleted"]["deleted"]) == ("video.deleted", True)


def test_curl_shows_why_a_request_was_refused(curl: Seen) -> None:
    refused = {**curl["refused"], "gone": curl["deleted"]["video"]}

    assert curl["fails"] == 22  # what `curl --fail` ends with
    assert len(refused) == 8
    for name, refusal in refused.items():
        check_refusal(name, refusal)


def example(fence: str, server: Server) -> str:
    """Return the README's example of a client: the block that opens with this fence."""
    found = re.search(rf"^```{fence}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert found, f"README.md should have an example that opens with ```{fence}"
    return found[1].replace("localhost:8000", f"127.0.0.1:{server.port}")


def check_example(output: str, folder: Path) -> None:
    """Check for an example's one video and the code of its refusal."""
    (video,) = folder.glob("*.mp4")
    assert video.read_bytes()[4:8] == b"ftyp"
    assert "modality_mismatch" in output.splitlines()[-1]


@pytest.mark.parametrize(
    ("fence", "client"),
    [
        ("openai", "openai 3"),
        pytest.param("openai", "openai 2", marks=storm),
        pytest.param("litellm", "litellm", marks=storm),
        pytest.param("langchain", "langchain", marks=storm),
    ],
)
def test_the_readmes_python_examples_run(server: Server, image: Path, tmp_path: Path, fence: str, client: str) -> None:
    shutil.copy(image, tmp_path)
    code = example(f"python client={fence}", server)

    check_example(run([python(client), "-W", "ignore", "-c", code], tmp_path), tmp_path)


@storm
def test_the_readmes_node_example_runs(server: Server, image: Path, tmp_path: Path) -> None:
    shutil.copy(image, tmp_path)
    (tmp_path / "source").mkdir()
    source = tmp_path / "source" / "example.mjs"
    source.write_text(example("js client=openai", server))

    check_example(run(["node", beside_openai(source, tmp_path)], tmp_path), tmp_path)


def test_the_readmes_curl_example_runs(server: Server, image: Path, tmp_path: Path) -> None:
    needs("curl", "jq")
    shutil.copy(image, tmp_path)

    check_example(run(["bash", "-euo", "pipefail", "-c", example("bash client=curl", server)], tmp_path), tmp_path)
