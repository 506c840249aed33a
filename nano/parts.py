"""The parts of a Wan model at toy size: the published architectures with small numbers, seeded random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanTransformer3DModel
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

T = TypeVar("T")

TEXT_DIM = 128
TEXT_TOKENS = 512
Z_DIM = 16

# A random decoder is grey: its last convolution is scaled until the frames use the whole range.
CONTRAST = 2.0


def seeded(seed: int, build: Callable[[], T]) -> T:
    """Return what `build` makes with torch's generator at `seed`, and leave that generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of bytes: no text is unknown to it, and it needs no download."""
    special = {"<pad>": 0, "</s>": 1, "<unk>": 2}
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = special | {symbol: index for index, symbol in enumerate(alphabet, len(special))}
    model = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    model.decoder = decoders.ByteLevel()
    model.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=model,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=TEXT_TOKENS,
        # a prompt that spells out "</s>" is text like any other
        split_special_tokens=True,
    )


def text_encoder() -> UMT5EncoderModel:
    config = UMT5Config(
        vocab_size=384, d_model=TEXT_DIM, d_kv=32, d_ff=256, num_layers=2, num_heads=4, tie_word_embeddings=False
    )
    return UMT5EncoderModel(config).eval()


def vae(**changes: object) -> AutoencoderKLWan:
    """Return a VAE of the 2.1 kind (4 x 8 x 8, 16 channels); `changes` go to its configuration."""
    config = {"base_dim": 16, "dim_mult": [1, 1, 2, 2], "num_res_blocks": 1, "z_dim": Z_DIM} | changes
    model = AutoencoderKLWan(**config).eval()
    with torch.no_grad():
        model.decoder.conv_out.weight.mul_(CONTRAST)
    return model


def transformer(in_channels: int, out_channels: int = Z_DIM, **changes: object) -> WanTransformer3DModel:
    """Return a diffusion transformer; `changes` go to its configuration."""
    config = {
        "num_attention_heads": 4,
        "attention_head_dim": 32,
        "ffn_dim": 512,
        "num_layers": 4,
        "freq_dim": 128,
        "text_dim": TEXT_DIM,
        "in_channels": in_channels,
        "out_channels": out_channels,
    } | changes
    return WanTransformer3DModel(**config).eval()


def scheduler() -> UniPCMultistepScheduler:
    """Return the scheduler as the published repositories have it."""
    return UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
