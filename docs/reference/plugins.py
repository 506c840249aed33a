"""Tables for plugin authors: hooks, rules of the contract, stable imports."""

import inspect

import router
from docs.reference.meanings import IMPORTS, RUNS_IN, meaning
from docs.reference.table import code, first_line, table
from router import hookspecs
from router.testing.contract import CHECKS


def hooks() -> str:
    """Return each hook with its arguments and the first paragraph of its docstring."""
    specs = [each for each in vars(hookspecs).values() if hasattr(each, f"{hookspecs.PROJECT}_spec")]
    return table(
        ("hook", "arguments", "runs in", "what it does"),
        [
            (
                code(each.__name__),
                ", ".join(inspect.signature(each).parameters) or "-",
                meaning(RUNS_IN, each.__name__),
                first_line(inspect.getdoc(each)),
            )
            for each in specs
        ],
    )


def contract() -> str:
    """Return the rules of the contract: each check's name, and its docstring."""
    rows = [(check.__name__.replace("_", " "), first_line(inspect.getdoc(check))) for check in CHECKS]
    return table(("rule", "what is checked"), rows)


def imports() -> str:
    """Return each name of `router` with its docstring's first line."""
    abouts = {name: IMPORTS.get(name) or first_line(inspect.getdoc(getattr(router, name))) for name in router.__all__}
    return table(("name", "what it is"), [(code(name), about) for name, about in abouts.items()])
