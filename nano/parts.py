"""The parts of a toy Wan model: published architectures, small sizes, seeded weights."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

T = TypeVar("T")

TEXT_DIM = 128
TEXT_TOKENS = 512
VOCABULARY = 768
Z_DIM = 16
# as the published I2V: noisy latents, a mask of four channels, the image's latents
I2V_CHANNELS = Z_DIM + 4 + Z_DIM
SPECIAL = ("<pad>", "</s>", "<unk>")


def seeded(seed: int, build: Callable[[], T]) -> T:
    """Return the result of `build` at torch's `seed`; torch's own generator keeps its state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def tokenizer(texts: Iterable[str] = ()) -> PreTrainedTokenizerFast:
    """Return a tokenizer with the words of `texts`; other words are bytes."""
    model = Tokenizer(models.BPE(unk_token="<unk>"))
    model.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    model.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        min_frequency=1,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    model.train_from_iterator(texts, trainer)
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
        vocab_size=VOCABULARY,
        d_model=TEXT_DIM,
        d_kv=32,
        d_ff=256,
        num_layers=3,
        num_heads=4,
        dropout_rate=0.0,
        tie_word_embeddings=False,
    )
    return UMT5EncoderModel(config).eval()


def vae(**changes: object) -> AutoencoderKLWan:
    """Return a VAE of the 2.2 kind: residual, patches of 2 x 2 pixels.

    `changes` override its configuration.
    """
    # it compresses as the 2.1 VAE, 4 x 8 x 8 to 16 channels, since all three models share it
    config: dict[str, Any] = {
        "base_dim": 16,
        "decoder_base_dim": 16,
        "dim_mult": [1, 2, 2],
        "temperal_downsample": [True, True],
        "num_res_blocks": 1,
        "z_dim": Z_DIM,
        "is_residual": True,
        "patch_size": 2,
        "in_channels": 12,
        "out_channels": 12,
        "scale_factor_temporal": 4,
        "scale_factor_spatial": 8,
    } | changes
    return AutoencoderKLWan(**config).eval()


def transformer(in_channels: int = Z_DIM, **changes: object) -> WanTransformer3DModel:
    """Return a diffusion transformer; `changes` override its configuration."""
    config: dict[str, Any] = {
        "num_attention_heads": 4,
        "attention_head_dim": 32,
        "ffn_dim": 512,
        "num_layers": 6,
        "freq_dim": 128,
        "text_dim": TEXT_DIM,
        "in_channels": in_channels,
        "out_channels": Z_DIM,
    } | changes
    return WanTransformer3DModel(**config).eval()


def scheduler() -> UniPCMultistepScheduler:
    """Return a scheduler configured as in the published repositories."""
    return UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
