"""The tolerance between two videos of the same request, in levels of 0...255."""

import numpy as np

from router import Pixels

# three times what was seen (1 and 0.015) in every comparison with a reference, whatever instructions PyTorch used
# (ATEN_CPU_CAPABILITY default, avx2 and unset, which was AVX-512): rounding, which guidance and the decoder amplify
LARGEST, RMS = 3, 0.045


def require_same(made: Pixels, expected: Pixels) -> None:
    """Fail for more than rounding between frames before H.264."""
    assert made.shape == expected.shape
    off = made.astype(int) - expected.astype(int)
    largest, rms = int(np.abs(off).max()), float(np.sqrt(np.square(off).mean()))
    assert largest <= LARGEST, f"{largest} levels apart, root mean square {rms:.4f}"
    assert rms <= RMS, f"root mean square {rms:.4f}, at most {largest} levels apart"
