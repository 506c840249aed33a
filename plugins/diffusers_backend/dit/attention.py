"""Attention by the name of its kernel: diffusers' names, and FlashAttention 4 from pip."""

import importlib.util
from collections.abc import Iterator
from importlib import metadata

import torch
from diffusers import WanTransformer3DModel
from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch.nn import functional

NATIVE, MATH, EFFICIENT, FLASH = "native", "_native_math", "_native_efficient", "_native_flash"
CUDNN, FLASH_3, FLASH_4 = "_native_cudnn", "_flash_3", "flash_4"
FLASH_4_PACKAGE = "flash-attn-4"
FLASH_4_TILES = (144, 160, 176, 192)  # keys in a tile on Hopper: more than its own 128, and none spills registers


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor | None, backend: str
) -> torch.Tensor:
    """Return the attention of `query` over all keys, `(b, tokens, heads, head)` like them.

    The backend `flash_4:176` has tiles of 176 keys.
    """
    name, _, tile = backend.partition(":")
    if name == FLASH_4:
        return flash_4(query, key, value, int(tile or 0))
    if backend == CUDNN and bias is None:
        return _cudnn(query, key, value)
    if backend != NATIVE:
        return dispatch_attention_fn(query, key, value, attn_mask=bias, backend=backend)
    query, key, value = (each.transpose(1, 2) for each in (query, key, value))
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=bias).transpose(1, 2)


def _cudnn(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    # cuDNN reads this layout as it is; diffusers makes three copies for it
    swapped = (each.transpose(1, 2) for each in (query.contiguous(), key, value))
    return torch.ops.aten._scaled_dot_product_cudnn_attention(*swapped, None, False)[0].transpose(1, 2)


@torch.library.custom_op("framegate::flash_4", mutates_args=())
def flash_4(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, tile: int = 0) -> torch.Tensor:
    """Return attention by FlashAttention 4 in tiles of `tile` keys; 0: its own choice."""
    if tile == 0:
        from flash_attn.cute import flash_attn_func

        return flash_attn_func(query, key, value)[0]  # the rest is for gradients
    from flash_attn.cute.interface import _flash_attn_fwd  # the public function takes no tile

    return _flash_attn_fwd(query, key, value, tile_mn=(128, tile))[0]


@flash_4.register_fake
def _(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, tile: int = 0) -> torch.Tensor:
    return query.new_empty(query.shape)


def has_flash_4() -> bool:
    try:
        metadata.version(FLASH_4_PACKAGE)
    except metadata.PackageNotFoundError:
        return False
    return True


def backend_of(model: WanTransformer3DModel) -> str:
    found = model.blocks[0].attn1.processor._attention_backend
    return NATIVE if found is None else str(found.value)


def backends_for(first: str, capability: tuple[int, int] | None) -> Iterator[str]:
    """Yield `first`, then this machine's other backends for a GPU of `capability`."""
    others = [NATIVE, MATH] if capability is None else [CUDNN, FLASH, EFFICIENT]
    major = 0 if capability is None else capability[0]
    if major == 9 and importlib.util.find_spec("flash_attn_interface") is not None:
        others.append(FLASH_3)
    if major in (9, 10) and has_flash_4():
        others.append(FLASH_4)
        if major == 9:
            others += [f"{FLASH_4}:{tile}" for tile in FLASH_4_TILES]
    yield from dict.fromkeys([first, *others])
