"""Barriers in every view, light and dark, at a phone's and a desk's width."""

import re

import pytest
from playwright.sync_api import Page, expect
from support.axe import violations
from support.browser import Console, NewPage, Studio

pytestmark = pytest.mark.slow
expect.set_options(timeout=20_000)  # a loaded machine needs seconds
WIDE = "document.documentElement.scrollWidth - innerWidth"
CUT = (
    "[...document.querySelectorAll(innerWidth > 640 ? 'dialog[open]' : 'dialog[open], div.scroll')]"
    ".filter((each) => each.scrollWidth > each.clientWidth).map((each) => each.ariaLabel)"
)


def check(page: Page) -> None:
    """Look for barriers in both schemes and at both widths."""
    for scheme, width in (("light", 1280), ("dark", 1280), ("dark", 360), ("light", 360)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 800})
        assert violations(page) == [], (scheme, width)
        assert page.evaluate(WIDE) <= 0, (scheme, width)
        assert page.evaluate(CUT) == [], (scheme, width)
    page.set_viewport_size({"width": 1280, "height": 900})


@pytest.fixture
def watched(studio: Studio) -> str:
    """Return a key whose owner has a failed, a done and a running job."""
    return studio.new_key("a key of a rather long name", "painter")


def test_the_form_and_its_jobs(new_page: NewPage, studio: Studio, watched: str) -> None:
    page = new_page(watched)
    jobs = page.get_by_role("region", name="Videos")
    expect(jobs).to_contain_text("Videos in the making appear here; finished ones are in Keep.")
    for prompt, state in (("fail", "failed"), ("a done one", "done in")):
        page.get_by_label("Prompt", exact=True).fill(prompt)
        page.get_by_role("button", name="Make video").click()
        expect(jobs.get_by_role("listitem").filter(has_text=prompt)).to_contain_text(state)
    for prompt in ("a slow one", "w" * 100):
        studio.make_long(prompt, key=watched, num_frames=7)
    page.get_by_label("Model").select_option("wan-nano-i2v")
    page.get_by_text("Options").click()
    page.get_by_label("fast4", exact=True).check()
    page.get_by_label("Steps").fill("1000")
    page.get_by_role("button", name="Make video").click()
    expect(page.get_by_text("got 1000")).to_be_visible()
    page.evaluate("dispatchEvent(new Event('focus'))")  # looks for jobs
    expect(jobs.get_by_role("img", name="Preview")).to_be_visible()
    expect(jobs).to_contain_text("in the queue")

    check(page)

    page.get_by_role("button", name="a key of").click()
    expect(page.get_by_role("dialog", name="API key")).to_be_visible()
    check(page)


def test_the_gallery_a_video_and_two_compared(new_page: NewPage, studio: Studio) -> None:
    first = studio.make("wide " * 30, provider_options={"video": {"num_frames": 33}})
    for video in (first, studio.make("fail"), studio.make("n " * 1000)):
        studio.finished(video)
    page = new_page(path="/#keep")
    card = page.get_by_role("button").filter(has=page.locator("img"))
    expect(card.filter(has_text="wide wide")).to_be_visible()
    check(page)

    card.filter(has_text="n n n").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("Same again")
    page.get_by_role("button", name="Copy as JSON").click()
    expect(page.get_by_role("dialog").get_by_text("Copied")).to_be_visible()
    check(page)

    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_text("Choose the video to compare with.")).to_be_visible()
    check(page)

    card.filter(has_text="wide wide").click()
    expect(page.get_by_text(re.compile("values? the same"))).to_be_visible()
    check(page)


def test_the_view_of_administrators_and_of_others(new_page: NewPage, studio: Studio, console: Console) -> None:
    studio.finished(studio.make("fail"))
    studio.make_long("m" * 100)
    page = new_page(studio.admin_key, "/#run")
    expect(page.get_by_role("region", name="API keys")).to_be_visible()
    expect(page.get_by_role("region", name="Failed jobs")).to_be_visible()
    page.get_by_text("By hour").click()
    page.get_by_text("Revision 1").click()
    expect(page.get_by_text("The first one that is kept.")).to_be_visible()
    check(page)

    own = new_page(path="/#run")
    expect(own.get_by_role("region", name="Your jobs")).to_be_visible()
    check(own)
