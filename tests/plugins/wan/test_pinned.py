"""Room for weights on the host: alike, apart, and little more than they take."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")

from plugins.wan.weights import pinned  # noqa: E402


def slabs(tensors: list[torch.Tensor]) -> dict[int, int]:
    return {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors}


def test_tensors_are_alike_and_do_not_overlap() -> None:
    given = [torch.rand(3, 5), torch.rand(()), torch.rand(0, 2), torch.arange(9), torch.rand(7).bfloat16()]
    given.append(torch.tensor([True, False]))

    rooms = pinned.pinned_like(given, pinned=False)
    for room, tensor in zip(rooms, given, strict=True):
        room.copy_(tensor)

    for room, tensor in zip(rooms, given, strict=True):
        assert (room.dtype, room.shape) == (tensor.dtype, tensor.shape)
        assert room.is_contiguous()
        assert torch.equal(room, tensor)
        assert room.data_ptr() % pinned.ALIGNMENT == 0


@pytest.mark.parametrize("blocks", [1, 7, 40])
def test_a_14b_transformer_takes_little_more_than_its_bytes(blocks: int) -> None:
    shapes = ([(5120, 5120)] * 8 + [(13824, 5120), (5120, 13824)] + [(5120,)] * 12) * blocks
    tensors = [torch.empty(shape, dtype=torch.bfloat16, device="meta") for shape in shapes]

    taken = slabs(pinned.pinned_like(tensors, pinned=False))  # of pages that nobody touches

    assert all(size & (size - 1) == 0 for size in taken.values())
    assert sum(taken.values()) <= 1.15 * sum(tensor.nbytes for tensor in tensors)
    assert len(taken) <= 16


def test_no_tensors_take_no_room() -> None:
    assert pinned.pinned_like([], pinned=False) == []
