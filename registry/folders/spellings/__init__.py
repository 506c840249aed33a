"""Tensor names of single files, and those of diffusers and transformers."""

from collections.abc import Iterable, Mapping

from registry.folders.expected.vae import Layout
from registry.folders.spellings import text_encoder, transformer, vae

# ComfyUI, comfy/supported_models.py: a checkpoint holds several parts
PREFIXES: Mapping[str, tuple[str, ...]] = {
    "transformer": ("model.diffusion_model.", "diffusion_model."),
    "text_encoder": (
        "text_encoders.umt5xxl.transformer.",
        "cond_stage_model.umt5xxl.transformer.",
        "cond_stage_model.transformer.",
        "cond_stage_model.",
    ),
    "vae": ("first_stage_model.", "vae."),
}
OF_PARTS = (
    *("model.diffusion_model.", "model_ema.", "text_encoders.", "cond_stage_model.", "conditioner."),
    *("first_stage_model.", "vae.", "clip_vision."),
)
ALWAYS: Mapping[str, tuple[str, ...]] = {  # each file of a part has one of them, without its prefix
    "transformer": ("patch_embedding.weight",),
    "text_encoder": ("shared.weight", "token_embedding.weight", "token_embd.weight", "encoder.embed_tokens.weight"),
    "vae": ("decoder.conv1.weight", "decoder.conv_in.weight"),
}
COMPILED = "_orig_mod."  # torch.compile's
LONGEST = 1000  # characters of a name; no part has a tensor of a longer one
TOKENIZER = "spiece_model"  # ComfyUI's umT5 carries its bytes


def own(part: str, names: Iterable[str]) -> dict[str, str]:
    """Return a part's tensors among `names`, each with its name without prefixes."""
    names = tuple(names)
    prefixes = PREFIXES[_kind(part)]
    prefix = next((each for each in prefixes if any(name.startswith(each) for name in names)), "")
    found = {}
    for name in names:
        inner = name.removeprefix(prefix)
        if (prefix and name.startswith(prefix)) or not name.startswith(OF_PARTS):
            found[name] = inner.replace(COMPILED, "")
    if _kind(part) == "text_encoder":
        return {name: inner for name, inner in found.items() if inner != TOKENIZER}
    return found


def other_part(part: str, inner: Iterable[str]) -> str | None:
    """Return the other part with these tensors; None for `part` and for unknown ones."""
    known = frozenset(inner)
    found = [kind for kind, names in ALWAYS.items() if not known.isdisjoint(names)]
    return None if _kind(part) in found else next(iter(found), None)


def renamed(part: str, name: str, layout: Layout | None = None) -> str:
    """Return diffusers' or transformers' name of a part's tensor; unknown names stay.

    `layout` is that of a VAE's configuration.
    """
    if len(name) > LONGEST:
        return name
    match _kind(part):
        case "transformer":
            return transformer.name(name)
        case "text_encoder":
            return text_encoder.name(name)
        case _:
            return name if layout is None else vae.name(name, layout)


def _kind(part: str) -> str:
    return "transformer" if part == "transformer_2" else part
