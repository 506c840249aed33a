"""ONNX Runtime sessions: the provider, its settings, and checks that it runs the graph."""

import ctypes
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from onnxruntime.capi import onnxruntime_pybind11_state as states

from router import LoadFailed

# Libraries of a provider, some loaded only when the first node needs them: without one of these ONNX Runtime
# silently takes the CPU, or opens the session and fails each run.
CUDA = {
    "CUDA 13": ("libcudart.so.13", "libcublas.so.13", "libcublasLt.so.13", "libcurand.so.10"),
    "cuDNN 9": ("libcudnn.so.9",),
}
LIBRARIES = {
    "cpu": {},
    "cuda": CUDA,
    "tensorrt": {**CUDA, "TensorRT 10": ("libnvinfer.so.10", "libnvonnxparser.so.10")},
}
NAMES = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
# operations that must not be left to the CPU; shapes and their arithmetic belong there
HEAVY = {"Gemm", "MatMul", "Conv", "MultiHeadAttention", "LayerNormalization", "RMSNormalization", "RotaryEmbedding"}
SILENT = 4  # severity; errors are raised in any case
ERRORS = (
    RuntimeError, states.EPFail, states.Fail, states.InvalidArgument, states.InvalidGraph, states.InvalidProtobuf,
    states.NoSuchFile, states.NotImplemented, states.RuntimeException,
)  # fmt: skip
WANT_OF_MEMORY = ("Failed to allocate memory", "out of memory", "ALLOC_FAILED", "bad_alloc")
LOST = {214, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 999}  # CUDA errors after which a process has no context


def provider_for(option: str, device: str) -> str:
    """Return the execution provider for `device`; raise `LoadFailed` for an unsuitable option."""
    suits = "cuda" if device.startswith("cuda") else "cpu"
    if option in ("cuda", "tensorrt") and suits == "cpu":
        raise LoadFailed(f"provider {option} needs an engine on a GPU, this one is on {device}")
    if option == "cpu" and suits == "cuda":
        raise LoadFailed(f"provider cpu needs an engine on the CPU, this one is on {device}")
    return suits if option == "auto" else option


def open_session(
    graph: Path,
    weights: Mapping[str, onnxruntime.OrtValue],
    provider: str,
    device: str,
    stream: int | None = None,
    engines: Path | None = None,
) -> onnxruntime.InferenceSession:
    """Return a session of the graph over these weights, which must outlive the session.

    `stream` is torch's, for a GPU; `engines` is the cache folder of TensorRT's engines for these weights. Raises
    `LoadFailed` if `provider` lacks a library, or does not run the graph.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # torch needs the cores between runs
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    for name, value in weights.items():
        options.add_initializer(name, value)
    if provider != "cpu":
        onnxruntime.preload_dlls()  # those that came with torch
        _require_libraries(graph, provider)
    session = _opened(graph, options, _providers(provider, device, stream, engines))
    _require_provider(graph, session, provider)
    return session


def _opened(graph: Path, options: Any, providers: list[Any]) -> onnxruntime.InferenceSession:
    try:
        with errors_of_torch():
            return onnxruntime.InferenceSession(graph, options, providers=providers, enable_fallback=0)
    except torch.OutOfMemoryError:
        raise
    except ERRORS as error:
        raise LoadFailed(
            f"ONNX Runtime cannot run {_label(graph)}: {brief(error).replace(str(graph), _label(graph))}"
        ) from error


def _label(graph: Path) -> str:
    return f"{graph.name} of {graph.parent.name}"


def _require_provider(graph: Path, session: onnxruntime.InferenceSession, provider: str) -> None:
    if (found := session.get_providers()[0]) != NAMES[provider]:
        raise LoadFailed(
            f"{_label(graph)} was to run on {NAMES[provider]}, ONNX Runtime took {found}: does the driver suit it?"
        )
    if provider == "cpu":
        return
    parts = [part for part in session.get_provider_graph_assignment_info() if part.ep_name == NAMES["cpu"]]
    if left := sorted({node.op_type for part in parts for node in part.get_nodes()} & HEAVY):
        raise LoadFailed(f"{_label(graph)} was to run on {NAMES[provider]}, which leaves {', '.join(left)} to the CPU")


def _require_libraries(graph: Path, provider: str) -> None:
    missing = []
    for what, names in LIBRARIES[provider].items():
        if absent := [name for name in names if not _loads(name)]:
            missing.append(f"{what} ({', '.join(absent)})")
    if missing:
        raise LoadFailed(
            f"{_label(graph)} was to run on {NAMES[provider]}, and this machine lacks {' and '.join(missing)}; "
            "pip install 'onnxruntime-gpu[cuda,cudnn]' brings CUDA and cuDNN"
        )


def _providers(provider: str, device: str, stream: int | None, engines: Path | None) -> list[Any]:
    if provider == "cpu":
        return [NAMES["cpu"]]
    here = {"device_id": device.partition(":")[2] or "0", "user_compute_stream": str(stream)}
    cuda = {
        **here,
        "arena_extend_strategy": "kSameAsRequested",  # the VAE needs the rest
        "use_tf32": "0",  # as in torch
    }
    chosen: list[Any] = [(NAMES["cuda"], cuda)]
    if provider == "tensorrt":
        # TensorRT names its engines by a graph's file and shapes, not by its weights
        cache = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(engines)} if engines else {}
        chosen.insert(0, (NAMES["tensorrt"], {**here, **cache}))
    return chosen


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


@contextmanager
def errors_of_torch() -> Iterator[None]:
    """Turn ONNX Runtime's errors into torch's errors for the same failure."""
    try:
        yield
    except ERRORS as error:
        text = str(error)
        if any(sign in text for sign in WANT_OF_MEMORY):
            raise torch.OutOfMemoryError(brief(error)) from error
        code = re.search(r"CUDA failure (\d+)", text)
        if code is not None and int(code[1]) in LOST:
            raise RuntimeError(f"CUDA error: {brief(error)}") from error
        raise


def brief(error: BaseException) -> str:
    """Return the message of an error without ONNX Runtime's C++ signature."""
    text = str(error).strip()
    failure = re.search(r"(CUDA|CUDNN|CUBLAS) failure.*", text, re.DOTALL)
    return (failure[0] if failure else text).partition("\n")[0][:300]
