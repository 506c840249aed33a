"""The page behind nginx: its policy, a video made, watched and kept."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from support.browser import Studio
from support.edge import behind_nginx

from router.auth.keys import Scope
from router.jobs import ApiKeyStore, Database

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """Serve behind nginx, with keys."""
    with behind_nginx(tmp_path_factory.mktemp("nginx"), no_auth=0) as site:
        site.until(lambda: (site.data / "jobs.sqlite").exists())
        studio = Studio(site, ApiKeyStore(Database(site.data / "jobs.sqlite")))
        studio.key = studio.new_key("team", "team")
        studio.admin_key = studio.new_key("boss", "boss", Scope.ADMIN)
        site.ready()
        yield studio


def test_a_video_is_made_watched_and_kept(page: Page, studio: Studio) -> None:
    answer = page.reload()
    assert answer is not None
    assert "require-trusted-types-for 'script'" in answer.headers["content-security-policy"]
    page.get_by_label("Model").select_option("slow")
    page.get_by_label("Prompt", exact=True).fill("behind nginx")
    page.get_by_role("button", name="Make video").click()
    job = page.get_by_role("listitem").filter(has_text="behind nginx")
    expect(job.get_by_role("img", name="Preview")).to_be_visible()
    expect(job).to_contain_text("done in", timeout=20_000)

    job.get_by_role("button", name="Open in Keep").click()

    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("The video")).to_have_js_property("videoWidth", 64)
    with page.expect_download() as download:
        dialog.get_by_role("link", name="Download").click()
    assert download.value.path().stat().st_size > 1000
