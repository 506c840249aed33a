"""The comparisons with a reference by the instruction sets of other processors."""

import os
import subprocess
import sys

import pytest
from conftest import EXPORTS, Exports
from support.server import ROOT

pytestmark = pytest.mark.slow

STOCK = "tests/plugins/diffusers_backend/test_videos.py::test_frames_are_those_of_the_stock_pipeline"
REFERENCES = (
    f"{STOCK}[family/wan-nano-t2v-t2v-plain]",
    f"{STOCK}[tiny/flf2v-clip-flf2v-image-last_image]",
    "tests/plugins/diffusers_backend/test_fast_transformer.py::test_the_velocity_is_that_of_the_stock_model",
    "tests/plugins/onnx_backend/test_loading.py::test_its_videos_are_those_of_diffusers[text]",
)


@pytest.mark.parametrize("capability", ["default", pytest.param("avx2", marks=pytest.mark.storm)])
def test_what_is_made_is_the_references_by_other_instructions_too(capability: str, exports: Exports) -> None:
    """`default` is without AVX; other tests cover PyTorch's own choice on this machine."""
    exports["wan-nano-t2v"]  # is made here, and taken there
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", *REFERENCES],
        cwd=ROOT,
        env={**os.environ, "ATEN_CPU_CAPABILITY": capability, EXPORTS: str(exports.folder)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
