"""Take pictures of the page in four states: make, watch, keep, run."""

import json
import shutil
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

import demo

DOCS = demo.ROOT / "docs"
SIZE = {"width": 1280, "height": 860}
SHAPES = [
    f"a {colour} {shape} moves {way} on a {ground} background"
    for colour, shape, way, ground in (
        ("red", "circle", "right", "black"),
        ("blue", "square", "left", "white"),
        ("green", "triangle", "up", "black"),
        ("yellow", "star", "down", "gray"),
        ("purple", "circle", "left", "black"),
        ("orange", "square", "up", "gray"),
        ("red", "star", "right", "white"),
        ("green", "circle", "down", "black"),
        ("blue", "star", "up", "black"),
        ("yellow", "triangle", "right", "gray"),
        ("orange", "circle", "right", "black"),
    )
]


def main() -> None:
    with tempfile.TemporaryDirectory() as data, demo.server(Path(data)) as url, sync_playwright() as playwright:
        for seed, prompt in enumerate(SHAPES):
            finished(url, queue(url, prompt, seed=seed))
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_context(base_url=url, viewport=SIZE, color_scheme="light").new_page()
        make(page)
        keep(page)
        watch(page, url)
        page.emulate_media(color_scheme="dark")
        run(page)
        browser.close()


def make(page: Page) -> None:
    """Show the form with an image, and what it will cost."""
    page.goto("/")
    page.get_by_label("Model").select_option("wan-nano")
    page.get_by_label("Prompt", exact=True).fill("a red circle moves right on a black background")
    page.get_by_label("Image", exact=True).set_input_files(DOCS / "circle.png")
    page.get_by_text("Options").first.click()
    page.wait_for_timeout(1500)
    shoot(page, "make")


def watch(page: Page, url: str) -> None:
    """Show several jobs: one in a step, others in the queue."""
    for seed, prompt in enumerate(SHAPES[:5]):
        queue(url, prompt, model="wan-nano-t2v", seed=seed, steps=60, num_frames=33, size="128x128")
    page.goto("/#make")
    page.reload()
    page.get_by_role("img", name="Preview").first.wait_for()
    page.wait_for_timeout(2500)
    shoot(page, "watch")


def keep(page: Page) -> None:
    page.goto("/#keep")
    page.wait_for_timeout(1500)
    shoot(page, "keep")


def run(page: Page) -> None:
    page.goto("/#run")
    page.wait_for_timeout(1500)
    shoot(page, "run")


def shoot(page: Page, name: str) -> None:
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=DOCS / f"studio-{name}.png")


def queue(url: str, prompt: str, **options: object) -> str:
    body = {"prompt": prompt, "model": "wan-nano", **options}
    return str(json.loads(demo.fetch(f"{url}/v1/videos", body))["id"])


def finished(url: str, video: str) -> None:
    while json.loads(demo.fetch(f"{url}/v1/videos/{video}"))["status"] in ("queued", "in_progress"):
        time.sleep(0.2)


if __name__ == "__main__":
    main()
