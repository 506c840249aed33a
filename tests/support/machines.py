"""Machines that share one PostgreSQL, each with a data folder of its own."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import MODELS

from router.engine import encoder
from router.runtime import clock
from router.settings import Settings
from router.system import System, assemble


@dataclass
class Machines:
    """Starts systems of many machines: data folder, host and boot are their own."""

    folder: Path
    url: str
    patch: pytest.MonkeyPatch
    started: list[System] = field(default_factory=list)

    def settings(self, name: str, **more: object) -> Settings:
        data = self.folder / name / "data"
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = {"data": data, "models": self.models(name), "store": self.url, "host": name}
        short = {"renew_seconds": 0.2, "lease_seconds": 2.0, "wait_seconds": 20.0}
        return Settings(**{**own, **short, **more})  # type: ignore[arg-type]

    def models(self, name: str) -> Path:
        return self.folder / name / "models.yaml"

    def start(self, name: str, text: str | None = MODELS, **settings: object) -> System:
        """Start a process on a machine; without a text its models file stays."""
        wanted = self.settings(name, **settings)
        if text is not None:
            wanted.models.write_text(text)
        self.patch.setattr(clock, "boot", lambda: f"boot of {name}")
        system = assemble(wanted, plugins=[encoder])
        self.started.append(system)
        return system
