"""The weights of several linear layers as one tensor, without a second copy."""

import torch


def fuse_qkv(*layers: torch.nn.Linear) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weights, and the biases, of `layers` one below the other.

    The layers' own tensors become views of the result with their former bits, so that each layer still runs by itself.
    Layers that have moved since are joined again.
    """
    return _join([layer.weight for layer in layers]), _join([layer.bias for layer in layers])


def _join(parts: list[torch.Tensor]) -> torch.Tensor:
    first = parts[0]
    shape = (sum(len(part) for part in parts), *first.shape[1:])
    if _is_joined(parts):
        return first.detach().as_strided(shape, first.stride())
    whole = torch.cat([part.detach() for part in parts])
    for part, view in zip(parts, whole.split([len(part) for part in parts]), strict=True):
        part.data = view
    return whole


def _is_joined(parts: list[torch.Tensor]) -> bool:
    end = parts[0].data_ptr()
    for part in parts:
        if part.untyped_storage().data_ptr() != parts[0].untyped_storage().data_ptr() or part.data_ptr() != end:
            return False
        end += part.nbytes
    return all(part.is_contiguous() for part in parts)
