"""The exported forward pass against diffusers' own."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")

from diffusers.models.attention_dispatch import attention_backend  # noqa: E402

from nano import parts  # noqa: E402
from plugins.onnx_backend.export.network import Network  # noqa: E402

CLIP = {"image_dim": 32, "added_kv_proj_dim": 128}
KINDS = {
    "t2v": {},
    "i2v 2.2": {"in_channels": parts.I2V_CHANNELS},
    "i2v 2.1": {"in_channels": parts.I2V_CHANNELS, **CLIP},
    "flf2v": {"in_channels": parts.I2V_CHANNELS, **CLIP, "pos_embed_seq_len": 2 * 257},
}
SHAPES = [(5, 8, 8), (3, 4, 12), (1, 2, 2)]


def transformer(**config: Any) -> Any:
    """Return a transformer of two blocks with random norms and biases."""

    def build() -> Any:
        model = parts.transformer(num_layers=2, **config)
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
        return model.requires_grad_(False)

    return parts.seeded(5, build)


def cast(model: Any, dtype: Any) -> Any:
    """As `from_pretrained` casts: some parts stay in fp32."""
    for name, parameter in model.named_parameters():
        if not any(part in model._keep_in_fp32_modules for part in name.split(".")):
            parameter.data = parameter.data.to(dtype)
    return model


def inputs(model: Any, shape: tuple[int, int, int], dtype: Any) -> dict[str, Any]:
    config, made = model.config, torch.Generator().manual_seed(1)

    def noise(*size: int) -> Any:
        return torch.randn(*size, generator=made).to(dtype)

    given = {"hidden_states": noise(1, config.in_channels, *shape), "encoder_hidden_states": noise(1, 512, 128)}
    if config.image_dim:
        given["encoder_hidden_states_image"] = noise(2 if config.pos_embed_seq_len else 1, 257, config.image_dim)
    return given


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_same_bit_for_bit(kind: str, dtype: Any) -> None:
    model = cast(transformer(**KINDS[kind]), dtype)
    with attention_backend("native"):  # whatever is the default of this process
        _compare(model, dtype)


def _compare(model: Any, dtype: Any) -> None:
    time = torch.tensor([700])

    for shape in SHAPES:
        given = inputs(model, shape, dtype)
        expected = model(timestep=time, return_dict=False, **given)[0]
        got = Network(model, framewise=False)(timestep=time.float(), **given)

        assert got.dtype is expected.dtype
        assert torch.equal(got, expected)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
def test_a_timestep_for_each_frame_is_one_for_each_of_its_tokens(dtype: Any, tolerance: float) -> None:
    model = cast(transformer(), dtype)
    for shape in SHAPES:
        given = inputs(model, shape, dtype)
        frames = torch.linspace(0, 900, shape[0])
        tokens = frames.repeat_interleave(shape[1] * shape[2] // 4)[None]
        expected = model(timestep=tokens, return_dict=False, **given)[0]
        got = Network(model, framewise=True)(timestep=frames, **given)

        assert relative(got, expected) < tolerance


def test_its_shortcuts_depend_on_every_input() -> None:
    model = transformer(**KINDS["i2v 2.1"])
    given = {"timestep": torch.tensor([700.0]), **inputs(model, SHAPES[0], torch.float32)}
    first = Network(model, framewise=False)(**given)

    changes: dict[str, Callable[[Any], Any]] = dict.fromkeys(given, lambda tensor: tensor * 0.9)
    for name, change in changes.items():
        assert not torch.equal(Network(model, framewise=False)(**given | {name: change(given[name])}), first), name


def relative(got: Any, expected: Any) -> float:
    return float((got.double() - expected.double()).norm() / expected.double().norm())
