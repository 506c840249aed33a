"""Hostile requests through nginx: slow senders and readers, raw paths, headers."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.edge import Site, behind_nginx

pytestmark = pytest.mark.slow

THREADS = 33  # of which one may wait
MANY = 100
POST = b"POST /v1/responses HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
DAWDLERS = {
    "nothing": b"",
    "half a request line": b"GET /heal",
    "headers without an end": b"GET /healthz HTTP/1.1\r\nhost: a\r\nx-a: ",
    "half a body": POST + b"content-length: 1000\r\n\r\n{",
    "half a chunk": POST + b"transfer-encoding: chunked\r\n\r\n3e8\r\n{",
    "a body that waits for leave": POST + b"content-length: 1000\r\nexpect: 100-continue\r\n\r\n",
}
JOB = "0123456789abcdef" * 2
NAMES = (
    "../../../jobs.sqlite",
    "%2e%2e%2f%2e%2e%2fjobs.sqlite",
    "%252e%252e%252fjobs.sqlite",
    "..%5c..%5cjobs.sqlite",
    "%c0%ae%c0%ae%c0%afjobs.sqlite",
    f"video_{JOB}%00",
    f"video_{JOB}%0d%0ax-evil:%201",
    f"video_{JOB}/../../../jobs.sqlite",
    f"video_{JOB}%2f..%2f..%2fjobs.sqlite",
    "a" * 7000,
)
ROUTES = (
    "/v1/responses/{}",
    "/v1/responses/{}/input_items",
    "/v1/videos/{}",
    "/v1/videos/{}/content",
    "/v1/videos/{}/content?variant=thumbnail",
    "/v1/videos/{}/content?variant=spritesheet",
    "/v1/videos/{}/content?variant=last_frame",
    "/v1/videos/{}/content?variant=preview",
    "/v1/images/{}/content",
    "/v1/models/{}",
    "/v1/videos?after={}",
    "/framegate-files/{}",
)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Yield a site with few threads, and time-outs of one second in nginx."""
    changes = {
        "client_header_timeout 15s": "client_header_timeout 1s",
        "client_body_timeout 30s": "client_body_timeout 1s",
        "rate=50r/s": "rate=1000r/s",
    }
    with behind_nginx(tmp_path_factory.mktemp("impatient"), changes, workers=1, threads=THREADS) as running:
        running.ready()
        yield running


def opened(site: Site, data: bytes, count: int = MANY) -> list[socket.socket]:
    """Open connections, send `data` on each, then nothing."""
    made = [socket.create_connection(("127.0.0.1", site.port), timeout=30) for _ in range(count)]
    for connection in made:
        connection.sendall(data)
    return made


@pytest.mark.parametrize("data", DAWDLERS.values(), ids=DAWDLERS.keys())
def test_who_stops_sending_takes_no_thread_and_is_let_go(impatient: Site, data: bytes) -> None:
    before = impatient.log.read_text().count("POST /v1/responses")
    slow = opened(impatient, data)
    with ThreadPoolExecutor(8) as callers:
        statuses = list(callers.map(lambda _: impatient.call("/healthz")[0], range(40)))
    ends = [b"".join(iter(lambda: connection.recv(4096), b"")) for connection in slow]  # noqa: B023
    for connection in slow:
        connection.close()

    assert statuses == [200] * 40
    assert all(b" 200 " not in end for end in ends)
    assert impatient.log.read_text().count("POST /v1/responses") == before  # Framegate never heard of them


def test_who_drips_takes_no_thread(impatient: Site) -> None:
    slow = opened(impatient, DAWDLERS["half a body"])
    for _ in range(20):
        for connection in slow:
            connection.sendall(b" ")
        assert impatient.call("/healthz")[0] == 200
    for connection in slow:
        connection.close()


def test_who_reads_nothing_takes_no_thread(impatient: Site) -> None:
    path = impatient.made()
    slow = opened(impatient, f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode() * 20)
    with ThreadPoolExecutor(8) as callers:
        statuses = list(callers.map(lambda _: impatient.call("/healthz")[0], range(40)))
    for connection in slow:
        connection.close()

    assert statuses == [200] * 40


@pytest.mark.parametrize("name", NAMES)
def test_a_path_on_the_wire_leads_to_no_file(site: Site, name: str) -> None:
    for route in ROUTES:
        answer = site.raw(f"GET {route.format(name)} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode())
        head, _, body = answer.partition(b"\r\n\r\n")

        assert int(head.split()[1]) in (400, 404, 414), (route, answer[:300])
        assert b"SQLite format" not in body
        assert b"\r\nx-evil" not in head.lower()
        assert json.loads(body)["error"]["code"]


@pytest.mark.parametrize(
    "path",
    ["{made}", "{made}?variant=thumbnail", "/v1/videos", "/v1/videos/video_x", "/framegate-error", "/docs", "/a%00"],
)
def test_every_answer_is_taken_for_what_it_is_sent_as(site: Site, path: str) -> None:
    answer, _ = site.send("GET", path.format(made=site.made()))
    refused, _ = site.send("GET", site.made(), headers={"range": "bytes=999999-"})

    assert answer.headers.get_all("x-content-type-options") == ["nosniff"]
    assert refused.headers.get_all("x-content-type-options") == ["nosniff"]


def test_a_prompt_and_a_user_agent_forge_no_line_of_the_log(site: Site, tmp_path: Path) -> None:
    forged = "a\n2026-01-01 00:00:00,000 INFO router.job forged: completed"
    headers = {
        "content-type": "application/json",
        "user-agent": "forged",
        "referer": "forged",
        "x-request-id": "forged x",
    }
    body = {"model": "text", "input": forged, "metadata": {"a": forged}}
    status = site.send("POST", "/v1/responses", json.dumps(body).encode(), headers)[0].status
    site.send("GET", "/v1/models/forged%0a2026-01-01%20INFO%20forged")
    lines = [line for line in site.log.read_text().splitlines() if "forged" in line]

    assert status == 200
    assert len(lines) == 1
    assert "GET /v1/models/forged%0A2026-01-01%20INFO%20forged 404" in lines[0]
