"""The proof of our forward pass at load, and the checks of later changes."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.driving import T2V, load, run, spec, stock, task, video
from support.likeness import require_same

from plugins import diffusers_backend as backend
from plugins.wan.tuning.switches import OFF, Switches
from registry import Modality
from router import PartPath

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")

CLIP = {"in_channels": 36, "image_dim": 32, "added_kv_proj_dim": 128}
KINDS = {
    "t2v": {},
    "i2v": {"in_channels": 36},
    "i2v with CLIP": CLIP,
    "flf2v": {**CLIP, "pos_embed_seq_len": 514},
    "without a cross-attention norm": {"cross_attn_norm": False},
    "one block": {"num_layers": 1},
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def made(dtype: Any = torch.float32, **changes: object) -> Any:
    """Return a toy transformer as loaded in `dtype`."""
    from nano import parts

    model = parts.seeded(3, lambda: parts.transformer(**changes))
    for name, weight in model.named_parameters():
        if not any(part in model._keep_in_fp32_modules for part in name.split(".")):
            weight.data = weight.data.to(dtype)
    return model


def disproof(model: Any) -> str | None:
    from plugins.diffusers_backend.dit.network import Network
    from plugins.diffusers_backend.tuning.proof import disproof

    return disproof(Network(model, Switches(), None))


def scaled(function: Callable[..., Any], factor: float) -> Callable[..., Any]:
    return lambda *given, **named: factor * function(*given, **named)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_proven_for_every_kind_of_model_in_every_dtype(kind: str, dtype: str) -> None:
    from plugins.diffusers_backend.dit.network import Network
    from plugins.diffusers_backend.tuning.proof import TOLERANCE, differences

    model = made(DTYPES[dtype], **KINDS[kind])
    found = list(differences(Network(model, Switches(), None)))

    assert max(size for _, size in found) < TOLERANCE[DTYPES[dtype]] / 3
    assert len(model.blocks) == KINDS[kind].get("num_layers", 6)
    assert {"patch embedding", "time embedding", "forward pass", "framewise forward pass"} <= {
        part for part, _ in found
    }


CALLED = (
    "transformer_wan.WanTransformerBlock.forward",
    "transformer_wan.WanAttnProcessor.__call__",
    "transformer_wan.WanAttention.forward",
    "transformer_wan._get_added_kv_projections",
    "transformer_wan.WanTransformer3DModel.forward",
    "embeddings.PixArtAlphaTextProjection.forward",
    "embeddings.TimestepEmbedding.forward",
    "attention.FeedForward.forward",
    "normalization.FP32LayerNorm.forward",
)


@pytest.mark.parametrize(
    ("part", "dtype", "factor"),
    [(part, "fp32", 0.995) for part in CALLED]
    + [(part, dtype, 0.97) for part in (*CALLED[:2], CALLED[4]) for dtype in ("bf16", "fp16")],
)
def test_a_diffusers_that_computes_something_else_is_noticed(
    monkeypatch: pytest.MonkeyPatch, part: str, dtype: str, factor: float
) -> None:
    from importlib import import_module

    home, _, name = part.rpartition(".")
    package, _, kind = home.partition(".")
    module = import_module(f"diffusers.models.{'transformers.' if package == 'transformer_wan' else ''}{package}")
    owner, model = getattr(module, kind) if kind else module, made(DTYPES[dtype], **CLIP)
    plain = getattr(owner, name)

    def other(*given: Any, **named: Any) -> Any:
        result = plain(*given, **named)
        if isinstance(result, tuple):
            return tuple(factor * each for each in result)
        return factor * result

    if name == "forward" and kind in ("PixArtAlphaTextProjection", "TimestepEmbedding"):
        assert disproof(model) is None  # these we call as they are
        return
    monkeypatch.setattr(owner, name, other)

    assert "off that of diffusers" in str(disproof(model))


def test_a_diffusers_that_is_called_otherwise_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers.models.transformers import transformer_wan

    monkeypatch.setattr(transformer_wan.WanTransformerBlock, "forward", lambda self, states: states)

    assert "gave TypeError: " in str(disproof(made()))


def test_a_block_of_a_kind_of_its_own_is_proven_too() -> None:
    model = made()
    model.blocks[3].attn1.norm_q.eps = 0.5
    model.blocks[3].norm1.eps = 0.5

    assert "blocks.3 is" in str(disproof(model))


@pytest.fixture(scope="module")
def wrapper() -> Any:
    """Return a layer like those by which adapters replace another."""

    class Layer(torch.nn.Module):
        def __init__(self, base: Any) -> None:
            super().__init__()
            self.base_layer, self.scale = base, 10.0
            self.eval()

        @property
        def weight(self) -> Any:
            return self.base_layer.weight

        @property
        def bias(self) -> Any:
            return self.base_layer.bias

        def forward(self, x: Any) -> Any:
            return self.scale * self.base_layer(x)

    return Layer


class Quantised(torch.Tensor):
    """A weight of its own class whose product is half, like a quantised one."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        result = super().__torch_function__(function, types, given, named or {})
        return 0.5 * result if function is torch.nn.functional.linear else result


def change(model: Any, how: str, wrapper: Any, patch: pytest.MonkeyPatch) -> None:
    from diffusers.hooks import FirstBlockCacheConfig
    from diffusers.models.transformers import transformer_wan
    from torch import nn

    class Processor(transformer_wan.WanAttnProcessor):
        def __call__(self, *given: Any, **named: Any) -> Any:
            return 1.5 * super().__call__(*given, **named)

    class Doubled(nn.Module):
        def forward(self, x: Any) -> Any:
            return 2 * x

    block, linear = model.blocks[2], model.blocks[2].attn1.to_q
    match how:
        case "injected adapter":
            block.attn1.to_out[0] = wrapper(block.attn1.to_out[0])
        case "adapter on cross-attention":
            block.attn2.to_k = wrapper(block.attn2.to_k)
        case "adapter on an embedder":
            model.condition_embedder.time_proj = wrapper(model.condition_embedder.time_proj)
        case "adapter on the projection":
            model.proj_out = wrapper(model.proj_out)
        case "processor":
            block.attn1.set_processor(Processor())
        case "fused":
            model.fuse_qkv_projections()
        case "hook":
            model.blocks[1].register_forward_hook(lambda module, given, result: 1.5 * result)
        case "pre-hook":
            linear.register_forward_pre_hook(lambda module, given: (1.5 * given[0],))
        case "global hook":
            handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
            patch.setattr(nn.modules.module, "_removed", handle.remove, raising=False)
        case "step cache":
            model.enable_cache(FirstBlockCacheConfig())
        case "forward of a block":
            patch.setattr(block, "forward", scaled(block.forward, 1.5))
        case "forward of a layer":
            patch.setattr(linear, "forward", scaled(linear.forward, 1.5))
        case "forward of a class":
            patch.setattr(transformer_wan.WanAttention, "forward", scaled(transformer_wan.WanAttention.forward, 1.5))
        case "parametrization":
            nn.utils.parametrize.register_parametrization(linear, "weight", Doubled())
        case "weight norm":
            nn.utils.weight_norm(linear)
            linear.weight_g.data *= 1.5
        case "quantised":
            linear.weight = nn.Parameter(linear.weight.data.as_subclass(Quantised), requires_grad=False)
        case "eps":
            block.norm1.eps = 0.5
        case "heads":
            block.attn1.heads = 2
        case "eps of the config":
            model.register_to_config(eps=0.5)
        case "training":
            model.train()
        case "activation":
            block.ffn.net[0].approximate = "none"
        case "another module":
            block.norm2 = nn.Identity().eval()


FOREIGN = (
    "injected adapter",
    "adapter on cross-attention",
    "adapter on an embedder",
    "adapter on the projection",
    "processor",
    "fused",
    "hook",
    "pre-hook",
    "global hook",
    "step cache",
    "forward of a block",
    "forward of a layer",
    "forward of a class",
    "parametrization",
    "weight norm",
    "quantised",
    "eps",
    "heads",
    "eps of the config",
    "training",
    "activation",
    "another module",
)


@pytest.mark.parametrize("how", FOREIGN)
def test_what_was_changed_after_the_load_runs_by_diffusers(
    pool: Any, how: str, wrapper: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from plugins.diffusers_backend.dit.paths import Paths

    caplog.set_level(logging.INFO)
    model = made()
    paths = Paths({"transformer": model, "vae": object()}, Switches(), pool)
    assert paths.are_ours()
    assert paths.now == {"transformer": PartPath("fast")}
    assert Paths({"transformer": model}, OFF, pool).networks == {}

    change(model, how, wrapper, monkeypatch)
    try:
        assert not any(paths.are_ours() for _ in range(3))
    finally:
        getattr(torch.nn.modules.module, "_removed", lambda: None)()

    assert paths.now["transformer"].path == "diffusers"
    assert paths.now["transformer"].reason
    messages = [record.message for record in caplog.records if "runs by" in record.message]
    assert messages == [
        "the transformer runs by our forward pass",
        "the transformer runs by diffusers' own forward pass: switched off in the model's options",
        f"the transformer runs by diffusers' own forward pass: {paths.now['transformer'].reason}",
    ]


@pytest.mark.parametrize("how", [how for how in FOREIGN if how != "another module"])  # that is another kind of block
def test_what_was_changed_before_the_load_runs_by_diffusers(
    pool: Any, how: str, wrapper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from plugins.diffusers_backend.dit.paths import Paths

    model = made()
    change(model, how, wrapper, monkeypatch)
    try:
        paths = Paths({"transformer": model}, Switches(), pool)
    finally:
        getattr(torch.nn.modules.module, "_removed", lambda: None)()

    assert not paths.networks
    assert paths.now["transformer"].path == "diffusers"


@pytest.mark.parametrize(
    "how", ["injected adapter", "processor", "pre-hook", "forward of a block", "forward of a class", "quantised"]
)
def test_a_change_after_the_load_gives_the_stock_pipelines_frames(
    whole_family: Any, pool: Any, how: str, wrapper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, other = (spec(whole_family / T2V, Modality.T2V, {"fast": fast}) for fast in (True, {"transformer": False}))
    loaded, plain, asked = load(model, pool), load(other, type(pool)()), task(steps=2, num_frames=5)
    before = video(run(model, loaded, asked))
    for each in (loaded, plain):
        change(each.parts["transformer_2"], how, wrapper, monkeypatch if each is loaded else _Nothing(how))

    after, expected = video(run(model, loaded, asked)), video(run(other, plain, asked))

    require_same(after, expected)
    assert abs(after.astype(int) - before).max() > 3
    first, second = (backend.describe_loaded(loaded)[name] for name in ("transformer", "transformer_2"))
    assert (first.path, second.path) == ("diffusers", "diffusers")
    assert "transformer_2" in first.reason or first.reason == second.reason


class _Nothing:
    """A stand-in module for a change of a whole class."""

    def __init__(self, how: str) -> None:
        self._of_class = how == "forward of a class"

    def setattr(self, owner: Any, name: str, value: Any, raising: bool = True) -> None:
        if not self._of_class:
            setattr(owner, name, value)


def test_weights_that_change_in_place_are_seen(family: Any, pool: Any) -> None:
    model, asked = spec(family / T2V, Modality.T2V), task(steps=2, num_frames=5)
    other = spec(family / T2V, Modality.T2V, {"fast": {"transformer": False}})
    loaded, plain = load(model, pool), load(other, type(pool)())
    before = video(run(model, loaded, asked))
    with torch.no_grad():
        for each in (loaded, plain):
            block = each.parts["transformer"].blocks[1]
            block.attn1.to_k.weight.mul_(1.5)  # as an adapter that is fused
            block.attn1.to_v.weight.data = block.attn1.to_v.weight.data * 1.5
            block.attn2.to_v.weight.data += 0.1
            block.ffn.net[2].weight = torch.nn.Parameter(block.ffn.net[2].weight * 1.5)

    after = video(run(model, loaded, asked))

    assert backend.describe_loaded(loaded)["transformer"] == PartPath("fast")
    require_same(after, video(run(other, plain, asked)))
    assert abs(after.astype(int) - before).max() > 3


def test_it_runs_again_once_an_adapter_has_left(pool: Any, wrapper: Any) -> None:
    from plugins.diffusers_backend.dit.paths import Paths

    model = made()
    paths, block = Paths({"transformer": model}, Switches(), pool), model.blocks[2]
    plain = block.attn1.to_q
    block.attn1.to_q = wrapper(plain)
    assert not paths.are_ours()
    block.attn1.to_q = plain

    assert paths.are_ours()
    assert paths.now == {"transformer": PartPath("fast")}


def test_a_failed_proof_is_a_warning_and_diffusers_own_runs(
    family: Any, pool: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from diffusers.models.transformers.transformer_wan import WanTransformerBlock

    monkeypatch.setattr(WanTransformerBlock, "forward", scaled(WanTransformerBlock.forward, 0.97))
    model, asked = spec(family / T2V, Modality.T2V), replace(task(), steps=2, num_frames=5)
    loaded = load(model, pool)

    require_same(video(run(model, loaded, asked)), stock(family / T2V, asked))
    assert loaded.paths.networks == {}
    assert all("off that of diffusers" in path.reason for path in backend.describe_loaded(loaded).values())
    assert "our forward pass of the transformer is not proven: our pass of blocks.0 is 0.03" in caplog.text
