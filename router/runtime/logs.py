"""Log lines with the ids of requests, jobs and engines, as text or JSON."""

import json
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from router.values import Job, Status

IDS = ("request", "job", "engine")
# of an access or a job line
FACTS = ("method", "path", "status", "model", "state", "attempt", "code", "seconds", "client", "by")
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
INDENT = "\n    "
request_id: ContextVar[str] = ContextVar("request_id", default="")
job_id: ContextVar[str] = ContextVar("job_id", default="")
jobs = logging.getLogger("router.job")


@contextmanager
def about(job: Job) -> Iterator[None]:
    """Add a job's ids to the lines of this thread within the block."""
    before = job_id.set(job.id), request_id.set(job.request_id)
    try:
        yield
    finally:
        job_id.reset(before[0])
        request_id.reset(before[1])


def name_engine(engine: str) -> None:

    def stamp(record: logging.LogRecord) -> bool:
        record.engine = engine
        return True

    for handler in logging.getLogger().handlers:
        handler.addFilter(stamp)


def log_change(job: Job) -> None:
    facts: dict[str, object] = {"model": job.model, "state": str(job.status), "attempt": job.attempt}
    message = f"{job.model}: {job.status}" + (f", attempt {job.attempt}" if job.attempt else "")
    if job.started_at is not None and job.finished_at is not None:
        facts["seconds"] = round(job.finished_at - job.started_at, 3)
        message += f", after {facts['seconds']} s"
    if job.failure is not None:
        facts["code"] = job.failure.code
        message += f": {job.failure.code}: {job.failure.message}"
    level = logging.WARNING if job.status is Status.FAILED else logging.INFO
    jobs.log(level, "%s", message, extra={**facts, "job": job.id, "request": job.request_id})


def configure(log_format: str, level: str) -> None:
    """Send this process's log lines to standard error; `log_format` is `text` or `json`."""
    as_json = log_format == "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if as_json else _Text("%(asctime)s %(levelname)s %(name)s %(message)s"))
    handler.addFilter(_in_context)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(as_json)  # warnings would be lines of plain text
    for chatty in ("httpx2", "httpcore2", "huggingface_hub", "alembic", "PIL"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _in_context(record: logging.LogRecord) -> bool:
    """Add the ids of this thread's job to a line without its own."""
    record.request = getattr(record, "request", request_id.get())
    record.job = getattr(record, "job", job_id.get())
    return True


def _visible(text: str) -> str:
    """Escape control characters and line separators, except line feeds."""
    return UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class _Text(logging.Formatter):
    """One line per record; further lines are indented."""

    # so no text of a client's can look like a record

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return _visible(super().formatMessage(record)).replace("\n", INDENT)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return INDENT[1:] + _visible(super().formatException(ei)).replace("\n", INDENT)

    def format(self, record: logging.LogRecord) -> str:
        ids = [f"{kind}={value}" for kind in IDS if (value := getattr(record, kind, ""))]
        line = super().format(record)
        return f"{line} [{' '.join(ids)}]" if ids else line


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        entry |= {key: value for key in IDS if (value := getattr(record, key, ""))}
        entry |= {key: getattr(record, key) for key in FACTS if hasattr(record, key)}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return _visible(json.dumps(entry, ensure_ascii=False))
