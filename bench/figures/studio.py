"""The page in Chromium: its size, its gallery of 500 videos, many tabs."""

import json
import shutil
import statistics
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from bench.tools.health import watched
from bench.tools.server import Client, Server, serve
from bench.tools.table import Figure, Row, spread
from router.web.studio.static_files import static_files

VIDEOS, LOADS, TABS = 500, 9, 10
TABS_SECONDS = 20.0
SMALL = "defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 1, negative_prompt: ''}"
MODELS = f"""
models:
  still: {{backend: still, modality: t2v, {SMALL}}}
  slow: {{backend: still, modality: t2v, options: {{step_seconds: 0.5}}, {SMALL}, limits: {{steps: 1000}}}}
"""
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
# Notes when the first card stands on the page, and when all pictures of the first screen are there.
CARDS = """
(() => {
  const look = () => {
    const isSeen = (img) => img.getBoundingClientRect().top < innerHeight;
    const cards = [...document.querySelectorAll("#view-keep img")].filter(isSeen);
    if (cards.length && !window.firstCards) window.firstCards = performance.now();
    const isWhole = cards.length && cards.every((img) => img.complete && img.naturalWidth);
    if (isWhole) window.firstPictures = performance.now();
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})();
"""
# Scrolls to the end, a third of a screen a frame; counts frames whose lower half shows no card, or no picture in it.
SCROLL = """
async () => {
  const seen = { frames: 0, blank: 0, unpainted: 0 };
  for (let still = 0; still < 60; ) {
    const before = scrollY;
    scrollBy(0, innerHeight / 3);
    await new Promise(requestAnimationFrame);
    still = scrollY === before ? still + 1 : 0;
    if (still) continue;
    const at = document.elementFromPoint(innerWidth / 4, innerHeight * 0.75)?.closest("[data-video]");
    const picture = at?.querySelector("img");
    seen.frames += 1;
    if (!at && scrollY + innerHeight < document.documentElement.scrollHeight - 400) seen.blank += 1;
    if (picture && !picture.complete) seen.unpainted += 1;
  }
  return { ...seen, cards: document.querySelectorAll("[data-video]").length };
}
"""


def measure() -> Figure:
    found = shutil.which("chromium")
    if found is None:
        sys.exit("this figure needs chromium: script/packages installs it")
    with serve(MODELS) as server, sync_playwright() as playwright:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda n: _make(server, n), range(VIDEOS)))
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        url = f"http://127.0.0.1:{server.port}"
        loads = [_load(browser, url) for _ in range(LOADS + 1)][1:]  # the first makes the thumbnails
        scrolled = _scroll(browser, url)
        health = _tabs(browser, url, server)
        browser.close()
    sizes = {file.name: len(file.data) for file in static_files().values()}
    return Figure(
        "studio",
        f"the page in Chromium, before a gallery of {VIDEOS} videos, and in {TABS} tabs at once",
        (
            Row("all files of the page", sum(sizes.values()) / 1000, "kB", 100),
            Row("first paint of the gallery, median", statistics.median(paint for paint, _, _ in loads), "ms", 300),
            Row("its first cards, median", statistics.median(cards for _, cards, _ in loads), "ms"),
            Row("all pictures of its first screen, median", statistics.median(whole for _, _, whole in loads), "ms"),
            Row("cards at the end of the scroll", scrolled["cards"]),
            Row("frames of the scroll with blank rows", scrolled["blank"], target=1),
            Row("frames of the scroll with a picture that is still to come", scrolled["unpainted"]),
            Row("frames of the scroll", scrolled["frames"]),
            *spread(f"/healthz with {TABS} tabs that watch jobs and galleries", health, p99=50),
        ),
        (f"{LOADS} loads by a fresh context each; Chromium, server and engine share the cores",),
    )


def _make(server: Server, n: int) -> None:
    with server.connect() as client:
        client.make("still", f"video {n} of many, a red ball on a lawn")


def _load(browser: Browser, url: str) -> tuple[float, float, float]:
    """Return the milliseconds to the first paint, the first cards and their pictures."""
    with _page(browser, url) as page:
        page.add_init_script(CARDS)
        page.goto("/#keep")
        while page.evaluate("window.firstPictures") is None:  # the page's policy allows no `wait_for_function`
            page.wait_for_timeout(20)
        return page.evaluate(FIRST_PAINT), page.evaluate("firstCards"), page.evaluate("firstPictures")


def _scroll(browser: Browser, url: str) -> dict[str, Any]:
    with _page(browser, url) as page:
        page.goto("/#keep")
        page.locator("[data-video] img").first.wait_for()
        found: dict[str, Any] = page.evaluate(SCROLL)
        return found


def _tabs(browser: Browser, url: str, server: Server) -> Sequence[float]:
    """Return the latencies of `/healthz` while tabs watch five jobs, and show the gallery."""
    with server.connect() as client:
        jobs = [_queue(client) for _ in range(5)]
        context = browser.new_context(base_url=url)
        for n in range(TABS):
            context.new_page().goto("/#keep" if n % 2 else "/#make")
        with watched(server.port) as health:
            context.pages[-1].wait_for_timeout(TABS_SECONDS * 1000)
        context.close()
        for job in jobs:
            client.send("DELETE", f"/v1/videos/{job}")
    return health


def _queue(client: Client) -> str:
    body = {"model": "slow", "prompt": "a long job", "provider_options": {"video": {"steps": 400}}}
    return str(json.loads(client.send("POST", "/v1/videos", json.dumps(body).encode())[1])["id"])


@contextmanager
def _page(browser: Browser, url: str) -> Iterator[Page]:
    context = browser.new_context(base_url=url, viewport={"width": 1280, "height": 900})
    try:
        yield context.new_page()
    finally:
        context.close()
