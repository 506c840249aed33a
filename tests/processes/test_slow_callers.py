"""Slow, huge and broken requests to bare gunicorn: others are served, memory returns."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from threading import Event, Thread

import psutil
import pytest
from support.jobs import ask, completed
from support.server import Server, serve_in

pytestmark = pytest.mark.slow

THREADS, CALLERS = 40, 200
SMALL = "defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 4, negative_prompt: ''}"
MODELS = f"""
models:
  good: {{backend: still, modality: t2v, {SMALL}}}
  image: {{backend: still, modality: i2v, {SMALL}}}
"""
LARGE = 64 * 2**20
STARTS = {
    "headers": b"GET /nowhere HTTP/1.1\r\nhost: localhost\r\nx: ",
    "a body": b"POST /v1/nowhere HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n",
    "a chunked body": b"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nffff\r\n",
    "a body that is too large": b"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-length: 999999999\r\n\r\n",
    "nothing": b"",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("slow-callers")
    running = serve_in(folder, MODELS, workers=1, threads=THREADS, receive_seconds=3)
    yield running
    running.stop()


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


@contextmanager
def slow_callers(server: Server, start: bytes) -> Iterator[None]:
    """Run many callers that send a byte now and then and reconnect."""
    stop = Event()

    def send(callers: list[socket.socket]) -> None:
        while not stop.wait(0.5):
            for number, caller in enumerate(callers):
                try:
                    caller.send(b"a")
                except OSError:
                    caller.close()
                    callers[number] = connect(server)
                    callers[number].send(start)
        for caller in callers:
            caller.close()

    callers = [connect(server) for _ in range(CALLERS)]
    for caller in callers:
        caller.send(start)
    thread = Thread(target=send, args=(callers,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS.keys())
def test_slow_callers_keep_nobody_waiting(server: Server, start: bytes) -> None:
    with slow_callers(server, start):
        for _ in range(20):
            assert server.call("/healthz")[0] == 200
        assert completed(server, ask(server, "good"))


@pytest.mark.parametrize("what", ["headers", "a body", "a chunked body"])
def test_who_does_not_go_on_is_told_so_and_let_go(server: Server, what: str) -> None:
    with connect(server) as caller:
        caller.send(STARTS[what])
        answer = caller.makefile("rb").read()

    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_timeout"


def test_a_slow_body_that_goes_on_is_taken(server: Server) -> None:
    body = json.dumps({"model": "good", "input": "a", "background": True, "metadata": {"a": "b" * 400}}).encode()
    with connect(server) as caller:
        caller.send(b"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n")
        caller.send(b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body))
        for at in range(0, len(body), 7):
            caller.send(body[at : at + 7])
        answer = caller.makefile("rb").read()

    assert answer.startswith(b"HTTP/1.1 200 ")


def test_an_unused_body_is_read_away_so_that_its_sender_reads_the_answer(server: Server) -> None:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    for path, status in (("/v1/responses", 413), ("/v1/nowhere", 404)):
        size = LARGE + 1 if status == 413 else 2**20
        connection.request("POST", path, b"a" * size, {"content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
    connection.close()


def test_one_answer_goes_to_a_request_whose_unused_body_breaks_off(server: Server) -> None:
    with connect(server) as caller:
        caller.send(b"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(65):
            caller.sendall(b"100000\r\n" + b"a" * 2**20 + b"\r\n")
        assert caller.recv(12) == b"HTTP/1.1 415"
        caller.send(b"nonsense\r\n")
        answer = caller.makefile("rb").read()

    assert b"HTTP/1.1" not in answer


@pytest.mark.parametrize("what", ["video", "health"])
def test_readers_who_do_not_read_keep_nobody_waiting(server: Server, what: str) -> None:
    job = ask(server, "good")
    assert completed(server, job)
    video = f"/v1/videos/video_{job['id'].removeprefix('resp_')}/content"
    path, times = {"video": (video, 50), "health": ("/healthz", 3000)}[what]
    with ExitStack() as held:
        for _ in range(CALLERS):
            reader = held.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            reader.connect(("127.0.0.1", server.port))
            reader.setblocking(False)
            reader.send(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode() * times)
        for _ in range(20):
            assert server.call("/healthz")[0] == 200
        assert server.call(f"/v1/responses/{job['id']}")[0] == 200


BODIES: dict[str, Callable[[], bytes]] = {
    "pairs": lambda: b'{"metadata":{' + b",".join(b'"k%d":"v"' % n for n in range(4_500_000)) + b"}}",
    "objects": lambda: b'{"input":[' + b"{}," * (LARGE // 3 - 10) + b"{}]}",
    "text beyond Latin-1": lambda: b'{"input":"' + "\U0001f600".encode() + b"a" * (LARGE - 100) + b'"}',
    "text": lambda: b'{"model":"good","input":"' + b"a" * (LARGE - 100) + b'"}',
    "no image": lambda: (
        b'{"model":"image","input":[{"content":[{"type":"input_text","text":"a"},'
        b'{"type":"input_image","image_url":"data:image/png;base64,' + b"A" * (LARGE - 300) + b'"}]}]}'
    ),
}


def worker_of(server: Server) -> psutil.Process:
    (worker,) = server.until(lambda: server.master().children())
    return worker


@pytest.mark.parametrize("kind", BODIES)
def test_a_large_body_costs_a_multiple_of_its_bytes_which_comes_back(server: Server, kind: str) -> None:
    worker, body = worker_of(server), BODIES[kind]()
    before = worker.memory_info().rss
    with open(f"/proc/{worker.pid}/clear_refs", "w") as clear:
        clear.write("5")  # forget the peak
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("POST", "/v1/responses", body, {"content-type": "application/json"})
    assert connection.getresponse().status == 400
    connection.close()

    assert peak_of(worker) - before < 5 * len(body)
    server.until(lambda: worker.memory_info().rss - before < len(body))


def peak_of(process: psutil.Process) -> int:
    """Return the peak memory of a process in bytes."""
    with open(f"/proc/{process.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def test_many_large_bodies_at_once_are_taken_in_turn(server: Server) -> None:
    worker, body = worker_of(server), BODIES["no image"]()
    before = worker.memory_info().rss
    statuses: list[int] = []

    def send() -> None:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=120)
        connection.request("POST", "/v1/responses", body, {"content-type": "application/json"})
        statuses.append(connection.getresponse().status)
        connection.close()

    threads = [Thread(target=send) for _ in range(12)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        assert server.call("/healthz")[0] == 200
    for thread in threads:
        thread.join()

    assert set(statuses) <= {400, 503}
    assert statuses.count(400) >= 2
    assert peak_of(worker) - before < 12 * len(body)  # four kept, and what two of them cost


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"NO SUCH LINE\r\n\r\n", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nhost: a\r\nexpect: wonders\r\n\r\n", 417),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: br\r\n\r\n", 501),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
    ],
)
def test_what_is_no_request_is_answered_in_json(server: Server, data: bytes, status: int) -> None:
    with connect(server) as caller:
        caller.send(data)
        head, _, body = caller.makefile("rb").read().partition(b"\r\n\r\n")

    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"content-type: application/json" in head
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
