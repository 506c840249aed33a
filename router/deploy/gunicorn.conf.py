"""gunicorn for Framegate: `gunicorn -c router/deploy/gunicorn.conf.py wsgi:app`."""

import logging
import mmap
import os
import signal
import sys
import time
from math import ceil
from types import FrameType

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from router.runtime import logs
from router.runtime.once import Once
from router.runtime.parent import die_with
from router.settings import Settings
from router.web.server.arbiter import Master, notify_while_booting

settings = Settings.from_environ()

bind = ["127.0.0.1:8000"]
worker_class = "router.web.server.worker.Worker"
workers = settings.workers
threads = settings.threads
keepalive = 75
umask = 0o117  # of a unix socket: it is this user's and group's, whatever the umask of this process is
limit_request_line = 8190  # as much as nginx lets through, so that too long is said in one place
timeout = max(1, ceil(settings.stall_process_seconds))  # of a worker's main loop; requests may take longer
graceful_timeout = int(settings.wait_seconds) + 30  # what is cut after this gets no clean-up
control_socket_disable = True
forwarder_headers = ""  # no header of a caller's may set SCRIPT_NAME or PATH_INFO
forwarded_allow_ips = ",".join(map(str, settings.proxies))
secure_scheme_headers = {"X-FORWARDED-PROTO": "https"}
loglevel = "warning"

SERVED, STOPPING = 0, 1  # what each byte that master and workers share says


def on_starting(server: Arbiter) -> None:
    logs.configure(settings.log_format, settings.log_level)
    server.log.error_log.handlers.clear()  # its lines go where ours go, in the same form
    server.log.error_log.propagate = True
    server.shared = mmap.mmap(-1, 2)  # not of this module, which each reload runs again
    server.serves, server.ready = Once(), Once()
    Master(server, served=lambda: bool(server.shared[SERVED]), stopping=lambda: bool(server.shared[STOPPING]))
    server.token, written = os.pipe()
    os.write(written, b"4")
    os.close(written)
    if "FRAMEGATE_PARENT" in os.environ:
        die_with(int(os.environ["FRAMEGATE_PARENT"]))


def when_ready(server: Arbiter) -> None:
    _stop_at_once(server)


def _stop_at_once(server: Arbiter) -> None:
    """Tell the workers at SIGTERM that all of this stops, even while the master waits for those of a reload."""

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() == server.pid:
            server.shared[STOPPING] = 1
            server.kill_workers(signal.SIGTERM)
        server.signal(number, frame)

    signal.signal(signal.SIGTERM, stop)


def post_fork(server: Arbiter, worker: Worker) -> None:
    worker.shared, worker.once = server.shared, (server.serves, server.ready)
    notify_while_booting(worker, settings.stall_start_seconds)
    if "FRAMEGATE_PARENT" in os.environ:
        die_with(server.pid)


def worker_exit(server: Arbiter, worker: Worker) -> None:
    """Let a worker that cannot start be tried again where others serve: its exit status would end them all.

    Where none serves, one of them ends gunicorn with that status; of a second one it would die with a traceback.
    """
    if worker.booted or os.getpid() == server.pid:  # the master itself calls this for one whose end it has missed
        return
    if server.shared[SERVED]:
        time.sleep(1)
        os._exit(1)
    if not os.read(server.token, 1):
        os._exit(1)


def post_worker_init(worker: Worker) -> None:
    """Say that the web half serves, and answer those who wait when it stops.

    At a reload they get their videos from the old workers.
    """
    worker.shared[SERVED] = 1
    logging.getLogger("router.web").info("web worker %d takes requests", worker.pid)
    _drain_at(signal.SIGQUIT, worker)  # gunicorn makes it of a SIGINT
    _drain_at(signal.SIGTERM, worker)
    worker.wsgi.readiness.start(_say, [str(listener) for listener in worker.sockets], *worker.once)


def _say(text: str) -> None:
    if settings.log_format == "json":
        logging.getLogger("router.web").info("%s", text)
    else:
        print(text, file=sys.stderr, flush=True)


def _drain_at(number: signal.Signals, worker: Worker) -> None:
    leave = signal.getsignal(number)

    def drain(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGQUIT or worker.shared[STOPPING]:
            worker.wsgi.waiting.drain()
        if callable(leave):
            leave(number, frame)

    signal.signal(number, drain)
