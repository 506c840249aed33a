"""Running jobs on the page: the queue, steps, previews, the end, and breaks."""

import re
import signal
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, Request, expect
from support.browser import MODELS, NO_ANSWER, Console, Studio, start_studio
from support.pictures import encoded, scene
from support.server import children, serve_in

pytestmark = pytest.mark.slow
expect.set_options(timeout=20_000)  # a loaded machine needs seconds
MOST_STREAMS = 4
MOST_SEED = 2**63 - 1  # which JavaScript's numbers round
STEPPING = re.compile(r"step [1-9]")


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """Serve for this module alone, which restarts its server."""
    started = start_studio(tmp_path_factory.mktemp("studio"))
    yield started
    started.server.stop()


class Streams:
    """The open streams of a page, and the numbers after which they went on."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.open: set[Request] = set()
        self.most = 0
        self.after: dict[str, list[int]] = {}
        page.on("request", self._began)
        page.on("requestfinished", self._ended)
        page.on("requestfailed", self._ended)

    def wait_open(self, number: int) -> None:
        self._until(lambda: len(self.open) == number)

    def wait_resumed(self, job: dict[str, Any]) -> None:
        """Wait until a job's stream goes on where it was."""
        self._until(lambda: any(number > 0 for number in self.after.get(job["id"].removeprefix("video_"), ())))

    def _until(self, what: Callable[[], bool]) -> None:
        for _ in range(400):
            if what():
                return
            self._page.wait_for_timeout(50)
        raise AssertionError(f"waited in vain: {len(self.open)} streams are open, and went on after {self.after}")

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


def stop(job: Locator) -> None:
    job.get_by_role("button", name="Stop").click()
    expect(job).to_contain_text("stopped")


def hide(page: Page, *, hidden: bool) -> None:
    """Have a page believe that its tab is hidden, or shown again."""
    # headless tabs are always visible
    page.evaluate(
        "hidden => Object.defineProperty(document, 'hidden', {get: () => hidden, configurable: true})", hidden
    )
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def slow(studio: Studio, prompt: str, steps: int) -> dict[str, Any]:
    """Queue a job with steps of a quarter of a second."""
    return studio.make(prompt, "slow", provider_options={"video": {"steps": steps}})


def test_a_job_is_watched_from_the_queue_to_the_video(page: Page, studio: Studio) -> None:
    first = slow(studio, "a hill", 16)
    second = studio.make("a lake", "slow", provider_options={"video": {"num_frames": 7, "steps": 16}})
    page.reload()

    hill, lake = card(page, "a hill"), card(page, "a lake")
    expect(lake).to_contain_text("number 1 in the queue")
    expect(lake).to_contain_text(second["warnings"][0])
    expect(hill).to_contain_text(re.compile(r"step \d+ of 16"))
    expect(hill.get_by_role("img", name="Preview")).to_be_visible()
    expect(hill.get_by_role("progressbar", name="Progress of a hill")).not_to_have_attribute("value", "0")
    expect(page).to_have_title("(2) Framegate")
    expect(hill).to_contain_text(re.compile(r"done in \d"))
    expect(page.locator("#toasts")).to_contain_text("a hill: done")
    expect(lake).to_contain_text(re.compile(r"step \d+ of 16"))
    expect(lake).to_contain_text("done in")

    video = hill.get_by_label("a hill", exact=True)
    video.evaluate("video => video.play()")
    assert video.evaluate("video => [video.loop, video.muted, video.controls, video.videoWidth]") == [
        True,
        True,
        True,
        64,
    ]
    with page.expect_download() as download:
        hill.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == f"{first['id']}.mp4"
    lake.get_by_role("button", name="Dismiss").click()
    expect(lake).to_have_count(0)
    expect(page).to_have_title("Framegate")


def test_a_stopped_job_can_be_tried_again(page: Page, studio: Studio) -> None:
    studio.make("a river", "slow", seed=MOST_SEED, provider_options={"video": {"steps": 400}})
    page.reload()
    river = card(page, "a river")
    expect(river).to_contain_text(re.compile(r"step \d+ of 400, about \d"))

    stop(river)

    expect(page.locator("#toasts")).to_contain_text("a river: stopped")
    river.get_by_role("button", name="Try again").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a river")
    expect(page.get_by_label("Seed")).to_have_value(str(MOST_SEED))
    expect(page.get_by_text(f"400 steps, seed {MOST_SEED}")).to_be_visible()
    expect(page.get_by_label("Seed")).not_to_have_attribute("aria-invalid", "true")


def test_a_failure_is_told_in_the_words_of_the_server(page: Page, studio: Studio) -> None:
    page.get_by_label("Prompt", exact=True).fill("fail")
    page.get_by_role("button", name="Make video").click()
    wall = card(page, "fail")

    expect(wall).to_contain_text("failed")
    expect(wall.get_by_role("alert")).to_have_text("this prompt <b>always</b> fails")
    expect(wall.get_by_role("button", name="Try again")).to_be_visible()


def test_a_job_is_tried_again_with_its_image(page: Page, studio: Studio) -> None:
    studio.make_long("a street")
    data = b64encode(encoded(scene(64, 64), "PNG")).decode()
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{data}"}
    content = [image, {"type": "input_text", "text": "a cat"}]
    options = {"model": "image", "background": True, "provider_options": {"video": {"steps": 7}}}
    studio.call("/v1/responses", {"input": [{"role": "user", "content": content}], **options})
    page.reload()

    stop(card(page, "a cat"))
    card(page, "a cat").get_by_role("button", name="Try again").click()

    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a cat")
    expect(page.get_by_role("img", name="Image, as the model will see it")).to_be_visible()
    stop(card(page, "a street"))


def test_five_jobs_have_four_streams(page: Page, studio: Studio) -> None:
    streams = Streams(page)
    prompts = [f"hill {number}" for number in range(5)]
    for prompt in prompts:
        slow(studio, prompt, 4 if prompt != prompts[0] else 16)  # the others wait until the page is there
    page.reload()

    streams.wait_open(MOST_STREAMS)
    assert page.get_by_role("heading", level=3).all_text_contents()[:5] == prompts[::-1]
    for prompt in prompts:
        expect(card(page, prompt)).to_contain_text("done in")

    assert streams.most <= MOST_STREAMS + 1  # the news that one has ended may come after its successor
    assert len(streams.after) == len(prompts)
    streams.wait_open(0)


def test_a_deleted_job_leaves_the_page(page: Page, studio: Studio, console: Console) -> None:
    console.allow(404)
    running, waiting = studio.make_long("a fox"), studio.make_long("an owl")
    page.reload()
    expect(card(page, "a fox")).to_contain_text("step")

    studio.call(f"/v1/videos/{waiting['id']}", method="DELETE")
    studio.call(f"/v1/videos/{running['id']}", method="DELETE")

    expect(card(page, "a fox")).to_have_count(0)
    expect(card(page, "an owl")).to_have_count(0)


def test_a_hidden_list_has_no_streams(page: Page, studio: Studio) -> None:
    streams = Streams(page)
    job = studio.make_long("a cloud")
    page.reload()
    cloud = card(page, "a cloud")
    expect(cloud).to_contain_text("step")

    hide(page, hidden=True)
    streams.wait_open(0)
    hide(page, hidden=False)
    streams.wait_open(1)
    page.get_by_role("link", name="Keep").click()
    streams.wait_open(0)
    page.get_by_role("link", name="Make").click()
    streams.wait_open(1)

    streams.wait_resumed(job)
    stop(cloud)


def test_only_one_tab_of_a_browser_has_streams(page: Page, studio: Studio, console: Console) -> None:
    first = Streams(page)
    for number in range(5):
        studio.make_long(f"cup {number}")
    page.reload()
    first.wait_open(MOST_STREAMS)

    tab = page.context.new_page()
    console.watch(tab, urlsplit(studio.url).netloc)
    second = Streams(tab)
    tab.goto("/")

    second.wait_open(MOST_STREAMS)
    first.wait_open(0)
    expect(card(page, "cup 0")).to_contain_text(STEPPING)
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    first.wait_open(MOST_STREAMS)
    second.wait_open(0)
    tab.close()
    for number in range(4, -1, -1):
        stop(card(page, f"cup {number}"))


def test_a_lost_connection_is_taken_up_again(page: Page, studio: Studio, console: Console) -> None:
    console.allow(NO_ANSWER)
    streams = Streams(page)
    job = studio.make_long("a path")
    page.reload()
    path = card(page, "a path")
    expect(path).to_contain_text(STEPPING)

    page.context.set_offline(True)
    expect(page.get_by_text("Connection lost, trying again.")).to_be_visible()
    page.context.set_offline(False)

    expect(page.get_by_text("Connection lost, trying again.")).to_be_hidden()
    streams.wait_resumed(job)
    stop(path)


def test_a_stream_survives_the_web_processes(page: Page, studio: Studio, console: Console) -> None:
    console.allow(NO_ANSWER)
    streams = Streams(page)
    job = studio.make_long("a bird")
    page.reload()
    bird = card(page, "a bird")
    expect(bird).to_contain_text(re.compile(r"step \d\d"))  # by then from its stream

    for worker in children("", studio.server.master()):
        worker.send_signal(signal.SIGKILL)

    streams.wait_resumed(job)
    stop(bird)


def test_a_job_is_watched_through_a_restart(page: Page, studio: Studio, console: Console) -> None:
    console.allow(NO_ANSWER, 503)
    slow(studio, "a ship", 12)
    page.reload()
    ship = card(page, "a ship")
    expect(ship).to_contain_text(STEPPING)

    studio.server.stop()
    expect(page.get_by_text("Connection lost, trying again.")).to_be_visible()
    studio.server = serve_in(studio.server.data.parent, MODELS, port=studio.server.port)

    expect(page.get_by_text("Connection lost, trying again.")).to_be_hidden()
    expect(ship).to_contain_text("done in", timeout=40_000)
