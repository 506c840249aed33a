"""Every example of the documentation runs as printed, or says why not."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.server import ROOT

from registry.loader import load
from router.plugins import Plugins, find
from tests.docs.blocks import FENCE, Block, blocks, pages
from tests.docs.conftest import Newcomer

ELSEWHERE = {"plugins.md"}  # tests/cli runs its examples
PAGES = [page for page in pages() if page.name not in ELSEWHERE]
SHOWN = {"text"}  # diagrams
RUN = {"bash", "python", "json", "yaml"}
SKIPS = {
    "install": "script/demo and script/server are run by hand",
    "needs-root": "tests/deploy runs what it prints",
    "needs-domain": "a certificate needs a public name",
    "slow": "tests/processes/test_onnx_models.py runs it",
    "client": "tests/clients drives it",
    "soon": "the route is not there yet",
}
CLIENTS = {"openai", "litellm", "langchain", "curl"}  # tests/clients runs these
ANYTHING = "..."  # in an answer: any value; as a key: more keys
OWN = "own"  # a block with `data=own` has a data folder of its own
TYPED = [page for page in PAGES if any(block.language in RUN and not block.tag("skip") for block in blocks(page))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_block_runs_or_says_why_not(page: Path) -> None:
    for block in blocks(page):
        assert block.language in RUN | SHOWN | {"js"}, f"{block}: a block needs a language, got {block.language!r}"
        assert block.tag("skip") in {None, *SKIPS}, f"{block}: an unknown reason to skip, got {block.tag('skip')!r}"
        assert block.tag("client") in {None, *CLIENTS}, f"{block}: an unknown client, got {block.tag('client')!r}"
        assert block.language != "js" or block.tag("client"), f"{block}: nothing runs it"


@pytest.mark.slow
@pytest.mark.parametrize("page", TYPED, ids=lambda page: page.name)
def test_the_examples_of_a_page_run_in_order(page: Path, newcomer: Newcomer) -> None:
    if not (shutil.which("jq") and shutil.which("curl")):
        pytest.skip("needs the commands curl and jq on this machine")
    answer = ""
    for block in blocks(page):
        if block.tag("skip") or block.tag("client") or block.language in SHOWN:
            answer = ""
        elif block.language == "json":
            assert matches(json.loads(block.text), json.loads(answer)), f"{block}: got {answer}"
        else:
            answer = typed(block, newcomer)


def typed(block: Block, newcomer: Newcomer) -> str:
    """Do what a reader does with a block, and return its output."""
    if block.tag("file") is not None:
        path = newcomer.folder / str(block.tag("file"))
        path.write_text(block.text)
        if block.language == "yaml" and "models:" in block.text:
            check_models(path, newcomer.folder)
        return ""
    code = newcomer.here(block.text)
    command = [sys.executable, "-c", code] if block.language == "python" else ["bash", "-euo", "pipefail", "-c", code]
    environ = dict(newcomer.environ)
    if block.tag("data") == OWN:
        environ["FRAMEGATE_DATA"] = str(newcomer.folder / "data")
    done = subprocess.run(
        command, cwd=newcomer.folder, env=environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{block}: {done.stdout}{done.stderr}"
    return done.stdout


def check_models(path: Path, folder: Path) -> None:
    """Check a models file with the plugins that the page has written so far."""
    plugins = Plugins(find(sorted(folder.glob("*.py"))))
    registry = load(path, plugins.backends.values())
    assert not [model for model in registry.broken if "export" not in str(model.source)]


def matches(shown: Any, answer: Any) -> bool:
    """Say whether an answer is the one shown.

    `...` stands for any value, and as a key for more keys.
    """
    if shown == ANYTHING:
        return True
    if isinstance(shown, dict) and isinstance(answer, dict):
        names = shown.keys() - {ANYTHING}
        complete = names <= answer.keys() if ANYTHING in shown else names == answer.keys()
        return complete and all(matches(shown[name], answer[name]) for name in names)
    return bool(shown == answer)


def test_another_answer_would_be_found() -> None:
    assert matches({"a": 1, "b": "..."}, {"a": 1, "b": [2]})
    assert matches({"a": 1, "...": "..."}, {"a": 1, "b": 2})
    assert not matches({"a": 1}, {"a": 1, "b": 2})
    assert not matches({"a": 1}, {"a": 2})
    assert not matches([{"a": "..."}], [{"a": 1}])


def test_blocks_are_found_with_their_tags(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A\n\n```bash skip=slow data=own\nls\n```\n\n- b\n\n  ```python\n  print()\n  ```\n")
    first, second = blocks(page)

    assert (first.line, first.language, first.tag("skip"), first.tag("data"), first.text) == (
        3,
        "bash",
        "slow",
        "own",
        "ls\n",
    )
    assert (second.language, second.tag("skip"), second.text) == ("python", None, "print()\n")


def test_the_front_page_stays_short() -> None:
    text = FENCE.sub("", (ROOT / "README.md").read_text())

    assert len(text.split()) < 1250  # five minutes


def test_no_prompt_is_outside_of_what_the_toy_draws() -> None:
    words = ("red ball", "cat.png", "cat surfs", "waves at night")
    found = [f"{page.name}: {word}" for page in pages() for word in words if word in page.read_text()]

    assert found == []


def test_the_session_of_the_front_page_shows_the_refusal_of_its_text() -> None:
    (shown,) = (json.loads(block.text) for block in blocks(ROOT / "README.md") if block.language == "json")
    picture = (ROOT / "docs" / "session.svg").read_text()

    missing = [word for word in shown["error"]["message"].split() if word not in picture]
    assert missing == [], "run: script/picture"
