"""Room for weights on the host: alike, apart, and little more than they take."""

import pytest

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")

from plugins.wan.weights import host_memory  # noqa: E402


def slabs(tensors: list[torch.Tensor]) -> dict[int, int]:
    return {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors}


def test_tensors_are_alike_and_do_not_overlap() -> None:
    given = [torch.rand(3, 5), torch.rand(()), torch.rand(0, 2), torch.arange(9), torch.rand(7).bfloat16()]
    given.append(torch.tensor([True, False]))
    given += [torch.rand(3, 4).to(torch.float8_e4m3fn), torch.tensor([[-3]], dtype=torch.int8)]  # codes of weights

    copies = host_memory.pinned_like(given, pinned=False)
    for copy, tensor in zip(copies, given, strict=True):
        copy.copy_(tensor)

    for copy, tensor in zip(copies, given, strict=True):
        assert (copy.dtype, copy.shape) == (tensor.dtype, tensor.shape)
        assert copy.is_contiguous()
        assert torch.equal(copy.view(-1).view(torch.uint8), tensor.view(-1).view(torch.uint8))
        assert copy.data_ptr() % host_memory.ALIGNMENT == 0


@pytest.mark.parametrize("blocks", [1, 7, 40])
def test_a_14b_transformer_takes_little_more_than_its_bytes(blocks: int) -> None:
    shapes = ([(5120, 5120)] * 8 + [(13824, 5120), (5120, 13824)] + [(5120,)] * 12) * blocks
    tensors = [torch.empty(shape, dtype=torch.bfloat16, device="meta") for shape in shapes]

    taken = slabs(host_memory.pinned_like(tensors, pinned=False))  # of pages that nobody touches

    assert all(size & (size - 1) == 0 for size in taken.values())
    assert sum(taken.values()) <= 1.15 * sum(tensor.nbytes for tensor in tensors)
    assert len(taken) <= 16


def test_no_tensors_take_no_room() -> None:
    assert host_memory.pinned_like([], pinned=False) == []
