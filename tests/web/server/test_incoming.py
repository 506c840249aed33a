"""Requests as they arrive: in any pieces, behind each other, too large, or broken."""

import random

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import ParseException

from router.web.server import refusal
from router.web.server.chunked import CHUNK_BYTES, FREE_CHUNKS, TRAILER_BYTES
from router.web.server.incoming import HEAD_BYTES, Incoming

MOST = 1000
HEAD = b"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\n"
SIZED = HEAD + b"content-length: 11\r\n\r\nhello world"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nx: y\r\n\r\n"
GET = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"


@pytest.fixture
def incoming() -> Incoming:
    return new()


def new() -> Incoming:
    cfg = Config()
    cfg.set("limit_request_line", 8190)
    return Incoming(cfg, ("127.0.0.1", 1), 1, MOST)


def send(incoming: Incoming, data: bytes, *cuts: int) -> None:
    for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
        incoming.receive(data[start:end])


@pytest.mark.parametrize("data", [SIZED, CHUNKED], ids=["with a length", "in chunks"])
def test_a_request_is_the_same_wherever_it_is_cut(data: bytes) -> None:
    for seed in range(300):
        dice = random.Random(seed)
        cuts = sorted(dice.sample(range(1, len(data)), dice.randrange(6)))
        incoming = new()
        send(incoming, data + GET, *cuts)

        assert (incoming.ready, incoming.ended, incoming.rest) == (True, True, GET)
        assert incoming.request.path == "/v1/responses"
        assert incoming.body().read() == b"hello world"


@pytest.mark.parametrize("data", [SIZED, CHUNKED], ids=["with a length", "in chunks"])
def test_a_request_is_not_ready_before_its_last_byte(data: bytes) -> None:
    incoming = new()
    for at in range(len(data)):
        assert not incoming.ready
        incoming.receive(data[at : at + 1])

    assert incoming.ready
    assert incoming.ended


def test_empty_lines_before_a_request_are_read_over(incoming: Incoming) -> None:
    send(incoming, b"\r\n\r\n" + GET)

    assert incoming.ended


def test_a_body_is_kept_once_and_let_go_when_it_is_read(incoming: Incoming) -> None:
    send(incoming, SIZED)
    assert incoming.size == len("hello world")
    body = incoming.body()

    assert incoming.size == 0
    assert body.read(100) == b"hello world"
    assert body.getbuffer().nbytes == 0
    assert body.read() == b""


@pytest.mark.parametrize(
    "head", [b"content-length: 5000\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n1388\r\n"], ids=["sized", "chunked"]
)
def test_of_a_body_that_is_too_large_no_more_than_the_most_is_kept(incoming: Incoming, head: bytes) -> None:
    incoming.receive(HEAD + head)
    for _ in range(49):
        incoming.receive(b"a" * 100)

    assert incoming.ready
    assert not incoming.ended
    assert incoming.size <= MOST + 100
    incoming.body()
    incoming.receive(b"a" * 100 + (b"\r\n0\r\n\r\n" if b"chunked" in head else b"") + b"rest")
    assert (incoming.ended, incoming.size, incoming.rest) == (True, 0, b"rest")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"NO SUCH LINE\r\n\r\n", 400),
        (b"\0" * 100 + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nhost: a\n\n", 400),
        (b"GET /" + b"a" * 9000, 414),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 20_000, 431),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * (HEAD_BYTES + 1), 431),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 101 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        (b"GET / HTTP/3.0\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nexpect: the worst\r\n\r\n", 417),
        (b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked, chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: br\r\n\r\n", 501),
        (b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_is_refused_in_the_form_of_our_errors(incoming: Incoming, data: bytes, status: int) -> None:
    with pytest.raises(ParseException) as raised:
        send(incoming, data)
    answer = refusal.of_parsing(raised.value)

    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b'{"error": {"message": "' in answer


@pytest.mark.parametrize(
    "body",
    [
        b"5\r\nhello6\r\n",
        b"-1\r\n",
        b"0x5\r\n",
        b" 5\r\n",
        b"\r\n",
        b"5\nhello",
        b"f" * 16 + b"\r\n",
        b"5;" + b"a" * 1000,
        b"5" * 1000,
        b"0\r\n" + b"x: y\r\n" * TRAILER_BYTES,
        b"0\r\nx: " + b"y" * 2 * TRAILER_BYTES,
        b"1\r\na\r\n" * (FREE_CHUNKS + 500),
    ],
)
def test_broken_chunks_are_refused(body: bytes) -> None:
    incoming = Incoming(Config(), ("127.0.0.1", 1), 1, 2**30)
    incoming.receive(HEAD + b"transfer-encoding: chunked\r\n\r\n")

    with pytest.raises(ParseException):
        incoming.receive(body)


def test_many_chunks_of_some_size_are_taken() -> None:
    incoming = Incoming(Config(), ("127.0.0.1", 1), 1, 2**30)
    chunk = b"%x\r\n%b\r\n" % (CHUNK_BYTES, b"a" * CHUNK_BYTES)
    send(incoming, HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunk * 2 * FREE_CHUNKS + b"0\r\n\r\n")

    assert len(incoming.body().read()) == CHUNK_BYTES * 2 * FREE_CHUNKS


def test_bytes_one_by_one_cost_no_more_than_themselves(incoming: Incoming) -> None:
    incoming.receive(HEAD + b"content-length: 900\r\n\r\n")
    for _ in range(800):
        incoming.receive(b"a")

    assert incoming.size == 800


def test_who_expects_a_go_ahead_gets_it_for_a_body_that_is_wanted(incoming: Incoming) -> None:
    incoming.receive(HEAD + b"expect: 100-continue\r\ncontent-length: 10\r\n\r\n")
    assert incoming.awaits_continue

    too_large = new()
    too_large.receive(HEAD + b"expect: 100-continue\r\ncontent-length: 10000\r\n\r\n")
    assert too_large.ready
    assert not too_large.awaits_continue


def test_who_expects_a_go_ahead_that_does_not_come_may_not_send_the_body(incoming: Incoming) -> None:
    """The next bytes may be a body or a request: the connection ends."""
    incoming.receive(HEAD + b"expect: 100-continue\r\ncontent-length: 10000\r\n\r\n")

    assert incoming.is_unwanted
