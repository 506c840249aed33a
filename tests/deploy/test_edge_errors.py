"""nginx's own errors have our format: body, code, request id."""

import json
import os
import pwd
import socket
import tempfile
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from support.edge import Site, behind_nginx, edited, framegate, nginx, problem
from support.server import free_port

pytestmark = pytest.mark.slow

REQUEST_ID = b"x-request-id: "


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Site]:
    """Run nginx without a web half."""
    port = free_port()
    site = framegate("deploy", "nginx", "127.0.0.1", "--socket", str(tmp_path / "web.sock"), "--data", str(tmp_path))
    with nginx(tmp_path, edited(site, {"listen 80;": f"listen 127.0.0.1:{port};"})) as process:
        yield Site(process, port, tmp_path, tmp_path / "error.log", process, tmp_path)


def test_a_body_over_nginxs_limit_is_refused_by_nginx(site: Site) -> None:
    body = b"a" * (65 * 2**20 + 1)
    json_of = {"content-type": "application/json"}
    sent, data = site.send("POST", "/v1/responses", body, json_of)
    announced, more = site.send("POST", "/v1/responses", None, {**json_of, "content-length": str(len(body))})

    for answer, body in ((sent, data), (announced, more)):
        assert (answer.status, problem(body)) == (413, ("invalid_request_error", "body_too_large"))
        assert answer.headers["content-type"] == "application/json"
        assert len(answer.headers.get_all("x-request-id")) == 1
    assert json.loads(data)["error"]["message"] == "a body may have 67,108,864 bytes, got more"


def test_a_chunked_body_over_nginxs_limit_is_too(site: Site) -> None:
    connection = HTTPConnection("127.0.0.1", site.port, timeout=60)
    pieces = iter([b"a" * 2**20] * 66)
    connection.request("POST", "/v1/responses", pieces, {"content-type": "application/json"}, encode_chunked=True)
    answer = connection.getresponse()

    assert (answer.status, problem(answer.read())) == (413, ("invalid_request_error", "body_too_large"))


def test_a_body_over_our_own_limit_is_refused_by_us(site: Site) -> None:
    answer, data = site.send("POST", "/v1/responses", b"a" * (64 * 2**20 + 1), {"content-type": "application/json"})

    assert (answer.status, problem(data)) == (413, ("invalid_request_error", "body_too_large"))
    assert "got 67,108,865" in json.loads(data)["error"]["message"]


@pytest.mark.parametrize(
    ("request_line", "headers", "status", "found"),
    [
        ("GET / HTTP/1.1", "host: a\r\nhost: b", 400, ("invalid_request_error", "invalid_value")),
        ("GET / HTTP/1.1", "x: y", 400, ("invalid_request_error", "invalid_value")),
        ("NO SUCH LINE", "host: a", 400, ("invalid_request_error", "invalid_value")),
        ("GET /../../etc/passwd HTTP/1.1", "host: a", 400, ("invalid_request_error", "invalid_value")),
        ("TRACE / HTTP/1.1", "host: a", 405, ("invalid_request_error", "method_not_allowed")),
        (f"GET /{'a' * 8200} HTTP/1.1", "host: a", 414, ("invalid_request_error", "invalid_value")),
        ("GET / HTTP/1.1", f"host: a\r\nx: {'a' * 8200}", 431, ("invalid_request_error", "invalid_value")),
        ("POST / HTTP/1.1", "host: a\r\ntransfer-encoding: gzip", 501, ("server_error", "internal_error")),
        ("GET / HTTP/3.0", "host: a", 505, ("server_error", "internal_error")),
    ],
)
def test_what_is_no_request_is_refused_by_nginx(
    site: Site, request_line: str, headers: str, status: int, found: tuple[str, str]
) -> None:
    answer = site.raw(f"{request_line}\r\n{headers}\r\nconnection: close\r\n\r\n".encode())
    head, _, data = answer.partition(b"\r\n\r\n")

    assert (int(head.split()[1]), problem(data)) == (status, found)
    assert head.lower().count(REQUEST_ID) == 1


def test_a_url_as_long_as_nginx_takes_is_ours_to_answer(site: Site) -> None:
    answer, data = site.send("GET", "/" + "a" * (8190 - len("GET / HTTP/1.1")))

    assert (answer.status, problem(data)) == (404, ("not_found_error", "not_found"))


def test_a_web_half_that_is_down_is_a_502_that_says_when_to_come_back(alone: Site) -> None:
    answer, data = alone.send("GET", "/healthz", headers={"x-request-id": "mine"})

    assert (answer.status, problem(data)) == (502, ("server_error", "bad_gateway"))
    assert (answer.headers["retry-after"], answer.headers["x-request-id"]) == ("1", "mine")


def test_a_web_half_that_does_not_answer_is_a_504(tmp_path: Path) -> None:
    port = free_port()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        upstream = f"127.0.0.1:{silent.getsockname()[1]}"
        site = framegate("deploy", "nginx", "127.0.0.1", "--upstream", upstream)
        changes = {"listen 80;": f"listen 127.0.0.1:{port};", "proxy_read_timeout 3660s": "proxy_read_timeout 1s"}
        with nginx(tmp_path, edited(site, changes)) as process:
            alone = Site(process, port, tmp_path, tmp_path / "error.log", process, tmp_path)
            answer, data = alone.send("GET", "/healthz")

    assert (answer.status, problem(data)) == (504, ("server_error", "gateway_timeout"))


def test_too_many_requests_from_one_address_are_a_429(alone: Site) -> None:
    for _ in range(3000):
        answer, data = alone.send("GET", "/healthz")
        if answer.status != 502:
            break

    assert (answer.status, problem(data)) == (429, ("rate_limit_error", "rate_limit_exceeded"))
    assert answer.headers["retry-after"] == "1"
    assert len(answer.headers.get_all("x-request-id")) == 1


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder for any user; the group of `nobody` may read its data."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        data = Path(name, "data")
        data.mkdir()
        if os.geteuid() == 0:
            os.chown(data, -1, pwd.getpwnam("nobody").pw_gid)
        data.chmod(0o2750)
        yield Path(name)


def test_a_file_that_nginx_may_not_read_is_no_fault_of_the_caller(open_folder: Path) -> None:
    with behind_nginx(open_folder, user="nobody", workers=1) as site:
        site.ready()
        path = site.made()
        (file,) = (site.data / "videos" / path.split("_")[1][:32]).iterdir()
        readable = site.send("GET", path)[0].status
        file.chmod(0)
        answer, data = site.send("GET", path)

    assert readable == 200
    assert (answer.status, problem(data)) == (500, ("server_error", "internal_error"))
