"""Byte sizes, as text and as numbers."""

import pytest

from router.runtime.byte_size import ByteSize, format_bytes


@pytest.mark.parametrize(
    ("text", "size"), [("90%", 900), ("24GB", 24 * 10**9), ("1.5 gib", 3 * 2**29), ("512MiB", 2**29), ("77", 77)]
)
def test_an_amount_of_memory(text: str, size: int) -> None:
    assert ByteSize.parse(text).of(1000) == size


@pytest.mark.parametrize("text", ["", "much", "-1GB", "101%", "1 potato", "1e9", "GB"])
def test_an_amount_that_is_none_says_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="must be a byte size such as 24GB, 512MiB or 90%, got"):
        ByteSize.parse(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0.0 B"), (999, "999.0 B"), (2_500, "2.5 kB"), (11_361_845_248, "11.4 GB"), (10**15, "1000.0 TB")],
)
def test_bytes_are_spelt_for_people(size: int, text: str) -> None:
    assert format_bytes(size) == text
