"""nginx's logs and stored bodies: no signatures of links, no full disk."""

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.disks import disk
from support.edge import Site, behind_nginx, framegate
from support.patience import until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, dict[str, str]]]:
    """Yield a site with keys and a low rate limit, and a key's header."""
    folder = tmp_path_factory.mktemp("keyed")
    settings = {"no_auth": 0, "workers": 1}
    key = framegate("keys", "create", "ci", "--data", str(folder / "data")).split()[-1]
    rates = {"rate=50r/s": "rate=20r/s", "burst=200": "burst=30"}
    changes = {**rates, "rate=200r/s": "rate=20r/s", "burst=600": "burst=30"}  # these are for files
    with behind_nginx(folder, changes, **settings) as site:
        site.until(lambda: site.send("GET", "/readyz")[0].status == 200)
        yield site, {"authorization": f"Bearer {key}"}


def logs(site: Site) -> str:
    return (site.folder / "access.log").read_text() + (site.folder / "error.log").read_text()


def test_no_log_has_the_signature_of_a_link(keyed: tuple[Site, dict[str, str]]) -> None:
    site, headers = keyed
    body = json.dumps({"model": "text", "input": "a"}).encode()
    headers = {**headers, "content-type": "application/json"}
    data = until(
        lambda: [found[1] for found in [site.send("POST", "/v1/responses", body, headers)] if found[0].status == 200]
    )[0]
    time.sleep(2)  # the rate is as at first
    link = json.loads(data)["output"][0]["content"][0]["video_url"]
    path, _, query = link.partition("?")
    secret = query.partition("signature=")[2]
    assert len(secret) == 64
    fetched = site.send("GET", link, headers={"range": "bytes=0-3", "referer": f"https://video.example.org{link}"})[0]
    wrong = site.send("GET", f"{path}/?{query}x")[0]
    raw = f"GET http://a{link} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode()
    absolute = site.raw(raw)
    statuses = {
        site.send("GET", link)[0].status for _ in range(60)
    }  # beyond the rate, which the error log says elsewhere
    (file,) = (site.data / "videos" / path.split("_")[1][:32]).glob("*.mp4")
    os.rename(file, file.with_suffix(".gone"))
    site.web.terminate()
    until(lambda: site.send("GET", link)[0].status == 502)
    site.raw(f"GET {link} HTTP/1.1\r\n\r\n".encode())  # broken, as it has no host
    site.raw(f"GET {link} {'a' * 9000}\r\n\r\n".encode())

    assert (fetched.status, wrong.status, absolute.split()[1]) == (206, 403, b"200")
    assert statuses >= {200, 429}
    kept = logs(site)
    assert f'"GET {path} HTTP/1.1" 206' in kept
    assert secret not in kept
    assert "signature" not in kept
    assert "https://video.example.org/v1/videos/" in kept  # the page, without its query

    # what is no file is still in the error log, while the web half is down
    until(lambda: site.send("GET", "/healthz")[0].status == 502)
    assert "/healthz" in (site.folder / "error.log").read_text()


def test_bodies_take_no_more_than_the_disk_that_they_are_given(tmp_path: Path) -> None:
    """32 MiB for bodies: those that do not fit are refused, all others served."""
    with disk(tmp_path / "body", "32m") as bodies, behind_nginx(tmp_path, workers=1) as site:
        site.ready()
        head = b"POST /v1/responses HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 20000000\r\n\r\n"
        callers = [socket.create_connection(("127.0.0.1", site.port), timeout=60) for _ in range(3)]
        refused = 0
        for caller in callers:
            caller.sendall(head)
            try:
                caller.sendall(b" " * 19_000_000)
            except OSError:  # refused while it sends
                refused += 1
        small = site.send(
            "POST", "/v1/responses", b'{"model": "text", "input": "a"}', {"content-type": "application/json"}
        )
        used = sum(file.stat().st_blocks * 512 for file in bodies.rglob("*") if file.is_file())
        for caller in callers:
            caller.close()

        assert small[0].status == 200
        assert used <= 32 * 2**20
        assert refused or "No space left on device" in (tmp_path / "error.log").read_text()
        site.until(lambda: not [file for file in bodies.rglob("*") if file.is_file()])
