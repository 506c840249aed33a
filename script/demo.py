"""Start a server, make two videos, from text and from an image, check both."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "demo"
LOG = DEMO / "server.log"
MODEL = "wan-nano"
SIZE, NUM_FRAMES = (64, 64), 17
READY_SECONDS, VIDEO_SECONDS, STOP_SECONDS = 180, 600, 30

# the server is on this machine: no proxy
browser = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # exit, so that the server is stopped too
    DEMO.mkdir(exist_ok=True)
    circle = base64.b64encode((ROOT / "docs" / "circle.png").read_bytes()).decode()
    text = {"type": "input_text", "text": "a red circle moves right on a black background"}
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{circle}"}
    print("starting the server")
    with tempfile.TemporaryDirectory() as data, server(Path(data)) as url:
        make(url, [text], DEMO / "text-to-video.mp4")
        make(url, [image, text], DEMO / "image-to-video.mp4")


def make(url: str, content: list[dict[str, str]], path: Path) -> None:
    """Request a video of `content`, save it as `path` and check it."""
    start = time.monotonic()
    options = {"video": {"response_format": "url"}}
    body = {"model": MODEL, "input": [{"role": "user", "content": content}], "seed": 42, "provider_options": options}
    answer = json.loads(fetch(f"{url}/v1/responses", body))
    if answer["status"] != "completed":
        sys.exit(f"the server answered {answer['status']}: {answer['error']}")
    video_url = answer["output"][0]["content"][0]["video_url"]
    path.write_bytes(fetch(video_url if "://" in video_url else url + video_url))
    check(path)
    print(f"{path.relative_to(ROOT)}: {answer['model']}, {time.monotonic() - start:.1f} s")


def check(path: Path) -> None:
    """Exit unless `path` has the model's size and number of frames."""
    with av.open(str(path)) as container:
        sizes = [(frame.width, frame.height) for frame in container.decode(video=0)]
    if sizes != [SIZE] * NUM_FRAMES:
        sys.exit(f"{path} must have {NUM_FRAMES} frames of {SIZE}, got {len(sizes)} of {sorted(set(sizes))}")


@contextmanager
def server(data: Path) -> Iterator[str]:
    """Serve on a free port while the block runs; yield the URL."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("framegate")), "serve", "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {"FRAMEGATE_DATA": str(data)}
    DEMO.mkdir(exist_ok=True)
    with LOG.open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_until_ready(process, f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}"
        finally:
            stop(process)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with browser.open(f"{url}/readyz", timeout=5):
                return
        except OSError:  # not listening yet, or 503: no engine yet
            time.sleep(0.2)
    ended = process.poll()
    what = f"was not ready within {READY_SECONDS} s" if ended is None else f"ended with status {ended}"
    sys.exit(f"{log_tail()}\nthe server {what}; above are the last lines of {LOG}")


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        sys.exit(f"the server did not stop within {STOP_SECONDS} s of SIGTERM; its log is {LOG}")


def fetch(url: str, body: dict[str, Any] | None = None) -> bytes:
    """GET `url`, or POST `body`; exit with the server's message on an error."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"content-type": "application/json"} if data else {})
    try:
        with browser.open(request, timeout=VIDEO_SECONDS) as answer:
            content: bytes = answer.read()
    except urllib.error.HTTPError as error:
        sys.exit(f"{log_tail()}\n{url} answered {error.code}: {error.read().decode(errors='replace')}")
    except OSError as error:
        sys.exit(f"{log_tail()}\n{url} did not answer: {error}")
    return content


def log_tail() -> str:
    return "\n".join(LOG.read_text(errors="replace").splitlines()[-40:])


if __name__ == "__main__":
    main()
