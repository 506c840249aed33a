"""Running jobs on the page: the queue, steps, previews, the end, and breaks."""

import re
import signal
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, Request, expect
from support.browser import MODELS, NO_ANSWER, Console, NewPage, Studio
from support.server import children, serve_in

pytestmark = pytest.mark.slow
MOST_STREAMS = 4
STEPPING = re.compile(r"step [1-9]")


class Streams:
    """The streams that a page has open, and the numbers after which they went on."""

    def __init__(self, *pages: Page) -> None:
        self.open: set[Request] = set()
        self.most = 0
        self.after: dict[str, list[int]] = {}
        for page in pages:
            page.on("request", self._began)
            page.on("requestfinished", self._ended)
            page.on("requestfailed", self._ended)

    def _began(self, request: Request) -> None:
        url = urlsplit(request.url)
        query = parse_qs(url.query)
        if "stream" not in query:
            return
        self.open.add(request)
        self.most = max(self.most, len(self.open))
        after = [int(number) for number in query.get("starting_after", [])]
        self.after.setdefault(url.path.rpartition("_")[2], []).extend(after)

    def _ended(self, request: Request) -> None:
        self.open.discard(request)


def card(page: Page, prompt: str) -> Locator:
    return page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=prompt, exact=True))


def watched(streams: Streams, page: Page, open_streams: int) -> None:
    """Wait until a page has this many streams open."""
    for _ in range(200):
        if len(streams.open) == open_streams:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{len(streams.open)} streams are open, {open_streams} were needed")


def restart(studio: Studio, **settings: object) -> None:
    """Start the studio's server again, on its port and its data."""
    if studio.server.process.poll() is None:
        studio.server.stop()
    studio.server = serve_in(studio.server.data.parent, MODELS, port=studio.server.port, **settings)


def hide(page: Page, *, hidden: bool) -> None:
    """Have a page believe that its tab is hidden, or shown again."""
    # headless tabs are always visible
    page.evaluate("hidden => Object.defineProperty(document, 'hidden', {get: () => hidden, configurable: true})", hidden)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def slow(studio: Studio, prompt: str, steps: int = 20) -> dict[str, object]:
    """Queue a job with steps of a quarter of a second."""
    return studio.make(prompt, "slow", provider_options={"video": {"steps": steps}})


def test_a_job_is_watched_from_the_queue_to_the_video(page: Page, studio: Studio) -> None:
    first, second = slow(studio, "a hill", 12), slow(studio, "a lake", 4)
    page.reload()

    hill, lake = card(page, "a hill"), card(page, "a lake")
    expect(lake).to_contain_text("number 1 in the queue")
    expect(hill).to_contain_text(re.compile(r"step \d+ of 12"))
    expect(hill.get_by_role("img", name="Preview")).to_be_visible()
    expect(hill.get_by_role("progressbar", name="Progress of a hill")).not_to_have_attribute("value", "0")
    expect(page).to_have_title("(2) Framegate")
    expect(hill).to_contain_text(re.compile(r"done in \d"))
    expect(page.locator("#toasts")).to_contain_text("a hill: done")
    expect(lake).to_contain_text(re.compile(r"step \d of 4"))
    expect(lake).to_contain_text("done in")

    video = hill.get_by_label("a hill", exact=True)
    video.evaluate("video => video.play()")
    assert video.evaluate("video => [video.loop, video.muted, video.controls, video.videoWidth]") == [True, True, True, 64]
    with page.expect_download() as download:
        hill.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == f"{first['id']}.mp4"
    lake.get_by_role("button", name="Dismiss").click()
    expect(lake).to_have_count(0)
    expect(page).to_have_title("Framegate")
    assert second["id"] != first["id"]


def test_a_stopped_job_can_be_tried_again(page: Page, studio: Studio) -> None:
    slow(studio, "a river", 40)
    page.reload()
    river = card(page, "a river")
    expect(river).to_contain_text(re.compile(r"step \d+ of 40, about \d+ s left"))

    river.get_by_role("button", name="Stop").click()

    expect(river).to_contain_text("stopped")
    expect(page.locator("#toasts")).to_contain_text("a river: stopped")
    river.get_by_role("button", name="Try again").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a river")


def test_five_jobs_have_four_streams(page: Page, studio: Studio) -> None:
    streams = Streams(page)
    prompts = [f"hill {number}" for number in range(5)]
    for prompt in prompts:
        slow(studio, prompt, 6)
    page.reload()

    watched(streams, page, MOST_STREAMS)
    assert page.get_by_role("heading", level=3).all_text_contents()[:5] == prompts[::-1]
    for prompt in prompts:
        expect(card(page, prompt)).to_contain_text("done in")

    assert streams.most == MOST_STREAMS
    assert len(streams.after) == len(prompts)
    watched(streams, page, 0)


def test_a_deleted_job_leaves_the_page(page: Page, studio: Studio, console: Console) -> None:
    console.allow(404)
    running, waiting = slow(studio, "a fox", 60), slow(studio, "an owl", 60)
    page.reload()
    expect(card(page, "a fox")).to_contain_text("step")

    studio.call(f"/v1/videos/{waiting['id']}", method="DELETE")
    studio.call(f"/v1/videos/{running['id']}", method="DELETE")

    expect(card(page, "a fox")).to_have_count(0)
    expect(card(page, "an owl")).to_have_count(0)


def test_a_hidden_tab_has_no_streams(page: Page, studio: Studio) -> None:
    streams = Streams(page)
    job = slow(studio, "a cloud", 60)
    page.reload()
    cloud = card(page, "a cloud")
    expect(cloud).to_contain_text("step")

    hide(page, hidden=True)
    watched(streams, page, 0)
    hide(page, hidden=False)
    watched(streams, page, 1)

    assert max(streams.after[str(job["id"]).removeprefix("video_")]) > 0
    cloud.get_by_role("button", name="Stop").click()
    expect(cloud).to_contain_text("stopped")


def test_only_one_tab_of_a_browser_has_streams(page: Page, studio: Studio, console: Console) -> None:
    first = Streams(page)
    for number in range(5):
        slow(studio, f"cup {number}", 60)
    page.reload()
    watched(first, page, MOST_STREAMS)

    tab = page.context.new_page()
    console.watch(tab, urlsplit(studio.url).netloc)
    second = Streams(tab)
    tab.goto("/")

    watched(second, tab, MOST_STREAMS)
    watched(first, page, 0)
    expect(card(page, "cup 0")).to_contain_text(STEPPING)
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    watched(first, page, MOST_STREAMS)
    watched(second, tab, 0)
    tab.close()
    for number in range(4, -1, -1):
        card(page, f"cup {number}").get_by_role("button", name="Stop").click()
        expect(card(page, f"cup {number}")).to_contain_text("stopped")


def test_a_lost_connection_is_taken_up_again(page: Page, studio: Studio, console: Console) -> None:
    console.allow(NO_ANSWER)
    streams = Streams(page)
    job = slow(studio, "a path", 24)
    page.reload()
    path = card(page, "a path")
    expect(path).to_contain_text(STEPPING)

    page.context.set_offline(True)
    expect(page.get_by_text("Connection lost, trying again.")).to_be_visible()
    page.context.set_offline(False)

    expect(page.get_by_text("Connection lost, trying again.")).to_be_hidden(timeout=20_000)
    expect(path).to_contain_text(re.compile(r"step 1\d of 24"))
    expect(path).to_contain_text("done in")
    assert max(streams.after[str(job["id"]).removeprefix("video_")]) > 0


def test_a_stream_survives_the_web_processes(page: Page, studio: Studio, console: Console) -> None:
    console.allow(NO_ANSWER)
    streams = Streams(page)
    job = slow(studio, "a bird", 20)
    page.reload()
    bird = card(page, "a bird")
    expect(bird).to_contain_text(STEPPING)

    for worker in children("", studio.server.master()):
        worker.send_signal(signal.SIGKILL)

    expect(bird).to_contain_text(re.compile(r"step 1\d of 20"))
    expect(bird).to_contain_text("done in")
    assert max(streams.after[str(job["id"]).removeprefix("video_")]) > 0


def test_a_job_is_watched_through_a_restart(page: Page, studio: Studio, console: Console) -> None:
    console.allow(NO_ANSWER, 503)
    slow(studio, "a ship", 20)
    page.reload()
    ship = card(page, "a ship")
    expect(ship).to_contain_text(STEPPING)

    studio.server.stop()
    expect(page.get_by_text("Connection lost, trying again.")).to_be_visible()
    restart(studio)

    expect(page.get_by_text("Connection lost, trying again.")).to_be_hidden(timeout=20_000)
    expect(ship).to_contain_text("done in", timeout=40_000)


def test_a_failure_is_told_in_the_words_of_the_server(page: Page, studio: Studio, console: Console) -> None:
    console.allow(NO_ANSWER, 503)
    restart(studio, job_seconds=2)
    job = slow(studio, "a wall", 60)
    page.reload()
    wall = card(page, "a wall")

    expect(wall).to_contain_text("failed", timeout=60_000)

    expect(wall.get_by_role("alert")).to_have_text(studio.finished(job)["error"]["message"])
    expect(wall.get_by_role("button", name="Try again")).to_be_visible()
