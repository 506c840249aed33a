"""API keys on real servers: boots, logins, the SDK and a browser."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest
from support.server import FRAMEGATE, ROOT, Server, free_port, serve_in

pytestmark = pytest.mark.slow

MODELS = """
models:
  text:
    backend: still
    modality: t2v
    defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 4, negative_prompt: ''}
"""
GUNICORN = (sys.executable, "-m", "gunicorn", "-c", "router/deploy/gunicorn.conf.py")


def framegate(data: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    inherited = {**os.environ, "PYTHONPATH": str(ROOT), "FRAMEGATE_DATA": str(data), **environ}
    return subprocess.run(
        [*FRAMEGATE, *arguments], env=inherited, cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def new_key(data: Path, *arguments: str) -> str:
    made = framegate(data, "keys", "create", *arguments)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def sdk(server: Server, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key=key, max_retries=0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = serve_in(tmp_path_factory.mktemp("keys"), MODELS)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    """Return the first key, made while the server runs."""
    text = new_key(server.data, "team")
    server.until(lambda: server.call("/v1/models")[0] == 401)
    return text


def test_the_sdk_works_with_a_key_and_is_told_what_is_wrong_without(server: Server, key: str) -> None:
    client = sdk(server, key)
    response = client.responses.create(model="text", input="a")
    video = client.videos.create_and_poll(model="text", prompt="a")

    assert video.status == "completed"
    assert client.videos.download_content(video.id).content[4:8] == b"ftyp"
    with pytest.raises(openai.AuthenticationError) as refused:
        sdk(server, "none").responses.retrieve(response.id)
    assert refused.value.code == "invalid_api_key"
    reader = sdk(server, new_key(server.data, "reader", "--scope", "read"))
    server.until(lambda: _allowed(reader))
    with pytest.raises(openai.PermissionDeniedError):
        reader.responses.create(model="text", input="a")
    with pytest.raises(openai.NotFoundError):
        reader.responses.retrieve(response.id)


def _allowed(client: openai.OpenAI) -> bool:
    try:
        return bool(client.models.list().data)
    except openai.AuthenticationError:
        return False


def test_the_link_in_an_answer_needs_no_header(server: Server, key: str, tmp_path: Path) -> None:
    response = sdk(server, key).responses.create(model="text", input="a")
    path = response.output[0].content[0].video_url
    urllib.request.urlretrieve(f"http://127.0.0.1:{server.port}{path}", tmp_path / "a.mp4")

    assert (tmp_path / "a.mp4").read_bytes()[4:8] == b"ftyp"
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.fetch(path.partition("?")[0])
    assert refused.value.code == 401


def test_generate_takes_a_key(server: Server, key: str, tmp_path: Path) -> None:
    url, output = f"http://127.0.0.1:{server.port}", str(tmp_path / "a.mp4")
    made = framegate(server.data, "generate", "a", "--url", url, "-o", output, FRAMEGATE_KEY=key)
    refused = framegate(server.data, "generate", "a", "--url", url, "-o", output)

    assert made.returncode == 0, made.stderr
    assert Path(output).read_bytes()[4:8] == b"ftyp"
    assert (refused.returncode, "this server needs a key" in refused.stderr) == (1, True)


def test_several_keys_in_one_request_open_nothing(server: Server, key: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = f"authorization: Bearer {key}\r\n"
        connection.sendall(f"GET /v1/models HTTP/1.1\r\nhost: a\r\n{head}{head}\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 401")


def test_web_processes_count_a_key_s_requests_together(server: Server, key: str) -> None:
    text = new_key(server.data, "slow", "--rpm", "10")
    started = time.monotonic()
    server.until(lambda: _status(server, text) != 401)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: _status(server, text), range(60)))
    came_back = (time.monotonic() - started) * 10 / 60
    assert set(answers) == {200, 429}
    assert 9 <= answers.count(200) <= 10 + came_back  # one was spent above


def _status(server: Server, key: str) -> int:
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/v1/models", headers={"Authorization": f"Bearer {key}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_no_key_is_in_the_server_s_log(server: Server, key: str) -> None:
    _status(server, key)

    assert key[11:] not in server.log.read_text()
    assert "by team" in server.log.read_text()


def bare(data: Path, *arguments: str, **environ: str) -> subprocess.Popen[str]:
    """Run gunicorn without `framegate serve`."""
    models = data.parent / "models.yaml"
    models.write_text(MODELS)
    inherited = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "FRAMEGATE_DATA": str(data),
        "FRAMEGATE_MODELS": str(models),
        **environ,
    }
    return subprocess.Popen(
        [*GUNICORN, *arguments, "wsgi:app"], env=inherited, cwd=ROOT, stderr=subprocess.PIPE, text=True
    )


def test_gunicorn_by_itself_does_not_boot_without_a_key(tmp_path: Path) -> None:
    process = bare(tmp_path / "data", "-b", f"127.0.0.1:{free_port()}")
    output = process.communicate(timeout=60)[1]

    assert process.returncode == 4, output
    assert "Traceback" not in output  # gunicorn's own, where two workers fail at once
    assert "framegate cannot start" in output
    assert "framegate keys create" in output
    assert "FRAMEGATE_NO_AUTH=1" in output


@pytest.mark.parametrize("way", ["a key", "no auth"])
def test_gunicorn_by_itself_boots_with_a_key_or_without_any_need_for_one(tmp_path: Path, way: str) -> None:
    port, data = free_port(), tmp_path / "data"
    if way == "a key":
        new_key(data, "team")
    process = bare(data, "-b", f"0.0.0.0:{port}", FRAMEGATE_NO_AUTH="0" if way == "a key" else "1")
    server = Server(process, port, data, tmp_path / "log")  # type: ignore[arg-type]
    (tmp_path / "log").touch()
    try:
        server.until(lambda: server.call("/healthz")[0] == 200)
        assert server.call("/v1/models")[0] == (401 if way == "a key" else 200)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_serve_listens_to_strangers_once_there_is_a_key(tmp_path: Path) -> None:
    new_key(tmp_path / "data", "team")
    server = serve_in(tmp_path, MODELS, "--host", "0.0.0.0")
    try:
        assert server.call("/v1/models")[0] == 401
    finally:
        server.stop()
