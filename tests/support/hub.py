"""A stand-in hub on loopback: it serves a folder, and fails on demand."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event
from urllib.parse import unquote

import pytest
from huggingface_hub import constants

from bench.tools.hub import listen, send_json

ROOT = Path(__file__).parents[2]
COMMIT = hashlib.sha1(b"the one commit").hexdigest()
LARGE = (".safetensors", ".gguf", ".bin")  # kept as large files, under their SHA-256; others under git's SHA-1


@dataclass(frozen=True)
class Asked:
    """A request for a file's bytes, from `start` on."""

    path: str
    start: int


class Hub:
    """Serves `folder` as `repo`; `asked` lists fetched files, `requests` every request.

    `refuse(path)` may return (status, error code) for any path of the API and any file. A file in `cut` breaks after so
    many bytes of the whole file, the first time that it is sent; those in `slow` wait for `go` after their first half.
    `serve(path, bytes)` may send others in their place, `list(file)` may list a file as something else.
    """

    def __init__(self, repo: str, folder: Path) -> None:
        self.repo = repo
        self.folder = folder
        self.asked: list[str] = []
        self.requests: list[Asked] = []
        self.refuse: Callable[[str], tuple[int, str] | None] = lambda path: None
        self.serve: Callable[[str, bytes], bytes] = lambda path, data: data
        self.list: Callable[[dict[str, object]], dict[str, object]] = lambda file: file
        self.cut: dict[str, int] = {}
        self.slow: set[str] = set()
        self.go = Event()
        self.ranges = True
        self._server = listen(self._answer)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self.go.set()
        self._server.shutdown()
        self._server.server_close()

    def ranges_of(self, path: str) -> list[int]:
        """Return from which byte on each request for a file asked."""
        return [asked.start for asked in list(self.requests) if asked.path == path]

    def digest(self, path: str) -> str:
        """Return the name of a file in the cache's `blobs`."""
        return _digest(self.folder / path)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = unquote(handler.path.partition("?")[0])
        file = re.fullmatch(rf"/{self.repo}/resolve/[^/]+/(.+)", path)
        if refused := self.refuse(file[1] if file else path):
            send_json(handler, {"error": "refused"}, *refused)
        elif match := re.fullmatch(rf"/api/models/{self.repo}/revision/([^/]+)", path):
            known = match[1] in ("main", "v1", COMMIT)
            answer = (200, "") if known else (404, "RevisionNotFound")
            send_json(handler, {"id": self.repo, "sha": COMMIT, "siblings": self._siblings()}, *answer)
        elif path.startswith(f"/api/models/{self.repo}/tree/"):
            send_json(handler, self._tree())
        elif file:
            self._file(handler, file[1])
        else:
            send_json(handler, {"error": "Repository not found"}, 404, "RepoNotFound")

    def _files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def _siblings(self) -> list[dict[str, object]]:
        return [
            self.list(
                {"rfilename": str(f.relative_to(self.folder)), "size": f.stat().st_size, "blobId": _git(f), **_lfs(f)}
            )
            for f in self._files()
        ]

    def _tree(self) -> list[dict[str, object]]:
        return [
            {"type": "file", "path": str(f.relative_to(self.folder)), "size": f.stat().st_size, "oid": _git(f)}
            for f in self._files()
        ]

    def _file(self, handler: BaseHTTPRequestHandler, name: str) -> None:
        path = self.folder / name
        data = self.serve(name, path.read_bytes())
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", "")) if self.ranges else None
        start = int(asked[1]) if asked else 0
        handler.send_response(416 if start >= len(data) > 0 else 206 if asked else 200)
        handler.send_header("ETag", f'"{_digest(path)}"')
        handler.send_header("X-Repo-Commit", COMMIT)
        handler.send_header("Content-Length", str(max(len(data) - start, 0)))
        if asked:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.end_headers()
        if handler.command != "HEAD":
            self.asked.append(name)
            self.requests.append(Asked(name, start))
            self._send(handler, name, data, start)

    def _send(self, handler: BaseHTTPRequestHandler, name: str, data: bytes, start: int) -> None:
        """Send from `start` on, as far and as fast as the test wants."""
        end = self.cut.pop(name, len(data))
        half = len(data) // 2 if name in self.slow and not self.go.is_set() else end
        handler.wfile.write(data[start:half])
        if half < end:
            handler.wfile.flush()
            self.go.wait()
            handler.wfile.write(data[max(start, half) : end])
        handler.close_connection = True


def use(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point this process and its children to a hub and a cache."""
    environ = {"HF_HOME": cache, "HF_ENDPOINT": hub.url, "HF_HUB_DOWNLOAD_TIMEOUT": 1, "PYTHONPATH": ROOT}
    for name, value in environ.items():
        monkeypatch.setenv(name, str(value))
    for name in ("HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.suffix in LARGE else _git(path)


def _git(path: Path) -> str:
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _lfs(path: Path) -> dict[str, object]:
    if path.suffix not in LARGE:
        return {}
    return {"lfs": {"size": path.stat().st_size, "sha256": _digest(path), "pointerSize": 134}}
