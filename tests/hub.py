"""A stand-in hub on loopback: what the real client asks for, from a folder."""

from __future__ import annotations

import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

COMMIT = hashlib.sha1(b"the one commit").hexdigest()


class Hub:
    """Serves `folder` as repository `repo`; `asked` lists the files that were fetched."""

    def __init__(self, repo: str, folder: Path) -> None:
        self.repo = repo
        self.folder = folder
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                hub._answer(self, body=False)

            def do_GET(self) -> None:
                hub._answer(self, body=True)

            def log_message(self, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler, body: bool) -> None:
        path = handler.path.partition("?")[0]
        if match := re.fullmatch(rf"/api/models/{self.repo}/revision/([^/]+)", path):
            known = match[1] in ("main", "v1", COMMIT)
            self._json(handler, {"id": self.repo, "sha": COMMIT, "siblings": self._siblings()}, 200 if known else 404)
        elif path.startswith(f"/api/models/{self.repo}/tree/"):
            self._json(handler, self._tree())
        elif match := re.fullmatch(rf"/{self.repo}/resolve/[^/]+/(.+)", path):
            self._file(handler, match[1], body)
        else:
            self._json(handler, {"error": "Repository not found"}, 404)

    def _siblings(self) -> list[dict[str, str]]:
        return [{"rfilename": entry["path"]} for entry in self._tree()]

    def _tree(self) -> list[dict[str, object]]:
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return [
            {"type": "file", "path": str(f.relative_to(self.folder)), "size": f.stat().st_size, "oid": _etag(f)}
            for f in files
        ]

    def _json(self, handler: BaseHTTPRequestHandler, value: object, status: int = 200) -> None:
        data = json.dumps(value).encode()
        handler.send_response(status)
        if status == 404:
            handler.send_header("X-Error-Code", "RevisionNotFound" if "/revision/" in handler.path else "RepoNotFound")
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def _file(self, handler: BaseHTTPRequestHandler, name: str, body: bool) -> None:
        path = self.folder / name
        handler.send_response(200)
        handler.send_header("ETag", f'"{_etag(path)}"')
        handler.send_header("X-Repo-Commit", COMMIT)
        handler.send_header("Content-Length", str(path.stat().st_size))
        handler.end_headers()
        if body:
            self.asked.append(name)
            handler.wfile.write(path.read_bytes())


def _etag(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
