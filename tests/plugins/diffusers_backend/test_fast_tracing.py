"""A block as the compiler sees it on a GPU, traced without a GPU."""

from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")

from plugins.diffusers_backend.dit.block import Layer, Weights, run_blocks  # noqa: E402
from plugins.diffusers_backend.dit.cross_attention import Context, KeysAndValues  # noqa: E402
from plugins.diffusers_backend.dit.fused_ops import Affine, KernelConfig  # noqa: E402

WIDTH, WIDE, HEADS, TOKENS = 256, 512, 2, 96


@pytest.fixture(autouse=True)
def numberless() -> Iterator[None]:
    from torch._subclasses.fake_tensor import FakeTensorMode

    torch._dynamo.reset()
    with FakeTensorMode():
        yield
    torch._dynamo.reset()


def tensor(*shape: int, dtype: Any = torch.bfloat16) -> Any:
    return torch.empty(*shape, device="cuda", dtype=dtype)


def layer(outputs: int, inputs: int) -> Layer:
    return Layer(tensor(outputs, inputs), tensor(outputs))


def weights() -> Weights:
    exact = {"dtype": torch.float32}
    return Weights(
        tensor(1, 6, WIDTH, **exact),
        (layer(3 * WIDTH, WIDTH),),
        tensor(WIDTH),
        tensor(WIDTH),
        layer(WIDTH, WIDTH),
        Affine(tensor(WIDTH, **exact), tensor(WIDTH, **exact)),
        layer(WIDTH, WIDTH),
        tensor(WIDTH),
        layer(WIDTH, WIDTH),
        layer(WIDE, WIDTH),
        layer(WIDTH, WIDE),
    )


def operations_of(shape: KernelConfig) -> set[str]:
    """Return the operations of a block in a compiler's full graph."""
    head = WIDTH // HEADS
    by = tuple(tensor(1, TOKENS, 1, head // 2, dtype=torch.float32) for _ in range(2))
    text = Context(KeysAndValues(tensor(1, 512, HEADS, head), tensor(1, 512, HEADS, head)))
    found: set[str] = set()

    def backend(graph: Any, _: object) -> Any:
        found.update(str(getattr(node.target, "__name__", node.target)) for node in graph.graph.nodes)
        return graph.forward

    run = torch.compile(run_blocks, backend=backend, fullgraph=True, dynamic=False)
    with torch.no_grad():
        made = run(tensor(1, 1, TOKENS, WIDTH), tensor(1, 6, WIDTH), by, (text,), None, (weights(),), shape)
    assert (made.shape, made.dtype, made.device.type) == ((1, 1, TOKENS, WIDTH), torch.bfloat16, "cuda")
    return found


@pytest.mark.parametrize(
    ("attention", "operation"),
    [
        ("_native_cudnn", "_scaled_dot_product_cudnn_attention"),
        ("flash_4", "flash_4.default"),
        ("flash_4:176", "flash_4.default"),
        ("native", "scaled_dot_product_attention"),
        ("_native_flash", "scaled_dot_product_attention"),
    ],
)
def test_every_kernel_stays_in_one_graph(attention: str, operation: str) -> None:
    found = operations_of(KernelConfig(HEADS, 1e-6, attention, fused_gelu=True, rope_kernel=True, norm_kernel=True))

    assert {operation, "_addmm_activation", "norm_and_rope.default", "add_and_norm.default", "add.default"} <= found
    assert "layer_norm" not in found


def test_without_them_nothing_of_ours_is_called() -> None:
    found = operations_of(KernelConfig(HEADS, 1e-6, "native"))

    assert {"layer_norm", "gelu", "scaled_dot_product_attention"} <= found
    assert not any(name.endswith(".default") for name in found)
