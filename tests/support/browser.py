"""A real browser before a real server with keys."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from conftest import LIMITS, SMALL
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from router.auth.keys import KeyLimits, Scope, new_key, new_text
from router.jobs import ApiKeyStore, open_database
from support.server import Server, serve_in

LONG = 600  # steps of a quarter of a second
MODELS = f"""
default: any
models:
  text: {{backend: still, modality: t2v, aliases: [org/text], {SMALL}, {LIMITS}}}
  image: {{backend: still, modality: i2v, {SMALL}, {LIMITS}}}
  both: {{backend: still, modality: ti2v, {SMALL}, {LIMITS}}}
  ends: {{backend: still, modality: flf2v, {SMALL}, {LIMITS}}}
  slow: {{backend: still, modality: t2v, options: {{step_seconds: 0.25}}, {SMALL}, limits: {{steps: {LONG}}}}}
  wan-nano-t2v: {{source: "embedded:wan-nano-t2v", backend: diffusers, adapters: [fast4, noir]}}
  wan-nano-i2v: {{source: "embedded:wan-nano-i2v", backend: diffusers, adapters: [fast4]}}
routes:
  any: [text, image]
"""
FAILING = """
from router import GenerationFailed, hookimpl


@hookimpl(tryfirst=True)
def generate(task):
    if task.prompt == "fail":
        raise GenerationFailed("this prompt <b>always</b> fails")
"""
NO_ANSWER = 0  # among allowed statuses: a connection that was refused or cut
LISTEN = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error("CSP", event.violatedDirective, event.blockedURI);
});
"""

SIGN_IN = "if (!sessionStorage.seen) localStorage.setItem('framegate-key', %s); sessionStorage.seen = 1"  # once a tab


@dataclass
class Studio:
    """A running server with keys, and the texts of some."""

    server: Server
    keys: ApiKeyStore
    key: str = ""
    admin_key: str = ""
    made: dict[str, str] = field(default_factory=dict)  # keys by name
    left: list[tuple[str, str]] = field(default_factory=list)  # long jobs and their keys
    known_at: float = 0.0  # when each process of the server knows every key

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def new_key(self, name: str, owner: str, *scopes: Scope, **limits: Any) -> str:
        """Return the text of a key, made at the first call with its name."""
        # a test may run again with the same server, and no name is used twice
        if name not in self.made:
            self.made[name] = new_text()
            key = new_key(self.made[name], name, owner, scopes or (Scope.GENERATE, Scope.READ))
            assert self.keys.add(replace(key, limits=KeyLimits(**limits))), name
            self.known_at = time.monotonic() + 1.0  # they look for new keys twice a second
        return self.made[name]

    def wait_for_keys(self) -> None:
        time.sleep(max(self.known_at - time.monotonic(), 0.0))

    def call(self, path: str, body: Any = None, method: str | None = None, *, key: str = "") -> Any:
        """Return the JSON of an answer to the generating key."""
        status, answer = self._send(path, body, method, key)
        assert status == 200, (status, answer)
        return answer

    def _send(self, path: str, body: Any, method: str | None, key: str) -> tuple[int, Any]:
        self.wait_for_keys()
        return self.server.call(path, body, method, headers={"authorization": f"Bearer {key or self.key}"})

    def make(self, prompt: str, model: str = "text", *, key: str = "", **options: Any) -> dict[str, Any]:
        """Queue a video and return it."""
        made: dict[str, Any] = self.call("/v1/videos", {"prompt": prompt, "model": model, **options}, key=key)
        return made

    def make_long(self, prompt: str, *, key: str = "", **video: Any) -> dict[str, Any]:
        """Queue a job that outlasts its test, and is deleted afterwards.

        Open pages would ask for a deleted one, and complain.
        """
        made = self.make(prompt, "slow", key=key, provider_options={"video": {"steps": LONG, **video}})
        self.left.append((made["id"], key))
        return made

    def delete_left(self) -> None:
        while self.left:
            video, key = self.left.pop()
            self._send(f"/v1/videos/{video}", None, "DELETE", key)  # the test may have deleted it

    def finished(self, video: dict[str, Any], key: str = "") -> dict[str, Any]:
        """Wait for the end of a video's job."""

        def ended() -> dict[str, Any] | None:
            now: dict[str, Any] = self.call(f"/v1/videos/{video['id']}", key=key)
            return now if now["status"] in ("completed", "failed") else None

        found: dict[str, Any] = self.server.until(ended)
        return found


@dataclass
class Console:
    """What a page complained about; each complaint fails the test unless it is allowed."""

    allowed: set[int] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    def watch(self, page: Page, host: str) -> None:
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", lambda request: self._asked(request, host))

    def allow(self, *statuses: int) -> None:
        """Allow answers of these statuses, `NO_ANSWER` among them."""
        self.allowed.update(statuses)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        text = message.text
        if text.startswith("Failed to load resource") or "net::ERR" in text:
            if "variant=preview" in message.location["url"] and "404" in text:
                return  # there is none before the first step
            if any(f"status of {status} " in text for status in self.allowed - {NO_ANSWER}):
                return
            if NO_ANSWER in self.allowed and "net::ERR" in text:
                return
        self.complaints.append(f"{text} ({message.location['url']})")

    def _asked(self, request: Request, host: str) -> None:
        url = urlsplit(request.url)
        if url.scheme in ("http", "https", "ws", "wss") and url.netloc != host:
            self.complaints.append(f"a request to another host: {request.url}")
        if "fg-" in request.url:
            self.complaints.append(f"a key in a URL: {request.url}")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium."""
    # for one module: while Playwright runs, no other test of this process can run an asyncio loop
    found = shutil.which("chromium")
    if found is None and "CI" not in os.environ:
        pytest.skip("needs chromium: script/packages installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def start_studio(folder: Path, models: str = MODELS, **settings: object) -> Studio:
    """Start a server that the caller stops, with two keys, one of scope `admin`.

    The prompt "fail" fails.
    """
    (folder / "failing.py").write_text(FAILING)
    settings["plugins"] = ":".join([str(folder / "failing.py"), *filter(None, [str(settings.get("plugins", ""))])])
    (folder / "data").mkdir(mode=0o700)
    studio = Studio(None, ApiKeyStore(open_database(folder / "data" / "jobs.sqlite")))  # type: ignore[arg-type]
    studio.key = studio.new_key("team", "team")
    studio.admin_key = studio.new_key("boss", "boss", Scope.ADMIN)
    studio.server = serve_in(folder, models, **settings)
    return studio


@pytest.fixture(scope="package")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """Serve `still` models and the nano models for the tests of one folder."""
    started = start_studio(tmp_path_factory.mktemp("studio"))
    yield started
    started.server.stop()


@pytest.fixture
def console() -> Iterator[Console]:
    """Check at the end that no page complained."""
    found = Console()
    yield found
    assert not found.complaints, "\n".join(found.complaints)


NewPage = Callable[..., Page]


@pytest.fixture
def new_page(chromium: Browser, studio: Studio, console: Console) -> Iterator[NewPage]:
    """Open pages: `new_page(key, path, **context)`; an empty key signs nobody in."""
    contexts: list[BrowserContext] = []

    def open_page(key: str = studio.key, path: str = "/", *, url: str = "", **options: Any) -> Page:
        base = url or studio.url
        context = chromium.new_context(base_url=base, viewport={"width": 1280, "height": 900}, **options)
        contexts.append(context)
        context.set_default_timeout(20_000)
        page = context.new_page()
        console.watch(page, urlsplit(base).netloc)
        page.add_init_script(LISTEN)
        if key:
            studio.wait_for_keys()
            page.add_init_script(SIGN_IN % json.dumps(key))
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    studio.delete_left()


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """Open the page, signed in as a team that generates."""
    return new_page()


@pytest.fixture
def admin_page(new_page: NewPage, studio: Studio) -> Page:
    """Open the page, signed in with a key of scope `admin`."""
    return new_page(studio.admin_key)
