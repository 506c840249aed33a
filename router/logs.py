"""Log lines that tie a request, its job and its engine together, as text or as JSON."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar

from router.settings import Settings

request_id: ContextVar[str] = ContextVar("request_id", default="")
job_id: ContextVar[str] = ContextVar("job_id", default="")


class _Context(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request = request_id.get()
        record.job = job_id.get()
        return True


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        ids = [f"{kind}={value}" for kind in ("request", "job") if (value := getattr(record, kind, ""))]
        line = super().format(record)
        return f"{line} [{' '.join(ids)}]" if ids else line


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {kind: value for kind in ("request", "job") if (value := getattr(record, kind, ""))}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def configure(settings: Settings) -> None:
    """Send this process's log lines to standard error, in the form that the settings name."""
    handler = logging.StreamHandler(sys.stderr)
    text = _Text("%(asctime)s %(levelname)s %(name)s %(message)s")
    handler.setFormatter(_Json() if settings.log_format == "json" else text)
    handler.addFilter(_Context())
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for chatty in ("httpx2", "httpcore2", "huggingface_hub", "alembic", "PIL"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
