"""Time and memory of an export at true size."""

import json
import shutil
import tempfile
from pathlib import Path

import torch

from bench.card.shapes import WAN_1_3B
from bench.tools.layout import Kind, write_text_encoder, write_vae
from bench.tools.machine import run_code
from bench.tools.table import Figure, Row
from nano.family import link_family
from plugins.onnx_backend.export.graph import empty_transformer
from plugins.wan.weights.safetensors import layout, write

CHILD = """
import json, resource, sys, time
from pathlib import Path
from plugins.onnx_backend.export.folder import Source, export
source, target = Path(sys.argv[1]), Path(sys.argv[2])
import torch, onnxscript
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
start = time.perf_counter()
export(Source(source, "random", None), target, "bf16", lambda *_: None)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
print(json.dumps({"before": before, "peak": peak, "size": size, "seconds": time.perf_counter() - start}))
"""


def measure() -> Figure:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        write_random(source, WAN_1_3B)
        found = run_code(CHILD, str(source), str(Path(folder) / "export"))
    return Figure(
        "export",
        "framegate export of a DiT of Wan 2.1 T2V 1.3B's size with random weights, bf16",
        (
            Row("written", found["size"] / 1e9, "GB"),
            Row("peak memory of the process", found["peak"] / 1e9, "GB"),
            Row("of it before the export, for torch and onnxscript", found["before"] / 1e9, "GB"),
            Row("peak memory / written", found["peak"] / found["size"], "", 1.3),
            Row("time", found["seconds"], "s"),
        ),
        ("text encoder and VAE are toys here: they are copied, not loaded",),
    )


def write_random(folder: Path, config: dict[str, object]) -> None:
    """Write a model folder with random transformer weights, tensor by tensor."""
    link_family(folder.parent / "family")
    others = shutil.ignore_patterns("transformer", "text_encoder", "vae")
    shutil.copytree(folder.parent / "family" / "wan-nano-ti2v", folder, ignore=others)
    index = json.loads((folder / "model_index.json").read_text()) | {"expand_timesteps": False}
    (folder / "model_index.json").write_text(json.dumps(index))
    around = Kind(text=int(str(config["text_dim"])), z=int(str(config["in_channels"])))  # copied, and never loaded
    write_text_encoder(folder / "text_encoder", around)
    write_vae(folder / "vae", around)
    (folder / "transformer").mkdir()
    model = empty_transformer(config, torch.bfloat16)
    model.save_config(folder / "transformer")
    kinds = {name: (parameter.dtype, tuple(parameter.shape)) for name, parameter in model.named_parameters()}
    path = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    header, _ = layout(path, kinds)
    made = torch.Generator().manual_seed(1)
    noise = (torch.randn(shape, generator=made).mul_(0.02).to(dtype) for dtype, shape in kinds.values())
    write(path, header, noise, lambda count: None)
