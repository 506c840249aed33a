"""The page behind nginx: its policy, a video made, watched and kept."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect
from support.browser import Studio
from support.edge import Site, behind_nginx

from router.auth.keys import Scope
from router.jobs import ApiKeyStore, open_database

pytestmark = pytest.mark.slow

PLAYED = """
async (video) => {
  video.currentTime = 0.4;
  await new Promise((seeked) => video.addEventListener("seeked", seeked, { once: true }));
  return video.currentTime;
}
"""


@dataclass
class ProxiedStudio(Studio):
    """A studio whose server is nginx."""

    server: Site


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxiedStudio]:
    """Serve behind nginx, with keys."""
    with behind_nginx(tmp_path_factory.mktemp("nginx"), no_auth=0) as site:
        site.until(lambda: (site.data / "jobs.sqlite").exists())
        studio = ProxiedStudio(site, ApiKeyStore(open_database(site.data / "jobs.sqlite")))
        studio.key = studio.new_key("team", "team")
        studio.admin_key = studio.new_key("boss", "boss", Scope.ADMIN)
        site.ready()
        yield studio


def test_a_video_is_made_watched_and_kept_behind_nginx(page: Page, studio: Studio) -> None:
    page.get_by_label("Model", exact=True).select_option("slow")
    page.get_by_label("Prompt", exact=True).fill("a film behind a proxy")
    page.get_by_role("button", name="Make video").click()

    card = page.locator("#watch li", has_text="a film behind a proxy")
    expect(card).to_contain_text("of 20")  # a step: the stream is not held back
    page.reload()
    expect(card.locator("video")).to_be_visible(timeout=30_000)
    card.get_by_role("button", name="Open in Keep").click()
    video = page.get_by_role("dialog").locator("video")
    expect(video).to_be_visible()
    assert video.evaluate(PLAYED) > 0.3

    with page.expect_download() as download:
        page.get_by_role("dialog").get_by_role("link", name="Download").click()
    assert download.value.path().read_bytes()[4:8] == b"ftyp"


def test_the_policy_comes_through_nginx(studio: ProxiedStudio) -> None:
    answer, _ = studio.server.send("GET", "/")

    assert "require-trusted-types-for 'script'" in answer.headers["content-security-policy"]
    assert answer.headers["etag"].startswith('"')


def test_a_gallery_loads_all_its_pictures_through_nginx(page: Page, studio: Studio) -> None:
    for video in [studio.make(f"picture {n}") for n in range(62)]:
        studio.finished(video)
    page.goto("/#keep")
    cards = page.locator("#view-keep li")
    expect(cards).to_have_count(60)
    cards.last.scroll_into_view_if_needed()
    expect(cards).to_have_count(63)  # and the one of the first test
    expect(cards.nth(61).locator("img")).to_have_js_property("naturalWidth", 64)
