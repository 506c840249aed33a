"""Machines as namespaces, with networks and processes of their own, joined by a switch."""

import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import psutil
import pytest

from support.edge import need

CLONE_NEWNET = 0x40000000  # os.setns is of Python 3.12
NETWORK = "10.0.0"  # of the switch alone: no other network has a way to it
# The first process of a namespace ends with its input, that is with the tests, however they end. The kernel then kills
# the others and removes the network.
FIRST = "trap '' CHLD; echo up; exec cat >/dev/null"
LIBC = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A machine without programs yet."""

    def __init__(self) -> None:
        names = ("--net", "--pid", "--fork", "--mount-proc", "--kill-child")
        pipe, command = subprocess.PIPE, ["unshare", *names, "sh", "-c", FIRST]
        # unshare 2.38 complains when its child is killed
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"up\n"
        (first,) = psutil.Process(self._process.pid).children()
        self.pid = first.pid  # of the first process, here outside
        self._processes = _namespace(self.pid)
        self.ip("link set lo up")

    def ip(self, *commands: str) -> None:
        """Run commands of the program `ip` in this network."""
        with self.inside():
            ended = subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Let this thread, and what it starts, use the machine's network for the block."""
        with open("/proc/thread-self/ns/net") as before, open(f"/proc/{self.pid}/ns/net") as there:
            _enter(there)
            try:
                yield
            finally:
                _enter(before)

    def command(self, *words: str) -> list[str]:
        """Return the command that runs another one on this machine."""
        return ["nsenter", f"--target={self.pid}", "--net", "--pid", "--mount", "--", *words]

    def processes(self) -> list[psutil.Process]:
        """Return the machine's processes without its first one."""
        others = (each for each in psutil.process_iter() if each.pid != self.pid)
        return [each for each in others if _namespace(each.pid) == self._processes]

    def kill(self) -> None:
        """Kill all processes at once; their network goes with them."""
        os.kill(self.pid, signal.SIGKILL)
        self._process.communicate()


class Switch(Namespace):
    """Joins machines to one network, in which callers are, too: `inside`."""

    def __init__(self) -> None:
        super().__init__()
        self.ip("link add switch type bridge", f"addr add {NETWORK}.1/24 dev switch", "link set switch up")

    def plug(self, machine: Namespace, name: str, address: str) -> None:
        """Connect a machine by a cable of this name."""
        self.ip(f"link add {name} type veth peer name eth0 netns {machine.pid}", f"link set {name} master switch")
        machine.ip(f"addr add {address}/24 dev eth0", "link set eth0 up")
        self.heal(name)

    def unplug(self, name: str) -> None:
        self.ip(f"link del {name}")

    def cut(self, name: str) -> None:
        """Let nothing through a cable; neither end sees a connection closed."""
        self.ip(f"link set {name} down")

    def heal(self, name: str) -> None:
        self.ip(f"link set {name} up")


def need_namespaces() -> None:
    """Skip the test where namespaces cannot be made, or fail in CI."""
    need("ip", "iproute2")
    made = subprocess.run(
        ["unshare", "--net", "--pid", "--fork", "--mount-proc", "true"], capture_output=True, text=True
    )
    if made.returncode and os.environ.get("CI"):
        pytest.fail(f"CI needs the right to make namespaces, which root has: {made.stderr}")
    if made.returncode:
        pytest.skip(f"needs the right to make namespaces, which root has: {made.stderr.strip()}")


def _enter(network: IO[str]) -> None:
    if LIBC.setns(network.fileno(), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}")


def _namespace(pid: int) -> str:
    """Return the name of a process's namespace of processes, "" once it has ended."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""
