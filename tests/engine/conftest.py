"""What tests of one engine build."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import MODELS

from router.engine import encoder
from router.settings import Settings
from router.system import System, assemble


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., System]:
    """Build a system on `still` models with these plugins and settings."""

    def with_plugins(*plugins: object, **settings: object) -> System:
        (tmp_path / "models.yaml").write_text(MODELS)
        chosen = Settings(data=tmp_path / "data", models=tmp_path / "models.yaml", **settings)  # type: ignore[arg-type]
        return assemble(chosen, plugins=[encoder, *plugins])

    return with_plugins
