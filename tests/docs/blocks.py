"""The fenced blocks of the documentation, and their tags, as in ```bash skip=needs-root."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README, DOCS = ROOT / "README.md", ROOT / "docs"
FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, tags and text, and the line of its fence."""

    page: str
    line: int
    language: str
    tags: tuple[tuple[str, str], ...]
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def tag(self, name: str) -> str | None:
        return dict(self.tags).get(name)


def pages() -> list[Path]:
    """Return the pages of the documentation, as a reader meets them."""
    return [README, *sorted(DOCS.glob("*.md"))]


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [_block(page.name, text, found) for found in FENCE.finditer(text)]


def _block(page: str, text: str, found: re.Match[str]) -> Block:
    language, *tags = found["info"].split() or [""]
    indent = re.compile(f"^{found['indent']}", re.MULTILINE)
    pairs = tuple((name, value) for name, _, value in (tag.partition("=") for tag in tags))
    line = text.count("\n", 0, found.start()) + 1
    return Block(page, line, language, pairs, indent.sub("", found["text"]))
