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
from router.runtime.ending import end_process
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
umask = 0o117  # of a unix socket, for this user and group, whatever the process's umask
limit_request_line = 8190  # nginx's own limit
timeout = max(1, ceil(settings.stall_process_seconds))  # of a worker's event loop; requests may take longer
graceful_timeout = int(settings.wait_seconds) + 30  # requests cut after this get no clean-up
control_socket_disable = True
forwarder_headers = ""  # no client's header may set SCRIPT_NAME or PATH_INFO
forwarded_allow_ips = ",".join(map(str, settings.proxies))
secure_scheme_headers = {"X-FORWARDED-PROTO": "https"}
loglevel = "warning"

SERVED, STOPPING = 0, 1  # bytes in memory shared by master and workers


def on_starting(server: Arbiter) -> None:
    logs.configure(settings.log_format, settings.log_level)
    server.log.error_log.handlers.clear()  # its lines go to our handlers, in our format
    server.log.error_log.propagate = True
    server.shared = mmap.mmap(-1, 2)  # not in this module, which each reload runs again
    server.serves, server.ready, server.fails = Once(), Once(), Once()
    Master(server, served=lambda: bool(server.shared[SERVED]), stopping=lambda: bool(server.shared[STOPPING]))
    if "FRAMEGATE_PARENT" in os.environ:
        die_with(int(os.environ["FRAMEGATE_PARENT"]))


def when_ready(server: Arbiter) -> None:
    """Stop the workers at SIGTERM, even while a reload waits for old ones."""

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
    """End a worker at once; replace the status of one that cannot start."""
    # With its own status gunicorn would end. If no worker serves, one of them ends gunicorn so; a second status would
    # end it with a traceback.
    if os.getpid() == server.pid:  # the master calls this for a worker whose end it has missed
        return
    if worker.booted:
        ending = sys.exception()
        if isinstance(ending, SystemExit) and not ending.code:
            end_process(0)
        return
    if server.shared[SERVED]:
        time.sleep(1)
        os._exit(1)
    if not server.fails.taken():
        os._exit(1)


def post_worker_init(worker: Worker) -> None:
    """Report readiness, and end waiting requests when the server stops."""
    # a reload does not end them: the old workers answer them
    worker.shared[SERVED] = 1
    logging.getLogger("router.web").info("web worker %d takes requests", worker.pid)
    _drain_at(signal.SIGQUIT, worker)  # gunicorn's answer to SIGINT
    _drain_at(signal.SIGTERM, worker)
    worker.wsgi.readiness.start(_report, [str(listener) for listener in worker.sockets], *worker.once)


def _report(text: str) -> None:
    if settings.log_format == "json":
        logging.getLogger("router.web").info("%s", text)
    else:
        print(text, file=sys.stderr, flush=True)


def _drain_at(number: signal.Signals, worker: Worker) -> None:
    stop = signal.getsignal(number)

    def drain(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGQUIT or worker.shared[STOPPING]:
            # not here: a second signal within `Event.set` would wait for its lock for ever
            worker.call_soon(worker.wsgi.waiting.drain)
        if callable(stop):
            stop(number, frame)

    signal.signal(number, drain)
