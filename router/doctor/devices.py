"""Checks of NVIDIA GPUs by their device files, without any library."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from router.doctor.finding import DoctorContext, Finding, fail, ok, warn

CONTROL = ("nvidiactl", "nvidia-uvm")
VERSION = re.compile(r"\b[0-9]{3,4}\.[0-9.]+\b")
IN_CONTAINER = "in a container start it with all GPUs (docker run --gpus all)"


def check(context: DoctorContext) -> Iterator[Finding]:
    yield driver(Path("/dev"), Path("/proc/driver/nvidia/version"), context.environ)


def nodes(dev: Path) -> list[Path]:
    """Return the device file of each GPU."""
    return sorted(dev.glob("nvidia[0-9]*"))


def driver(dev: Path, version: Path, environ: Mapping[str, str]) -> Finding:
    """Check the driver's version and the device files of GPUs and control."""
    gpus = nodes(dev)
    known = VERSION.search(version.read_text()) if version.is_file() else None
    if not gpus:
        return _none(dev, known is not None)
    if lost := [str(dev / name) for name in CONTROL if not (dev / name).exists()]:
        advice = f"run 'nvidia-modprobe -u -c=0' as root; {IN_CONTAINER}"
        return fail("devices", f"{len(gpus)} NVIDIA GPUs, and {' and '.join(lost)} are missing", advice)
    if shut := [str(node) for node in gpus if not os.access(node, os.R_OK | os.W_OK)]:
        advice = "add this user to the group that owns them (ls -l)"
        return fail("devices", f"this user may not use {', '.join(shut)}", advice)
    shown = f"{len(gpus)} NVIDIA GPUs, driver {known[0] if known else 'of unknown version'}"
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return ok("devices", shown)
    if visible.strip() in ("", "-1"):
        return warn("devices", f"{shown}, all hidden by CUDA_VISIBLE_DEVICES={visible!r}", "unset it to use them")
    return ok("devices", f"{shown}, of which CUDA_VISIBLE_DEVICES shows {visible}")


def _none(dev: Path, driver_is_there: bool) -> Finding:
    # WSL has one node for all GPUs and no driver files
    if (dev / "dxg").exists():
        return ok("devices", "an NVIDIA GPU by way of WSL")
    if driver_is_there:
        advice = f"run 'nvidia-smi' once; {IN_CONTAINER}"
        return fail("devices", "there is an NVIDIA driver and no /dev/nvidia0", advice)
    return ok("devices", "no NVIDIA GPU: engines run on the CPU")
