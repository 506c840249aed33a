"""Switches of the fast path: `fast: false`, or `fast: {chunks: false}`, in a model's `options`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from dataclasses import fields as fields_of
from typing import Any

from marshmallow import ValidationError, fields


@dataclass(frozen=True)
class Switches:
    """The parts of the fast path, each on or off.

    transformer: our forward pass of the DiT; the text's keys and values are made once a request
    short_text: the text encoder reads a prompt's own tokens and not the padding
    merged_padding: the text's equal padding rows are one key with the logarithm of their number as its weight
    framewise_time: one timestep a latent frame, or one in all, in place of one a token
    batched_guidance: both halves of guidance in one forward pass, for small clips
    summed_steps: on a CPU, the scheduler's steps as sums, for small clips
    packed_qkv: one product for queries, keys and values
    rope_kernel: on a GPU, the norm and the rotation of queries and keys by one kernel of ours
    norm_kernel: on a GPU, residuals, norms and modulation by one kernel of ours
    convolution: the VAE's convolutions by oneDNN, on a CPU
    norm: the VAE's norms in fewer passes
    vae_norm_kernel: on a GPU, the VAE's norms and the SiLU after them by one kernel of ours
    padding_kernel: on a GPU, the frames before and the zeros around by one kernel of ours
    channels_last: the VAE's activations with their channels last
    chunks: several latent frames at a time through the VAE: for small clips on a CPU, by its memory on a GPU
    measured_attention: on a GPU, with `attention: auto`, the backend that was measured to be the fastest at a size
    gelu_epilogue: on a GPU, GELU in the product before it, at sizes where that was measured to be faster
    compile: blocks compiled in the background, used by later requests

    A kernel of ours runs where it has given PyTorch's numbers on the GPU. The last three are off by default: a seed
    repeats bit for bit only by the same kernels, so only among requests that are all compiled, or none, and for as
    long as a process keeps its measurements.
    """

    transformer: bool = True
    short_text: bool = True
    merged_padding: bool = True
    framewise_time: bool = True
    batched_guidance: bool = True
    summed_steps: bool = True
    packed_qkv: bool = True
    rope_kernel: bool = True
    norm_kernel: bool = True
    convolution: bool = True
    norm: bool = True
    vae_norm_kernel: bool = True
    padding_kernel: bool = True
    channels_last: bool = True
    chunks: bool = True
    measured_attention: bool = False
    gelu_epilogue: bool = False
    compile: bool = False

    @classmethod
    def of(cls, option: bool | Mapping[str, bool]) -> Switches:
        """Return the switches of the option `fast`: all on, all off, or changed by a mapping."""
        if isinstance(option, bool):
            return cls() if option else OFF
        return cls(**option)


OFF = Switches(**dict.fromkeys(asdict(Switches()), False))


class FastField(fields.Field[Any]):
    """True, false, or a mapping from names of `Switches` to either."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool | dict[str, bool]:
        names = [field.name for field in fields_of(Switches)]
        if isinstance(value, bool):
            return value
        if not isinstance(value, dict):
            raise ValidationError(f"must be true, false or a mapping of {', '.join(names)}, got {value!r}")
        if unknown := [name for name in value if name not in names]:
            raise ValidationError(f"must be of {', '.join(names)}, got {', '.join(map(str, unknown))}")
        if wrong := [name for name, on in value.items() if not isinstance(on, bool)]:
            raise ValidationError(f"{wrong[0]} must be true or false, got {value[wrong[0]]!r}")
        return value
