"""The HTTP API for commands: of a running server, or inside this process."""

import json
import logging
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from http.client import HTTPException
from threading import Thread
from typing import Any

import click

from router.auth.keys import LOCAL
from router.engine import encoder
from router.engine.device import held, hold
from router.engine.worker import Worker
from router.errors import BootError, RouterError
from router.runtime import logs
from router.settings import Settings
from router.system import assemble
from router.web import create_app

log = logging.getLogger(__name__)
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy between this machine and itself


class CallFailed(RouterError):
    """The server refused; the message is the server's."""


class Remote:
    """A running server and an optional key."""

    lost = False  # an engine of this process that cannot go on

    def __init__(self, url: str, key: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._key = key

    def answers(self) -> bool:
        try:
            with self._open("/healthz", timeout=2):
                return True
        except CallFailed:
            return False

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        with self._open(path, method, json.dumps(body).encode() if body is not None else None) as answer:
            return dict(json.load(answer))

    def download(self, path: str) -> bytes:
        with self._open(path) as answer:
            return bytes(answer.read())

    def working(self, job_id: str) -> AbstractContextManager[None]:
        return nullcontext()

    def _open(self, path: str, method: str = "GET", data: bytes | None = None, timeout: float = 60) -> Any:
        url = path if "://" in path else self._url + path
        headers = {"content-type": "application/json"} if data else {}
        try:
            request = urllib.request.Request(url, data, headers, method=method)
            if self._key and url.startswith(f"{self._url}/"):  # never sent to another host
                request.add_unredirected_header("authorization", f"Bearer {self._key}")
            return DIRECT.open(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            hint = "; --key or FRAMEGATE_KEY gives one" if error.code == 401 else ""
            raise CallFailed(_said(error.read(), error.code) + hint) from None
        except (OSError, ValueError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise CallFailed(f"no server answers at {self._url}: {reason}") from None


class Embedded:
    """A web application and an engine inside this process, for one command."""

    def __init__(self, settings: Settings, device: str) -> None:
        logs.configure(settings.log_format, "WARNING")  # the progress bar shows the rest
        encoder.require()
        free = replace(settings, no_auth=True)  # a user who can read the store needs no key
        self._system = assemble(free, plugins=[encoder], serving=False)
        self._client = create_app(self._system).test_client()
        self._device = device
        self.lost = False

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self._client.open(path, method=method, json=body)
        if answer.status_code >= 400:
            raise CallFailed(_said(answer.data, answer.status_code))
        return dict(answer.get_json())

    def download(self, path: str) -> bytes:
        with self._client.get(path) as answer:
            return bytes(answer.data)

    @contextmanager
    def working(self, job_id: str) -> Iterator[None]:
        """Run the job during the block, unless another engine does."""
        job = self._system.jobs.get(job_id, LOCAL)
        if job is None or any(job.model in engine.models for engine in self._system.engines.alive()):
            yield  # an engine on this data folder does it
            return
        try:
            worker = Worker(self._system, self._device, single=True)
            if job.model not in worker.models:
                raise BootError(f"{job.model} cannot run in this Python: 'framegate check' says what it needs")
            # the lock keeps an engine that starts meanwhile off this device
            with hold(self._system.settings.data, self._device, self._wait), self._in_thread(worker, job_id):
                yield
        except BootError:
            self._system.jobs.delete(job_id, LOCAL)  # no engine would ever run it
            self._system.artifacts.delete(job_id)
            raise

    @contextmanager
    def _in_thread(self, worker: Worker, job_id: str) -> Iterator[None]:
        """Run one job in a thread; when the block ends, wait for it."""

        def work() -> None:
            try:
                worker.run_one(job_id)
            except BaseException:
                log.exception("this engine cannot go on")
                self.lost = True  # the follower of the job would wait for ever

        worker.keeper.start()
        thread = Thread(target=work, name="worker", daemon=True)
        thread.start()
        try:
            yield
        finally:
            thread.join()  # the job has finished or was cancelled; torch must not be cut off in mid-step
            worker.keeper.gone()
            worker.keeper.stop()

    def _wait(self, sentence: str) -> None:
        """Say that this waits; raise `BootError` at once if a server has the device."""
        data = self._system.settings.data
        if any(engine.device == self._device and engine.models for engine in self._system.engines.alive()):
            raise held(data, self._device)
        click.echo(f"note: {sentence}", err=True)


Server = Remote | Embedded


def _said(body: bytes, status: int) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"the server answered {status}"
