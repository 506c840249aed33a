"""Report for which kinds of models our forward pass agrees with the installed diffusers."""

import sys
import warnings
from pathlib import Path

import diffusers
import torch
import transformers

sys.path.insert(0, str(Path(__file__).parents[1]))

CLIP = {"in_channels": 36, "image_dim": 32, "added_kv_proj_dim": 128}
KINDS: dict[str, dict[str, object]] = {
    "T2V, 2.1 and 2.2 A14B": {},
    "I2V 2.1, with CLIP": CLIP,
    "FLF2V 2.1, with CLIP": {**CLIP, "pos_embed_seq_len": 514},
    "I2V 2.2 A14B": {"in_channels": 36},
    "TI2V 2.2 5B": {"in_channels": 48, "out_channels": 48},
}
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def main() -> None:
    """Print a line for each kind and dtype, at toy size."""
    warnings.simplefilter("ignore")
    print(f"diffusers {diffusers.__version__}, transformers {transformers.__version__}, torch {torch.__version__}")
    for kind, changes in KINDS.items():
        for dtype in DTYPES:
            print(f"{kind}, {str(dtype).removeprefix('torch.')}: {verdict(changes, dtype)}")


def verdict(changes: dict[str, object], dtype: torch.dtype) -> str:
    """Tell whether our forward pass is proven, or why not."""
    try:  # any error of a later diffusers is part of the report
        from nano import parts
        from plugins.diffusers_backend.dit.network import Network
        from plugins.diffusers_backend.tuning.proof import differences, disproof
        from plugins.diffusers_backend.tuning.support import marks_of
        from plugins.wan.tuning.switches import Switches

        model = parts.seeded(3, lambda: parts.transformer(**changes))
        for name, weight in model.named_parameters():
            if not any(part in (model._keep_in_fp32_modules or ()) for part in name.split(".")):
                weight.data = weight.data.to(dtype)
        marks_of(model)
        network = Network(model, Switches(), None)
        if (reason := disproof(network)) is not None:
            return f"NOT PROVEN, {reason}"
        part, size = max(differences(network), key=lambda difference: difference.size)
        return f"proven; {size:.1g} off at most, in our {part}"
    except Exception as error:
        return f"NOT PROVEN, {type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"


if __name__ == "__main__":
    main()
