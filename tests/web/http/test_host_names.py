"""Host names and origins of a server without keys (DNS rebinding, cross-site forms)."""

from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.callers import make_key
from werkzeug.test import TestResponse

from router.engine import encoder
from router.settings import Settings
from router.system import assemble
from router.web import create_app

PATHS = ("/v1/models", "/v1/models/text", "/v1/videos", "/docs", "/openapi.json", "/metrics", "/v1/nowhere", "/")
OWN = (
    "localhost", "localhost:8000", "LOCALHOST", "localhost.", "localhost.:8000", "localhost:", "me.localhost:1", "127.0.0.1", "127.8.9.1:8000",
    "[::1]", "[::1]:8000", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "video.example.org", "VIDEO.example.org.:443", "gpu-box:8000", "[fd00::7]:1",
)  # fmt: skip
OTHERS = (
    "evil.example", "evil.example:8000", "localhost.evil.example", "evillocalhost", "localhost@evil.example", "me@localhost", "me:pw@localhost:1",
    "localhost,evil.example", "localhost, localhost", "localhost evil.example", "[::1%25lo]", "[fe80::1%eth0]", "[::2]", "::1", "[::1", "2130706433",
    "0x7f000001", "127.1", "127.0.0.1.evil.example", "0.0.0.0", "128.0.0.1", "10.0.0.1", "localhost..", ".", "", " localhost", "xn--bcher-kva.example",
    "ｌｏｃａｌｈｏｓｔ".encode().decode("latin-1"), "loca\u00adlhost", "localhost:80:80", "localhost:999999", "localhost/", "localhost\\evil", "local\thost",
)  # fmt: skip
FORM = b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na\r\n--b--\r\n'


@pytest.fixture
def settings(settings: Settings) -> Settings:
    named = {"public_url": "https://video.example.org/made/", "allowed_hosts": ("gpu-box", "fd00::7")}
    return replace(settings, **named)


def get(client: FlaskClient, path: str = "/v1/models", **environ: Any) -> TestResponse:
    """Ask with what gunicorn would have put into the environment."""
    return client.get(path, environ_overrides=environ)


def refusal(answer: TestResponse) -> str:
    """Return what a refused caller reads."""
    assert answer.status_code == 403, answer.text[:200]
    problem = answer.get_json()["error"]
    assert (problem["type"], problem["code"]) == ("permission_error", "refused")
    return str(problem["message"])


def test_its_own_names_are_taken(client: FlaskClient, subtests: pytest.Subtests) -> None:
    for host in OWN:
        with subtests.test(host=host):
            assert get(client, HTTP_HOST=host).status_code == 200


def test_any_other_host_is_refused(client: FlaskClient, subtests: pytest.Subtests) -> None:
    for host in OTHERS:
        with subtests.test(host=host):
            message = refusal(get(client, HTTP_HOST=host))
            assert "FRAMEGATE_ALLOWED_HOSTS" in message
            assert len(message) < 300


def test_a_request_without_a_host_is_refused(client: FlaskClient) -> None:
    assert "got none" in refusal(client.get("/v1/models", environ_overrides={"HTTP_HOST": None}))


@pytest.mark.parametrize(
    ("target", "taken"),
    [
        ("http://evil.example/v1/models", False),
        ("http://localhost/v1/models", True),
        ("HTTP://LOCALHOST:8000/v1/models", True),
        ("evil.example:443", False),
        ("//evil.example/v1/models", True),  # a path, whose host is in Host
        ("*", True),
    ],
)
def test_the_host_of_a_whole_url_counts_too(client: FlaskClient, target: str, taken: bool) -> None:
    answer = get(client, RAW_URI=target, HTTP_HOST="localhost")

    assert answer.status_code == (200 if taken else 403)


def test_every_path_and_method_is_behind_it(client: FlaskClient, subtests: pytest.Subtests) -> None:
    for path in PATHS:
        for method in ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT"]:
            with subtests.test(path=path, method=method):
                for headers in ({"host": "evil.example"}, {"origin": "https://evil.example"}):
                    assert client.open(path, method=method, headers=headers).status_code == 403


def test_health_is_open_to_load_balancers(client: FlaskClient) -> None:
    assert client.get("/healthz", headers={"host": "10.0.0.7"}).status_code == 200
    assert client.get("/readyz/", headers={"host": "10.0.0.7"}).status_code == 503


def test_pages_of_its_own_hosts_are_taken(client: FlaskClient, subtests: pytest.Subtests) -> None:
    for host in OWN:
        for scheme in ["http", "https", "HTTPS"]:
            with subtests.test(host=host, scheme=scheme):
                assert client.get("/v1/models", headers={"origin": f"{scheme}://{host}"}).status_code == 200


def test_pages_of_others_are_refused(client: FlaskClient, subtests: pytest.Subtests) -> None:
    for origin in ["null", "", "https://", "://localhost", "localhost", "http://localhost/", "http://localhost http://evil.example",
     "file://", "chrome-extension://abc", "http://[", *(f"http://{host}" for host in OTHERS if host != "localhost.")]:  # fmt: skip
        with subtests.test(origin=origin):
            answer = client.get("/v1/models", environ_overrides={"HTTP_ORIGIN": origin})
            assert "pages of this machine only" in refusal(answer)


@pytest.mark.parametrize(
    ("method", "headers", "taken"),
    [
        ("GET", {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}, False),
        ("GET", {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, False),
        ("GET", {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, True),  # a link that somebody follows
        ("POST", {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, False),
        ("GET", {"sec-fetch-dest": "video", "referer": "http://127.0.0.1:3000/chat"}, True),
        ("GET", {"sec-fetch-dest": "video", "referer": "http://evil.example/127.0.0.1"}, False),
        ("GET", {"sec-fetch-dest": "video", "referer": "http://localhost@evil.example/"}, False),
    ],
)
def test_what_a_browser_calls_cross_site_is_refused(
    client: FlaskClient, method: str, headers: dict[str, str], taken: bool
) -> None:
    answer = client.open("/v1/models", method=method, headers={"sec-fetch-site": "cross-site", **headers})

    assert (answer.status_code == 403) is not taken
    for site in ("none", "same-origin", "same-site"):
        assert client.get("/v1/models", headers={"sec-fetch-site": site, **headers}).status_code == 200


class Connection:
    """gunicorn's socket of a connection, with the listener's name."""

    def __init__(self, name: object) -> None:
        self.name = name

    def getsockname(self) -> object:
        return self.name


SOCKET, LOOPBACK, NETWORK = Connection("/run/web.sock"), Connection(("127.0.0.1", 8000)), Connection(("10.0.0.9", 8000))


@pytest.mark.parametrize(
    ("came", "more", "taken"),
    [
        (SOCKET, {}, True),  # no browser connects to one
        (Connection(b"\0web"), {}, True),
        (SOCKET, {"HTTP_X_FORWARDED_FOR": "127.0.0.1"}, False),  # but to the proxy before it
        (SOCKET, {"HTTP_VIA": "1.1 proxy"}, False),
        (SOCKET, {"HTTP_ORIGIN": "https://evil.example"}, False),
        (LOOPBACK, {}, False),
        (LOOPBACK, {"HTTP_HOST": "localhost"}, True),
    ],
)
def test_a_unix_socket_goes_by_any_name(
    client: FlaskClient, came: Connection, more: dict[str, str], taken: bool
) -> None:
    environ = {"gunicorn.socket": came, "REMOTE_ADDR": "" if came is not LOOPBACK else "127.0.0.1"}
    answer = get(client, **{"HTTP_HOST": "evil.example", **environ, **more})

    assert answer.status_code == (200 if taken else 403)


@pytest.mark.parametrize(
    ("came", "listed", "taken"),
    [(LOOPBACK, (), False), (NETWORK, (), True), (SOCKET, (), True), (NETWORK, ("gpu-box",), False)],
)
def test_a_server_for_everybody_goes_by_any_name_but_on_loopback(
    settings: Settings, came: Connection, listed: tuple[str, ...], taken: bool
) -> None:
    client = create_app(assemble(replace(settings, no_auth=True, allowed_hosts=listed))).test_client()
    answer = get(client, HTTP_HOST="gpu-7:8000", **{"gunicorn.socket": came})

    assert answer.status_code == (200 if taken else 403)


def test_a_server_with_keys_goes_by_any_name(settings: Settings) -> None:
    system = assemble(settings, plugins=[encoder])
    key = make_key(system, "team")
    client = create_app(system).test_client()
    headers = {"host": "evil.example", "origin": "https://evil.example", "authorization": f"Bearer {key}"}

    assert client.get("/v1/models", headers=headers).status_code == 200
    assert client.get("/docs", headers={"host": "evil.example"}).status_code == 200
    assert client.get("/metrics", headers={"host": "evil.example"}).status_code == 403  # open to this machine only
    assert client.get("/metrics").status_code == 200


FORM_ORIGINS = {
    "http://localhost": True,
    "https://video.example.org": True,
    "https://gpu-box:1": True,
    "https://evil.example.org": False,
    "http://localhost.evil.example.org": False,
    "http://localhost:8001": False,
    "http://[": False,
    "null": False,
    "": False,
}


def test_a_request_without_a_content_type_is_refused_like_a_form(settings: Settings) -> None:
    evil = {"origin": "https://evil.example"}
    open_client = create_app(assemble(replace(settings, no_auth=True, allowed_hosts=()))).test_client()
    for path, data in (("/admin/reload", b""), ("/v1/videos", b'{"prompt": "a"}')):
        message = refusal(open_client.post(path, data=data, headers=evil))
        assert message.startswith("a request without a content type must come from a page of this server")


def test_a_page_elsewhere_may_send_a_key_without_a_content_type(settings: Settings) -> None:
    system = assemble(settings)
    text = make_key(system, "team")
    headers = {"origin": "https://evil.example", "authorization": f"Bearer {text}"}

    # a browser asks the server before it sends such a header
    assert create_app(system).test_client().post("/v1/videos/none/remix", headers=headers).status_code == 404


@pytest.mark.parametrize(
    ("kind", "form", "status"),
    [
        ("multipart/form-data; boundary=b", FORM, 200),
        ("application/x-www-form-urlencoded", "prompt=a", 200),
        ("text/plain", FORM, 415),
    ],
)
@pytest.mark.parametrize("keyed", [False, True])
def test_only_pages_of_this_server_may_send_a_form(
    settings: Settings, kind: str, form: str, status: int, keyed: bool
) -> None:
    system = assemble(settings, plugins=[encoder])
    headers = {"authorization": f"Bearer {make_key(system, 'team')}"} if keyed else {}
    client = create_app(system).test_client()
    for origin, taken in FORM_ORIGINS.items():
        before = system.jobs.newest()
        answer = client.post("/v1/videos", data=form, content_type=kind, headers={"origin": origin, **headers})

        assert answer.status_code == (status if taken else 403), (origin, answer.text)
        if not taken:
            assert "a form must come from a page of this server" in refusal(answer)
            assert system.jobs.newest() == before
