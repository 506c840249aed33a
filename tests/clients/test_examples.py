"""The examples of docs/clients.md, run as they stand."""

import re
import shutil
from pathlib import Path

import pytest
from clients.packages import node, python
from clients.programs import beside, needs, run
from support.server import ROOT, Server

pytestmark = pytest.mark.slow
storm = pytest.mark.storm

PAGE = (ROOT / "docs" / "clients.md").read_text().replace("docs/circle.png", "cat.png")


def example(fence: str, server: Server) -> str:
    """Return the example of a client: the block that opens with this fence."""
    found = re.search(rf"^```{fence}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/clients.md should have an example that opens with ```{fence}"
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
def test_the_python_examples_run(server: Server, image: Path, tmp_path: Path, fence: str, client: str) -> None:
    shutil.copy(image, tmp_path)
    code = example(f"python client={fence}", server)

    check_example(run([python(client), "-W", "ignore", "-c", code], tmp_path), tmp_path)


@storm
@pytest.mark.parametrize("client", ["openai 6", "openai 7"])
def test_the_node_example_runs(server: Server, image: Path, tmp_path: Path, client: str) -> None:
    shutil.copy(image, tmp_path)
    (tmp_path / "source").mkdir()
    source = tmp_path / "source" / "example.mjs"
    source.write_text(example("js client=openai", server))
    one = node(client)

    check_example(run([one.command, beside(one, source, tmp_path)], tmp_path), tmp_path)


def test_the_curl_example_runs(server: Server, image: Path, tmp_path: Path) -> None:
    needs("curl", "jq")
    shutil.copy(image, tmp_path)

    check_example(run(["bash", "-euo", "pipefail", "-c", example("bash client=curl", server)], tmp_path), tmp_path)
