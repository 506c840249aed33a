"""MkDocs hooks: the site from pages that also read well on a Git host."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
OUTSIDE = {  # pages of the site, and their files
    "index.md": "README.md",
    "nano.md": "nano/README.md",
    "benchmarks.md": "bench/README.md",
    "changelog.md": "CHANGELOG.md",
}
INSIDE = {source: name for name, source in OUTSIDE.items()}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
FENCE = re.compile(r"^( *)```(\w+) ([^\n]+)$", re.MULTILINE)
FILE = re.compile(r"\bfile=(\S+)")


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the pages whose files are outside of `docs/`."""
    for name, source in OUTSIDE.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    name = page.file.src_uri
    source = OUTSIDE.get(name, f"docs/{name}")
    return FENCE.sub(_fence, links(markdown, posixpath.dirname(source)))


def links(markdown: str, folder: str) -> str:
    """Return a page of `folder` with the site's links; links to code become text."""
    return LINK.sub(lambda found: _link(folder, *found.groups()), markdown)


def _link(folder: str, image: str, text: str, target: str) -> str:
    if re.match(r"[a-z]+:|#", target):
        return f"{image}[{text}]({target})"
    path, mark, anchor = target.partition("#")
    path = posixpath.normpath(posixpath.join(folder, path))
    if path in INSIDE:
        return f"{image}[{text}]({INSIDE[path]}{mark}{anchor})"
    if path.startswith("docs/"):
        return f"{image}[{text}]({path.removeprefix('docs/')}{mark}{anchor})"
    if image:  # a picture outside of docs/ is left out
        return ""
    return text


def _fence(found: re.Match[str]) -> str:
    """Return an opening fence whose tags are gone, but for a file's name."""
    indent, language, tags = found.groups()
    file = FILE.search(tags)
    return f"{indent}```{language}" + (f' title="{file[1]}"' if file else "")
