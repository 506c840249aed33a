"""Files of parts that change, mislead or overflow."""

import resource
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry import PerExpert
from registry.parts import PartFile
from router import LoadFailed, Modality, ModelSpec

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")
pytest.importorskip("gguf")

from safetensors.torch import load_file, save_file  # noqa: E402
from support import driving, weight_files  # noqa: E402
from support import low_rank as lora  # noqa: E402

from nano.family import link_family  # noqa: E402
from plugins import diffusers_backend as backend  # noqa: E402
from plugins.diffusers_backend import numerics  # noqa: E402
from plugins.diffusers_backend.convert import Conversion  # noqa: E402
from plugins.wan import checkpoint  # noqa: E402
from plugins.wan.weights.adapters.merge import MergedAdapters  # noqa: E402
from registry import folders, part_files  # noqa: E402
from registry.folders import FolderError  # noqa: E402

WEIGHTS = "diffusion_pytorch_model.safetensors"
AFTER_THE_KEYS = 6  # reports of a load, of which the first five follow the digests of its parts
State = Mapping[str, Any]
original = weight_files.original_transformer


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nano")
    link_family(folder)
    return folder / driving.T2V


@pytest.fixture(scope="module")
def state(nano: Path) -> State:
    found: State = load_file(nano / "transformer" / WEIGHTS)
    return found


@pytest.fixture
def of(nano: Path) -> Callable[..., ModelSpec]:
    """Return a function that makes a model of part files."""

    def make(options: Mapping[str, object], **files: Path) -> ModelSpec:
        spec = driving.spec(nano, Modality.T2V, {"fast": {"compile": False}, **options})
        return replace(spec, source=str(nano), parts={part: PartFile(str(path)) for part, path in files.items()})

    return make


def gguf(path: Path, state: State, kind: str = "Q8_0", factor: float = 1.0, **others: Any) -> Path:
    changed = {name: tensor.float() * factor for name, tensor in state.items()}
    return weight_files.write_gguf(path, original(changed), kind=kind, **others)


def at_report(number: int, act: Callable[[], object]) -> Callable[..., None]:
    """Return a report that acts once, at its call of this number."""
    calls = iter(range(1, 10_000))

    def report(*_: Any, **__: Any) -> None:
        if next(calls) == number:
            act()

    return report


def test_a_file_replaced_between_its_digest_and_its_read_is_refused_or_not_shared_as_the_former(
    of: Any, state: State, tmp_path: Path
) -> None:
    former, later = gguf(tmp_path / "a.gguf", state), gguf(tmp_path / "b.gguf", state, factor=1.5)
    used, pool = Path(shutil.copy(former, tmp_path / "used.gguf")), driving.KeepingPool()

    with suppress(LoadFailed):
        backend.load_model(
            of({}, transformer=used), "cpu", pool, at_report(AFTER_THE_KEYS, lambda: shutil.copy(later, used))
        )
    untouched = driving.load(of({}, transformer=former), pool).parts["transformer"]
    expected = driving.load(of({}, transformer=former), driving.KeepingPool()).parts["transformer"]

    name = "blocks.0.attn1.to_q.bias"
    assert torch.equal(untouched.get_parameter(name), expected.get_parameter(name))


def test_a_file_cut_while_a_model_loads_is_said_as_a_failed_load(of: Any, state: State, tmp_path: Path) -> None:
    used = gguf(tmp_path / "used.gguf", state)
    cut = at_report(AFTER_THE_KEYS, lambda: used.write_bytes(used.read_bytes()[:500_000]))

    with pytest.raises(LoadFailed, match="cut short"):
        backend.load_model(of({}, transformer=used), "cpu", driving.KeepingPool(), cut)


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0"])
def test_an_adapter_is_merged_into_gguf(of: Any, state: State, tmp_path: Path, kind: str) -> None:
    model = of({}, transformer=gguf(tmp_path / "a.gguf", state, kind))
    found = lora.pairs(driving.load(of({}), driving.KeepingPool()).parts["transformer"])
    path = lora.write(tmp_path / "style.safetensors", lora.kohya(found))

    having = lora.having(model, lora.adapter(path, merge=True, strength=PerExpert(0.5, 0.5)))

    assert driving.load(having, driving.KeepingPool()).parts["transformer"]


def test_what_an_encoder_keeps_in_fp32_stays_so_in_codes(of: Any, nano: Path, tmp_path: Path) -> None:
    encoder = weight_files.untied(load_file(nano / "text_encoder" / "model.safetensors"))
    # outputs beyond fp16, as those of umT5-xxl: its class clamps them without a word
    large = {name: tensor.float() * (1e4 if name.endswith("wo.weight") else 1) for name, tensor in encoder.items()}
    file = weight_files.write_safetensors(tmp_path / "te.safetensors", weight_files.rowwise(large, "F8_E4M3"))

    def embeddings(**options: object) -> Any:
        loaded = driving.load(of({"dtype": "fp16", **options}, text_encoder=file), driving.KeepingPool())
        with torch.no_grad():
            return loaded.parts["text_encoder"](torch.arange(20)[None]).last_hidden_state.float()

    dense = embeddings(weights="dense")
    assert float((embeddings() - dense).norm() / dense.norm()) < 5e-3


def test_plain_parts_are_shared_with_a_model_of_dense_weights(of: Any) -> None:
    pool = driving.KeepingPool()

    one, other = driving.load(of({}), pool), driving.load(of({"weights": "dense"}), pool)

    assert other.parts["text_encoder"] is one.parts["text_encoder"]
    assert other.decoder is one.decoder


def refusal_of(model: ModelSpec) -> str:
    with pytest.raises(FolderError) as refused:
        folders.read(model.folder, part_files.paths(model.parts))
    return refused.value.reason


def test_codes_that_a_note_tells_need_a_scale(of: Any, state: State, tmp_path: Path) -> None:
    noted = weight_files.comfy_quantised(original(state))
    bare = {name: tensor for name, tensor in noted.items() if not name.endswith("weight_scale")}
    file = weight_files.write_safetensors(tmp_path / "bare.safetensors", bare)

    assert "scale" in refusal_of(of({}, transformer=file))


def test_a_tensor_with_and_without_a_prefix_is_refused(of: Any, state: State, tmp_path: Path) -> None:
    other = {name: tensor * 2 for name, tensor in state.items()}
    both = {**original(state, "model.diffusion_model."), **original(other)}
    file = weight_files.write_safetensors(tmp_path / "both.safetensors", both)

    assert "twice" in refusal_of(of({}, transformer=file))


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0"])
def test_gguf_blocks_in_a_bias_are_read_or_refused_with_the_header(
    of: Any, state: State, tmp_path: Path, kind: str
) -> None:
    file = gguf(tmp_path / "a.gguf", state, kind, chosen=lambda _, tensor: tensor.ndim <= 2)
    model = of({}, transformer=file)

    try:
        folders.read(model.folder, part_files.paths(model.parts))
    except FolderError:
        return
    assert driving.load(model, driving.KeepingPool())


# Conversions


def convert(model: ModelSpec, weights: str, target: Path) -> Path:
    assert model.folder is not None
    found = checkpoint.read(model.folder, model.parts)
    Conversion(found, MergedAdapters.of(model.adapters), weights).write(target, lambda *_: None)
    return target


def test_a_conversion_of_codes_to_numbers_still_says_that_they_were_rounded(
    of: Any, state: State, tmp_path: Path
) -> None:
    model = of({}, transformer=gguf(tmp_path / "a.gguf", state, "Q4_0"))
    folder = convert(model, "fp32", tmp_path / "out")
    converted = replace(driving.spec(folder, Modality.T2V), source=str(folder))

    assert "weights Q4_0" in numerics.describe(model, driving.task()).lossy
    assert numerics.describe(converted, driving.task()).lossy


def test_a_conversion_to_fp16_refuses_numbers_beyond_it(of: Any, state: State, tmp_path: Path) -> None:
    name = "blocks.0.ffn.net.0.proj.weight"
    large = {**state, name: state[name].float() * 1e7}
    file = weight_files.write_safetensors(tmp_path / "large.safetensors", original(large))

    with pytest.raises(LoadFailed, match="fp16"):
        convert(of({}, transformer=file), "fp16", tmp_path / "out")


def test_a_conversion_to_bf16_keeps_what_a_load_in_bf16_keeps(nano: Path, state: State, tmp_path: Path) -> None:
    folder = driving.copy_of(nano, tmp_path)
    for part in ("transformer", "transformer_2"):
        exact = {name: tensor.float() * 1.003 for name, tensor in load_file(nano / part / WEIGHTS).items()}
        (folder / part / WEIGHTS).unlink()
        save_file(exact, folder / part / WEIGHTS)
    model = driving.spec(folder, Modality.T2V, {"dtype": "bf16"})
    written = replace(model, folder=convert(model, "bf16", tmp_path / "out"))

    one, other = (driving.load(each, driving.KeepingPool()).parts["transformer"] for each in (model, written))

    differing = [name for name, each in one.state_dict().items() if not torch.equal(each, other.state_dict()[name])]
    assert differing == []


@contextmanager
def files_of(most: int) -> Iterator[None]:
    """Let no file grow beyond `most` bytes, as on a full disk."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_no_fault_of_the_weights(of: Any, tmp_path: Path) -> None:
    with files_of(4_000_000), pytest.raises(LoadFailed, match="could not be written"):
        convert(of({}), "fp32", tmp_path / "out")

    assert not any(tmp_path.iterdir())


def test_a_conversion_into_a_folder_of_the_source_leaves_no_draft_in_it(nano: Path, tmp_path: Path) -> None:
    folder = driving.copy_of(nano, tmp_path)

    target = convert(driving.spec(folder, Modality.T2V), "fp8", folder / "vae" / "out")

    assert not [path for path in target.rglob("*") if path.name.endswith(".partial")]
