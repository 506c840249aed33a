"""`Host` through gunicorn: two of them, none, or a whole URL as the path."""

import socket
from collections.abc import Callable

import pytest
from support.server import Server

MODELS = "models: {text: {backend: still, modality: t2v}}"
HEADS = (
    (b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n", b"200"),
    (b"GET /v1/models HTTP/1.1\r\nHost: evil.example\r\n", b"403"),
    (b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n", b"400"),
    (b"GET /v1/models HTTP/1.1\r\nHost: evil.example\r\nHost: localhost\r\n", b"400"),
    (b"GET http://evil.example/v1/models HTTP/1.1\r\nHost: localhost\r\n", b"403"),
    (b"GET http://localhost/v1/models HTTP/1.1\r\nHost: evil.example\r\n", b"403"),
    (b"GET http://localhost/v1/models HTTP/1.1\r\nHost: localhost\r\n", b"200"),
    (b"GET /v1/models HTTP/1.0\r\n", b"403"),
    (b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n", b"403"),
    (b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nOrigin: http://evil.example\r\n", b"403"),
    (b"GET /healthz HTTP/1.0\r\n", b"200"),
)  # fmt: skip


@pytest.mark.slow
def test_a_real_server_without_keys_answers_to_its_own_names(serve: Callable[..., Server]) -> None:
    server = serve(MODELS, workers=1)
    for head, status in HEADS:
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall(head + b"Connection: close\r\n\r\n")
            answer = b"".join(iter(lambda c=connection: c.recv(65536), b""))  # type: ignore[misc]
        assert answer.split(b" ")[1] == status, (head, answer)
