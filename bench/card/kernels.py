"""Errors of our kernels against PyTorch, and their machine code for other cards.

`python -m bench.card.kernels` runs them in Triton's interpreter on a CPU and prints the errors as JSON. It is a process
of its own, since Triton reads TRITON_INTERPRET at import.
"""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.nn import functional

from bench.card.accuracy import relative_error
from bench.tools.machine import ROOT
from bench.tools.server import python_path
from plugins.diffusers_backend.kernels import operations

EPSILON = 1e-6
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# relative in the 2-norm; the interpreter truncates to bf16, a GPU rounds
ROUNDING = {"torch.float32": 1e-6, "torch.float16": 6e-4, "torch.bfloat16": 1e-2}
WIDTHS = ((2, 128), (3, 20))  # heads and their size: a power of two in all, and another number
BATCHES = ((1, 1, 1), (1, 2, 3), (2, 2, 2))  # of the input, of the addend, and groups
CHANNELS = (6, 96)
ROWS = 5
TRUE_WIDTHS = ((12, 128), (24, 128), (40, 128))  # 1.3B, 5B, 14B
TRUE_CHANNELS = (96, 192, 384, 1024)
TRUE_ROWS = 4096
Errors = dict[str, dict[str, float]]  # by kernel and dtype


class Cases:
    """Random inputs of each kernel on `device`, at true widths or at small ones."""

    def __init__(self, device: str, true: bool) -> None:
        self.device = device
        self.widths = TRUE_WIDTHS if true else WIDTHS
        self.channels = TRUE_CHANNELS if true else CHANNELS
        self.rows = TRUE_ROWS if true else ROWS
        self.true = true  # fewer cases then: a GPU compiles each for a third of a second

    def random(self, seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        made = torch.Generator(self.device).manual_seed(seed)
        return torch.randn(shape, generator=made, device=self.device).to(dtype)

    def norm_and_rope(self, dtype: torch.dtype) -> Iterator[float]:
        from plugins.diffusers_backend.kernels import dit_kernels

        for heads, head in self.widths:
            width = heads * head
            packed, weight = self.random(1, 2, self.rows, 3 * width, dtype=dtype), 1 + 0.1 * self.random(2, width)
            angles = self.random(3, 1, self.rows, 1, head // 2)
            given = (weight.to(dtype), angles.cos(), angles.sin(), heads, EPSILON)
            for x in (*packed.chunk(3, dim=-1), self.random(4, 1, self.rows, width, dtype=dtype)):
                yield off(dit_kernels.norm_and_rope(x, *given), operations.plain_norm_and_rope(x, *given))

    def add_and_norm(self, dtype: torch.dtype) -> Iterator[float]:
        from plugins.diffusers_backend.kernels import dit_kernels

        batches = BATCHES[:1] if self.true else BATCHES
        for (batch, others, groups), (heads, head) in itertools.product(batches, self.widths):
            width = heads * head
            x = self.random(8, batch, groups, self.rows, width, dtype=dtype)
            y = 3 * self.random(9, others, groups, self.rows, width, dtype=dtype)
            for gate, weight, bias in itertools.islice(self._parameters(groups, width), 1 if self.true else None):
                got = dit_kernels.add_and_norm(x, y, gate, weight, bias, EPSILON)
                expected = operations.plain_add_and_norm(x, y, gate, weight, bias, EPSILON)
                yield max(off(*each) for each in zip(got, expected, strict=True))
                _, alone = dit_kernels.add_and_norm(x, None, None, weight, bias, EPSILON)
                yield off(alone, operations.plain_norm(x, weight, bias, EPSILON))
                if gate is not None:
                    added, _ = dit_kernels.add_and_norm(x, y, gate, None, None, 0.0)
                    yield off(added, operations.plain_add(x, y, gate))

    def _parameters(self, groups: int, width: int) -> Iterator[tuple[Any, Any, Any]]:
        """Yield gate, weight and bias: a modulation's, a norm's, without a gate."""
        views = self.random(5, groups, 6, width).unsqueeze(2).unbind(1)
        yield views[2], 1 + views[1], views[0]
        yield views[2], self.random(6, width), self.random(7, width)
        yield None, 1 + views[4], views[3]

    def norm(self, dtype: torch.dtype) -> Iterator[float]:
        from plugins.wan.vae import vae_kernels

        for channels, silu in itertools.product(self.channels, (True,) if self.true else (True, False)):
            gamma = 1 + 0.1 * self.random(1, channels)
            for shape in ((2, channels, 3, self.rows, 4), (3, channels, 7, 2)):
                x = self.random(2, *shape, dtype=dtype)
                x[0, :, ..., 0] = 0
                normed = functional.normalize(x.float(), dim=1) * channels**0.5 * gamma.view(-1, *(1,) * (x.dim() - 2))
                expected = functional.silu(normed) if silu else normed
                yield off(vae_kernels.norm(x, gamma.to(dtype).float(), channels**0.5, silu).float(), expected)

    def pad(self, dtype: torch.dtype) -> Iterator[float]:
        """Yield 0 for an exact copy, else 1."""
        from plugins.wan.vae import vae_kernels

        layouts = (torch.channels_last_3d,) if self.true else (torch.contiguous_format, torch.channels_last_3d)
        pasts = (None, 2) if self.true else (None, 1, 2)
        for channels, frames, layout in itertools.product(self.channels[-2:], pasts, layouts):
            x = self.random(3, 2, channels, 3, 5, 4, dtype=dtype).contiguous(memory_format=layout)
            past = None if frames is None else self.random(4, 2, channels, frames, 5, 4, dtype=dtype)
            for count, height, width in ((2, 1, 1),) if self.true else ((2, 1, 1), (2, 0, 0)):
                before = x.new_zeros(2, channels, count - (frames or 0), 5, 4)
                whole = torch.cat([before, *(() if past is None else (past,)), x], dim=2)
                got = vae_kernels.pad(x, past, count, height, width)
                assert got.is_contiguous(memory_format=torch.channels_last_3d)
                yield float(not torch.equal(got, functional.pad(whole, (width, width, height, height))))


def errors(device: str, true: bool) -> Errors:
    """Return the largest error of each kernel in each dtype."""
    cases = Cases(device, true)
    kernels: Mapping[str, Callable[[torch.dtype], Iterator[float]]] = {
        "norm_and_rope": cases.norm_and_rope,
        "add_and_norm": cases.add_and_norm,
        "norm": cases.norm,
        "pad": cases.pad,
    }
    return {name: {str(dtype): max(kernel(dtype)) for dtype in DTYPES} for name, kernel in kernels.items()}


def interpreted() -> Errors:
    """Return the errors at small widths in Triton's interpreter, without a GPU."""
    environ = {**os.environ, "PYTHONPATH": python_path(), "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "bench.card.kernels"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the interpreter ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def compiled(capability: int, width: int) -> dict[str, bytes]:
    """Return the machine code of each kernel at a DiT's `width`; needs no card.

    `capability` is that of the target cards: 90 for an H200.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from plugins.diffusers_backend.kernels import dit_kernels
    from plugins.wan.vae import vae_kernels

    block, number = triton.next_power_of_2(width), {"epsilon": "fp32", "width": "i32"}
    turn = dict.fromkeys(("x", "weight", "out"), "*bf16") | dict.fromkeys(("cosines", "sines"), "*fp32") | number
    turn |= dict.fromkeys(("row_stride", "tokens"), "i32")
    add = dict.fromkeys(("x", "y", "kept", "out"), "*bf16") | number
    add |= dict.fromkeys(("gate", "weight", "bias"), "*fp32")
    add |= dict.fromkeys(("group_size", "groups", "gate_stride", "weight_stride", "bias_stride"), "i32")
    norm = dict.fromkeys(("x", "gamma", "out"), "*fp32") | dict.fromkeys(("pixels", "channels"), "i32")
    pad = dict.fromkeys(vae_kernels._pad.arg_names, "i32") | dict.fromkeys(("x", "past", "out"), "*bf16")
    rows, picture = vae_kernels._tile(width // 8)
    tile = {"rows": rows, "block_size": picture}
    found = {}
    for kernel, signature, constants in (
        (vae_kernels._norm, norm | {"scale": "fp32"}, {"silu": True, **tile}),
        (vae_kernels._pad, pad, {"has_past": True, **tile}),
        (dit_kernels._norm_and_rope, turn, {"half": 64, "block_size": block}),
        (dit_kernels._add_and_norm, add, {"has_y": True, "has_gate": True, "has_norm": True, "block_size": block}),
    ):
        signature |= dict.fromkeys(constants, "constexpr")
        code = ASTSource(kernel, {name: signature[name] for name in kernel.arg_names}, constants)
        target = GPUTarget("cuda", capability, 32)
        made = triton.compile(code, target=target, options={"num_warps": dit_kernels._warps(block)})
        found[kernel.__name__] = made.asm["cubin"]
    return found


def off(got: torch.Tensor, expected: torch.Tensor) -> float:
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    assert torch.isfinite(got).all(), "numbers that are not finite"
    return relative_error(got, expected)


if __name__ == "__main__":
    print(json.dumps(errors("cpu", true=False)))
