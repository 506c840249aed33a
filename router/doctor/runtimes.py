"""Checks of PyTorch and ONNX Runtime: GPUs, CUDA and cuDNN."""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from router.doctor.devices import nodes
from router.doctor.finding import DoctorContext, Finding, fail, ok, warn
from router.doctor.packages import installed

CUDA = "CUDAExecutionProvider"
FIRST_OPSET = 13  # old enough for any ONNX Runtime


@dataclass(frozen=True)
class Torch:
    """PyTorch's versions, its GPUs, and its error without any."""

    version: str
    cuda: str | None
    cudnn: int | None
    gpus: tuple[str, ...] = ()
    unsuited: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Onnx:
    """ONNX Runtime's versions; `runs_on` is the provider of a graph for CUDA."""

    version: str
    cuda: str | None
    providers: tuple[str, ...]
    runs_on: str | None = None


def check(context: DoctorContext) -> Iterator[Finding]:
    gpus = bool(nodes(Path("/dev"))) or Path("/dev/dxg").exists()
    gpus = gpus and context.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() not in ("", "-1")
    torch = ask_torch() if find_spec("torch") else None
    yield torch_sees(torch, gpus)
    yield from both_onnx(installed("onnxruntime"), installed("onnxruntime-gpu"))
    if find_spec("onnxruntime"):
        yield onnx_sees(ask_onnx(gpus), torch, gpus)


def torch_sees(torch: Torch | None, gpus: bool) -> Finding:
    if torch is None:
        return warn("torch", "PyTorch is not installed", "the diffusers backend needs it: pip install 'framegate[all]'")
    if not gpus:
        return ok("torch", f"PyTorch {torch.version}, on the CPU")
    if torch.cuda is None:
        advice = "install one for CUDA: pip install -U torch, or see pytorch.org/get-started"
        return fail("torch", f"PyTorch {torch.version} is built for the CPU, and there are GPUs", advice)
    built = f"PyTorch {torch.version}, CUDA {torch.cuda}, cuDNN {_cudnn(torch.cudnn)}"
    if torch.error or not torch.gpus:
        advice = "the driver may be older than that CUDA needs, or the container lacks the GPU"
        return fail("torch", f"{built} cannot use the GPUs: {torch.error or 'it sees none'}", advice)
    if torch.unsuited:
        advice = "install a PyTorch that is built for them"
        return fail("torch", f"{built} has no code for {', '.join(torch.unsuited)}", advice)
    return ok("torch", f"{built}: {', '.join(torch.gpus)}")


def both_onnx(plain: str | None, gpu: str | None) -> Iterator[Finding]:
    """Report two packages of ONNX Runtime, whose files overwrite each other."""
    if plain and gpu:
        pip = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
        message = f"onnxruntime {plain} and onnxruntime-gpu {gpu} are both installed and overwrite each other"
        yield fail("onnxruntime", message, pip)


def onnx_sees(onnx: Onnx, torch: Torch | None, gpus: bool) -> Finding:
    shown = f"ONNX Runtime {onnx.version}" + (f", CUDA {onnx.cuda}" if onnx.cuda else "")
    if not gpus:
        return ok("onnxruntime", f"{shown}, on the CPU")
    if CUDA not in onnx.providers:
        advice = "pip uninstall -y onnxruntime && pip install onnxruntime-gpu"
        return warn("onnxruntime", f"{shown} is built for the CPU, and there are GPUs", advice)
    if onnx.cuda and torch and torch.cuda and onnx.cuda.split(".")[0] != torch.cuda.split(".")[0]:
        advice = "install versions of both for one CUDA: they load the same libraries"
        return warn("onnxruntime", f"{shown}, while PyTorch has CUDA {torch.cuda}", advice)
    if onnx.runs_on not in (CUDA, None):
        advice = "pip install 'onnxruntime-gpu[cuda,cudnn]' brings the libraries that it lacks"
        return fail("onnxruntime", f"{shown} was asked for {CUDA} and took {onnx.runs_on}", advice)
    return ok("onnxruntime", f"{shown}, {', '.join(onnx.providers)}")


def ask_torch() -> Torch:
    import torch

    cudnn = torch.backends.cudnn.version()
    try:
        names, unsuited = [], []
        for n in range(torch.cuda.device_count()):
            seen = torch.cuda.get_device_properties(n)
            names.append(f"{seen.name} ({seen.total_memory / 2**30:.0f} GiB)")
            if seen.major * 10 + seen.minor < _oldest(torch.cuda.get_arch_list()):
                unsuited.append(f"{seen.name} (sm_{seen.major}{seen.minor})")
        if names:
            torch.zeros(1, device="cuda:0").cpu()
    except (RuntimeError, AssertionError) as error:
        return Torch(torch.__version__, torch.version.cuda, cudnn, error=str(error).splitlines()[0])
    return Torch(torch.__version__, torch.version.cuda, cudnn, tuple(names), tuple(unsuited))


def ask_onnx(gpus: bool) -> Onnx:
    onnxruntime = importlib.import_module("onnxruntime")
    about = importlib.import_module("onnxruntime.capi.build_and_package_info")
    runs_on = _runs_on() if gpus and find_spec("onnx") else None
    providers = tuple(onnxruntime.get_available_providers())
    return Onnx(onnxruntime.__version__, getattr(about, "cuda_version", None) or None, providers, runs_on)


def _runs_on() -> str:
    """Return the actual provider of a one-node graph for CUDA."""
    from onnx import TensorProto, helper

    onnxruntime = importlib.import_module("onnxruntime")
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "one", sides[:1], sides[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", FIRST_OPSET)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    onnxruntime.preload_dlls()
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[CUDA, "CPUExecutionProvider"])
    return str(session.get_providers()[0])


def _oldest(built: list[str]) -> int:
    """Return the oldest supported GPU, 90 for `sm_90`; newer ones work as well."""
    return min((int("".join(filter(str.isdigit, one))) for one in built), default=0)


def _cudnn(version: int | None) -> str:
    return f"{version // 10000}.{version // 100 % 100}.{version % 100}" if version else "missing"
