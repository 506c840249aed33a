"""Log lines: their ids, and their JSON."""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from registry import Input
from router.runtime import logs
from router.values import Failure, Job, Status, Task

TASK = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
JOB = Job("f" * 32, "me", "m", TASK, request_id="r1")
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Yield standard error; the root logger is restored afterwards."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr("sys.stderr", stream)
    yield stream
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def lines(written: io.StringIO) -> Lines:
    logs.configure("json", "INFO")
    for known in (logs.job_id, logs.request_id):
        known.set("")  # what an earlier test's request was about
    return lambda: [json.loads(line) for line in written.getvalue().splitlines()]


def test_a_line_of_json_has_the_ids_of_its_job(lines: Lines) -> None:
    logs.name_engine("cpu-1")
    with logs.about(JOB):
        logging.getLogger("router.x").info("é %d", 1)
    logging.getLogger("router.x").info("idle")
    working, idle = lines()

    assert list(working) == ["time", "level", "logger", "process", "message", "request", "job", "engine"]
    assert (working["message"], working["request"], working["job"]) == ("é 1", "r1", JOB.id)
    assert (idle["engine"], "job" in idle, "request" in idle) == ("cpu-1", False, False)


def test_each_change_of_a_job_is_a_line(lines: Lines) -> None:
    failed = replace(JOB, status=Status.FAILED, attempt=2, started_at=10.0, finished_at=11.5)
    logs.log_change(JOB)
    logs.log_change(replace(failed, failure=Failure("timed_out", "it hung")))
    queued, over = lines()

    assert (queued["logger"], queued["job"], queued["request"]) == ("router.job", JOB.id, "r1")
    assert (queued["state"], queued["attempt"], queued["message"]) == ("queued", 0, "m: queued")
    assert (over["level"], over["state"], over["code"], over["seconds"]) == ("WARNING", "failed", "timed_out", 1.5)
    assert over["message"] == "m: failed, attempt 2, after 1.5 s: timed_out: it hung"


def test_an_exception_and_a_warning_stay_within_their_lines(lines: Lines) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("router.x").exception("failed")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old", stacklevel=1)
    failed, warned = lines()

    assert "ValueError: two\nlines" in failed["exception"]
    assert (warned["logger"], "UserWarning: old" in warned["message"]) == ("py.warnings", True)


def test_text_ends_with_the_ids(written: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", written)
    logs.configure("text", "INFO")
    with logs.about(JOB):
        logging.getLogger("router.x").info("hello")

    assert written.getvalue().endswith(f"INFO router.x hello [request=r1 job={JOB.id}]\n")


FORGERIES = (
    "a\n2026-01-01 00:00:00,000 INFO router.job forged: completed",
    "a\r\n2026-01-01 00:00:00,000 INFO router.job forged: completed",
    "a\r2026-01-01 INFO forged",
    "a\x0b2026-01-01 INFO forged\x0c2026 forged\x1c2026 forged\x1e2026 forged",
    "a\x852026-01-01 INFO forged\u20282026 forged\u20292026 forged",
    'a"}\n{"level": "INFO", "message": "forged"}',
    "a\x1b[2K\x1b[1A\x1b]0;owned\x07\x9b2J",
    "a\x00\udfff\ud800",
)


def log_in_all_ways(text: str) -> None:
    """Log `text` in each way a client's words can: message, failure, exception."""
    logging.getLogger("router.x").info("%s", text)
    logs.log_change(replace(JOB, status=Status.FAILED, attempt=1, failure=Failure("generation_failed", text)))
    try:
        raise ValueError(text)
    except ValueError:
        logging.getLogger("router.x").exception("failed")


@pytest.mark.parametrize("text", FORGERIES)
def test_nobodys_words_look_like_a_line_of_text(
    written: io.StringIO, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr("sys.stderr", written)
    logs.configure("text", "INFO")
    log_in_all_ways(text)
    lines = written.getvalue().splitlines()

    assert len([line for line in lines if not line.startswith("    ")]) == 3
    assert all(character.isprintable() for line in lines for character in line)
    assert "forged" not in text or "forged" in written.getvalue()


@pytest.mark.parametrize("text", FORGERIES)
def test_nobodys_words_make_a_line_of_json(lines: Lines, written: io.StringIO, text: str) -> None:
    log_in_all_ways(text)
    message, failure, exception = lines()

    assert message["message"] == text
    assert failure["message"].endswith(text)
    assert text in exception["exception"]
    assert written.getvalue().replace("\n", "").isprintable()
