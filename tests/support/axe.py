"""axe-core on an open page."""

from importlib.resources import files

from playwright.sync_api import Page

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = "(rules) => axe.run(document, {runOnly: rules, resultTypes: ['violations']})"
SOURCE = files("axe_playwright_python").joinpath("axe.min.js")


def violations(page: Page) -> list[str]:
    """Return the findings of axe-core on the page, one line an element."""
    if page.evaluate("!window.axe"):
        page.evaluate(SOURCE.read_text() + ";0")  # by the debugger: the page's policy allows no other script
    found = page.evaluate(RUN, RULES)["violations"]
    return [f"{rule['id']}: {node['html'][:200]}" for rule in found for node in rule["nodes"]]
