"""How an engine's memory that is free goes back to the machine."""

from __future__ import annotations

from collections.abc import Mapping

# glibc raises its own threshold to 32 MiB as blocks are freed, and keeps what is below it. With a fixed one each
# tensor of over a MiB goes back as it is freed; musl and others do not read this. Nano's videos take 5 % more time of
# a CPU for it, where tensors are of some MiB; true sizes are of over 32 MiB, which glibc gives back in any case.
THRESHOLD = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
SAID = "glibc.malloc.mmap_threshold"


def giving_back(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what an engine's environment needs beside `environ`: nothing where that says how memory is kept."""
    if THRESHOLD.keys() & environ.keys() or SAID in environ.get("GLIBC_TUNABLES", ""):
        return {}
    return dict(THRESHOLD)
