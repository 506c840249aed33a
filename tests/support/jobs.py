"""Requests of the fault tests, and the moments for a fault."""

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import create_engine, text

from support.patience import PATIENCE
from support.server import FRAMEGATE, ROOT, Server

Job = dict[str, Any]


def ask(server: Server, model: str, prompt: str = "a", **video: object) -> Job:
    """Ask for a video in the background and return the response."""
    body = {"model": model, "input": prompt, "background": True, "provider_options": {"video": video}}
    status, answer = server.call("/v1/responses", body)
    assert status == 200, answer
    return dict(answer)


def now(server: Server, job: Job) -> Job:
    return dict(server.call(f"/v1/responses/{job['id']}")[1])


def in_phase(server: Server, job: Job, phase: str, progress: int = 0) -> None:
    """Wait until a job is in a phase, and at least at `progress` percent."""
    server.until(lambda: (seen := now(server, job)).get("phase") == phase and seen["progress"] >= progress)


def completed(server: Server, job: Job) -> bool:
    return bool(server.finished(job, 120)["status"] == "completed")


def failed(server: Server, job: Job) -> tuple[str, str]:
    """Return the code and the message of a job that fails."""
    done = server.finished(job, 120)
    assert done["status"] == "failed"
    return done["error"]["code"], done["error"]["message"]


def attempts(server: Server, job: Job) -> list[str]:
    """Return the names of a job's files: one for each attempt."""
    return sorted(path.name for path in videos(server, job).iterdir())


def videos(server: Server, job: Job) -> Path:
    """Return the folder of a job's results."""
    return server.data / "videos" / job["id"].removeprefix("resp_")


def shut_gate(server: Server) -> None:
    """Hold the next job with a `held` prompt at its gate."""
    (server.data.parent / "gate").touch()
    (server.data.parent / "waiting").unlink(missing_ok=True)


def at_gate(server: Server) -> None:
    """Wait until a job waits at the gate."""
    server.until((server.data.parent / "waiting").exists)


def open_gate(server: Server) -> None:
    (server.data.parent / "gate").unlink(missing_ok=True)


def kill_engine(server: Server) -> None:
    engine = server.engine()
    engine.kill()
    engine.wait(PATIENCE)


def web_workers(server: Server) -> list[psutil.Process]:
    return list(server.master().children())


@contextmanager
def locked(data: Path, store: str = "") -> Iterator[None]:
    """Lock a folder's store, or a shared one, against writers during the block."""
    if store:
        with create_engine(store).begin() as db:
            db.execute(text("LOCK TABLE jobs IN EXCLUSIVE MODE"))
            yield
        return
    with closing(sqlite3.connect(data / "jobs.sqlite", isolation_level=None, timeout=30)) as db:
        db.execute("BEGIN EXCLUSIVE")
        yield
        db.execute("ROLLBACK")


def framegate(folder: Path, *words: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a command on a folder's data and models file until it ends."""
    known = {"data": folder / "data", "models": folder / "models.yaml", **settings}
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    environ |= {f"FRAMEGATE_{name.upper()}": str(value) for name, value in known.items()}
    return subprocess.run([*FRAMEGATE, *words], env=environ, cwd=ROOT, capture_output=True, text=True, timeout=60)
