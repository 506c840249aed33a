"""Latents as a picture: by a VAE's own map, Wan 2.1's, or none."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")

from plugins.wan.generate.preview import WAN_2_1, latent_map  # noqa: E402


def vae(mean: tuple[float, ...], z_dim: int = 16) -> Any:
    return SimpleNamespace(config=SimpleNamespace(latents_mean=list(mean), z_dim=z_dim))


def test_the_published_vae_is_known_by_its_means(tmp_path: Path) -> None:
    from diffusers import AutoencoderKLWan

    known = latent_map(tmp_path, AutoencoderKLWan(base_dim=4))  # the class's defaults are the published 2.1 VAE's

    assert known is not None
    picture = known.picture(torch.zeros(1, len(WAN_2_1), 3, 6, 8))
    assert picture.shape == (6, 8, 3)
    assert (picture == np.round((np.array([-0.1835, -0.0868, -0.3360]) + 1) * 127.5)).all()


def test_a_map_beside_the_weights_comes_first(tmp_path: Path) -> None:
    (tmp_path / "latent_rgb.json").write_text(json.dumps({"factors": [[1, 0, 0], [0, 0.5, 0]], "bias": [0, 0, 1]}))
    latents = torch.zeros(1, 2, 5, 1, 1)
    latents[:, :, 2] = 1.0

    known = latent_map(tmp_path, vae((0.0,) * 4, 2))

    assert known is not None
    assert known.picture(latents).tolist() == [[[255, 128, 255]]]


def test_another_vae_has_no_preview(tmp_path: Path) -> None:
    assert latent_map(tmp_path, vae((0.0,) * 16)) is None
