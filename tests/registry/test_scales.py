"""Scales of quantised weights in all known layouts, and methods that are not read."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import raw_files
from support.raw_files import Stored

from bench.tools.layout import T2V, write_model
from registry import folders
from registry.folders import FolderError, Tensor

WHOLE = "diffusion_pytorch_model.safetensors"
LAYER = "blocks.0.attn1.to_q"
WEIGHT = f"{LAYER}.weight"  # 16 x 16
SIDE = T2V.heads * T2V.head_dim
READ = "fp8 and int8 with one scale, or one for each row, are read"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


def change(folder: Path, metadata: Mapping[str, str] | None = None, **changes: Stored | None) -> None:
    """Write the transformer anew with other tensors in one layer."""
    path = folder / "transformer" / WHOLE
    stored = {name: Stored(each.dtype, each.shape) for name, each in tensors(folder).items()}
    for key, each in changes.items():
        name = key.replace("__", ".") if "__" in key else key if key == "scaled_fp8" else f"{LAYER}.{key}"
        stored = {other: tensor for other, tensor in stored.items() if other != name}
        stored |= {} if each is None else {name: each}
    path.write_bytes(raw_files.safetensors(stored, metadata))


def tensors(folder: Path) -> dict[str, Tensor]:
    return folders.weights_in(folder / "transformer", "transformer").read()


def why(folder: Path) -> str:
    with pytest.raises(FolderError) as refused:
        folders.read(folder)
    return refused.value.reason


CODES = {kind: Stored(kind, (SIDE, SIDE)) for kind in ("F8_E4M3", "F8_E5M2", "I8", "U8")}
FACTOR, ROWS = Stored("F32", ()), Stored("F32", (SIDE, 1))


def note(**values: Any) -> Stored:
    text = json.dumps(values).encode()
    return Stored("U8", (len(text),), text)


@pytest.mark.parametrize(
    ("changes", "dtype", "shape"),
    [
        ({"weight": CODES["F8_E4M3"], "scale_weight": FACTOR, "scale_input": FACTOR}, "F8_E4M3", (1,)),
        ({"weight": CODES["F8_E4M3"], "scale_weight": Stored("BF16", (1,))}, "F8_E4M3", (1,)),
        (
            {"weight": CODES["F8_E5M2"], "scale_weight": FACTOR, "scaled_fp8": Stored("F8_E5M2", (2,))},
            "F8_E5M2",
            (1,),
        ),
        (
            {"weight": CODES["F8_E4M3"], "scale_weight": FACTOR, "scaled_fp8": Stored("F8_E4M3", (0,))},
            "F8_E4M3",
            (1,),
        ),
        (
            {
                "weight": CODES["F8_E4M3"],
                "weight_scale": FACTOR,
                "input_scale": FACTOR,
                "comfy_quant": note(format="float8_e4m3fn", full_precision_matrix_mult=True),
            },
            "F8_E4M3",
            (1,),
        ),
        (
            {"weight": CODES["I8"], "weight_scale": FACTOR, "comfy_quant": note(format="int8_tensorwise")},
            "I8",
            (1,),
        ),
        (
            {
                "weight": CODES["I8"],
                "weight_scale": ROWS,
                "comfy_quant": note(format="int8_tensorwise", per_channel=True, convrot=False),
            },
            "I8",
            (SIDE, 1),
        ),
        ({"weight": CODES["I8"], "weight_scale": Stored("F16", (SIDE,))}, "I8", (SIDE,)),
        ({"weight": CODES["F8_E4M3"], "weight_scale": ROWS}, "F8_E4M3", (SIDE, 1)),
        ({"weight": CODES["F8_E4M3"]}, "F8_E4M3", None),
    ],
)
def test_each_layout_gives_a_weight_its_scale(
    folder: Path, changes: dict[str, Stored], dtype: str, shape: tuple[int, ...] | None
) -> None:
    before = tensors(folder)
    change(folder, **changes)

    found = tensors(folder)

    assert folders.read(folder)
    assert found.keys() == before.keys()
    assert (found[WEIGHT].dtype, found[WEIGHT].shape) == (dtype, before[WEIGHT].shape)
    scale = found[WEIGHT].scale
    assert shape == (None if scale is None else scale.shape)
    assert [name for name, each in found.items() if each.scale is not None] == ([] if scale is None else [WEIGHT])
    if scale is not None:
        stored = next(each for key, each in changes.items() if key in ("scale_weight", "weight_scale"))
        assert (scale.dtype, scale.length) == (stored.dtype, len(stored.content()))


@pytest.mark.parametrize("listed", [True, False])
def test_a_scale_may_lie_in_another_shard(tmp_path: Path, listed: bool) -> None:
    folder = write_model(tmp_path / "m", replace(T2V, shards=2))
    part = folder / "transformer"
    index = json.loads((part / f"{WHOLE}.index.json").read_text())
    stored = {name: Stored(each.dtype, each.shape) for name, each in tensors(folder).items()}
    stored[WEIGHT] = CODES["I8"]
    (part / "a.safetensors").write_bytes(raw_files.safetensors(stored))
    (part / "b.safetensors").write_bytes(raw_files.safetensors({f"{WEIGHT}_scale": ROWS, "y": FACTOR}))
    others = {f"{WEIGHT}_scale": "b.safetensors"} if listed else {"y": "b.safetensors"}
    index["weight_map"] = dict.fromkeys(stored, "a.safetensors") | others
    (part / f"{WHOLE}.index.json").write_text(json.dumps(index))

    scale = tensors(folder)[WEIGHT].scale

    assert scale is not None
    assert scale.file.name == "b.safetensors"
    assert folders.read(folder)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ({LAYER: {"format": "float8_e4m3fn"}, "of.another.part": {"format": "nvfp4"}}, None),
        ({LAYER: {"format": "mxfp8"}}, f"holds '{WEIGHT}' quantised as mxfp8; {READ}"),
        ([LAYER], "has _quantization_metadata, which must be a JSON object of layers, it is not"),
    ],
)
def test_the_header_may_name_the_formats(folder: Path, layers: object, said: str | None) -> None:
    metadata = {"_quantization_metadata": json.dumps({"format_version": "1.0", "layers": layers})}
    change(folder, metadata, weight=CODES["F8_E4M3"], weight_scale=FACTOR)

    if said is None:
        assert tensors(folder)[WEIGHT].scale is not None
    else:
        assert why(folder) == f"{WHOLE} of transformer {said}"


def test_codes_that_the_header_tells_need_a_scale(folder: Path) -> None:
    layers = {LAYER: {"format": "float8_e4m3fn"}}
    change(folder, {"_quantization_metadata": json.dumps({"layers": layers})}, weight=CODES["F8_E4M3"])

    assert why(folder) == f"{WHOLE} of transformer holds '{WEIGHT}' as float8_e4m3fn without a scale; {READ}"


def beside(name: str, stored: Stored | None = None) -> dict[str, Stored]:
    return {"weight": CODES["U8"], name: stored or Stored("F32", (4,))}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"weight": CODES["F8_E4M3"], "comfy_quant": note(format="float8_e4m3fn")},
            f"holds '{WEIGHT}' as float8_e4m3fn without a scale; {READ}",
        ),
        ({"weight": CODES["I8"]}, f"holds '{WEIGHT}' in int8 without a scale; {READ}"),
        ({"weight": CODES["U8"], "weight_scale": FACTOR}, f"holds '{LAYER}.weight_scale', but its weight is in U8"),
        ({"weight_scale": FACTOR}, f"holds '{LAYER}.weight_scale', but its weight is in BF16; {READ}"),
        (
            {"weight": None, "weight_scale": FACTOR},
            f"holds '{LAYER}.weight_scale', the scale of a weight that it lacks",
        ),
        (
            {"weight": CODES["I8"], "weight_scale": Stored("F32", (SIDE, 2))},
            f"holds '{LAYER}.weight_scale' of shape {SIDE}x2, its weight has {SIDE} rows",
        ),
        (
            {"weight": CODES["I8"], "weight_scale": Stored("F32", (1, SIDE))},
            f"holds '{LAYER}.weight_scale' of shape 1x{SIDE}, its weight has {SIDE} rows",
        ),
        (
            {"weight": CODES["I8"], "weight_scale": Stored("F32", (SIDE - 1,))},
            f"holds '{LAYER}.weight_scale' of shape {SIDE - 1}, its weight has {SIDE} rows",
        ),
        (
            {"weight": CODES["I8"], "weight_scale": Stored("F32", (0,))},
            f"holds '{LAYER}.weight_scale' of shape 0, its weight has {SIDE} rows",
        ),
        (
            {"weight": CODES["I8"], "weight_scale": Stored("I32", (SIDE,))},
            f"holds '{LAYER}.weight_scale' in I32, a scale must be a float",
        ),
        (
            {"weight": CODES["I8"], "weight_scale": FACTOR, "scale_weight": FACTOR},
            f"holds two scales of '{WEIGHT}'",
        ),
        ({"scaled_fp8": Stored("F8_E4M3", (1000, 1000))}, "holds 'scaled_fp8' of 1,000,000 numbers, a marker has none"),
        (beside("absmax"), f"holds '{LAYER}.absmax', of weights quantised by bitsandbytes; {READ}"),
        (beside("weight__quant_state__bitsandbytes__nf4"), "of weights quantised by bitsandbytes"),
        (beside("SCB"), "of weights quantised by bitsandbytes"),
        (beside("qzeros", Stored("I32", (4,))), "of weights quantised by GPTQ or AWQ"),
        (beside("weight_scale_2"), "of weights quantised by nvfp4"),
        (beside("weight_packed", Stored("I32", (4,))), "by compressed-tensors with packed numbers"),
        (
            {"weight": CODES["U8"], "comfy_quant": note(format="nvfp4")},
            f"holds '{WEIGHT}' quantised as nvfp4; {READ}",
        ),
        (
            {"weight": CODES["I8"], "weight_scale": ROWS, "comfy_quant": note(format="int8_blockwise")},
            f"holds '{WEIGHT}' quantised as int8_blockwise; {READ}",
        ),
        (
            {
                "weight": CODES["I8"],
                "weight_scale": ROWS,
                "comfy_quant": note(format="int8_tensorwise", convrot=True, convrot_groupsize=256),
            },
            f"holds '{WEIGHT}' quantised as int8_tensorwise with convrot; {READ}",
        ),
        (
            {"weight": CODES["I8"], "weight_scale": ROWS, "comfy_quant": note(format="float8_e4m3fn")},
            f"holds '{WEIGHT}' in I8, its note says float8_e4m3fn",
        ),
        (
            {"weight": CODES["F8_E4M3"], "comfy_quant": Stored("U8", (3,), b"{]}")},
            f"holds '{LAYER}.comfy_quant', which must be JSON, it is not",
        ),
        (
            {"weight": CODES["F8_E4M3"], "comfy_quant": Stored("U8", (1000,), b"[" * 1000)},
            f"holds '{LAYER}.comfy_quant', which must be JSON, it is not",
        ),
        (
            {"weight": CODES["F8_E4M3"], "comfy_quant": Stored("U8", (5000,))},
            f"holds '{LAYER}.comfy_quant' of 5,000 bytes, a note has at most 4,096 bytes",
        ),
        ({"weight": None, "comfy_quant": note(format="nvfp4")}, "the note on a weight that it lacks"),
        ({"weight": Stored("F8_E8M0", (SIDE, SIDE))}, f"holds '{WEIGHT}' in F8_E8M0; bf16, fp16, fp32, fp8 (E4M3 and"),
        ({"weight": Stored("F4", (SIDE, SIDE))}, f"holds '{WEIGHT}' in F4; bf16, fp16, fp32, fp8 (E4M3 and E5M2)"),
    ],
)
def test_what_is_not_read_is_named(folder: Path, changes: dict[str, Stored | None], said: str) -> None:
    change(folder, **changes)

    assert why(folder).startswith(f"{WHOLE} of transformer holds ")
    assert said in why(folder)


def test_adapters_hold_no_codes(tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    path.write_bytes(raw_files.safetensors({"a.lora_A.weight": Stored("I8", (2, 2))}))

    with pytest.raises(FolderError, match=r"holds quantised weights: 'a\.lora_A\.weight' is I8 \(int8\), and bf16"):
        folders.safetensors.read_header(path, "the adapter x")
