"""Answers, files and streams through nginx, set up as documented."""

import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest
from support.edge import Site, behind_nginx, problem
from support.sse import kinds, parse

pytestmark = pytest.mark.slow

JSON = {"content-type": "application/json"}


def slow_request(steps: int, model: str = "slow", **more: object) -> bytes:
    return json.dumps({"model": model, "input": "a", "provider_options": {"video": {"steps": steps}}, **more}).encode()


def begun(site: Site, body: bytes) -> tuple[HTTPConnection, object]:
    """Return a connection and its answer, read up to its headers."""
    connection = HTTPConnection("127.0.0.1", site.port, timeout=60)
    connection.request("POST", "/v1/responses", body, JSON)
    return connection, connection.getresponse()


def newest(site: Site) -> dict:
    """Return the newest job."""
    return site.call("/v1/videos?limit=1")[1]["data"][0]


def test_a_video_is_made_polled_and_fetched(site: Site) -> None:
    made = site.call("/v1/responses", {"model": "text", "input": "a", "background": True})[1]
    done = site.finished(made)
    answer, data = site.send("GET", done["output"][0]["content"][0]["video_url"])

    assert (answer.status, answer.headers["content-type"], data[4:8]) == (200, "video/mp4", b"ftyp")
    assert int(answer.headers["content-length"]) == len(data)
    assert answer.headers["content-disposition"] == f"inline; filename={done['id'].replace('resp', 'video')}.mp4"


def test_nginx_sends_the_file_in_ranges_and_under_conditions(site: Site) -> None:
    path = site.made()
    whole, data = site.send("GET", path)
    etag = whole.headers["etag"]
    part, piece = site.send("GET", path, headers={"range": "bytes=4-7"})
    end, tail = site.send("GET", path, headers={"range": "bytes=-5", "if-range": etag})
    same, nothing = site.send("GET", path, headers={"if-none-match": etag})
    many, all_of_it = site.send("GET", path, headers={"range": "bytes=0-1,4-5"})
    head, empty = site.send("HEAD", path)

    assert "x-accel-redirect" not in whole.headers
    assert re.fullmatch(r'"[0-9a-f]+-[0-9a-f]+"', etag)  # the form of nginx's own
    assert (part.status, piece, part.headers["content-range"]) == (206, b"ftyp", f"bytes 4-7/{len(data)}")
    assert (end.status, tail) == (206, data[-5:])
    assert (same.status, nothing) == (304, b"")
    assert (many.status, all_of_it) == (200, data)
    assert (head.status, empty, head.headers["content-length"]) == (200, b"", str(len(data)))
    assert all(len(one.headers.get_all("x-request-id")) == 1 for one in (whole, part, end, same, head))


@pytest.mark.parametrize(
    ("headers", "status", "found"),
    [
        ({"range": "bytes=999999-"}, 416, ("invalid_request_error", "range_not_satisfiable")),
        ({"if-match": '"x"'}, 412, ("invalid_request_error", "invalid_value")),
    ],
)
def test_a_file_that_cannot_be_sent_so_is_an_error_of_ours(
    site: Site, headers: dict[str, str], status: int, found: tuple[str, str]
) -> None:
    answer, data = site.send("GET", site.made(), headers=headers)

    assert (answer.status, problem(data)) == (status, found)
    assert answer.headers["content-type"] == "application/json"
    assert len(answer.headers.get_all("x-request-id")) == 1


def test_small_pictures_go_out_by_nginx_and_previews_do_not(site: Site) -> None:
    path = site.made()
    still, picture = site.send("GET", f"{path}?variant=thumbnail")
    running = site.call("/v1/responses", json.loads(slow_request(40, background=True)))[1]
    where = f"/v1/videos/{running['id'].replace('resp', 'video')}/content?variant=preview"
    preview = site.until(lambda: [found for found in [site.send("GET", where)] if found[0].status == 200])[0]
    site.call(f"/v1/responses/{running['id']}", method="DELETE")

    assert (still.headers["content-type"], picture[8:12]) == ("image/webp", b"WEBP")
    assert preview[1][:2] == b"\xff\xd8"


def test_a_file_that_is_gone_is_not_found(site: Site) -> None:
    path = site.made()
    (file,) = (site.data / "videos" / path.split("_")[1][:32]).iterdir()
    file.unlink()
    answer, data = site.send("GET", path)

    assert (answer.status, problem(data)) == (404, ("invalid_request_error", "not_ready"))


@pytest.mark.parametrize(
    "path",
    [
        "/framegate-files/",
        "/framegate-files/{job}/1.mp4",
        "/framegate-files/../jobs.sqlite",
        "/framegate-files/%2e%2e/jobs.sqlite",
        "/framegate-files/..%2fjobs.sqlite",
        "/framegate-files../jobs.sqlite",
        "/framegate-files%2f{job}/1.mp4",
        "//framegate-files/{job}/1.mp4",
        "/v1/../framegate-files/{job}/1.mp4",
        "/v1/videos/%2e%2e%2f%2e%2e%2fframegate-files%2f{job}%2f1.mp4/content",
        "/v1/videos/video_{job}%2f..%2f..%2fjobs.sqlite/content",
        "/framegate-error",
    ],
)
def test_the_inner_places_cannot_be_reached(site: Site, path: str) -> None:
    job = site.made().split("_")[1][:32]
    answer, data = site.send("GET", path.format(job=job))

    assert (answer.status, problem(data)) == (404, ("not_found_error", "not_found"))
    assert answer.headers["x-request-id"]


def test_a_caller_cannot_have_other_files_sent(site: Site) -> None:
    headers = {"x-accel-redirect": "/framegate-files/../jobs.sqlite", "x-accel-mapping": "/=/framegate-files/"}
    answer, data = site.send("GET", "/healthz", headers=headers)

    assert (answer.status, json.loads(data)) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("host", "where"),
    [
        ("127.0.0.1:{port}", "127.0.0.1:{port}"),
        ("127.0.0.1", "127.0.0.1"),
        ("video.example.org:8443", "video.example.org:8443"),
        ("[::1]:8443", "[::1]:8443"),
        ("[::1]", "[::1]"),
    ],
)
def test_an_absolute_link_has_the_host_and_the_port_of_the_caller(site: Site, host: str, where: str) -> None:
    body = json.dumps({"model": "text", "prompt": "a", "response_format": "url"}).encode()
    headers = {**JSON, "host": host.format(port=site.port)}
    answer, data = site.send("POST", "/v1/images/generations", body, headers)

    assert answer.status == 200, data
    assert json.loads(data)["data"][0]["url"].startswith(f"http://{where.format(port=site.port)}/v1/images/")


def test_a_caller_without_a_host_gets_a_path(site: Site) -> None:
    body = b'{"model": "text", "prompt": "a", "response_format": "url"}'
    head = b"POST /v1/images/generations HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    answer = site.raw(head % len(body) + body)

    assert b'"url":"http://127.0.0.1/v1/images/' in answer.replace(b" ", b"")


def test_a_form_of_a_page_of_this_site_is_taken(site: Site) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    own, other = (
        site.send("POST", "/v1/videos", b"model=text&prompt=a", {**form, "origin": f"http://127.0.0.1:{port}"})
        for port in (site.port, site.port + 1)
    )

    assert (own[0].status, other[0].status) == (200, 403), own[1]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/videos/video_0%0d%0ax-evil:%201/content", None),
        ("GET", "/v1/models/a%0d%0ax-evil:%201", None),
        ("POST", "/v1/responses", {"model": "a\r\nx-evil: 1", "input": "a"}),
        ("POST", "/v1/responses", {"model": "text", "input": "a", "metadata": {"a": "b\r\nx-evil: 1"}}),
    ],
)
def test_a_name_puts_no_header_into_an_answer(site: Site, method: str, path: str, body: object) -> None:
    answer, data = site.send(method, path, json.dumps(body).encode() if body else None, JSON)

    assert "x-evil" not in answer.headers
    assert json.loads(data)


@pytest.mark.parametrize("sent", ["mine-1", "a" * 128, "a b", "a" * 129, "x;y", ""])
def test_a_request_has_the_callers_id_or_a_new_one(site: Site, sent: str) -> None:
    good = re.fullmatch(r"[A-Za-z0-9._-]{1,128}", sent)
    for path in ("/healthz", "/framegate-error", site.made()):
        answer, _ = site.send("GET", path, headers={"x-request-id": sent})
        (found,) = answer.headers.get_all("x-request-id")
        assert found == sent if good else re.fullmatch(r"[0-9a-f]{32}", found)


def test_a_caller_cannot_say_who_they_are(site: Site) -> None:
    spoofed = {
        "x-forwarded-for": "203.0.113.9",
        "forwarded": "for=203.0.113.9",
        "x-real-ip": "203.0.113.9",
        "x-forwarded-proto": "https",
        "x-forwarded-ssl": "on",
        "x-request-id": "spoofed",
    }
    answer, _ = site.send("GET", "/healthz", headers=spoofed)
    (line,) = [line for line in site.log.read_text().splitlines() if "request=spoofed" in line]

    assert answer.status == 200
    assert "for 127.0.0.1 [" in line
    assert "203.0.113.9" not in line


def test_events_arrive_one_by_one(site: Site) -> None:
    connection, answer = begun(site, slow_request(30, stream=True))
    seen = b""
    while seen.count(b"event: response.in_progress") < 3 or not seen.endswith(b"\n\n"):
        line = answer.readline()
        assert line, seen
        seen += line
    meanwhile = newest(site)["status"]
    events = parse(seen)
    rest = answer.read()
    connection.close()

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "x-accel-buffering" not in answer.headers
    assert meanwhile == "in_progress"
    assert kinds(events)[0] == "created"
    assert b"response.completed" in rest
    assert rest.endswith(b"data: [DONE]\n\n")


def test_white_space_arrives_while_the_job_runs(site: Site) -> None:
    connection, answer = begun(site, slow_request(30))
    spaces = [answer.read(1) for _ in range(3)]
    meanwhile = newest(site)["status"]
    body = json.loads(answer.read())
    connection.close()

    assert (answer.status, spaces, meanwhile) == (200, [b" "] * 3, "in_progress")
    assert body["status"] == "completed"


@pytest.mark.parametrize("stream", [False, True], ids=["silent or padded", "a stream"])
@pytest.mark.parametrize("pause", [0.1, 1.0], ids=["at once", "after the answer has begun"])
def test_a_caller_who_leaves_cancels_the_job(site: Site, stream: bool, pause: float) -> None:
    connection = HTTPConnection("127.0.0.1", site.port, timeout=60)
    before = newest(site)["id"]
    connection.request("POST", "/v1/responses", slow_request(60, stream=stream), JSON)
    site.until(lambda: newest(site)["id"] != before)
    job = newest(site)["id"].replace("video", "resp")
    time.sleep(pause)
    connection.close()

    site.until(lambda: site.call(f"/v1/responses/{job}")[1]["status"] == "cancelled", 5)


def test_slow_bodies_take_no_thread(tmp_path: Path) -> None:
    with behind_nginx(tmp_path, workers=1, threads=33) as site:
        site.ready()
        head = (
            b"POST /v1/responses HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{"
        )
        slow = [socket.create_connection(("127.0.0.1", site.port)) for _ in range(100)]
        for connection in slow:
            connection.sendall(head)
        with ThreadPoolExecutor(8) as callers:
            statuses = list(callers.map(lambda _: site.call("/healthz")[0], range(40)))
        for connection in slow:
            connection.sendall(b" ")
            connection.close()

    assert statuses == [200] * 40
