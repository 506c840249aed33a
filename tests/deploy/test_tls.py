"""HTTPS with our own certificate, set up as documented."""

import json
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from support.edge import Site, behind_nginx, need, problem

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    made = [need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *files]
    subprocess.run(made, check=True, capture_output=True)
    with behind_nginx(folder, tls=(certificate, key), leave_seconds=0.3, workers=1) as site:
        yield site


@pytest.fixture
def https(certified: Site) -> urllib.request.OpenerDirector:
    trusting = ssl.create_default_context(cafile=certified.folder / "certificate.pem")
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=trusting))


def call(https: urllib.request.OpenerDirector, site: Site, path: str, body: object = None) -> bytes:
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(f"https://127.0.0.1:{site.port}{path}", data, {"content-type": "application/json"})
    with https.open(request, timeout=60) as answer:
        return answer.read()


def test_a_video_is_made_and_fetched_over_https(certified: Site, https: urllib.request.OpenerDirector) -> None:
    def ready() -> bool:
        try:
            return bool(call(https, certified, "/readyz"))
        except urllib.error.HTTPError:
            return False

    certified.until(ready)
    made = json.loads(call(https, certified, "/v1/responses", {"model": "text", "input": "a"}))
    video = call(https, certified, made["output"][0]["content"][0]["video_url"])

    assert video[4:8] == b"ftyp"


def test_an_old_tls_is_refused(certified: Site) -> None:
    command = [need("openssl"), "s_client", "-connect", f"127.0.0.1:{certified.port}", "-tls1_1"]
    ended = subprocess.run([*command, "-cipher", "ALL:@SECLEVEL=0"], input=b"", capture_output=True, timeout=60)

    assert b"tlsv1 alert protocol version" in ended.stderr


def test_plain_http_on_the_port_of_https_is_a_bad_request(certified: Site) -> None:
    answer, data = certified.send("GET", "/healthz")

    assert (answer.status, problem(data)) == (400, ("invalid_request_error", "invalid_value"))


def test_plain_http_is_sent_to_https(certified: Site) -> None:
    site = (certified.folder / "site.conf").read_text()
    plain = int(site.split("listen 127.0.0.1:")[1].split(";")[0])
    other = Site(certified.process, plain, certified.data, certified.log, certified.web, certified.folder)
    answer, _ = other.send("POST", "/v1/responses?a=b", b"{}")

    assert (answer.status, answer.headers["location"]) == (308, "https://127.0.0.1/v1/responses?a=b")
