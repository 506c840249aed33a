"""The commands of `/docs`, pasted into a shell."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import png
from support.server import Server

pytestmark = pytest.mark.slow


def commands(server: Server) -> Iterator[str]:
    for methods in server.call("/openapi.json")[1]["paths"].values():
        for operation in methods.values():
            yield from (sample["source"] for sample in operation["x-codeSamples"])


def image(server: Server) -> str:
    """Make an image and return its job's id."""
    status, answer = server.call(
        "/v1/responses", {"input": "a red circle moves right", "provider_options": {"image": {"steps": 1}}}
    )
    assert status == 200
    return str(answer["id"]).removeprefix("resp_")


def test_every_command_works(nano: Server, tmp_path: Path) -> None:
    (tmp_path / "circle.png").write_bytes(png())
    job = image(nano)
    engine, revision = (nano.call(f"/admin/{noun}")[1]["data"][0] for noun in ("engines", "revisions"))
    for command in commands(nano):
        fitted = command.replace("curl -sS", "curl -sS --fail-with-body").replace(
            "localhost:8000", f"127.0.0.1:{nano.port}"
        )
        for name, prefix in (
            ("RESPONSE_ID", "resp"),
            ("VIDEO_ID", "video"),
            ("IMAGE_ID", "image"),
            ("MODEL", "wan-nano"),
        ):
            fitted = fitted.replace(name, f"{prefix}_{job}" if name != "MODEL" else prefix)
        fitted = fitted.replace("ENGINE_ID", engine["id"]).replace("/revisions/N", f"/revisions/{revision['n']}")
        ran = subprocess.run(["bash", "-c", fitted], cwd=tmp_path, capture_output=True, text=True, timeout=60)

        assert ran.returncode == 0, f"{fitted}\n{ran.stdout}{ran.stderr}"
        if "DELETE" in command:
            job = image(nano)
    assert (tmp_path / "circle.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "circle.webp").read_bytes()[8:12] == b"WEBP"
