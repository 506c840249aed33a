"""The form: models, prompts, images, options, the estimate, and sending."""

import base64
import io
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, Request, Route, expect
from support.browser import NO_ANSWER, Console, NewPage, Studio

from router.auth.keys import Scope

pytestmark = pytest.mark.slow
FILES = """([data, name, type]) => {
  const transfer = new DataTransfer();
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  transfer.items.add(new File([bytes], name, { type }));
  return transfer;
}"""
LARGE = """() => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(30_000_000)], "large.png", { type: "image/png" }));
  return transfer;
}"""
PASTE = """(clipboardData) => document.activeElement.dispatchEvent(
  new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }))"""
AGAIN = """async (values) => {
  document.getElementById("view-make").remove();
  const root = document.createElement("div");
  document.getElementById("main").append(root);
  const { mount } = await import("/studio/make.js");
  const { data } = await (await fetch("v1/models", { headers: { authorization: `Bearer ${localStorage["framegate-key"]}` } })).json();
  const view = await mount(root, { models: async () => data, on() {}, emit() {}, go() {}, caller: null });
  view.show({ values });
}"""


def picture(width: int = 96, height: int = 48, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(out, kind)
    return out.getvalue()


def transfer(page: Page, data: bytes, name: str = "cat.png", kind: str = "image/png") -> Any:
    """Return a DataTransfer of the page with one file."""
    return page.evaluate_handle(FILES, [base64.b64encode(data).decode(), name, kind])


def choose(page: Page, model: str) -> None:
    page.get_by_label("Model").select_option(model)


def image(page: Page, label: str = "Image") -> Locator:
    return page.get_by_label(label, exact=True)


def attach(page: Page, data: bytes, label: str = "Image", name: str = "cat.png") -> None:
    image(page, label).set_input_files({"name": name, "mimeType": "image/png", "buffer": data})


def options(page: Page) -> None:
    page.get_by_text("Options").click()


def submit(page: Page) -> None:
    page.get_by_role("button", name="Make video").click()


def sent(page: Page) -> dict[str, Any]:
    """Send the form and return the video."""
    with page.expect_response(lambda answer: answer.url.endswith("/v1/videos") and answer.status == 200) as found:
        submit(page)
    expect(page.get_by_text("Queued: ")).to_be_visible()
    video: dict[str, Any] = found.value.json()
    return video


@pytest.fixture
def posts(page: Page) -> list[Request]:
    """Collect the page's requests for videos, without those for estimates."""
    found: list[Request] = []

    def keep(request: Request) -> None:
        if request.method == "POST" and request.url.endswith("/v1/videos"):
            found.append(request)

    page.on("request", keep)
    return found


def test_a_first_video_needs_a_prompt_only(page: Page, studio: Studio) -> None:
    prompt = page.get_by_label("Prompt", exact=True)
    expect(prompt).to_be_focused()
    expect(page.get_by_label("Model")).to_have_value("any")
    expect(page.get_by_text("64 x 64, 5 frames (0.6 s), 4 steps")).to_be_visible()

    page.keyboard.type("a red circle")
    with page.expect_response(lambda answer: answer.url.endswith("/v1/videos")) as answer:
        page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Queued: ")).to_be_visible()

    video = studio.finished(answer.value.json())
    assert (video["status"], video["prompt"], video["model"]) == ("completed", "a red circle", "text")
    expect(prompt).to_have_value("a red circle")
    page.keyboard.type("!")
    expect(page.locator("#make-price")).to_contain_text("About")


def test_text_for_an_image_model_is_refused_beside_the_image(page: Page, posts: list[Request]) -> None:
    choose(page, "wan-nano-i2v")
    page.get_by_label("Prompt", exact=True).fill("a red circle")
    submit(page)

    expect(page.get_by_text("wan-nano-i2v is image to video: it needs an image")).to_be_visible()
    expect(image(page)).to_be_focused()
    expect(image(page)).to_have_attribute("aria-invalid", "true")
    assert not posts

    attach(page, picture())

    expect(page.get_by_text("it needs an image")).to_be_hidden()


def test_an_empty_form_is_refused_beside_the_prompt(page: Page, posts: list[Request]) -> None:
    submit(page)

    expect(page.get_by_text("a prompt is missing")).to_be_visible()
    expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
    assert not posts


def test_an_image_for_a_text_model_is_refused(page: Page) -> None:
    choose(page, "text")
    page.dispatch_event("form.card", "drop", {"dataTransfer": transfer(page, picture())})

    words = "text is text to video: it takes no image; image, both, ends, wan-nano-i2v would"
    expect(page.get_by_text(words)).to_be_visible()


def test_an_image_of_another_model_is_kept_but_not_sent(page: Page, studio: Studio) -> None:
    choose(page, "image")
    attach(page, picture())
    choose(page, "text")

    expect(page.locator("#make-image-hint")).to_have_text("Not used: text is text to video")
    page.get_by_label("Prompt", exact=True).fill("without it")
    assert studio.finished(sent(page))["status"] == "completed"

    page.get_by_role("button", name="Remove image").click()
    expect(image(page)).to_be_hidden()


def test_a_route_follows_the_inputs(page: Page, studio: Studio) -> None:
    expect(page.get_by_text("text will run: text to video")).to_be_visible()
    attach(page, picture())
    expect(page.get_by_text("image will run: image to video")).to_be_visible()
    expect(page.get_by_text("96 x 48")).to_be_visible()

    page.get_by_label("Prompt", exact=True).fill("a cat")

    assert sent(page)["model"] == "image"


def test_an_image_is_dropped_pasted_and_chosen(page: Page) -> None:
    choose(page, "image")
    shown = page.get_by_role("img", name="Image, as the model will see it")
    remove = page.get_by_role("button", name="Remove image")

    page.get_by_label("Prompt", exact=True).dispatch_event("drop", {"dataTransfer": transfer(page, picture())})
    expect(shown).to_be_visible()
    remove.click()
    expect(shown).to_be_hidden()

    page.get_by_label("Prompt", exact=True).focus()
    page.evaluate(PASTE, transfer(page, picture(640, 480, "JPEG"), "x.jpg", "image/jpeg"))
    expect(page.get_by_text("640 x 480")).to_be_visible()
    remove.click()

    attach(page, picture(30, 300, "WEBP"))
    expect(page.get_by_text("Cropped from 30 x 300")).to_be_visible()


def test_what_is_no_image_is_refused_in_words(page: Page, console: Console) -> None:
    console.allow(400)  # of the estimate
    choose(page, "image")
    for data, kind in ((picture(kind="GIF"), "image/gif"), (b"a text", "text/plain")):
        image(page).set_input_files({"name": "cat", "mimeType": kind, "buffer": data})
        expect(page.get_by_text(f"an image must be PNG, JPEG, WebP, HEIC or AVIF, got {kind}")).to_be_visible()
    page.dispatch_event("form.card", "drop", {"dataTransfer": page.evaluate_handle(LARGE)})
    expect(page.get_by_text("an image may have up to 21 MB, got 30 MB")).to_be_visible()

    attach(page, b"\0\0\0\x18ftypheic" + bytes(40), name="cat.heic")

    expect(page.get_by_text("cat.heic, which this browser cannot show")).to_be_visible()


def test_a_first_and_a_last_image_make_a_video(page: Page, studio: Studio) -> None:
    choose(page, "ends")
    page.get_by_label("Prompt", exact=True).fill("from here to there")
    attach(page, picture())
    submit(page)
    expect(page.get_by_text("ends is first and last image to video: it needs a last image")).to_be_visible()
    expect(image(page, "Last image")).to_be_focused()

    page.evaluate(PASTE, transfer(page, picture()))
    expect(page.get_by_role("img", name="Last image, as the model will see it")).to_be_visible()

    assert studio.finished(sent(page))["status"] == "completed"


def test_an_adapter_brings_its_defaults(page: Page, studio: Studio, console: Console) -> None:
    console.allow(400)  # of the estimate
    choose(page, "wan-nano-i2v")
    options(page)
    expect(page.get_by_label("Steps")).to_have_attribute("placeholder", "12")
    page.get_by_label("fast4", exact=True).check()
    expect(page.get_by_label("Steps")).to_have_attribute("placeholder", "4")
    expect(page.get_by_label("Guidance", exact=True)).to_have_attribute("placeholder", "1")
    page.get_by_label("Strength of fast4").fill("11")
    expect(page.get_by_text("adapters[0].strength must be a number from -10 to 10")).to_be_visible()
    page.get_by_label("Strength of fast4").fill("0.9")
    page.get_by_label("Frames", exact=True).fill("5")
    page.get_by_label("Prompt", exact=True).fill("a red circle moves right")
    page.dispatch_event("form.card", "drop", {"dataTransfer": transfer(page, picture())})
    expect(page.get_by_text("fast4").last).to_be_visible()
    expect(page.get_by_text("80 x 32, 5 frames (0.6 s), 4 steps, fast4")).to_be_visible()

    video = studio.finished(sent(page))

    used = video["provider_options"]["video"]
    assert (video["status"], video["size"], used["steps"]) == ("completed", "80x32", 4)
    assert used["adapters"] == [{"name": "fast4", "strength": 0.9}]


def test_what_would_be_refused_is_named_before_it_is_sent(page: Page, posts: list[Request], console: Console) -> None:
    console.allow(400)  # of the estimate
    choose(page, "text")
    page.get_by_label("Prompt", exact=True).fill("a red circle")
    options(page)
    for fields, words in (
        ({"Steps": "100"}, "Steps must be an integer from 1 to 60, got 100"),
        ({"Frames": "50"}, "Frames must be an integer from 1 to 49, got 50"),
        ({"Frames per second": "1.5"}, "Frames per second must be an integer from 1 to 60, got 1.5"),
        ({"Guidance": "21"}, "Guidance must be a number from 0 to 20, got 21"),
        ({"Flow shift": "0"}, "Flow shift must be a number from 0.01 to 100, got 0"),
        ({"Width": "256", "Height": "256"}, "text takes at most 16,384 pixels a frame, got 256 x 256"),
        ({"Seed": "-1"}, "Seed must be an integer from 0 to 9223372036854775807, got -1"),
    ):
        for name, value in fields.items():
            page.get_by_label(name, exact=True).fill(value)
        expect(page.get_by_text(words)).to_be_visible()
        for name in fields:
            page.get_by_label(name, exact=True).fill("")
        expect(page.get_by_text(words)).to_be_hidden()
    assert not posts


def test_adjusted_values_are_shown_as_they_will_be(page: Page) -> None:
    choose(page, "text")
    options(page)
    page.get_by_label("Width").fill("70")
    page.get_by_label("Height").fill("100")
    page.get_by_label("Frames", exact=True).fill("8")

    expect(page.get_by_text("64 will be used")).to_be_visible()
    expect(page.get_by_text("96 will be used")).to_be_visible()
    expect(page.get_by_text("9 will be used")).to_be_visible()
    expect(page.get_by_text("64 x 96, 9 frames (1.1 s), 4 steps")).to_be_visible()
    expect(page.get_by_text("size 70x100 was made 64x96")).to_be_visible()


def test_a_refusal_of_the_server_stands_beside_its_field(page: Page, console: Console) -> None:
    console.allow(400)
    choose(page, "both")
    page.get_by_label("Prompt", exact=True).fill("a red circle")
    attach(page, picture())
    options(page)
    page.get_by_label("Frames", exact=True).fill("1")

    problem = page.locator("#make-num_frames-problem")
    words = "both is text-and-image-to-video: with text and an image it makes 5 frames or more"
    expect(problem).to_contain_text(words)
    with page.expect_response(lambda answer: answer.url.endswith("/v1/videos")) as answer:
        submit(page)

    assert answer.value.status == 400
    expect(problem).to_contain_text(words)
    expect(page.get_by_label("Frames", exact=True)).to_be_focused()
    expect(page.get_by_role("button", name="Make video")).to_be_enabled()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a red circle")


def test_a_video_whose_answer_is_lost_is_made_once(
    page: Page, studio: Studio, console: Console, posts: list[Request]
) -> None:
    console.allow(NO_ANSWER)

    def lose(route: Route) -> None:
        route.fetch()  # the server has it, and its answer gets lost
        route.abort()

    page.route("**/v1/videos", lose, times=1)
    page.get_by_label("Prompt", exact=True).fill("only once")
    submit(page)
    expect(page.get_by_text("Sending…")).to_be_visible()
    expect(page.get_by_text("Queued: ")).to_be_visible()

    assert len({request.headers["idempotency-key"] for request in posts}) == 1
    videos = studio.call("/v1/videos?limit=100")["data"]
    assert [video["prompt"] for video in videos].count("only once") == 1


def test_prompts_are_sent_while_another_is_on_its_way(page: Page, studio: Studio, console: Console) -> None:
    console.allow(400)
    held: list[Route] = []
    page.route("**/v1/videos", lambda route: held.append(route))
    prompt = page.get_by_label("Prompt", exact=True)
    for words in ("the first", "the second", "the third"):
        prompt.fill(words)
        submit(page)
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Make video").dblclick()
    expect(page.get_by_text("Sending…")).to_be_visible()
    page.wait_for_timeout(100)
    assert len(held) == 4  # a double click makes one video
    prompt.fill("a draft")

    refusal = {"error": {"message": "not this one", "type": "invalid_request_error", "param": "prompt", "code": "x"}}
    held[0].fulfill(status=400, json=refusal)
    for route in held[1:]:
        route.continue_()

    expect(page.get_by_text("Sending…")).to_be_hidden()
    expect(page.get_by_role("alert").filter(has_text='"the first" was refused: not this one')).to_be_visible()
    expect(prompt).to_have_value("a draft")
    made = [video["prompt"] for video in studio.call("/v1/videos?limit=100")["data"]]
    assert (made.count("the first"), made.count("the second"), made.count("the third")) == (0, 1, 2)
    page.get_by_role("button", name="Edit it").click()
    expect(prompt).to_have_value("the first")


def test_one_side_is_sent_with_the_other_as_it_is_shown(page: Page) -> None:
    choose(page, "text")
    options(page)
    page.get_by_label("Width").fill("70")
    expect(page.get_by_text("64 will be used")).to_be_visible()
    page.get_by_label("Width").fill("")
    page.get_by_label("Height").fill("96")
    page.get_by_label("Prompt", exact=True).fill("a tall one")
    expect(page.get_by_text("64 x 96, 5 frames")).to_be_visible()

    assert sent(page)["size"] == "64x96"


def test_an_image_that_the_browser_cannot_read_is_measured_once(page: Page) -> None:
    choose(page, "image")
    bodies: list[bytes] = []
    page.on("request", lambda sent: bodies.append(sent.post_data_buffer or b"") if "estimate" in sent.url else None)
    page.evaluate("Object.defineProperty(Image.prototype, 'naturalWidth', { value: 0 }) && null")
    attach(page, picture(200, 50, "PNG"))
    expect(page.get_by_text("128 x 32, 5 frames")).to_be_visible()
    options(page)
    with page.expect_response("**/v1/videos/estimate"):
        page.get_by_label("Steps").fill("3")
    expect(page.get_by_text("128 x 32, 5 frames (0.6 s), 3 steps")).to_be_visible()

    assert bodies.count(b"") == 1  # Chromium tells no body with a file
    assert b'"image_size"' in bodies[-1]


ESTIMATE = "**/v1/videos/estimate"


def test_what_an_estimate_says_of_price_and_engines(page: Page, console: Console) -> None:
    console.allow(429)
    known = {"expected_seconds": 2.0, "load_seconds": None, "remaining_seconds": None, "basis": "measured"}
    answers: list[dict[str, Any]] = [
        {"status": 429, "headers": {"retry-after": "1"}, "json": {"error": {"message": "too fast", "code": "x"}}},
        {"json": {**known, "cost": 0.000123}},
        {"json": {**known, "expected_seconds": None, "cost": None}},
    ]
    page.get_by_text("text will run").wait_for()
    page.route(ESTIMATE, lambda route: route.fulfill(**answers.pop(0)) if answers else route.continue_())
    price = page.locator("#make-price")
    page.get_by_label("Prompt", exact=True).fill("cheap")
    expect(price).to_have_text("too fast")
    expect(page.get_by_role("alert").filter(has_text="too fast")).to_have_count(0)

    expect(price).to_have_text("About 2 s; no engine takes jobs now; costs about 0.00012")
    page.get_by_label("Prompt", exact=True).fill("new")
    expect(price).to_have_text("Its time is known after a first video")


def test_models_of_an_open_page_follow_the_server(page: Page) -> None:
    expect(page.get_by_label("Model")).to_have_value("any")

    def rename(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace('"slow"', '"steady"'))

    page.route("**/v1/models", rename)
    page.evaluate("dispatchEvent(new Event('focus'))")

    expect(page.get_by_label("Model").get_by_role("option", name="steady")).to_be_attached()


def test_a_draft_survives_a_reload(page: Page) -> None:
    choose(page, "wan-nano-t2v")
    page.get_by_label("Prompt", exact=True).fill("a draft")
    options(page)
    page.get_by_label("Steps").fill("7")
    page.get_by_label("noir", exact=True).check()

    page.reload()

    expect(page.get_by_label("Model")).to_have_value("wan-nano-t2v")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a draft")
    expect(page.get_by_label("Steps")).to_have_value("7")
    expect(page.get_by_label("noir", exact=True)).to_be_checked()


def test_the_values_of_a_video_fill_the_form(page: Page) -> None:
    expect(page.get_by_label("Model")).to_have_value("any")
    values = {
        "model": "wan-nano-t2v",
        "prompt": "once more",
        "seed": 7,
        "width": 96,
        "height": 64,
        "adapters": [{"name": "fast4", "strength": 0.5}, {"name": "gone", "strength": 1}],
    }

    page.evaluate(AGAIN, values)

    expect(page.get_by_label("Seed")).to_have_value("7")
    expect(page.get_by_label("Model")).to_have_value("wan-nano-t2v")
    expect(page.get_by_label("Strength of fast4")).to_have_value("0.5")
    expect(page.get_by_text("wan-nano-t2v has no adapter gone")).to_be_visible()
    expect(page.get_by_text("The form has its values: Make video makes it")).to_be_visible()
    expect(page.get_by_text("96 x 64, 17 frames (2.1 s), 4 steps, fast4, seed 7")).to_be_visible()


def test_a_model_that_is_gone_is_named_and_all_else_kept(page: Page) -> None:
    expect(page.get_by_label("Model")).to_have_value("any")

    page.evaluate(AGAIN, {"model": "gone", "prompt": "kept"})

    expect(page.get_by_text("gone cannot run here now")).to_be_visible()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("kept")


def test_a_key_that_may_only_read_makes_no_video(new_page: NewPage, studio: Studio) -> None:
    page = new_page(studio.new_key("reader", "team", Scope.READ))

    expect(page.get_by_role("button", name="Make video")).to_be_disabled()
    expect(page.get_by_text("this key may read, not generate")).to_be_visible()
