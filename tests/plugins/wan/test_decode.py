"""Decoding in chunks: the same bits as `vae.decode`, whatever else the VAE does meanwhile."""

import threading
from typing import Any

import numpy as np
import pytest

from router import Pixels

pytestmark = pytest.mark.slow


@pytest.fixture(params=["2.1", "2.2"])
def vae(request: pytest.FixtureRequest) -> Any:
    from support import tiny

    from nano import parts

    return parts.seeded(2, {"2.1": parts.vae, "2.2": tiny.vae_of_2_2}[request.param])


@pytest.fixture
def latents() -> Any:
    import torch

    return torch.randn(1, 16, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def test_chunks_are_bit_for_bit_what_the_vae_decodes(vae: Any, latents: Any) -> None:
    import torch

    from plugins.wan.generate.decode import decode_chunks

    chunks = list(decode_chunks(vae, latents))

    with torch.no_grad():
        assert torch.equal(torch.cat(chunks, 2).clamp(-1, 1), vae.decode(latents).sample)
    assert not any(chunk.requires_grad for chunk in chunks)


def test_decodes_and_encodes_between_two_chunks_disturb_nothing(vae: Any, latents: Any) -> None:
    import torch

    from plugins.wan.generate.decode import decode_chunks

    whole = torch.cat(list(decode_chunks(vae, latents)), 2)
    left = decode_chunks(vae, latents)
    next(left)
    left.close()  # type: ignore[attr-defined]
    chunks = []
    for ours, _theirs in zip(decode_chunks(vae, latents), decode_chunks(vae, latents.flip(2)), strict=True):
        chunks.append(ours)
        with torch.no_grad():
            vae.encode(torch.zeros(1, 3, 1, 64, 64))
            vae.decode(latents[:, :, :1])

    assert torch.equal(torch.cat(chunks, 2), whole)


def test_decodes_in_two_threads_disturb_each_other_in_nothing(vae: Any, latents: Any) -> None:
    from plugins.wan.generate.decode import pixels

    alone = np.concatenate(list(pixels(vae, latents, lambda _: None)))
    made: list[Pixels] = []
    threads = [
        threading.Thread(target=lambda: made.append(np.concatenate(list(pixels(vae, latents, lambda _: None)))))
        for _ in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [np.array_equal(alone, other) for other in made] == [True, True]
