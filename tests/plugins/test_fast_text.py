"""The text encoder without the padding, against the pipeline's own embeddings."""

from __future__ import annotations

from typing import Any

import pytest
from driving import T2V, load, spec, task

from registry import Modality

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("text", ["", "a", "a red ball 🎈", "x" * 31, "x" * 32, "word " * 40, "word " * 400])
def test_the_padding_that_is_not_read_changes_nothing(family: Any, pool: Any, text: str) -> None:
    import torch

    from plugins.diffusers_backend import prompts
    from plugins.diffusers_backend.sample import pipeline

    loaded = load(spec(family / T2V, Modality.T2V), pool)
    pipe = pipeline(loaded, task())
    with torch.no_grad():
        stock, _ = pipe.encode_prompt(text, do_classifier_free_guidance=False, max_sequence_length=512)

    whole, short = (prompts.encode(pipe, text, "cpu", short) for short in (False, True))

    assert whole.tokens == short.tokens
    assert torch.equal(whole.embeds, stock)
    assert short.embeds.shape == stock.shape
    assert not short.embeds[0, short.tokens :].any()
    assert (short.embeds - stock).abs().max() < 1e-5 * stock.abs().max()


def test_models_share_the_prompts_that_they_encode_alike(family: Any, pool: Any) -> None:
    quick, same, other = (
        load(spec(family / T2V, Modality.T2V, {"fast": fast}), pool) for fast in (True, {"chunks": False}, False)
    )

    assert quick.prompts is same.prompts
    assert quick.prompts is not other.prompts
