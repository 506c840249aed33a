"""What weights take, on disk and on devices, by the headers of their files."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.raw_files import STRING, Stored, gguf, safetensors, tensor, text, value

from bench.tools.layout import A14B, CLIP_I2V, Kind, write_json, write_model, write_safetensors
from registry import Defaults, FlowShift, Limits, Modality, ModelSpec
from registry.parts import PartFile
from router import Backend, hookimpl
from router.catalog.disk_use import PartOnDisk, listed, summary
from router.catalog.footprints import Footprint, Footprints
from router.catalog.weights import Weights
from router.plugins import Plugins

DEFAULTS = Defaults(64, 64, 5, 8, 4, 4.0, None, FlowShift(3, 3), "")
MODEL = ModelSpec("m", "mine", Modality.T2V, DEFAULTS, Limits(9999, 9, 9), 16)
Q4_K = 12  # GGUF's number
WHOLE = "diffusion_pytorch_model.safetensors"


class Mine:
    """A backend that counts its plans."""

    def __init__(self) -> None:
        self.plans: list[str] = []
        self.bytes: int | None = 7

    @hookimpl
    def declare_backend(self) -> Backend:
        return Backend("mine", frozenset(Modality), index="model_index.json")

    @hookimpl
    def plan_model(self, model: ModelSpec, device: str) -> int | None:
        assert model.folder is not None
        self.plans.append(device)
        if device == "cuda:9":
            raise SystemExit("no such device")
        return self.bytes


@pytest.fixture
def mine() -> Mine:
    return Mine()


@pytest.fixture
def footprints(mine: Mine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Footprints:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    plugins = Plugins([mine])
    return Footprints(plugins, Weights(tmp_path / "data", plugins.backends))


def model(folder: Path, **changes: object) -> ModelSpec:
    return replace(MODEL, source=str(folder), **changes)  # type: ignore[arg-type]


def tensor_bytes(file: Path) -> int:
    length = int.from_bytes(file.read_bytes()[:8], "little")
    header = json.loads(file.read_bytes()[8 : 8 + length])
    return max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")


def test_each_part_has_its_format_and_its_bytes(tmp_path: Path, footprints: Footprints) -> None:
    folder = write_model(tmp_path / "m", Kind(shards=2))
    found = footprints.of(model(folder), ()).on_disk

    assert [(each.part, each.formats) for each in found] == [
        ("transformer", ("BF16",)),
        ("text_encoder", ("BF16",)),
        ("vae", ("F32",)),
    ]
    assert found[0].size == sum(map(tensor_bytes, (folder / "transformer").glob("*.safetensors")))
    assert found[2].size == tensor_bytes(folder / "vae" / WHOLE)


def test_a_second_expert_and_an_image_encoder_are_parts_too(tmp_path: Path, footprints: Footprints) -> None:
    two = footprints.of(model(write_model(tmp_path / "two", A14B), experts=2), ()).on_disk
    clip = footprints.of(model(write_model(tmp_path / "clip", CLIP_I2V)), ()).on_disk

    assert [each.part for each in two] == ["transformer", "transformer_2", "text_encoder", "vae"]
    assert [each.part for each in clip] == ["transformer", "text_encoder", "image_encoder", "vae"]


def test_a_file_replaces_what_the_folder_has(tmp_path: Path, footprints: Footprints) -> None:
    folder = write_model(tmp_path / "m")
    write_safetensors(tmp_path / "v.safetensors", {"a": (40, 10), "b": (10,)}, "F16")
    found = footprints.of(model(folder, parts={"vae": PartFile(str(tmp_path / "v.safetensors"))}), ())

    assert found.on_disk[2] == PartOnDisk("vae", 820, ("F16",), ("F16",))


def test_what_is_not_here_is_named_as_such(tmp_path: Path, footprints: Footprints) -> None:
    folder = write_model(tmp_path / "m")
    shutil.rmtree(folder / "text_encoder")
    (folder / "vae" / WHOLE).write_bytes(b"GGUF")
    here = footprints.of(model(folder), ())
    far = footprints.of(replace(MODEL, source="me/far", parts={"transformer": PartFile("me/x", "t.gguf")}), ["cpu"])

    assert listed(here.on_disk).split(", ")[1:] == ["text_encoder not here", "vae not here"]
    assert far == Footprint((PartOnDisk("transformer"), PartOnDisk("text_encoder"), PartOnDisk("vae")))
    assert (listed(far.on_disk), summary(far.on_disk)) == ("", "")
    for nothing in (replace(MODEL, source="me/far"), MODEL, model(tmp_path)):
        assert footprints.of(nothing, ()) == Footprint()


def test_packaged_weights_are_known_before_the_first_load(footprints: Footprints) -> None:
    found = footprints.of(replace(MODEL, source="embedded:wan-nano-t2v", experts=2), ()).on_disk

    assert [each.part for each in found] == ["transformer", "transformer_2", "text_encoder", "vae"]
    assert all(each.size for each in found)


def test_the_bytes_on_devices_are_planned_by_the_backend(
    tmp_path: Path, footprints: Footprints, mine: Mine, caplog: pytest.LogCaptureFixture
) -> None:
    served = model(write_model(tmp_path / "m"), devices=("cpu", "cuda:9"))
    found = footprints.of(served, ["cpu", "cuda:0", "cuda:9"])

    assert found.on_device == {"cpu": 7}
    assert mine.plans == ["cpu", "cuda:9"]
    assert "the backend mine failed to plan m" in caplog.text
    assert footprints.of(served, ["cuda:0"]).on_device == {}


def test_headers_are_read_again_once_a_file_has_changed(tmp_path: Path, footprints: Footprints, mine: Mine) -> None:
    served = model(write_model(tmp_path / "m"), parts={"vae": PartFile(str(tmp_path / "v.safetensors"))})
    before = footprints.of(served, ["cpu"])
    assert before.on_disk[2] == PartOnDisk("vae")
    assert footprints.of(served, ["cpu"]).on_disk is before.on_disk
    write_safetensors(tmp_path / "v.safetensors", {"a": (4, 2)}, "F32")
    mine.bytes = None

    assert footprints.of(served, ["cpu"]).on_disk[2] == PartOnDisk("vae", 32, ("F32",), ("F32",))
    assert footprints.of(served, ["cpu"]).on_device == {}
    assert mine.plans == ["cpu", "cpu"]


def test_a_part_is_said_by_the_formats_of_nearly_all_its_bytes(tmp_path: Path, footprints: Footprints) -> None:
    header = {
        "a": {"dtype": "BF16", "shape": [600], "data_offsets": [0, 1200]},
        "b": {"dtype": "F32", "shape": [100], "data_offsets": [1200, 1600]},
        "c": {"dtype": "I64", "shape": [1], "data_offsets": [1600, 1608]},
    }
    write_json(tmp_path / "header", header)
    text = (tmp_path / "header").read_bytes()
    (tmp_path / "t.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(1608))
    files = {"transformer": PartFile(str(tmp_path / "t.safetensors"))}
    found = footprints.of(replace(MODEL, source="me/far", parts=files), ()).on_disk[0]

    assert (found.size, found.formats) == (1608, ("BF16", "F32", "I64"))
    assert str(found) == "transformer BF16+F32 1.6 kB"
    assert summary((found, PartOnDisk("vae"))) == "1.6 kB (BF16, F32); vae not here"
    assert str(Footprint((found,), {"cpu": 3200})) == "transformer BF16+F32 1.6 kB; 3.2 kB on cpu"


def test_quantised_files_are_counted_in_their_own_formats(tmp_path: Path, footprints: Footprints) -> None:
    scaled = {
        "blocks.0.ffn.0.weight": Stored("F8_E4M3", (8, 4)),
        "blocks.0.ffn.0.scale_weight": Stored("F32", ()),
        "scaled_fp8": Stored("F8_E4M3", (2,)),  # a mark, no weights
    }
    (tmp_path / "scaled.safetensors").write_bytes(safetensors(scaled))
    quantised = [tensor("blocks.0.ffn.0.weight", (256, 2), Q4_K), tensor("blocks.0.ffn.0.bias", (2,), offset=288)]
    architecture = value("general.architecture", STRING, text("wan"))
    (tmp_path / "t.gguf").write_bytes(gguf([architecture], quantised, bytes(288 + 32)))
    names = {"transformer": "t.gguf", "transformer_2": "scaled.safetensors"}
    files = {part: PartFile(str(tmp_path / name)) for part, name in names.items()}
    first, second, *_ = footprints.of(replace(MODEL, source="me/far", experts=2, parts=files), ()).on_disk

    assert (first.size, first.formats) == (288 + 8, ("Q4_K", "F32"))
    assert (second.size, second.formats) == (32 + 4, ("F8_E4M3", "F32"))
