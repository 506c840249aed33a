"""The meanings of names whose code has no sentence for a reader."""

from collections.abc import Mapping

MODEL_KEYS = {
    "source": "the weights: a hub id, a folder in diffusers layout, or `embedded:NAME` for the family of the package; "
    "none for a backend without weights",
    "backend": "the backend that runs the model",
    "family": "the published variant whose defaults, size rules and limits apply, if `source` does not name it",
    "modality": "the inputs, if neither family nor folder says it; it may narrow `ti2v` to `t2v` or `i2v`",
    "revision": "a commit, branch or tag of the hub's repository",
    "parts.transformer": "a file with its weights, in place of the source's: [below](#weights-as-people-have-them)",
    "parts.transformer_2": "the same for the second transformer",
    "parts.text_encoder": "the same for the text encoder",
    "parts.vae": "the same for the VAE",
    "download": "the first job downloads missing weights; otherwise `framegate pull NAME` does",
    "pin": "the model never leaves its device for another",
    "warm_up": "the model is loaded, and runs once, before the first request; with sizes also one step at each",
    "priority": "jobs of models with a higher priority run first",
    "price": "money for a second of work, in a unit of your choice: [below](#prices); without it, work costs nothing",
    "engines": "the most engines that load the model at a time; without it, all",
    "devices": "the devices that may load it: `cpu`, `cuda` (every GPU), `cuda:0`, ...; without it, all",
    "aliases": "other names of the model; its hub id is one already",
    "adapters": "the LoRAs that requests may name: [below](#adapters)",
    "default_adapters": "the adapters of requests that name none",
    "options": "options of the backend: below",
    "text_only": "`refuse`: requests without `provider_options` or `text_output` are refused, such as chats for titles",
    "defaults.width": "pixels; together with `height`",
    "defaults.height": "pixels; together with `width`",
    "defaults.num_frames": "frames of a video: 4k+1",
    "defaults.frames_per_second": "rate of a video",
    "defaults.steps": "denoising steps",
    "defaults.guidance_scale": "guidance, by the first expert of a model with two",
    "defaults.guidance_scale_2": "guidance by the second expert; without it, that of the first",
    "defaults.flow_shift": "shift of the scheduler: one number, or one up to 832x480 pixels (`small`) and one above",
    "defaults.negative_prompt": "text to keep out of the picture",
    "limits.pixels": "width x height of a request",
    "limits.frames": "frames of a request",
    "limits.steps": "steps of a request",
    "limits.prompt": "characters of a prompt",
    "limits.image_bytes": "bytes of an input image",
    "limits.image_pixels": "pixels of an input image",
    "limits.queued": "queued jobs of the model; without it, no limit but the server's",
}
ADAPTER_KEYS = {
    "source": "a published adapter, a safetensors file, a folder or a hub id; without it, the published adapter of "
    "this name",
    "revision": "a commit, branch or tag of the hub's repository",
    "files": "the files within a folder or a repository, such as one for each expert; without it, "
    "`pytorch_lora_weights.safetensors`",
    "strength": "the factor of its weights, for both experts or each",
    "defaults": "defaults of requests that use it, with the keys of the model's `defaults`",
    "merge": "it is part of the weights: every request uses it, and no other model shares these transformers",
}
BACKEND_OPTIONS = {
    "dtype": "number format of the weights; `auto` is `bf16` on a GPU and `fp32` on a CPU",
    "weights": "form of the weights of blocks: `auto` as the files have them, `dense` as plain numbers; `fp8` and "
    "`int8` quantise the transformers while they load, to half the bytes of `bf16`",
    "matmul": "`fp8` also computes the products of weights in `fp8` in that format, on a GPU of compute capability 8.9 "
    "or later",
    "attention": "attention kernel, tried at load; `auto` is cuDNN's on Hopper and datacentre Blackwell, and PyTorch's "
    "choice elsewhere",
    "group_offload": "keep the weights in the host's memory and copy one block at a time to the GPU",
    "prompt_cache_bytes": "memory for encoded prompts, so that a repeated prompt is not encoded again",
    "decoder_dtype": "number format of the VAE's decoder; `auto` is `bf16` on a GPU and `fp32` on a CPU",
    "fast": "our forward passes: `true`, `false` (diffusers' own), or a mapping of the switches below",
    "provider": "ONNX Runtime's execution provider; the load fails if it is not available",
    "load_seconds": "time of a load, for tests",
    "step_seconds": "time of a step, for tests",
}
IMPORTS = {
    "hookimpl": "The mark of a hook's implementation.",
    "Pixels": "RGB pixels: uint8 of shape `(n, height, width, 3)`.",
    "Preview": "A function that returns a small picture of a running job.",
}
RUNS_IN = {  # the half that calls a hook
    "declare_backend": "both", "check_request": "web", "load_model": "engine", "plan_model": "both",
    "describe_loaded": "engine", "describe_numerics": "web", "generate": "engine", "encode_output": "engine",
    "unload_model": "engine", "job_changed": "both", "configure_app": "web", "open_paths": "web",
    "studio_panel": "web", "add_commands": "cli",
}  # fmt: skip


def meaning(meanings: Mapping[str, str], name: str) -> str:
    """Return what `name` means; raise `LookupError` for a name without a sentence."""
    if name not in meanings:
        raise LookupError(f"docs/reference/meanings.py must have an entry for {name}, got none")
    return meanings[name]
