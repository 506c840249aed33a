"""What an engine frees goes back to the machine."""

import subprocess
import sys

import pytest

# of blocks of 2 MB all but the last are freed: they stay on glibc's heap, whose end is in use
FREES = """
import ctypes
from pathlib import Path
from router.engine.heap import trim

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes, libc.memset.argtypes = [ctypes.c_void_p], [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

libc.free(libc.malloc(30 * 2**20))  # from now on blocks of 2 MB come from the heap
before = resident()
blocks = [libc.malloc(2 * 2**20) for _ in range(100)]
for block in blocks:
    libc.memset(block, 1, 2 * 2**20)
full = resident() - before
for block in blocks[:-1]:
    libc.free(block)
kept = resident() - before
trim()
print(kept / full, (resident() - before) / full)
"""


@pytest.mark.slow
def test_what_is_freed_goes_back() -> None:
    run = subprocess.run([sys.executable, "-c", FREES], capture_output=True, text=True, check=True)
    kept, left = map(float, run.stdout.split())

    assert kept > 0.8  # else this test shows nothing
    assert left < 0.1
