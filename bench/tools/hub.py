"""A hub on loopback with random shards that counts its sent bytes."""

import hashlib
import json
import os
import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread

REPO = "org/bench"
COMMIT = hashlib.sha1(b"bench").hexdigest()
CHUNK = 2**20


class Hub:
    """Serves one repository; with `half` every file stops at its middle."""

    def __init__(self, shards: int, size: int) -> None:
        self.files = {f"part-{n}.safetensors": os.urandom(size) for n in range(shards)}
        self.digests = {name: hashlib.sha256(data).hexdigest() for name, data in self.files.items()}
        self.size = shards * size
        self.sent = 0
        self.half = False
        self.swapped = False  # send other bytes than those listed, as many
        self.go = Event()
        self._lock = Lock()
        self._server = listen(self._answer)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self.go.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        if file := re.fullmatch(rf"/{REPO}/resolve/[^/]+/(.+)", path):
            self._file(handler, file[1])
        else:
            send_json(handler, self._tree() if "/tree/" in path else self._info())

    def _info(self) -> dict[str, object]:
        siblings = [
            {"rfilename": name, "size": len(data), "blobId": COMMIT}
            | {"lfs": {"sha256": self.digests[name], "size": len(data), "pointerSize": 134}}
            for name, data in self.files.items()
        ]
        return {"id": REPO, "sha": COMMIT, "siblings": siblings}

    def _tree(self) -> list[dict[str, object]]:
        return [
            {"type": "file", "path": name, "size": len(data), "oid": COMMIT}
            | {"lfs": {"oid": self.digests[name], "size": len(data), "pointerSize": 134}}
            for name, data in self.files.items()
        ]

    def _file(self, handler: BaseHTTPRequestHandler, name: str) -> None:
        data = self.files[name]
        range_ = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        start = int(range_[1]) if range_ else 0
        handler.send_response(206 if range_ else 200)
        handler.send_header("ETag", f'"{self.digests[name]}"')
        handler.send_header("X-Repo-Commit", COMMIT)
        handler.send_header("Content-Length", str(len(data) - start))
        if range_:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.end_headers()
        if handler.command != "HEAD":
            self._send(handler, data, start)

    def _send(self, handler: BaseHTTPRequestHandler, data: bytes, start: int) -> None:
        end = len(data) // 2 if self.half else len(data)
        for at in range(start, end, CHUNK):
            piece = data[at : min(at + CHUNK, end)]
            handler.wfile.write(bytes(len(piece)) if self.swapped else piece)
            with self._lock:
                self.sent += len(piece)
        if self.half:
            handler.wfile.flush()
            self.go.wait()
        handler.close_connection = True


def listen(answer: Callable[[BaseHTTPRequestHandler], None]) -> ThreadingHTTPServer:
    """Serve on loopback, in a thread; `answer` gets each GET and HEAD."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def do_HEAD(self) -> None:
            answer(self)

        def log_message(self, *args: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        def handle_error(self, *args: object) -> None:
            """Ignore clients that are gone."""

    server = Server(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return server


def send_json(handler: BaseHTTPRequestHandler, value: object, status: int = 200, code: str = "") -> None:
    """Answer with JSON; `code` is the hub's name of an error."""
    data = json.dumps(value).encode()
    handler.send_response(status)
    if code:
        handler.send_header("X-Error-Code", code)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(data)
