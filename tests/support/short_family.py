"""The nano family with shorter transformers, for tests that need no good video."""

import json
from pathlib import Path

from safetensors.torch import load_file, save_file

from nano.family import link_family

BLOCKS = 2
WEIGHTS = "diffusion_pytorch_model.safetensors"


def link_short_family(folder: Path) -> Path:
    """Create the models in `folder`; all but the transformers are links."""
    link_family(folder)
    for model in folder.iterdir():
        for transformer in model.glob("transformer*"):
            _shorten(transformer)
    return folder


def _shorten(transformer: Path) -> None:
    """Replace the link to a transformer by a folder with its first blocks."""
    whole = transformer.resolve()
    transformer.unlink()
    transformer.mkdir()
    config = json.loads((whole / "config.json").read_text())
    (transformer / "config.json").write_text(json.dumps(config | {"num_layers": BLOCKS}))
    weights = {name: each for name, each in load_file(whole / WEIGHTS).items() if _is_kept(name)}
    save_file(weights, transformer / WEIGHTS, {"format": "pt"})


def _is_kept(name: str) -> bool:
    first, _, rest = name.partition(".")
    return first != "blocks" or int(rest.partition(".")[0]) < BLOCKS
