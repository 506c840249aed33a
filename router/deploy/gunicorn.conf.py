"""gunicorn for Framegate: `gunicorn -c router/deploy/gunicorn.conf.py wsgi:app`."""

import logging
import mmap
import os
import signal
import sys
import time
from ipaddress import ip_address
from types import FrameType

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from router.settings import Settings
from router.supervisor import CANNOT_START, die_with

settings = Settings.from_environ()

bind = ["127.0.0.1:8000"]
worker_class = "gthread"
workers = settings.workers
threads = settings.threads
keepalive = 75
timeout = 60  # a worker that does not answer the master; requests may take longer
graceful_timeout = int(settings.wait_seconds) + 30  # what is cut after this gets no clean-up
control_socket_disable = True
forwarder_headers = ""  # no header of a caller's may set SCRIPT_NAME or PATH_INFO
loglevel = "warning"


served = mmap.mmap(-1, 1)  # shared with the workers: 1 once one of them was ready


def on_starting(server: Arbiter) -> None:
    if "FRAMEGATE_PARENT" in os.environ:
        die_with(int(os.environ["FRAMEGATE_PARENT"]))
    strangers = [address for address in server.cfg.address if isinstance(address, tuple) and not _loopback(address[0])]
    if strangers and not settings.no_auth:
        print(
            f"framegate cannot start: {strangers[0][0]} is open to others, and nobody needs a key yet. "
            "Listen on 127.0.0.1, ::1 or a unix socket, or set FRAMEGATE_NO_AUTH=1.",
            file=sys.stderr,
        )
        sys.exit(CANNOT_START)


def when_ready(server: Arbiter) -> None:
    for listener in server.LISTENERS:
        print(f"Server ready on {listener}", file=sys.stderr, flush=True)


def post_fork(server: Arbiter, worker: Worker) -> None:
    if "FRAMEGATE_PARENT" in os.environ:
        die_with(server.pid)


def worker_exit(server: Arbiter, worker: Worker) -> None:
    """Let a worker that cannot start be tried again where others serve: its exit status would end them all."""
    if served[0] and not worker.booted:
        time.sleep(1)
        os._exit(1)


def post_worker_init(worker: Worker) -> None:
    """Say that the web half serves.

    Where this worker is told to stop at once (SIGQUIT, which gunicorn makes of a SIGINT), and at any stop under
    `framegate serve`, the waiting are answered first; else, at a reload, they get their videos from the old worker.
    """
    served[0] = 1
    logging.getLogger("router.web").info("web worker %d takes requests", worker.pid)
    _drain_at(signal.SIGQUIT, worker)
    if "FRAMEGATE_PARENT" in os.environ:
        _drain_at(signal.SIGTERM, worker)
        os.write(int(os.environ["FRAMEGATE_BEATS"]), b"serve\n")


def _drain_at(number: signal.Signals, worker: Worker) -> None:
    leave = signal.getsignal(number)

    def drain(number: int, frame: FrameType | None) -> None:
        worker.wsgi.waiting.drain()
        if callable(leave):
            leave(number, frame)

    signal.signal(number, drain)


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
