"""Images by URL: fetched whole, within bounds, never from inside.

No test leaves this machine.
"""

import gzip
import ipaddress
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import repeat
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from support.patience import until, watch
from support.website import Website, dripping, redirect, status

from router.errors import InvalidRequest, TooManyWaiters
from router.media import MAX_BYTES, Fetcher, Hosts, is_remote
from router.media.addresses import Deadline
from router.media.fetch import AT_A_TIME, MAX_WAITING
from router.settings import FREE_THREADS

PUBLIC = "93.184.216.34"
PUBLIC_V6 = "2606:4700::1111"
BODY = b"\x89PNG and more" * 1000
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Internet:
    """Addresses by name, and the port of this machine that stands in for each."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.names: dict[str, list[str]] = {}
        self.places: dict[str, int] = {}  # address -> a port on loopback
        self.looked_up: list[str] = []
        self.connected: list[tuple[str, int]] = []
        self._look_up, self._connect = socket.getaddrinfo, socket.create_connection
        patch.setattr(socket, "getaddrinfo", self._getaddrinfo)
        patch.setattr(socket, "create_connection", self._create_connection)

    def _getaddrinfo(self, host: str, port: int, *more: Any, **options: Any) -> list[Any]:
        if host in self.names:
            self.looked_up.append(host)
            return [found for address in self.names[host] for found in self._look_up(address, port, *more, **options)]
        if not host[-1].isdigit() and ":" not in host and host != "localhost":
            raise socket.gaierror(socket.EAI_NONAME, "nobody is called that")
        return self._look_up(host, port, *more, **options)

    def _create_connection(self, address: tuple[str, int], *more: Any, **options: Any) -> socket.socket:
        self.connected.append(address)
        host, port = address
        if host in self.places:
            return self._connect(("127.0.0.1", self.places[host]), *more, **options)
        if not ipaddress.ip_address(host).is_loopback:
            raise OSError("out of reach")
        return self._connect((host, port), *more, **options)


@pytest.fixture(autouse=True)
def internet(monkeypatch: pytest.MonkeyPatch) -> Internet:
    return Internet(monkeypatch)


@pytest.fixture
def fetch(site: Website) -> Callable[..., bytes]:
    """Fetch a path of `site`, which is listed, or a whole URL."""
    fetcher = fetcher_of(site)

    def fetch(path: str) -> bytes:
        return fetcher.fetch(site.url(path) if path.startswith("/") else path, param="image")

    return fetch


def fetcher_of(*sites: Website, **options: float) -> Fetcher:
    return Fetcher(Hosts(frozenset(f"127.0.0.1:{site.port}" for site in sites)), **options)


def refusal(fetch: Callable[[], object]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        fetch()
    return caught.value


# what is fetched, and by which request


def test_an_image_is_fetched_as_it_is(site: Website, fetch: Callable[..., bytes]) -> None:
    site.answers["/cat.png?size=2"] = status(200, "Content-Type: text/html", body=BODY)

    assert fetch("/cat.png?size=2#part") == BODY
    head = site.heads[0].lower()
    assert head.startswith("get /cat.png?size=2 http/1.1\r\n")
    assert f"host: 127.0.0.1:{site.port}\r\n" in head
    assert "user-agent: framegate\r\n" in head
    assert "accept-encoding: identity\r\n" in head
    assert "cookie" not in head
    assert "authorization" not in head


def test_an_answer_in_chunks_or_without_a_length_is_whole(site: Website, fetch: Callable[..., bytes]) -> None:
    site.answers["/chunks"] = CHUNKED + b"%x\r\n%b\r\n3\r\nend\r\n0\r\n\r\n" % (len(BODY), BODY)
    site.answers["/until-the-end"] = b"HTTP/1.0 200 OK\r\n\r\n" + BODY
    site.answers["/after-a-hint"] = b"HTTP/1.1 103 Early Hints\r\n\r\n" + status(200, body=BODY)

    assert fetch("/chunks") == BODY + b"end"
    assert fetch("/until-the-end") == BODY
    assert fetch("/after-a-hint") == BODY


def test_no_proxy_netrc_or_cookie_takes_part(
    site: Website, fetch: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    site.answers["/first"] = status(302, "Location: /second", "Set-Cookie: a=b")
    site.answers["/second"] = status(200, body=BODY)

    assert fetch("/first") == BODY
    assert not any(word in head.lower() for head in site.heads for word in ("cookie:", "authorization:", "proxy"))


@pytest.mark.parametrize(
    ("url", "remote"),
    [
        ("http://example.org", True),
        (" HTTPS://example.org", True),
        ("file:///etc/passwd", True),
        ("ftp://example.org", True),
        ("javascript:alert(1)", True),
        ("data:image/png;base64,AA", False),
        (" DATA:,", False),
        ("/cat.png", False),
        ("iVBORw0KGgo=", False),
        ("", False),
    ],
)
def test_everything_with_a_scheme_but_data_is_remote(url: str, remote: bool) -> None:
    assert is_remote(url) is remote


# redirects


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_followed(site: Website, fetch: Callable[..., bytes], code: int) -> None:
    site.answers |= {"/a": redirect("/b", code), "/b": redirect(site.url("/c"), code), "/c": redirect("d", code)}
    site.answers["/d"] = status(200, body=BODY)

    assert fetch("/a") == BODY
    assert site.connections == 4


def test_a_fourth_redirect_is_not(site: Website, fetch: Callable[..., bytes]) -> None:
    site.answers["/a"] = redirect("/a")
    error = refusal(lambda: fetch("/a"))

    assert (error.code, error.param, site.connections) == ("invalid_image", "image", 4)
    assert "up to 3 times" in error.message


@pytest.mark.parametrize(
    "there",
    [
        "http://inside.example/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "//10.0.0.1/",
    ],
)
def test_a_redirect_to_a_private_address_is_refused(
    internet: Internet, site: Website, fetch: Callable[..., bytes], there: str
) -> None:
    internet.names["inside.example"] = ["192.168.0.7"]
    site.answers["/a"] = redirect(there)
    error = refusal(lambda: fetch("/a"))

    assert (error.code, error.param) == ("image_url_refused", "image")
    assert internet.connected == [("127.0.0.1", site.port)]
    assert "192.168" not in error.message


@pytest.mark.parametrize(
    "there",
    ["file:///etc/passwd", "ftp://example.org/", "data:image/png;base64,AA", "gopher://a/", "http://a@b.example/"],
)
def test_a_redirect_to_another_scheme_is_refused(site: Website, fetch: Callable[..., bytes], there: str) -> None:
    site.answers["/a"] = redirect(there)

    assert refusal(lambda: fetch("/a")).code == "image_url_refused"


def test_a_redirect_to_another_port_of_a_listed_host_is_refused(site: Website, fetch: Callable[..., bytes]) -> None:
    other = Website()
    site.answers["/a"] = redirect(other.url("/b"))

    assert refusal(lambda: fetch("/a")).code == "image_url_refused"
    assert other.connections == 0
    other.close()


# addresses: all are checked, and the checked one is connected to


def test_a_public_host_is_looked_up_once_and_connected_to_at_the_checked_address(
    internet: Internet, site: Website
) -> None:
    internet.names["images.example"] = [PUBLIC]
    internet.places[PUBLIC] = site.port
    site.answers["/cat.png"] = status(200, body=BODY)

    assert Fetcher(Hosts()).fetch("http://images.example/cat.png") == BODY
    assert internet.looked_up == ["images.example"]
    assert internet.connected == [(PUBLIC, 80)]
    assert "Host: images.example\r\n" in site.heads[0]


def test_a_name_that_changes_its_address_gains_nothing(internet: Internet, site: Website) -> None:
    answers = iter([[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]])

    class Rebinding(dict):
        def __getitem__(self, name: str) -> list[str]:
            return next(answers)

    internet.names = Rebinding({"rebinding.example": []})
    internet.places[PUBLIC] = site.port
    site.answers["/"] = redirect("/again")
    error = refusal(lambda: Fetcher(Hosts()).fetch("http://rebinding.example/"))

    assert error.code == "image_url_refused"  # the redirect's own look-up says loopback
    assert internet.looked_up == ["rebinding.example"] * 2
    assert internet.connected == [(PUBLIC, 80)]


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        [PUBLIC, "10.0.0.1"],
        ["10.0.0.1", PUBLIC],
        [PUBLIC, "::1"],
        [PUBLIC_V6, "fd00:ec2::254"],
        ["::ffff:93.184.216.34"],
        ["64:ff9b::a00:1"],
        ["2002:a00:1::1"],
        ["169.254.169.254"],
        ["0.0.0.0"],
        [*[f"93.184.216.{n}" for n in range(200)], "192.168.1.1"],
    ],
)
def test_one_inner_address_among_many_is_enough_to_refuse(internet: Internet, addresses: list[str]) -> None:
    internet.names["mixed.example"] = addresses
    error = refusal(lambda: Fetcher(Hosts()).fetch("http://mixed.example/", param="image"))

    assert (error.code, error.param, internet.connected) == ("image_url_refused", "image", [])
    assert not any(address in error.message for address in addresses)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "10.1.2.3", "169.254.169.254", "[fe80::1]", "[::]"]
)
def test_an_inner_address_is_refused_by_name_and_by_number(internet: Internet, host: str) -> None:
    assert refusal(lambda: Fetcher(Hosts()).fetch(f"http://{host}/")).code == "image_url_refused"
    assert internet.connected == []


def test_the_next_address_is_tried_where_one_is_out_of_reach(internet: Internet, site: Website) -> None:
    internet.names["images.example"] = [PUBLIC_V6, PUBLIC, "93.184.216.35"]
    internet.places[PUBLIC] = site.port
    site.answers["/"] = status(200, body=BODY)

    assert Fetcher(Hosts()).fetch("http://images.example/") == BODY
    assert internet.connected == [(PUBLIC_V6, 80), (PUBLIC, 80)]


def test_few_of_many_addresses_are_tried(internet: Internet) -> None:
    internet.names["images.example"] = [f"93.184.216.{n}" for n in range(200)]
    error = refusal(lambda: Fetcher(Hosts()).fetch("http://images.example/"))

    assert (error.code, len(internet.connected)) == ("invalid_image", 4)


def test_a_name_without_an_address_is_no_image(internet: Internet) -> None:
    error = refusal(lambda: Fetcher(Hosts()).fetch("http://nobody.example/"))

    assert (error.code, internet.connected) == ("invalid_image", [])
    assert "found and reached" in error.message


def test_a_listed_name_may_lead_inside(internet: Internet, site: Website) -> None:
    internet.names["intranet"] = ["10.0.0.1"]
    internet.places["10.0.0.1"] = site.port
    site.answers["/"] = status(200, body=BODY)

    assert Fetcher(Hosts(frozenset({"intranet"}), public=False)).fetch("http://intranet/") == BODY


# what is answered instead of an image


ANSWERS = {
    "not found": (status(404, body=b"a secret page"), "status 200, got 404"),
    "broken": (status(500, body=b"a secret trace"), "status 200, got 500"),
    "empty": (status(204), "status 200, got 204"),
    "a part": (status(206, body=b"secret"), "status 200, got 206"),
    "not modified": (status(304), "status 200, got 304"),
    "a redirect without a place": (status(302), "status 200, got 302"),
    "an upgrade": (b"HTTP/1.1 101 Up\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", "a whole HTTP answer"),
    "gzip": (status(200, "Content-Encoding: gzip", body=gzip.compress(b"secret")), "without content-encoding"),
    "brotli": (status(200, "Content-Encoding: BR", body=b"secret"), "without content-encoding"),
    "a length that is too large": (status(200, length=MAX_BYTES + 1), "up to 20,971,520 bytes, got 20,971,521"),
    "a length that is huge": (status(200, length=10**19), "up to 20,971,520 bytes, got 10,"),
    "a length of 5,000 digits": (status(200, length=10**4299), "a whole HTTP answer"),
    "a negative length": (status(200, length=-1), "a whole HTTP answer"),
    "two lengths": (status(200, "Content-Length: 3", body=b"secret"), "a whole HTTP answer"),
    "less than its length": (status(200, body=b"secret", length=1000), "a whole HTTP answer"),
    "half a chunk": (CHUNKED + b"ff\r\nsecret", "a whole HTTP answer"),
    "a chunk of no size": (CHUNKED + b"secret\r\n", "a whole HTTP answer"),
    "no HTTP": (b"220 secret ESMTP\r\n", "a whole HTTP answer"),
    "nothing": (b"", "a whole HTTP answer"),
    "half a header": (b"HTTP/1.1 200 OK\r\nSecret: ", "a whole HTTP answer"),
    "a header of 1 MB": (status(200, "Secret: " + "a" * 2**20), "a whole HTTP answer"),
    "an odd redirect": (redirect("http://[::1/\xe4"), "valid"),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "words"), ANSWERS.values(), ids=ANSWERS.keys())
def test_what_is_no_whole_image_is_refused_and_tells_nothing_of_it(
    site: Website, fetch: Callable[..., bytes], answer: bytes, words: str
) -> None:
    site.answers["/a"] = answer
    error = refusal(lambda: fetch("/a"))

    assert error.code == ("image_url_refused" if words == "valid" else "invalid_image")
    assert error.param == "image"
    assert words in error.message
    assert "ecret" not in error.message
    assert "127.0.0.1" not in error.message


def test_a_body_may_have_as_many_bytes_as_any_image_and_not_one_more(
    site: Website, fetch: Callable[..., bytes]
) -> None:
    site.answers["/all"] = b"HTTP/1.1 200 OK\r\n\r\n" + bytes(MAX_BYTES)
    site.answers["/more"] = b"HTTP/1.1 200 OK\r\n\r\n" + bytes(MAX_BYTES + 1)
    site.answers["/endless"] = dripping(b"HTTP/1.1 200 OK\r\n\r\n", repeat(bytes(2**20)), seconds=0)

    assert len(fetch("/all")) == MAX_BYTES
    assert "20,971,520 bytes, got more" in refusal(lambda: fetch("/more")).message
    assert "20,971,520 bytes, got more" in refusal(lambda: fetch("/endless")).message


def test_a_gzip_bomb_is_not_even_read(site: Website, fetch: Callable[..., bytes]) -> None:
    sent = []

    def bomb(peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
        zeros = gzip.compress(bytes(10**7))
        for _ in range(1000):
            peer.sendall(zeros)
            sent.append(len(zeros))

    site.answers["/a"] = bomb
    error = refusal(lambda: fetch("/a"))

    assert "content-encoding" in error.message
    time.sleep(0.1)
    assert len(sent) < 1000


def test_a_bomb_in_disguise_stays_small(site: Website, fetch: Callable[..., bytes]) -> None:
    bomb = gzip.compress(bytes(10**7))
    site.answers["/a"] = status(200, "X-Content-Encoding: gzip", body=bomb)

    assert fetch("/a") == bomb


# seconds: one deadline over everything


DRIPS = {
    "nothing at all": dripping(b"", repeat(b"", 200)),
    "the status line": dripping(b"", (bytes([byte]) for byte in b"HTTP/1.1 200 " + b"O" * 500)),
    "the headers": dripping(b"HTTP/1.1 200 OK\r\n", repeat(b"A: b\r\n", 500)),
    "hints": dripping(b"", repeat(b"HTTP/1.1 103 Early Hints\r\n\r\n", 500)),
    "the body": dripping(status(200, length=1000), repeat(b"a", 500)),
    "chunks": dripping(CHUNKED, repeat(b"1\r\na\r\n", 500)),
    "a body without a length": dripping(b"HTTP/1.1 200 OK\r\n\r\n", repeat(b"a", 500)),
}


@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS.keys())
def test_a_drip_ends_at_the_deadline(site: Website, drip: Callable[[socket.socket], None]) -> None:
    site.answers["/a"] = drip
    with watch() as took:
        error = refusal(lambda: fetcher_of(site, seconds=0.3).fetch(site.url("/a"), param="image"))

    assert took.whole > 0.29
    assert took.seconds < 1.5
    assert (error.code, error.param) == ("invalid_image", "image")
    assert "within 0.3 seconds" in error.message


def test_a_deadline_counts_our_work_and_not_our_waiting() -> None:
    waits, works = Deadline(10, work=0.05), Deadline(10, work=0.05)
    time.sleep(0.1)
    assert 9 < waits.left() < 10

    started = time.thread_time()
    while time.thread_time() < started + 0.06:
        pass
    with pytest.raises(TimeoutError):
        works.left()


def test_redirects_share_one_deadline(site: Website) -> None:
    def slow(peer: socket.socket) -> None:
        time.sleep(0.2)
        peer.sendall(redirect("/a"))

    site.answers["/a"] = slow
    with watch() as took:
        error = refusal(lambda: fetcher_of(site, seconds=0.3).fetch(site.url("/a")))

    assert "within 0.3 seconds" in error.message
    assert took.seconds < 0.7


def test_a_slow_name_server_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    answered, looked_up = Event(), []

    def hang(host: str, *more: object, **options: object) -> None:
        looked_up.append(host)
        answered.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    fetcher = Fetcher(Hosts(), seconds=0.2)
    with watch() as took:
        errors = [refusal(partial(fetcher.fetch, "http://slow.example/", owner=str(n))) for n in range(AT_A_TIME + 2)]
    answered.set()

    assert took.seconds < 5  # those that hang take the places of look-ups, not of fetches
    assert len(looked_up) == AT_A_TIME
    assert all("within 0.2 seconds" in error.message for error in errors)


# places


def test_a_ninth_image_waits_for_a_place_and_then_is_told_to_come_back(site: Website) -> None:
    go = Event()

    def hang(peer: socket.socket) -> None:
        go.wait(10)
        peer.sendall(status(200, body=BODY))

    site.answers["/a"] = hang
    fetcher = fetcher_of(site, wait_seconds=0.1)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        fetching = [pool.submit(fetcher.fetch, site.url("/a"), owner=str(n)) for n in range(AT_A_TIME)]
        until(lambda: len(site.heads) == AT_A_TIME)
        with pytest.raises(TooManyWaiters) as refused:
            fetcher.fetch(site.url("/a"))
        connections = site.connections
        go.set()
        assert [one.result() for one in fetching] == [BODY] * AT_A_TIME

    assert AT_A_TIME == 8
    assert connections == 8
    assert (refused.value.status, refused.value.code) == (429, "too_many_waiters")
    assert dict(refused.value.headers)["retry-after"] == "5"
    assert fetcher.fetch(site.url("/a")) == BODY


def test_few_wait_for_a_place_and_the_others_are_told_at_once(site: Website) -> None:
    go = Event()
    site.answers["/a"] = lambda peer: (go.wait(10), peer.sendall(status(200, body=BODY)))
    fetcher = fetcher_of(site, wait_seconds=30)
    with ThreadPoolExecutor(AT_A_TIME + MAX_WAITING + 5) as pool:
        everybody = range(AT_A_TIME + MAX_WAITING + 5)
        fetching = [pool.submit(fetcher.fetch, site.url("/a"), owner=str(n)) for n in everybody]
        until(lambda: sum(one.done() for one in fetching) == 5 and len(site.heads) == AT_A_TIME)
        go.set()
        failed = [one for one in fetching if one.exception() is not None]

    assert [type(one.exception()) for one in failed] == [TooManyWaiters] * 5
    assert len(site.heads) == AT_A_TIME + MAX_WAITING < FREE_THREADS


def test_silent_sites_of_one_owner_leave_slots_to_another(site: Website) -> None:
    go = Event()
    site.answers["/silent"] = lambda peer: (go.wait(10), peer.sendall(status(200, body=BODY)))
    site.answers["/a"] = status(200, body=BODY)
    fetcher = fetcher_of(site, wait_seconds=0.2)
    with ThreadPoolExecutor(40) as pool:
        fetching = [pool.submit(fetcher.fetch, site.url("/silent"), owner="a") for _ in range(40)]
        until(lambda: sum(one.done() for one in fetching) == 36 and len(site.heads) == AT_A_TIME // 2)

        assert fetcher.fetch(site.url("/a"), owner="b") == BODY
        go.set()


def test_silent_name_servers_of_one_owner_leave_look_ups_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up outlives its request: the system's resolver knows no deadline."""
    answered, looked_up = Event(), []

    def hang(host: str, *more: object, **options: object) -> None:
        looked_up.append(host)
        if host != "good.example":
            answered.wait(10)
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    fetcher = Fetcher(Hosts(), seconds=0.2)
    for _ in range(AT_A_TIME + 2):
        refusal(partial(fetcher.fetch, "http://slow.example/", owner="a"))
    assert looked_up == ["slow.example"] * (AT_A_TIME // 2)

    assert "can be found and reached" in refusal(partial(fetcher.fetch, "http://good.example/", owner="b")).message
    answered.set()


def test_a_failure_gives_its_place_back(site: Website) -> None:
    fetcher = fetcher_of(site, wait_seconds=0.1)
    for _ in range(AT_A_TIME + MAX_WAITING + 1):
        assert refusal(lambda: fetcher.fetch(site.url("/nowhere"))).code == "invalid_image"


def test_a_refused_url_takes_no_place(site: Website) -> None:
    fetcher = fetcher_of(site)
    for _ in range(AT_A_TIME + MAX_WAITING + 1):
        assert refusal(lambda: fetcher.fetch("ftp://example.org/")).code == "image_url_refused"


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Write a self-signed certificate for images.example, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test"
    names = "subjectAltName=DNS:images.example"
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), "-addext", names, *files], check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def secure(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, internet: Internet) -> Iterator[Website]:
    """Yield a site with that certificate at a public address; its authority is trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    website = Website(context)
    website.answers["/cat.png"] = status(200, body=BODY)
    internet.names = {"images.example": [PUBLIC], "other.example": [PUBLIC]}
    internet.places[PUBLIC] = website.port
    yield website
    website.close()


def test_tls_names_and_verifies_the_host_of_the_url_at_the_checked_address(secure: Website, internet: Internet) -> None:
    assert Fetcher(Hosts()).fetch("https://images.example/cat.png") == BODY
    assert secure.names == ["images.example"]
    assert "Host: images.example\r\n" in secure.heads[0]
    assert internet.looked_up == ["images.example"]
    assert internet.connected == [(PUBLIC, 443)]


@pytest.mark.parametrize("host", ["other.example", PUBLIC])
def test_a_certificate_for_another_host_is_refused(secure: Website, host: str) -> None:
    error = refusal(lambda: Fetcher(Hosts()).fetch(f"https://{host}/cat.png"))

    assert (error.code, secure.heads) == ("invalid_image", [])
    assert "certificate" in error.message


def test_a_certificate_that_nobody_vouches_for_is_refused(secure: Website, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    error = refusal(lambda: Fetcher(Hosts()).fetch("https://images.example/cat.png"))

    assert (error.code, secure.heads) == ("invalid_image", [])
    assert "certificate" in error.message


def test_a_redirect_from_https_to_http_is_refused(secure: Website, internet: Internet) -> None:
    secure.answers["/a"] = redirect("http://images.example/cat.png")
    error = refusal(lambda: Fetcher(Hosts()).fetch("https://images.example/a"))

    assert (error.code, len(internet.connected)) == ("image_url_refused", 1)


def test_a_handshake_that_drips_ends_at_the_deadline(internet: Internet) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    internet.names["images.example"] = [PUBLIC]
    internet.places[PUBLIC] = listener.getsockname()[1]
    record = dripping(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03", repeat(b"a", 200))
    with ThreadPoolExecutor(1) as pool, listener:
        serving = pool.submit(lambda: record(listener.accept()[0]))
        with watch() as took:
            error = refusal(lambda: Fetcher(Hosts(), seconds=0.3).fetch("https://images.example/"))
        serving.exception()

    assert took.whole > 0.29
    assert took.seconds < 1.5
    assert "within 0.3 seconds" in error.message
