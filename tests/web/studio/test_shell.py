"""The frame of the page: its files, its policy, the key, the views."""

import uuid

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


def test_the_shared_scripts_are_fetched_beside_the_first(client: FlaskClient) -> None:
    paths = [part.partition(">")[0].strip(" <") for part in client.get("/").headers["link"].split(",")]

    assert paths
    assert all(client.get(f"/{path}").status_code == 200 for path in paths)


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
    expect(dialog).to_contain_text("Its administrator makes one with: framegate keys create NAME")
    expect(page.locator("#key-problem")).to_have_text("")
    dialog.get_by_label("Key", exact=True).fill("fg-" + "x" * 43)
    dialog.get_by_role("button", name="Use key").click()
    expect(dialog.get_by_role("alert")).to_have_text("This is no key of this server.")
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

    expect(page.get_by_role("dialog", name="API key")).to_contain_text("This server needs a key")
    assert page.evaluate("localStorage.length") == 0


@pytest.mark.slow
def test_a_key_that_is_revoked_is_asked_for_again_in_any_view(
    new_page: NewPage, studio: Studio, console: Console
) -> None:
    console.allow(401)
    name = f"gone-{uuid.uuid4().hex[:8]}"  # the test may run again, with the same server
    page = new_page(studio.new_key(name, "team"))
    expect(page.get_by_role("button", name=name)).to_be_visible()
    studio.keys.revoke(name)
    page.wait_for_timeout(1000)  # the server looks for changes twice a second
    page.evaluate("location.hash = 'keep'")  # a poll may have opened the dialog, which takes no click beside it

    expect(page.get_by_role("alert").filter(has_text="this key is revoked")).to_be_visible()


@pytest.mark.slow
def test_a_dropped_file_never_replaces_the_page(page: Page) -> None:
    page.get_by_role("link", name="Run").click()
    drop = """(target) => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(["a"], "cat.png", { type: "image/png" }));
      return document.querySelector(target).dispatchEvent(
        new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
    }"""
    for target in ("header", "main", "body"):
        assert not page.evaluate(drop, target)


@pytest.mark.slow
def test_a_phone_has_a_low_header_and_few_messages(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 640})
    page.evaluate(
        "(async () => { const { say } = await import('/studio/dom.js'); [1, 2, 3, 4].map((n) => say(`no ${n}`)); })()"
    )
    send = page.get_by_role("button", name="Make video")
    toasts = page.locator("#toasts p")

    expect(toasts).to_have_text(["no 2", "no 3", "no 4"])
    boxes = [send.bounding_box(), toasts.last.bounding_box(), page.locator("header").bounding_box()]
    button, toast, header = (box for box in boxes if box)
    assert toast["y"] + toast["height"] < button["y"]
    assert header["height"] < 100
