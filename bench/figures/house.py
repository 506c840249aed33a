"""The figures of the house: sizes, docstrings, comments, imports, settings and tests."""

import ast
import io
import statistics
import subprocess
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.tools.server import ROOT
from bench.tools.table import Figure, Row, quantile
from docs.reference.settings import settings_of_operators

PRODUCT = ("registry", "router", "plugins", "nano")
LONG_MODULE = 220  # lines
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DOCUMENTED = (ast.Module, ast.ClassDef, *FUNCTIONS)
Tree = Mapping[str, ast.Module]  # modules by their dotted names


def measure() -> Figure:
    files, bench, tests = _files(*PRODUCT), _files("bench"), _files("tests")
    product = [ast.parse(path.read_text()) for path in files]
    everything = product + [ast.parse(path.read_text()) for path in (*bench, *tests)]
    return Figure(
        "house",
        "the code's own figures",
        (
            *(Row(f"lines of {name}", sum(map(_lines, paths))) for name, paths in (("bench", bench), ("tests", tests))),
            *_sizes(files, product),
            *_words(files, everything),
            *_imports(dict(zip(map(_module, files), product, strict=True))),
            Row("environment variables", len(settings_of_operators())),
            Row("test functions, each counted once whatever its parameters", sum(map(_tests, everything))),
        ),
        ("a function's lines without its docstring; imports in functions count for floors, not for circles",),
    )


def _sizes(files: Sequence[Path], trees: Sequence[ast.Module]) -> Iterator[Row]:
    sizes = list(map(_lines, files))
    functions = [length(node) for tree in trees for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]
    yield Row(f"lines of {', '.join(PRODUCT)}", sum(sizes))
    yield Row("modules", len(sizes))
    yield Row("module, median lines", statistics.median(sizes))
    yield Row(f"modules over {LONG_MODULE} lines", sum(size > LONG_MODULE for size in sizes), target=1)
    yield Row("function, median lines", statistics.median(functions), target=6)
    yield Row("function, p90", quantile(functions, 0.9))
    yield Row("function, p99", quantile(functions, 0.99), target=26)
    yield Row("function, longest", max(functions))


def _words(files: Sequence[Path], trees: Sequence[ast.Module]) -> Iterator[Row]:
    bad = sum(map(_bad_docstrings, trees))
    comments = sum(_comments(path.read_text()) for path in files)
    yield Row("docstrings against the rule of words, bench and tests too", bad, target=1)
    yield Row("comments in a hundred lines", 100 * comments / sum(map(_lines, files)), least=3)


def _imports(trees: Tree) -> Iterator[Row]:
    edges = {name: set(_imported(tree.body, trees)) - {name} for name, tree in trees.items()}
    yield Row("modules in import circles", len(circular(edges)), target=1)
    yield Row("imports of a higher floor", len(list(_upward(trees))), target=1)


def _files(*folders: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = [name for name in listed.splitlines() if name.endswith(".py") and "migrations/versions" not in name]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function, without its docstring."""
    docstring = function.body[0] if ast.get_docstring(function) else None
    skipped = (docstring.end_lineno or 0) - docstring.lineno + 1 if docstring else 0
    return (function.end_lineno or 0) - function.lineno + 1 - skipped


def _bad_docstrings(tree: ast.Module) -> int:
    from tests.test_words import faults

    found = (ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, DOCUMENTED))
    return sum(any(faults(docstring.splitlines()[0])) for docstring in found if docstring)


def _comments(text: str) -> int:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(token.type == tokenize.COMMENT and "type: ignore" not in token.string for token in tokens)


def _imported(body: Iterable[ast.AST], trees: Tree) -> Iterator[str]:
    """Yield the modules of ours that the import statements among `body` name."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in trees)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield from (found for found in [name if name in trees else node.module] if found in trees)


def circular(edges: Mapping[str, set[str]]) -> set[str]:
    """Return the modules that reach themselves by imports."""
    return {name for name in edges if name in _reached(name, edges)}


def _reached(start: str, edges: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    pending = list(edges[start])
    while pending:
        if (name := pending.pop()) not in found:
            found.add(name)
            pending += edges[name]
    return found


def _upward(trees: Tree) -> Iterator[tuple[str, str]]:
    from tests.test_boundaries import FLOOR, room

    for name, tree in trees.items():
        for imported in set(_imported(ast.walk(tree), trees)):
            if FLOOR[room(imported)] > FLOOR[room(name)]:
                yield name, imported


def _tests(tree: ast.Module) -> int:
    return sum(isinstance(node, FUNCTIONS) and node.name.startswith("test_") for node in ast.walk(tree))
