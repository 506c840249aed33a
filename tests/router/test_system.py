"""The composition root: what is served, with a models file and without one."""

from pathlib import Path

import pytest

from bench.tools.layout import TI2V, write_model
from registry import Modality, RegistryError
from router.settings import Settings
from router.system import assemble


def served(tmp_path: Path, model: str) -> dict[str, object]:
    system = assemble(Settings(data=tmp_path / "data", model=model))
    (only,) = system.registries.poll().models
    return {
        "name": only.name,
        "modality": only.modality,
        "download": only.download,
        "default": system.registries.poll().default,
    }


def test_naming_a_published_repository_is_leave_to_fetch_it(tmp_path: Path) -> None:
    name = "Wan-AI/Wan2.2-TI2V-5B-Diffusers"

    assert served(tmp_path, name) == {"name": name, "modality": Modality.TI2V, "download": True, "default": name}


def test_a_folder_is_served_under_its_name(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine", TI2V)

    assert served(tmp_path, str(folder)) == {
        "name": "mine", "modality": Modality.TI2V, "download": False, "default": "mine",
    }  # fmt: skip


@pytest.mark.parametrize("model", ["/no/such/folder", "somebody/something-unknown"])
def test_what_is_neither_known_nor_here_ends_the_boot(tmp_path: Path, model: str) -> None:
    with pytest.raises(RegistryError) as refused:
        served(tmp_path, model)
    assert model in str(refused.value)
