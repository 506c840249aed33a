"""The frame of the page: its files, its policy, the key, the views."""

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Page, expect
from support.browser import Console, NewPage, Studio

from router.web.studio.static_files import static_files

MOST_BYTES = 100_000


def test_the_page_is_small() -> None:
    assert sum(len(file.data) for file in static_files().values()) < MOST_BYTES


def test_no_file_of_the_page_has_inline_code_or_another_host() -> None:
    for file in static_files().values():
        text = file.data.decode().replace("http://www.w3.org/", "")
        for banned in ("http://", "https://", "innerHTML", "style=", "onclick=", "randomUUID", "eval("):
            assert banned not in text, (file.name, banned)


def test_every_file_has_a_strong_etag(client: FlaskClient) -> None:
    for path in ("/", "/studio/app.js"):
        first = client.get(path)
        etag = first.headers["etag"]
        assert first.status_code == 200
        assert etag.startswith('"')

        again = client.get(path, headers={"if-none-match": etag})

        assert (again.status_code, again.data) == (304, b"")


def test_no_answer_has_the_page_without_its_policy(client: FlaskClient) -> None:
    etag = client.get("/").headers["etag"]
    for headers in (
        {},
        {"if-none-match": etag},
        {"if-none-match": "*"},
        {"if-match": '"other"'},
        {"range": "bytes=0-9"},
    ):
        for method in ("GET", "HEAD"):
            answer = client.open("/", method=method, headers=headers)
            assert answer.status_code == (304 if "if-none-match" in headers else 200)
            assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert client.get("/studio/index.html").status_code == 404


def test_the_policy_allows_this_server_only(client: FlaskClient) -> None:
    policy = client.get("/").headers["content-security-policy"].split("; ")

    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert not any("unsafe" in part or "*" in part for part in policy)


@pytest.mark.slow
def test_a_key_is_typed_once_and_kept(new_page: NewPage, studio: Studio, console: Console) -> None:
    console.allow(401)
    page = new_page(key="")

    dialog = page.get_by_role("dialog", name="API key")
    expect(dialog).to_contain_text("this server needs a key")
    dialog.get_by_label("Key", exact=True).fill("fg-" + "x" * 43)
    dialog.get_by_role("button", name="Use key").click()
    expect(dialog).to_contain_text("this key is unknown")
    dialog.get_by_label("Key", exact=True).fill(studio.key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="team")).to_be_visible()

    page.reload()

    expect(page.get_by_role("button", name="team")).to_be_visible()
    assert studio.key not in page.url


@pytest.mark.slow
def test_a_key_can_be_forgotten(page: Page, console: Console) -> None:
    console.allow(401)
    page.get_by_role("button", name="team").click()
    page.get_by_role("button", name="Forget key").click()

    expect(page.get_by_role("dialog", name="API key")).to_contain_text("this server needs a key")
    assert page.evaluate("localStorage.length") == 0
