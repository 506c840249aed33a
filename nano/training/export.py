"""Write the trained parts: diffusers folders in half precision, shared parts once."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from transformers import PreTrainedTokenizerFast, UMT5EncoderModel
from transformers.utils import logging

from nano import parts
from nano.adapters import FOLDER
from nano.family import RECIPES, SHARED, write_index
from nano.training.loop import M

COLOURS = "latent_rgb.json"  # the diffusers backend reads this name


def export(
    weights: Path,
    tokenizer: PreTrainedTokenizerFast,
    text_encoder: UMT5EncoderModel,
    vae: AutoencoderKLWan,
    transformers: Mapping[str, WanTransformer3DModel],
    colours: Mapping[str, object],
) -> None:
    """Write the family into `weights`.

    `transformers` maps stages to their trained transformers; `colours` is the map from latents to previews.
    """
    logging.disable_progress_bar()
    draft = weights.with_name(f"{weights.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    tokenizer.save_pretrained(draft / "shared" / "tokenizer")
    halved(text_encoder).save_pretrained(draft / "shared" / "text_encoder")
    halved(vae).save_pretrained(draft / "shared" / "vae")
    (draft / "shared" / "vae" / COLOURS).write_text(json.dumps(colours) + "\n")
    for name, recipe in RECIPES.items():
        parts.scheduler().save_pretrained(draft / name / "scheduler")
        listed: dict[str, object] = {**SHARED, "scheduler": ("diffusers", "UniPCMultistepScheduler")}
        if recipe.pipeline == "WanImageToVideoPipeline":
            listed |= {"image_encoder": (None, None), "image_processor": (None, None)}
        listed["transformer_2"] = (None, None)
        for part, stage in recipe.transformers.items():
            halved(transformers[stage]).save_pretrained(draft / name / part)
            listed[part] = ("diffusers", "WanTransformer3DModel")
        write_index(draft / name, recipe.pipeline, listed, recipe.settings)
    if (weights / FOLDER).exists():
        (weights / FOLDER).rename(draft / FOLDER)  # the last stages write their files anew
    shutil.rmtree(weights, ignore_errors=True)
    draft.rename(weights)


def halved(module: M) -> M:
    """Return the module in fp16, its kernels in the usual memory layout."""
    # fp16 holds weights of this magnitude more finely than bf16
    module = module.to(torch.float16)
    for parameter in module.parameters():
        parameter.data = parameter.data.contiguous()
    return module
