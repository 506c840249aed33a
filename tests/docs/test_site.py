"""The site builds without a warning, and every link leads somewhere."""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from support.server import ROOT

from docs.reference.site import OUTSIDE, links
from tests.docs.blocks import FENCE, pages

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
LOADED = re.compile(r"""<(?:script|link|img|iframe)[^>]*?(?:src|href)=["']?((?:https?:)?//[^"'> ]+)""")
PAGES = [*pages(), ROOT / "bench" / "README.md", ROOT / "nano" / "README.md"]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0, built.stderr
    return folder


def slug(heading: str) -> str:
    """Return the anchor that a Git host gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@cache
def anchors(page: Path) -> set[str]:
    text = FENCE.sub("", page.read_text())
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.slow
def test_the_site_builds_and_has_every_page(site: Path) -> None:
    names = {page.stem for page in pages()[1:]} | {Path(name).stem for name in OUTSIDE if name != "index.md"}

    assert [name for name in sorted(names) if not (site / name / "index.html").is_file()] == []
    assert "Two commands" in (site / "index.html").read_text()
    assert not list(site.rglob("*.py"))


@pytest.mark.slow
def test_a_page_of_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    found = {url for page in site.rglob("*.html") for url in LOADED.findall(page.read_text())}

    assert found == set()


@pytest.mark.slow
def test_a_link_to_nowhere_would_stop_the_build(tmp_path: Path) -> None:
    config = (ROOT / "mkdocs.yml").read_text().split("nav:")[0] + "validation: {links: {anchors: warn}}\n"
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# A\n\n[b](#nowhere)\n")
    (tmp_path / "mkdocs.yml").write_text(config.replace("favicon: circle.png", ""))
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    assert built.returncode != 0
    assert "#nowhere" in built.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        assert file.is_relative_to(ROOT.resolve()), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(file), f"{page.name}: {target}, got {sorted(anchors(file))}"


def test_links_are_those_of_the_site() -> None:
    page = "[a](../README.md#b) [c](../router/settings.py) [d](api.md#e) ![f](../docs/g.png) [h](https://i.org) [j](#k)"

    wanted = "[a](index.md#b) c [d](api.md#e) ![f](g.png) [h](https://i.org) [j](#k)"
    assert links(page, "docs") == wanted
    assert links("[l](docs/m.md) [n](bench/README.md) [o](../p)", "") == "[l](m.md) [n](benchmarks.md) o"


def test_a_heading_has_the_anchor_of_a_git_host() -> None:
    assert slug("`framegate keys create`") == "framegate-keys-create"
    assert slug("A folder: of your own") == "a-folder-of-your-own"
