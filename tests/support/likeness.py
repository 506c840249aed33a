"""Bounds on the distance of two videos of one request, in levels of 0...255."""

from __future__ import annotations

import numpy as np

from router import Pixels

# three times what was seen (1 and 0.015) in every comparison with a reference, whatever instructions PyTorch used
# (ATEN_CPU_CAPABILITY default, avx2 and unset, which was AVX-512): rounding, which guidance and the decoder amplify
LARGEST, RMS = 3, 0.045


def require_same(made: Pixels, expected: Pixels) -> None:
    """Fail if two raw videos differ by more than rounding."""
    assert made.shape == expected.shape
    off = made.astype(int) - expected.astype(int)
    largest, rms = int(np.abs(off).max()), float(np.sqrt(np.square(off).mean()))
    assert largest <= LARGEST, f"{largest} levels apart, root mean square {rms:.4f}"
    assert rms <= RMS, f"root mean square {rms:.4f}, at most {largest} levels apart"
