"""A kept connection answers the next request, whatever the last answer was."""

import json
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from support.server import Server

pytestmark = pytest.mark.slow

JSON = {"content-type": "application/json"}
UNREAD = {
    "an unknown path": ("POST", "/v1/nowhere", JSON, 404),
    "a method that is not allowed": ("PUT", "/v1/responses", JSON, 405),
    "a media type that is not taken": ("POST", "/v1/responses", {"content-type": "text/plain"}, 415),
    "a video to edit": ("POST", "/v1/videos/edits", {"content-type": "multipart/form-data; boundary=a"}, 404),
    "a body where none is due": ("DELETE", "/v1/responses/resp_0", JSON, 404),
    "a body of a GET": ("GET", "/healthz", JSON, 200),
}


@pytest.fixture
def connection(nano: Server) -> Iterator[HTTPConnection]:
    kept = HTTPConnection("127.0.0.1", nano.port, timeout=60)
    kept.connect()
    kept.auto_open = 0  # so that a connection that was closed is an error, as it is in a pool
    yield kept
    kept.close()


def ask(connection: HTTPConnection, method: str, path: str, headers: dict[str, str], body: bytes, chunked: bool) -> int:
    pieces = [body[start : start + 2**16] for start in range(0, len(body), 2**16)]
    connection.request(method, path, iter(pieces) if chunked else body, headers, encode_chunked=chunked)
    answer = connection.getresponse()
    json.loads(answer.read())
    return answer.status


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
@pytest.mark.parametrize(("method", "path", "headers", "status"), UNREAD.values(), ids=UNREAD.keys())
def test_a_body_that_nobody_reads_is_in_nobodys_way(
    connection: HTTPConnection, method: str, path: str, headers: dict[str, str], status: int, chunked: bool
) -> None:
    sent = headers | ({"transfer-encoding": "chunked"} if chunked else {})

    assert ask(connection, method, path, sent, b"a" * 2**20, chunked) == status
    assert ask(connection, "GET", "/healthz", {}, b"", chunked=False) == 200


def test_a_body_over_the_limit_is_in_nobodys_way(connection: HTTPConnection) -> None:
    assert ask(connection, "POST", "/v1/responses", JSON, b"a" * (64 * 2**20 + 1), chunked=False) == 413
    assert ask(connection, "GET", "/healthz", {}, b"", chunked=False) == 200
