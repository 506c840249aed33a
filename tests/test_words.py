"""The rule of words: short first lines of docstrings, and names of one meaning."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("registry", "router", "plugins", "nano", "bench", "docs", "script", "tests")
MOST_WORDS = 14
RELATIVE = re.compile(r"\b(that|which|what|who|whom|whose|where|whoever|whatever|wherever)\b", re.IGNORECASE)
VAGUE = re.compile(
    r"\bso (many|much|few|long)\b|\bas (many|much|few)\b(?! as)|\bharms? nobody\b|\bstands? still\b", re.IGNORECASE
)
CODE = re.compile(r"`[^`]*`")
# words that had come to mean too much, alone and in the plural or with an s
OVERUSED = {"tier", "place", "room", "turn", "pace", "given", "settle", "amount", "cap", "told", "said", "asked"}
ALLOWED = {"service_tier", "ServiceTier", "not_found"}  # of the APIs
PARTS = re.compile(r"[A-Z]+(?=[A-Z][a-z]|\b|_|$)|[A-Z]?[a-z0-9]+")
Named = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@cache
def files() -> list[Path]:
    found = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if "versions" not in path.parts]  # Alembic writes those


@cache
def definitions(path: Path) -> list[Named]:
    return [*_definitions(ast.parse(path.read_text()))]


def _definitions(node: ast.AST) -> Iterator[Named]:
    if isinstance(node, Named):
        yield node
    for block in ("body", "orelse", "handlers", "finalbody"):
        statements = getattr(node, block, ())
        for statement in statements if isinstance(statements, list) else ():
            yield from _definitions(statement)


def where(path: Path, node: Named) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)} {getattr(node, 'name', 'module')}"


def faults(line: str) -> Iterator[str]:
    """Yield each rule of words that a docstring's first line breaks."""
    line = CODE.sub("x", line)
    words = len(line.split())
    if words > MOST_WORDS:
        yield f"{words} words"
    if len(RELATIVE.findall(line)) > 1:
        yield "two relative words"
    if VAGUE.search(line):
        yield "vague"


def overused(name: str) -> bool:
    """Say whether one of a name's words is overused."""
    words = {word.lower() for word in PARTS.findall(name)}
    return name not in ALLOWED and not words.isdisjoint(OVERUSED | {f"{word}s" for word in OVERUSED} | {"settled"})


def public_names(path: Path) -> Iterator[tuple[str, str]]:
    """Yield where each public name of a file stands, and the name."""
    relative = path.relative_to(ROOT)
    yield from ((str(relative), part) for part in relative.with_suffix("").parts)
    for node in definitions(path):
        if isinstance(node, ast.ClassDef) or (not isinstance(node, ast.Module) and not node.name.startswith("_")):
            yield where(path, node), node.name


def test_the_first_line_of_every_docstring_is_short() -> None:
    lines = [
        (where(path, node), text.split("\n")[0])
        for path in files()
        for node in definitions(path)
        if (text := ast.get_docstring(node))
    ]

    found = [f"{spot}: {', '.join(why)}: {line}" for spot, line in lines if (why := [*faults(line)])]
    assert not found, "\n".join(found)


def test_no_public_name_has_an_overused_word() -> None:
    ours = [path for path in files() if not path.is_relative_to(ROOT / "tests")]

    found = [f"{spot}: {name}" for path in ours for spot, name in public_names(path) if overused(name)]
    assert not found, "\n".join(found)


def test_a_breach_would_be_found() -> None:
    assert [*faults("Wait so long that whoever asks for the thing at the given place is told what it is")] == [
        "18 words",
        "two relative words",
        "vague",
    ]
    assert [*faults("Return the width of `a which is what it was` in pixels.")] == []
    assert [overused(name) for name in ("MemoryTier", "asked_for", "gave_places", "turns", "escape", "ServiceTier")] == [
        True, True, True, True, False, False,
    ]  # fmt: skip
