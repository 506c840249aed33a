"""The gallery: search, filters, an endless list, one video, two compared."""

import base64
import io
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect
from support.browser import SIGN_IN, Console, NewPage, Studio

from router.auth.keys import Scope

pytestmark = pytest.mark.slow
MARKUP = "<img src=x onerror=\"console.error('run')\">"
PROMPTS = ("Grüße aus KÖLN", "a wave 🌊 breaks", "100 % sure", "50 _ like", 'it\'s "quoted"', MARKUP)
TIMES = "[...document.querySelectorAll('.pair video')].map((video) => video.currentTime)"


class Gallery:
    """The gallery of one owner, and its videos."""

    def __init__(self, studio: Studio, new_page: NewPage, key: str) -> None:
        self.studio, self._open, self.key = studio, new_page, key

    def make(self, prompt: str, model: str = "text", **options: Any) -> dict[str, Any]:
        return self.studio.make(prompt, model, key=self.key, **options)

    def made(self, prompt: str, model: str = "text", **options: Any) -> dict[str, Any]:
        """Make a video and wait for its end."""
        return self.ended(self.make(prompt, model, **options))

    def ended(self, video: dict[str, Any]) -> dict[str, Any]:
        return self.studio.finished(video, self.key)

    def delete(self, video: dict[str, Any]) -> None:
        self.studio.call(f"/v1/videos/{video['id']}", method="DELETE", key=self.key)

    def open(self, **options: Any) -> Page:
        return self._open(self.key, "/#keep", **options)


@pytest.fixture(scope="module")
def owners(studio: Studio) -> list[str]:
    """Make keys of different owners, one for each test."""
    run = uuid.uuid4().hex[:8]  # a worker may come back to this module, with the same server
    return [studio.new_key(f"owner-{run}-{n}", f"owner-{run}-{n}") for n in range(30)]


@pytest.fixture
def gallery(studio: Studio, new_page: NewPage, owners: list[str]) -> Gallery:
    return Gallery(studio, new_page, owners.pop())


def cards(page: Page) -> Locator:
    return page.locator("#view-keep li")


def card(page: Page, prompt: str) -> Locator:
    return cards(page).filter(has_text=prompt).get_by_role("button")


def detail(page: Page) -> Locator:
    return page.get_by_role("dialog")


def open_detail(page: Page, prompt: str) -> Locator:
    card(page, prompt).click()
    dialog = detail(page)
    expect(dialog).to_contain_text(prompt)
    return dialog


def wait(page: Page, condition: str) -> None:
    """Wait for a true expression."""
    # Playwright's own way needs `eval`, which the page's policy forbids
    for _ in range(400):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(condition)


def coloured(width: int, height: int, colour: str) -> str:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def test_nothing_here_leads_to_the_form(gallery: Gallery) -> None:
    page = gallery.open()
    expect(page.get_by_text("Nothing here yet.")).to_be_visible()

    page.get_by_role("link", name="Make a video").click()

    expect(page).to_have_url(re.compile("#make$"))


def test_prompts_are_searched_as_they_are(gallery: Gallery) -> None:
    for prompt in PROMPTS:
        gallery.make(prompt)
    page = gallery.open()
    expect(cards(page)).to_have_count(len(PROMPTS))
    search = page.get_by_label("Search prompts")

    for words, prompt in (
        ("köln", PROMPTS[0]),
        ("breaks 🌊", PROMPTS[1]),
        ("%", PROMPTS[2]),
        ("_", PROMPTS[3]),
        ('"quoted"', PROMPTS[4]),
        ("onerror", PROMPTS[5]),
    ):
        search.fill(words)
        expect(cards(page)).to_have_count(1)
        expect(cards(page)).to_contain_text(prompt)

    search.fill("zebra")
    expect(page.get_by_text("Nothing matches.")).to_be_visible()
    assert "zebra" not in page.url
    search.fill("")
    expect(cards(page)).to_have_count(len(PROMPTS))


def test_filters_narrow_the_list(gallery: Gallery) -> None:
    gallery.made("first")
    gallery.made("second", "both")
    stopped = gallery.make("stopped one", "slow")
    gallery.studio.call(f"/v1/responses/resp_{stopped['id'][6:]}/cancel", {}, key=gallery.key)
    page = gallery.open()
    expect(cards(page)).to_have_count(3)

    for label, status, texts in (
        ("Status", "Done", ["second", "first"]),
        ("Status", "Failed", []),
        ("Status", "Stopped", ["stopped one"]),
        ("Status", "Unfinished", []),
        ("Status", "All", ["stopped one", "second", "first"]),
        ("Model", "both", ["second"]),
        ("Model", "All", ["stopped one", "second", "first"]),
    ):
        page.get_by_label(label).select_option(status)
        expect(cards(page)).to_have_count(len(texts))
        expect(cards(page).locator(".shot-text")).to_have_text(texts)


def test_a_long_list_is_scrolled_to_its_end_though_entries_are_deleted(gallery: Gallery, console: Console) -> None:
    console.allow(404)  # their pictures
    videos = [gallery.make(f"number {n}", provider_options={"video": {"num_frames": 1}}) for n in range(124)]
    gallery.ended(videos[-1])
    page = gallery.open()
    expect(page.get_by_text("60 videos so far")).to_be_visible()
    for n in (65, 64):  # the last one of the first page among them
        gallery.delete(videos[n])

    while cards(page).count() < len(videos) - 2:
        page.mouse.wheel(0, 3000)
        page.wait_for_timeout(50)
        assert page.evaluate("document.querySelector('.shots-end').getBoundingClientRect().top > innerHeight")
    page.keyboard.press("End")

    expect(page.get_by_text("122 videos", exact=True)).to_be_visible()
    texts = cards(page).locator(".shot-text").all_text_contents()
    assert texts == [f"number {n}" for n in reversed(range(124)) if n not in (64, 65)]


def test_a_video_shows_all_that_was_used(gallery: Gallery) -> None:
    options = {"video": {"steps": 4, "adapters": [{"name": "noir", "strength": 0.5}], "negative_prompt": "blurry"}}
    gallery.made("a red circle moves right", "wan-nano-t2v", seed=2**63 - 1, provider_options=options)
    page = gallery.open()
    dialog = open_detail(page, "a red circle")

    for name, text in (
        ("Model", "wan-nano-t2v"),
        ("Size", "64 × 64"),
        ("Frames", "17, 2.1 s at 8 a second"),
        ("Steps", "4"),
        ("Seed", str(2**63 - 1)),
        ("Adapters", "noir at 0.5"),
        ("Negative prompt", "blurry"),
        ("Changed by", "adapter noir"),
    ):
        expect(dialog.locator(f"dt:text-is('{name}') + dd")).to_have_text(text)
    wait(page, "document.querySelector('dialog video').currentTime > 0.1")
    with page.expect_download() as download:
        dialog.get_by_role("link", name="Download").click()
    assert re.fullmatch(r"video_[0-9a-f]{32}\.mp4", download.value.suggested_filename)
    assert b"ftyp" in Path(download.value.path()).read_bytes()[:16]

    page.keyboard.press("Escape")

    expect(dialog).to_have_count(0)
    expect(page.locator("video")).to_have_count(0)
    assert page.evaluate("document.activeElement.className") == "shot"


def test_a_form_is_filled_from_a_video(gallery: Gallery) -> None:
    images = {"input_reference": coloured(96, 64, "red"), "last_image": coloured(64, 64, "blue")}
    gallery.made("between two", "ends", seed=11, **images)
    page = gallery.open()
    dialog = open_detail(page, "between two")
    expect(dialog.get_by_role("link", name="Image", exact=True)).to_be_visible()
    expect(dialog.get_by_role("link", name="Last image", exact=True)).to_be_visible()

    dialog.get_by_role("button", name="Again with this seed").click()

    expect(page).to_have_url(re.compile("#make$"))
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("between two")
    expect(page.get_by_label("Seed", exact=True)).to_have_value("11")
    page.go_back()
    open_detail(page, "between two").get_by_role("button", name="Vary").click()
    expect(page.get_by_label("Seed", exact=True)).to_have_value("")
    page.go_back()
    open_detail(page, "between two").get_by_role("button", name="Use last frame as image").click()
    expect(page).to_have_url(re.compile("#make$"))


def test_keys_move_between_videos(gallery: Gallery) -> None:
    for prompt in ("one", "two", "three"):
        gallery.made(prompt)
    page = gallery.open()
    expect(cards(page)).to_have_count(3)

    card(page, "two").focus()
    page.keyboard.press("Enter")
    dialog = detail(page)
    expect(dialog.locator(".detail-prompt")).to_have_text("two")
    page.keyboard.press("ArrowRight")
    expect(dialog.locator(".detail-prompt")).to_have_text("one")
    expect(dialog.get_by_role("button", name="Next")).to_be_disabled()
    page.keyboard.press("ArrowRight")
    expect(dialog.locator(".detail-prompt")).to_have_text("one")
    dialog.get_by_role("button", name="Previous").click()
    expect(dialog.locator(".detail-prompt")).to_have_text("two")
    expect(dialog.get_by_role("button", name="Next")).to_be_enabled()
    page.keyboard.press("Escape")
    expect(card(page, "two")).to_be_focused()


def test_deleting_asks_once(gallery: Gallery) -> None:
    gallery.made("to stay")
    gallery.made("to go")
    page = gallery.open()
    dialog = open_detail(page, "to go")

    delete = dialog.get_by_role("button", name="Delete", exact=True)
    delete.focus()
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("button", name="Do not delete")).to_be_focused()
    page.keyboard.press("Enter")
    expect(delete).to_be_focused()
    delete.click()
    dialog.get_by_role("button", name="Delete for good").click()

    expect(dialog).to_have_count(0)
    expect(cards(page)).to_have_count(1)
    expect(card(page, "to stay")).to_be_focused()
    assert [video["prompt"] for video in gallery.studio.call("/v1/videos", key=gallery.key)["data"]] == ["to stay"]


def test_back_closes_a_video_and_stays_in_the_gallery(gallery: Gallery) -> None:
    gallery.made("a pond")
    page = gallery.open()
    for _ in range(2):
        dialog = open_detail(page, "a pond")
        page.go_back()
        expect(dialog).to_have_count(0)
        assert page.url.endswith("#keep")
    open_detail(page, "a pond").get_by_role("button", name="Close").click()
    open_detail(page, "a pond")
    page.go_back()
    expect(detail(page)).to_have_count(0)
    expect(card(page, "a pond")).to_be_visible()


def test_an_image_and_a_failure_are_named_as_such(gallery: Gallery) -> None:
    gallery.make("a still", "slow", provider_options={"video": {"num_frames": 1, "steps": 40}})
    gallery.made("fail")
    page = gallery.open()
    expect(card(page, "a still").locator(".shot-facts")).to_contain_text("slow · image ·")

    expect(open_detail(page, "fail")).not_to_contain_text("Same again")


def test_a_reading_key_is_offered_nothing_to_make(gallery: Gallery, new_page: NewPage) -> None:
    owner = gallery.studio.call("/v1/me", key=gallery.key)["owner"]
    reader = gallery.studio.new_key(f"reader of {owner}", owner, Scope.READ)
    gallery.made("to look at")
    gallery.studio.make_long("to wait for", key=gallery.key)
    page = new_page(reader, "/")
    expect(page.get_by_role("listitem").filter(has_text="to wait for")).to_contain_text("step")
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    page.get_by_role("link", name="Keep").click()

    dialog = open_detail(page, "to look at")

    expect(dialog.get_by_role("link", name="Download")).to_be_visible()
    names = [name for name in dialog.get_by_role("button").all_text_contents() if not name.startswith("Copy")]
    assert names == ["Previous", "Next", "Close", "Compare"]


def test_a_video_that_is_deleted_elsewhere_goes(gallery: Gallery, console: Console) -> None:
    console.allow(404)
    video = gallery.made("shared")
    page = gallery.open()
    dialog = open_detail(page, "shared")
    gallery.delete(video)

    dialog.get_by_role("button", name="Use last frame as image").click()

    expect(dialog.get_by_role("alert")).to_have_text("It was deleted elsewhere.")
    dialog.get_by_role("button", name="Close").click()
    expect(page.get_by_text("Nothing here yet.")).to_be_visible()


def test_an_unfinished_video_comes_to_its_end_on_the_page(gallery: Gallery) -> None:
    gallery.make("slow one", "slow", provider_options={"video": {"steps": 16}})
    page = gallery.open()
    dialog = open_detail(page, "slow one")
    expect(dialog).to_contain_text("Running")

    expect(dialog.get_by_label("The video")).to_be_visible(timeout=60_000)
    page.keyboard.press("Escape")

    expect(card(page, "slow one").locator("img")).to_be_visible()


def test_two_videos_play_in_step(gallery: Gallery) -> None:
    for prompt, frames in (("the short", 17), ("the long", 33)):
        gallery.made(prompt, provider_options={"video": {"num_frames": frames}})
    page = gallery.open()
    open_detail(page, "the short").get_by_role("button", name="Compare", exact=True).click()
    notice = page.get_by_text("Choose the video to compare with.")
    expect(notice).to_be_visible()
    page.keyboard.press("Escape")
    expect(notice).to_be_hidden()
    open_detail(page, "the short").get_by_role("button", name="Compare", exact=True).click()
    card(page, "the long").click()
    dialog = page.get_by_role("dialog", name="Comparison")
    expect(dialog.get_by_role("row", name=re.compile("Frames"))).to_contain_text("33, 4.1 s at 8 a second")

    wait(page, f"Math.min(...{TIMES}) > 1")
    short, long = page.evaluate(TIMES)
    assert abs(short - long) < 1 / 8
    dialog.get_by_label("Position").fill("0.5")
    wait(page, f"{TIMES}.every((at) => at > 0.5 && at < 1.5)")
    page.wait_for_timeout(300)
    short, long = page.evaluate(TIMES)
    assert abs(short - long) < 1 / 8

    dialog.get_by_role("button", name="Pause").click()
    page.keyboard.press("ArrowRight")
    short, long = page.evaluate(TIMES)
    assert short == long
    page.keyboard.press("ArrowRight")
    assert page.evaluate(TIMES) == pytest.approx([short + 1 / 8] * 2, abs=0.001)
    dialog.get_by_label("Position").fill("3.5")
    assert page.evaluate(TIMES) == pytest.approx([17 / 8 - 1 / 16, 3.5], abs=0.001)

    page.keyboard.press("Escape")

    expect(page.locator("video")).to_have_count(0)


def test_a_phone_shows_everything_without_scrolling_sideways(gallery: Gallery) -> None:
    gallery.made("narrow")
    gallery.made("wide " * 30)
    page = gallery.open()
    page.set_viewport_size({"width": 360, "height": 740})
    expect(cards(page)).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360

    card(page, "wide").click()

    dialog = detail(page)
    expect(dialog.get_by_role("button", name="Copy as JSON")).to_be_visible()
    assert dialog.evaluate("(dialog) => dialog.scrollWidth <= dialog.clientWidth")


@pytest.fixture
def elsewhere(chromium: Browser) -> Iterator[Browser]:
    """Start a browser that finds this machine under another name."""
    args = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP studio.example 127.0.0.1"]
    browser = chromium.browser_type.launch(executable_path=shutil.which("chromium"), args=args)
    yield browser
    browser.close()


def test_copying_works_without_a_secure_context(gallery: Gallery, elsewhere: Browser, console: Console) -> None:
    gallery.made('say "hi"', seed=3)
    base = f"http://studio.example:{gallery.studio.server.port}"
    page = elsewhere.new_page(base_url=base)
    console.watch(page, base.removeprefix("http://"))
    page.add_init_script(SIGN_IN % f"'{gallery.key}'")
    page.goto("/#keep")
    assert not page.evaluate("isSecureContext")

    for kind, part in (
        ("curl", f"curl -sS '{base}/v1/responses'"),
        ("Python", '"seed": 3'),
        ("JSON", '"say \\"hi\\""'),
    ):
        dialog = open_detail(page, "hi")
        dialog.get_by_role("button", name=f"Copy as {kind}").click()
        expect(dialog.get_by_text("Copied").last).to_be_visible()
        page.keyboard.press("Escape")
        page.evaluate("document.body.append(Object.assign(document.createElement('textarea'), {id: 'paste'}))")
        page.locator("#paste").press("Control+V")
        assert part in page.locator("#paste").input_value()
        assert gallery.key not in page.locator("#paste").input_value()
        page.locator("#paste").evaluate("(area) => area.remove()")


def test_a_picture_whose_link_has_expired_is_shown_again(gallery: Gallery, console: Console) -> None:
    console.allow(403)
    gallery.made("expired")
    page = gallery.open()
    expect(cards(page)).to_have_count(1)
    page.route("**/content?*thumbnail*", lambda route: route.fulfill(status=403), times=1)

    page.reload()

    wait(page, "document.querySelector('.shots img')?.naturalWidth > 0")
