"""The pages with generated tables."""

from collections.abc import Callable, Mapping
from pathlib import Path

from docs.reference import adapters, api, models, operations, plugins, support
from docs.reference.markers import filled, markers

DOCS = Path(__file__).parents[1]
TABLES: Mapping[str, Callable[[], str]] = {
    "settings": operations.settings,
    "metrics": operations.metrics,
    "codes": operations.codes,
    "cli": operations.commands,
    "model-keys": models.model_keys,
    "adapter-keys": adapters.adapter_keys,
    "adapters": adapters.published,
    "backend-options": models.backend_options,
    "switches": models.switches,
    "families": models.families,
    "support": support.support,
    "other-defaults": models.other_defaults,
    "options": api.options,
    "responses-fields": api.responses_fields,
    "videos-fields": api.videos_fields,
    "images-fields": api.images_fields,
    "hooks": plugins.hooks,
    "contract": plugins.contract,
    "imports": plugins.imports,
}


def pages() -> list[Path]:
    return sorted(DOCS.glob("*.md"))


def current(page: str) -> str:
    """Return a page with every generated table as the code is now."""
    for marker in markers(page):
        if marker in TABLES:
            page = filled(page, marker, TABLES[marker]())
    return page


def write() -> list[Path]:
    """Write the pages whose tables have changed, and return them."""
    changed = {path: text for path in pages() if (text := current(path.read_text())) != path.read_text()}
    for path, text in changed.items():
        path.write_text(text)
    return [*changed]
