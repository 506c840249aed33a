"""The text encoder without the padding, against the pipeline's own embeddings."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.driving import T2V, copy_of, load, make, spec, task

from registry import Modality

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("text", ["", "a", "a red ball 🎈", "x" * 31, "x" * 32, "word " * 40, "word " * 400])
def test_the_padding_that_is_not_read_changes_nothing(family: Any, pool: Any, text: str) -> None:
    import torch

    from plugins.wan.generate import prompts
    from plugins.wan.generate.sample import pipeline

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


def swap_red_and_blue(tokenizer: Path) -> None:
    path = tokenizer / "tokenizer.json"
    content = json.loads(path.read_text())
    words = content["model"]["vocab"]
    words["Ġred"], words["Ġblue"] = words["Ġblue"], words["Ġred"]
    path.write_text(json.dumps(content))


def read_special_tokens(tokenizer: Path) -> None:
    """Read "</s>" in a prompt as the token of that name."""
    path = tokenizer / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"split_special_tokens": False}))


@pytest.mark.parametrize("change", [swap_red_and_blue, read_special_tokens])
def test_models_of_one_encoder_and_two_tokenizers_share_no_prompts(
    family: Path, tmp_path: Path, pool: Any, change: Any
) -> None:
    folders = [copy_of(family / T2V, tmp_path / name) for name in ("first", "second")]
    change(folders[1] / "tokenizer")
    asked = task(prompt="a red ball </s> moves to the left", negative_prompt="", steps=2)

    alone = [make(folder, Modality.T2V, asked, type(pool)()) for folder in folders]
    beside = [make(folder, Modality.T2V, asked, pool) for folder in folders]

    assert not np.array_equal(alone[0], alone[1])
    assert [np.array_equal(*pair) for pair in zip(alone, beside, strict=True)] == [True, True]
    encoders = {id(part) for part in pool.parts.values() if type(part).__name__ == "UMT5EncoderModel"}
    assert len(encoders) == 1
