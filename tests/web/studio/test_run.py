"""The view Run: engines that drain, the queue, failures, keys, revisions, a plugin's panel."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from support.browser import Console, Studio, start_studio

from router.accounting.budgets import Budget
from tests.cli.test_plugin_docs import blocks

pytestmark = pytest.mark.slow
expect.set_options(timeout=20_000)  # a loaded machine needs seconds
TICK_MS = 5000  # between two looks of the view
SMALL = "defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 4}, limits: {steps: 600}"
MODELS = f"""
default: text
models:
  text: {{backend: still, modality: t2v, {SMALL}}}
  slow: {{backend: still, modality: t2v, options: {{step_seconds: 0.25}}, {SMALL}}}
"""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """Serve two models, with the panel of the documentation."""
    folder = tmp_path_factory.mktemp("studio")
    (panel,) = [text for name, text in blocks("python", "file=") if name == "panel.py"]
    (folder / "panel.py").write_text(panel)
    started = start_studio(folder, MODELS, plugins=folder / "panel.py")
    yield started
    started.server.stop()


@pytest.fixture
def run(admin_page: Page) -> Page:
    """Open the view, with a clock that tests move."""
    admin_page.clock.install()
    admin_page.goto("/#run")
    admin_page.reload()
    expect(admin_page.get_by_role("heading", name="Run", exact=True)).to_be_visible()
    return admin_page


def test_an_engine_drains_and_claims_again(run: Page, studio: Studio) -> None:
    studio.finished(studio.make("a"))
    engines = run.get_by_role("region", name="Engines")
    expect(engines).to_contain_text("text loaded")
    engines.get_by_role("button", name="Drain cpu", exact=True).focus()
    run.keyboard.press("Enter")
    expect(engines).to_contain_text("draining")
    expect(engines).to_contain_text("Every engine drains: nothing new starts.")
    expect(engines.get_by_role("button", name="Resume cpu", exact=True)).to_be_focused()
    expect(run.locator("#toasts")).to_contain_text("cpu ends its job and claims no more")
    video = studio.make("waits")
    run.clock.run_for(TICK_MS)
    queue = run.get_by_role("region", name="Queue by model")
    expect(queue.get_by_role("row", name="text")).to_contain_text("1")
    assert studio.call(f"/v1/videos/{video['id']}")["status"] == "queued"
    run.keyboard.press("Enter")

    expect(engines.get_by_role("button", name="Drain")).to_be_focused()
    assert studio.finished(video)["status"] == "completed"
    run.clock.run_for(TICK_MS)
    expect(run.get_by_text(re.compile(r"^\d+ completed$"))).to_be_visible()


def test_failures_and_keys_are_listed_with_reasons_and_budgets(run: Page, studio: Studio) -> None:
    key = studio.new_key("red", "reds", queued=3, gpu_seconds=Budget.parse("3600/day"))
    studio.finished(studio.make("fail"))
    run.reload()
    failed = run.get_by_role("region", name="Failed jobs")
    keys = run.get_by_role("region", name="API keys")
    red = keys.get_by_role("row", name="red")

    expect(failed).to_contain_text("this prompt <b>always</b> fails")
    expect(failed).to_contain_text("generation_failed")
    expect(red).to_contain_text("active")
    expect(red).to_contain_text("3 queued")
    expect(red).to_contain_text("gpu seconds of the key red: 3,600 of 3,600 left this day")
    expect(keys.get_by_role("row", name="team")).to_contain_text(re.compile(r"\d+ jobs?, "))
    assert key not in run.content()
    failed.get_by_role("button", name="Open video_").first.click()
    expect(run.get_by_role("dialog")).to_contain_text("Failed: this prompt")
    run.go_back()
    expect(run.get_by_role("dialog")).to_have_count(0)
    assert run.url.endswith("#keep")


ENGINE = {
    "device": "cuda:0",
    "kind": "NVIDIA H200",
    "age_seconds": 1.0,
    "alive": True,
    "draining": False,
    "job": None,
    "job_model": None,
    "models": [],
    "memory": {"resident_bytes": None, "device_bytes": 7_000_000_000},
    "loaded": [],
    "lacks": {},
    "too_large": {},
}


def test_engines_that_are_lost_or_of_one_device_are_told_apart(run: Page) -> None:
    lost = {"id": "c", "pid": 3, "alive": False, "draining": True}
    engines = [{**ENGINE, **own} for own in ({"id": "a", "pid": 1}, {"id": "b", "pid": 2}, lost)]
    run.route("**/admin/engines", lambda route: route.fulfill(json={"object": "list", "data": engines}))
    run.clock.run_for(TICK_MS)
    card = run.get_by_role("region", name="Engines")
    first, second = (card.get_by_role("button", name=f"Drain cuda:0, process {n}", exact=True) for n in (1, 2))
    expect(card.get_by_role("button")).to_have_count(2)
    expect(card.get_by_text("7 GB in use on the device")).to_have_count(2)
    expect(card).not_to_contain_text("draining")

    second.focus()
    engines.insert(0, engines.pop(1))  # the one that was seen last comes first
    run.clock.run_for(TICK_MS)

    expect(second.and_(card.get_by_role("button").first)).to_be_focused()
    expect(first).to_be_visible()


def test_the_cause_of_a_failure_stands_below_its_message(run: Page) -> None:
    job = {"id": "video_1", "model": "text", "owner": "team", "key_name": None, "created_at": 1, "finished_at": 2}
    why = {"code": "internal_error", "message": "it failed", "cause": "KeyError: 'x'", "attempts": 2, "request_id": "r"}
    run.route("**/admin/failures?*", lambda route: route.fulfill(json={"object": "list", "data": [job | why]}))
    run.reload()

    expect(run.get_by_role("region", name="Failed jobs")).to_contain_text("it failedKeyError: 'x'2 attempts, request r")


def test_a_reload_shows_what_it_would_change_first(run: Page, studio: Studio) -> None:
    file = studio.server.data.parent / "models.yaml"
    card = run.get_by_role("region", name="Revisions of the models file")
    card.get_by_role("button", name="Reload the models file").click()
    expect(card).to_contain_text("Nothing has changed.")
    file.write_text(MODELS.replace("x2v", "t2v").replace("modality: t2v", "modality: x2v", 1))
    card.get_by_role("button", name="Reload the models file").click()
    expect(card).to_contain_text("This file cannot be served:")
    expect(card.get_by_role("button", name="Reload now")).to_have_count(0)
    file.write_text(MODELS.replace("default: text", "default: slow"))
    card.get_by_role("button", name="Reload the models file").click()
    expect(card.locator("pre .good")).to_contain_text(["+++", "+default: slow"])
    card.get_by_role("button", name="Reload now").press("Enter")
    run.clock.resume()
    expect(card.get_by_role("listitem").filter(has_text="Revision 2")).to_contain_text("current", timeout=4000)
    expect(card.get_by_role("button", name="Reload the models file")).to_be_focused()
    card.get_by_text("Revision 2").click()

    expect(card.get_by_role("region", name="Differences of revision 2")).to_contain_text(
        "-default: text\n+default: slow"
    )
    assert studio.server.until(lambda: studio.call("/v1/models/slow")["default"])


def test_others_see_their_own_queue_and_usage(page: Page, studio: Studio) -> None:
    studio.finished(studio.make("mine"))
    studio.make_long("in sight")
    page.get_by_role("link", name="Run").click()
    queue, usage = page.get_by_role("region", name="Your jobs"), page.get_by_role("region", name="Usage by model")

    expect(queue.get_by_role("row", name="in sight")).to_contain_text("slow")
    expect(usage.get_by_role("row", name="text")).to_be_visible()
    expect(page.get_by_role("region", name="Engines")).to_have_count(0)


def test_a_hidden_view_asks_for_nothing(run: Page) -> None:
    expect(run.get_by_role("region", name="API keys")).to_be_visible()
    with run.expect_request("**/admin/queue"):
        run.clock.run_for(TICK_MS)
    asked: list[str] = []
    run.on("request", lambda request: asked.append(request.url))
    run.get_by_role("link", name="Keep").click()
    expect(run.get_by_label("Search prompts")).to_be_visible()
    run.clock.run_for(3 * TICK_MS)

    assert [url for url in asked if "/admin/" in url] == []


def test_a_server_that_is_gone_is_named_and_asked_again(run: Page, console: Console) -> None:
    expect(run.get_by_role("region", name="API keys")).to_be_visible()
    console.allow(0)
    run.route("**/admin/**", lambda route: route.abort())
    run.clock.run_for(TICK_MS)
    problem = run.get_by_role("alert").filter(has_text="the server does not answer")
    expect(problem).to_be_visible()
    run.unroute("**/admin/**")
    run.clock.run_for(TICK_MS)

    expect(problem).to_have_count(0)


def test_the_panel_of_the_documentation_works(page: Page, studio: Studio) -> None:
    studio.finished(studio.make("counted"))
    page.reload()
    page.get_by_role("link", name="Today").click()

    expect(page.get_by_role("heading", name="Videos of team today")).to_be_visible()
    expect(page.get_by_text(re.compile(r"^text: \d+$"))).to_be_visible()
    assert page.url.endswith("#panel-today")
