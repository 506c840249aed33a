"""The metrics server of an engine machine: its callers, right and hostile."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection

import pytest
from support.patience import until

from router.errors import BootError
from router.metrics import server as module
from router.metrics.server import CALLERS, MetricsServer
from router.runtime.variables import Address

TEXT = b"# framegate\n"


@contextmanager
def running(
    key: str = "", page: Callable[[], bytes] = lambda: TEXT, host: str = "127.0.0.1"
) -> Iterator[tuple[str, int]]:
    with MetricsServer(Address(host, 0), key, page) as server:
        server.start()
        yield server.server_address[:2]
        server.shutdown()


def call(address: tuple[str, int], path: str = "/metrics", method: str = "GET", **headers: str) -> tuple[int, bytes]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(HTTPConnection(*address, timeout=30)) as connection:
        connection.request(method, path, headers=names)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_this_machine_reads_the_page() -> None:
    with running() as address:
        assert call(address) == (200, TEXT)
        assert call(address, "/metrics?x=1") == (200, TEXT)


def test_this_machine_reads_the_page_over_ipv6() -> None:
    with running(host="::1") as address:
        assert call(address) == (200, TEXT)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/metrics/"), ("POST", "/metrics"), ("HEAD", "/"), ("X", "/metrics")],
)
def test_all_else_is_not_found(method: str, path: str) -> None:
    with running() as address:
        assert call(address, path, method)[0] == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "video.example.org"},
        {"host": "127.0.0.1.example.org"},
        {"host": "[::1"},
        {"x_forwarded_for": "127.0.0.1"},
        {"via": "1.1 proxy"},
    ],
)
def test_without_a_key_other_names_and_proxies_are_refused(headers: dict[str, str]) -> None:
    with running() as address:
        assert call(address, **headers)[0] == 403


def test_a_key_is_needed_where_there_is_one() -> None:
    with running("secret") as address:
        assert call(address, authorization="Bearer secret", host="video.example.org") == (200, TEXT)
        assert call(address, authorization="bearer  secret ") == (200, TEXT)
        for wrong in ("", "secret", "Basic secret", "Bearer", "Bearer secret2", "Bearer s\xe9cret"):
            assert call(address, authorization=wrong)[0] == 403, wrong


@pytest.mark.parametrize(
    "sent", [b"\r\n\r\n", b"\0" * 100, b"GET\r\n\r\n", b"GET /metrics HTTP/9.9\r\n\r\n", b"GET //["]
)
def test_garbage_and_a_page_that_fails_end_one_connection_alone(sent: bytes) -> None:
    pages = iter([None, TEXT])

    def page() -> bytes:
        if (text := next(pages)) is None:
            raise RuntimeError("the disk is gone")
        return text

    with running(page=page) as address:
        with socket.create_connection(address, timeout=30) as caller:
            caller.sendall(sent)
        with pytest.raises(OSError, match="without response"):
            call(address)

        assert call(address) == (200, TEXT)


def test_callers_that_send_nothing_are_cut_and_hold_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 1.0)

    def answered(address: tuple[str, int]) -> bool:
        try:
            return call(address) == (200, TEXT)
        except OSError:  # every slot is held
            return False

    with running() as address:
        silent = [socket.create_connection(address, timeout=30) for _ in range(CALLERS * 3)]
        assert [caller.recv(100) for caller in silent] == [b""] * len(silent)
        assert until(lambda: answered(address))
        for caller in silent:
            caller.close()


def test_a_taken_port_stops_the_boot() -> None:
    with running() as address, pytest.raises(BootError, match=f"port {address[1]}: Address already in use"):
        MetricsServer(Address(*address), "", lambda: TEXT)


def test_an_unknown_host_stops_the_boot() -> None:
    with pytest.raises(BootError, match="cannot serve metrics on no-such-host"):
        MetricsServer(Address("no-such-host.invalid", 9100), "", lambda: TEXT)
