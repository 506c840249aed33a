"""The Responses API's samples and the SDK against a whole server."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import av
import pytest
from support.server import ROOT, Server

pytestmark = pytest.mark.slow

PAGE = ROOT.parent / "shared" / "reference" / "video-generation-page.md"
needs_jq = pytest.mark.skipif(
    not (shutil.which("jq") and shutil.which("curl")), reason="needs the commands curl and jq on this machine"
)
needs_page = pytest.mark.skipif(not PAGE.exists(), reason="needs the reference pages beside the checkout")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def here(code: str, server: Server) -> str:
    return code.replace("localhost:8000", f"127.0.0.1:{server.port}")


def sized(path: Path) -> tuple[int, int, int]:
    """Return the width, height and number of frames of a video."""
    with av.open(str(path)) as video:
        frames = list(video.decode(video=0))
    return frames[0].width, frames[0].height, len(frames)


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended


def small(code: str) -> str:
    """Fit a sample to a toy model: its name, size and frames."""
    for old, new in (
        ("Wan-AI/Wan2.2-T2V-A14B-Diffusers", "wan-nano-t2v"), ("512", "64"), ('"num_frames": 81', '"num_frames": 17'),
    ):  # fmt: skip
        code = code.replace(old, new)
    return code


@needs_jq
@needs_page
def test_the_curl_samples_of_the_page_run_unchanged(nano: Server, tmp_path: Path) -> None:
    samples = [block for block in blocks(PAGE.read_text(), "bash") if block.startswith("curl")]
    assert len(samples) == 2

    for sample in samples:
        run(["bash", "-euo", "pipefail", "-c", small(here(sample, nano))], tmp_path)
        (video,) = tmp_path.glob("*.mp4")
        assert sized(video) == (64, 64, 17)
        video.unlink()


@needs_page
def test_the_python_sample_of_the_page_runs_unchanged(nano: Server, tmp_path: Path) -> None:
    (sample,) = blocks(PAGE.read_text(), 'python title="generate-video.py"')
    run([sys.executable, "-c", small(here(sample, nano))], tmp_path)

    assert sized(tmp_path / "output-text-to-video.mp4") == (64, 64, 17)


def test_the_sdk_sees_our_errors(nano: Server) -> None:
    import openai

    client = openai.OpenAI(base_url=f"http://127.0.0.1:{nano.port}/v1", api_key="none", max_retries=0)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="wan-nano-i2v", input="a")
    assert (refused.value.code, refused.value.param) == ("modality_mismatch", "input")
    assert refused.value.request_id
    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.create(model="nobody", input="a")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.InternalServerError) as unavailable:
        client.responses.create(model="wan2.2-ti2v-5b", input="a")
    assert "framegate pull wan2.2-ti2v-5b" in unavailable.value.message


def test_the_sdk_lists_retrieves_cancels_and_deletes(nano: Server) -> None:
    import openai

    client = openai.OpenAI(base_url=f"http://127.0.0.1:{nano.port}/v1", api_key="none", max_retries=0)
    assert {"wan-nano", "wan-nano-t2v"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("Wan-AI/Wan2.2-TI2V-5B-Diffusers").id == "wan2.2-ti2v-5b"

    options = {"provider_options": {"video": {"steps": 60}}}
    job = client.responses.create(model="wan-nano", input="a", background=True, extra_body=options)
    assert client.responses.cancel(job.id).status == "cancelled"
    client.responses.delete(job.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(job.id)


def test_a_text_client_gets_a_url_in_the_text(nano: Server) -> None:
    import openai

    client = openai.OpenAI(base_url=f"http://127.0.0.1:{nano.port}/v1", api_key="none")
    response = client.responses.create(model="wan-nano", input="a")

    assert nano.fetch(response.output_text)[4:8] == b"ftyp"
