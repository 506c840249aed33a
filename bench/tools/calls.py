"""Make the calls of a plan from many clients at once; record the answers."""

import hashlib
import http.client
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from bench.tools.callers import Call, Kind

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 300.0
UNFINISHED = ("queued", "in_progress")


@dataclass(frozen=True)
class CallResult:
    """The answers to a call.

    `jobs`: the job ids in the answers; more than one is a doubled job. `status`: the last one received; None after a
    disconnect. `digest`: the sha256 of the fetched video. `seconds`: the time of a refusal. `problem`: an unexpected
    answer.
    """

    call: Call
    jobs: frozenset[str] = frozenset()
    status: str | None = None
    digest: str | None = None
    seconds: float = 0.0
    problem: str = ""


class Unexpected(Exception):
    """An answer that contradicts the request."""


def make(port: int, calls: Sequence[Call], clients: int) -> tuple[CallResult, ...]:
    with ThreadPoolExecutor(clients) as threads:
        return tuple(threads.map(partial(_make, port), calls))


def _make(port: int, call: Call) -> CallResult:
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)) as connection:
            return KINDS[call.kind](connection, call)
    except (Unexpected, OSError, http.client.HTTPException) as error:
        return CallResult(call, problem=f"{type(error).__name__}: {error}")


def _wait(connection: http.client.HTTPConnection, call: Call) -> CallResult:
    result = _result(call, _json(_post(connection, call)))
    (job,) = result.jobs
    part = _json(_get(connection, f"/v1/responses/resp_{job}"))["output"][0]["content"][0]
    video = _get(connection, part["video_url"]).read()
    return _retried(connection, replace(result, digest=hashlib.sha256(video).hexdigest()))


def _poll(connection: http.client.HTTPConnection, call: Call) -> CallResult:
    """Send a background request and poll; a keyed one on two connections."""
    begun = _twice(connection, call) if call.key else [_json(_post(connection, call))]
    ids = frozenset(_id(answer) for answer in begun)
    path = f"/v1/responses/{begun[0]['id']}"
    while (answer := _json(_get(connection, path)))["status"] in UNFINISHED:
        time.sleep(POLL_SECONDS)
    return replace(_result(call, answer), jobs=ids | {_id(answer)})


def _stream(connection: http.client.HTTPConnection, call: Call) -> CallResult:
    lines = _post(connection, call).read().decode().split("\n")
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    numbers = [event["sequence_number"] for event in events]
    if numbers != sorted(set(numbers)) or lines[-3:] != ["data: [DONE]", "", ""]:
        raise Unexpected(f"a stream with the events {numbers} that ends in {lines[-3:]}")
    snapshots = [event["response"] for event in events if "response" in event]
    ids = frozenset(map(_id, snapshots))
    return _retried(connection, replace(_result(call, snapshots[-1]), jobs=ids))


def _cancel(connection: http.client.HTTPConnection, call: Call) -> CallResult:
    begun = _json(_post(connection, call))
    time.sleep(call.seconds)
    connection.request("POST", f"/v1/responses/{begun['id']}/cancel")
    result = _result(call, _json(_ok(connection)))
    return replace(result, jobs=result.jobs | {_id(begun)})


def _leave(connection: http.client.HTTPConnection, call: Call) -> CallResult:
    _send(connection, call)
    time.sleep(call.seconds)
    return CallResult(call)


def _leave_stream(connection: http.client.HTTPConnection, call: Call) -> CallResult:
    with closing(_post(connection, call)) as answer:
        while not (line := answer.readline()).startswith(b"data: "):
            if not line:
                raise Unexpected("a stream without an event")
        begun = json.loads(line[6:])["response"]
        time.sleep(call.seconds)
    return CallResult(call, frozenset({_id(begun)}))


def _mismatch(connection: http.client.HTTPConnection, call: Call) -> CallResult:
    started = time.perf_counter()
    _send(connection, call)
    answer = connection.getresponse()
    body = json.load(answer)
    if answer.status != 400 or body["error"]["code"] != "modality_mismatch":
        raise Unexpected(f"{answer.status} {body}")
    return CallResult(call, seconds=time.perf_counter() - started)


KINDS = {
    Kind.WAIT: _wait,
    Kind.POLL: _poll,
    Kind.STREAM: _stream,
    Kind.CANCEL: _cancel,
    Kind.LEAVE: _leave,
    Kind.LEAVE_STREAM: _leave_stream,
    Kind.MISMATCH: _mismatch,
}


def _twice(connection: http.client.HTTPConnection, call: Call) -> list[dict[str, Any]]:
    """Send the call on two connections before reading either answer."""
    with closing(http.client.HTTPConnection(connection.host, connection.port, timeout=PATIENCE_SECONDS)) as other:
        for one in (connection, other):
            _send(one, call)
        return [_json(_ok(one)) for one in (connection, other)]


def _retried(connection: http.client.HTTPConnection, result: CallResult) -> CallResult:
    """Repeat a call with a key, as a client does after a lost answer."""
    if result.call.key is None:
        return result
    body = _post(connection, result.call).read()
    again = body.split(b'"id":"resp_')[1][:32].decode()
    return replace(result, jobs=result.jobs | {again})


def _result(call: Call, answer: dict[str, Any]) -> CallResult:
    return CallResult(call, frozenset({_id(answer)}), answer["status"])


def _id(answer: dict[str, Any]) -> str:
    return str(answer["id"]).removeprefix("resp_")


def _post(connection: http.client.HTTPConnection, call: Call) -> http.client.HTTPResponse:
    _send(connection, call)
    return _ok(connection)


def _get(connection: http.client.HTTPConnection, path: str) -> http.client.HTTPResponse:
    connection.request("GET", path)
    return _ok(connection)


def _send(connection: http.client.HTTPConnection, call: Call) -> None:
    headers = {"content-type": "application/json"} | ({"idempotency-key": call.key} if call.key else {})
    connection.request("POST", "/v1/responses", call.body(), headers)


def _ok(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    answer = connection.getresponse()
    if answer.status != 200:
        raise Unexpected(f"{answer.status} {answer.read().decode(errors='replace')[:500]}")
    return answer


def _json(answer: http.client.HTTPResponse) -> dict[str, Any]:
    return json.load(answer)
