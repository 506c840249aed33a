"""Notifications to systemd, by a socket of the tests."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.runtime.systemd import Notifier


@pytest.fixture(params=["path", "abstract"])
def heard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """Return the name of a socket as systemd writes it, and the socket."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@framegate{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1) if request.param == "abstract" else name)
        listener.setblocking(False)
        yield name, listener


def test_a_start_is_notified_then_once_ready_then_life_and_the_stop(heard: tuple[str, socket.socket]) -> None:
    name, listener = heard
    systemd = Notifier({"NOTIFY_SOCKET": name})
    systemd.alive(False)
    systemd.alive(False)  # not a second later
    systemd.alive(True)
    systemd.alive(True)
    systemd.stopping()
    received = [listener.recv(1000).decode() for _ in range(3)]

    assert received == ["EXTEND_TIMEOUT_USEC=60000000", "READY=1\nWATCHDOG=1", "STOPPING=1"]
    with pytest.raises(BlockingIOError):
        listener.recv(1000)


def test_a_full_socket_blocks_nothing_and_ready_is_sent_again(tmp_path: Path) -> None:
    name = str(tmp_path / "notify")
    systemd = Notifier({"NOTIFY_SOCKET": name})
    systemd.alive(True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name)
        systemd.alive(True)
        assert listener.recv(1000) == b"READY=1\nWATCHDOG=1"

        listener.setblocking(False)
        for _ in range(10_000):  # until its queue is full, and beyond
            systemd.stopping()


def test_no_child_inherits_the_socket_and_without_one_nothing_is_sent() -> None:
    environ = {"NOTIFY_SOCKET": "/nowhere", "HOME": "/"}
    Notifier(environ)
    Notifier(environ).alive(True)

    assert environ == {"HOME": "/"}
