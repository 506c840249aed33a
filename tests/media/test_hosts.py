"""URLs refused before any name look-up."""

import random

import pytest

from router.errors import InvalidRequest
from router.media.hosts import Hosts

ANYBODY = Hosts()
LISTED = Hosts(frozenset({"intranet", "cdn.example.org:8443", "[::1]:8000", "10.0.0.5"}), public=False)


@pytest.mark.parametrize(
    ("url", "host", "port", "authority"),
    [
        ("http://example.org/cat.png", "example.org", 80, "example.org"),
        (" HTTPS://Example.ORG./cat.png?a=b#c\n", "example.org", 443, "example.org"),
        ("https://example.org:80/", "example.org", 80, "example.org:80"),
        ("http://example.org:/", "example.org", 80, "example.org"),
        ("https://bücher.example/", "xn--bcher-kva.example", 443, "xn--bcher-kva.example"),
        ("https://a_b.example.org/", "a_b.example.org", 443, "a_b.example.org"),
        ("https://93.184.216.34/a b.png", "93.184.216.34", 443, "93.184.216.34"),
        ("https://[2606:4700:0::1111]/", "2606:4700::1111", 443, "[2606:4700::1111]"),
        ("http://[::1]/", "::1", 80, "[::1]"),  # refused later, as an address
    ],
)
def test_a_public_host_is_asked_on_the_usual_ports(url: str, host: str, port: int, authority: str) -> None:
    target = ANYBODY.target(url)

    assert (target.host, target.port, target.authority, target.listed) == (host, port, authority, False)


REFUSED = {
    "another scheme": "ftp://example.org/a.png",
    "a file": "file:///etc/passwd",
    "gopher": "gopher://127.0.0.1:6379/_FLUSHALL",
    "no scheme": "//example.org/a.png",
    "no host": "http:///a.png",
    "one slash": "http:/example.org/a.png",
    "nothing": "http://",
    "a user": "http://user@example.org/",
    "a user and password": "https://user:secret@example.org/",
    "a host as user": "http://example.org@127.0.0.1/",
    "an odd port": "https://example.org:8443/",
    "port 0": "http://example.org:0/",
    "port 22": "http://example.org:22/",
    "a huge port": "http://example.org:99999999999999999999/",
    "a port that is text": "http://example.org:http/",
    "a number": "http://2130706433/",
    "hexadecimal": "http://0x7f000001/",
    "hexadecimal parts": "http://127.0.0.0x1/",
    "a short address": "http://127.1/",
    "an octal address": "http://0177.0.0.1/",
    "five parts": "http://1.2.3.4.5/",
    "a part too large": "http://256.1.1.1/",
    "full-width digits": "http://１２７.0.0.1/",
    "a zone": "http://[fe80::1%25eth0]/",
    "a bare zone": "http://[fe80::1%eth0]/",
    "an open bracket": "http://[::1/",
    "an empty bracket": "http://[]/",
    "a future address": "http://[v1.a]/",
    "an escaped host": "http://127.0.0.%31/",
    "an escaped slash": "http://example.org%2f@127.0.0.1/",
    "a backslash": "http://example.org\\@127.0.0.1/",
    "a space": "http://exam ple.org/",
    "a line end": "http://example.org/\r\nHost: evil",
    "a tab": "http://exam\tple.org/",
    "an empty label": "http://example..org/",
    "two final dots": "http://example.org../",
    "a leading hyphen": "http://-a.example.org/",
    "a long label": f"http://{'a' * 64}.org/",
    "a long name": f"http://{'a.' * 130}org/",
    "a long URL": f"http://example.org/{'a' * 8192}",
    "half a surrogate": "http://example.org/\ud800",
    "half a surrogate in the host": "http://\ud800.org/",
}


def test_an_odd_url_is_refused(subtests: pytest.Subtests) -> None:
    for kind, url in REFUSED.items():
        with subtests.test(kind=kind):
            with pytest.raises(InvalidRequest) as caught:
                ANYBODY.target(url)

            assert caught.value.code == "image_url_refused"
            assert len(caught.value.message) < 200
            assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "http://intranet/a.png",
        "https://INTRANET./a.png",
        "http://intranet:443/",
        "https://cdn.example.org:8443/a.png",
        "http://[0:0::1]:8000/",
        "http://10.0.0.5/",
    ],
)
def test_a_listed_host_is_asked_on_its_ports(url: str) -> None:
    assert LISTED.target(url).listed


@pytest.mark.parametrize(
    "url",
    [
        "http://intranet:8080/",
        "http://sub.intranet/",
        "http://intranet.example.org/",
        "https://cdn.example.org/",
        "https://cdn.example.org:8444/",
        "http://[::1]/",
        "http://10.0.0.6/",
        "https://example.org/",
    ],
)
def test_others_are_refused_where_only_listed_hosts_are_asked(url: str) -> None:
    with pytest.raises(InvalidRequest, match="a host that this server lists") as caught:
        LISTED.target(url)

    assert caught.value.code == "image_url_refused"


def test_nothing_is_asked_where_nothing_is_listed_and_the_public_is_off() -> None:
    with pytest.raises(InvalidRequest, match=r"a data: URL: this server fetches none"):
        Hosts(public=False).target("https://example.org/a.png")


def test_a_redirect_is_read_against_the_url_that_it_came_from() -> None:
    first = ANYBODY.target("http://example.org/a/b.png")

    assert str(ANYBODY.target("../c.png", first).url) == "http://example.org/c.png"
    assert str(ANYBODY.target("//cdn.example.org/c.png", first).url) == "http://cdn.example.org/c.png"
    assert ANYBODY.target("https://example.org/", first).port == 443


def test_a_redirect_gets_no_further_than_a_first_url() -> None:
    for hosts, first, then in (
        (ANYBODY, "http://example.org/", "http://example.org:8080/"),
        (LISTED, "http://intranet/", "https://example.org/"),
        (LISTED, "http://intranet/", "http://intranet:8080/"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            hosts.target(then, hosts.target(first))
        assert caught.value.code == "image_url_refused"


@pytest.mark.parametrize("url", ["http://example.org/", "file:///etc/passwd", "//user@example.org/", "https://[::1"])
def test_a_redirect_is_held_against_the_same_rules_and_never_leaves_tls(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ANYBODY.target(url, ANYBODY.target("https://example.org/"))

    assert caught.value.code == "image_url_refused"


def test_any_url_is_read_or_refused() -> None:
    draw = random.Random(5)
    pieces = [
        "http",
        "https",
        ":",
        "//",
        "/",
        "@",
        "[",
        "]",
        "::1",
        "%",
        "%zz",
        "?",
        "#",
        "a",
        "1",
        ".",
        "..",
        "\\",
        "ä",
        "\ud800",
        "\0",
        " ",
        "0x",
        "xn--",
        "\N{ROMAN NUMERAL ONE}",
        "-",
    ]
    for _ in range(5000):
        url = "http:" * draw.randint(0, 1) + "".join(draw.choices(pieces, k=draw.randint(0, 9)))
        after = ANYBODY.target("https://example.org/") if draw.random() < 0.5 else None
        try:
            target = ANYBODY.target(url, after)
        except InvalidRequest:
            continue
        assert target.port in (80, 443)
        assert target.host.isascii()
