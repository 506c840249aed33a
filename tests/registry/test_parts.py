"""The part files of a model's entry, and each mistake with its line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.part_files import put_apart, write_whole

from bench.tools.layout import A14B, T2V, write_json, write_model
from registry import BrokenModel, ModelSpec, Registry, part_files
from registry.changes import changes
from registry.errors import Problem
from registry.parts import PartFile

Read = Callable[[str | bytes], Registry]
Problems = Callable[[str | bytes], tuple[Problem, ...]]
HUB = "source: Wan-AI/Wan2.1-T2V-1.3B-Diffusers\nbackend: diffusers\n"
TWO = "source: Wan-AI/Wan2.2-T2V-A14B-Diffusers\nbackend: diffusers\n"
LOCAL = "source: ./base\nbackend: diffusers\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def one(fields: str) -> str:
    """Return a file with one model, whose fields start in line 3."""
    return "models:\n  own:\n" + "".join(f"    {line}\n" for line in fields.splitlines())


def only(registry: Registry) -> ModelSpec:
    (model,) = registry.models
    return model


def broken(registry: Registry) -> BrokenModel:
    (model,) = registry.broken
    return model


def snapshot(cache: Path, repo: str, commit: str = "0123") -> Path:
    """Return the folder of a repository's newest snapshot in the cache."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    (folder / "snapshots" / commit).mkdir(parents=True, exist_ok=True)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    return folder / "snapshots" / commit


# What an entry becomes


def test_a_file_is_a_path_or_one_of_the_hub(read: Read, tmp_path: Path) -> None:
    entry = """\
modality: t2v
parts:
  transformer: city96/wan-gguf/sub/wan-Q4_K_M.gguf
  transformer_2: {source: city96/wan-gguf/low.gguf, revision: 0123abcd}
  text_encoder: {source: me/other, file: umt5.safetensors, revision: main}
  vae: wan-ai/wan2.2-t2v-a14b-diffusers/vae/own.safetensors"""
    found = only(read(one(TWO + entry))).parts

    assert found == {
        "transformer": PartFile("city96/wan-gguf", "sub/wan-Q4_K_M.gguf"),
        "transformer_2": PartFile("city96/wan-gguf", "low.gguf", "0123abcd"),
        "text_encoder": PartFile("me/other", "umt5.safetensors", "main"),
        "vae": PartFile("Wan-AI/Wan2.2-T2V-A14B-Diffusers", "vae/own.safetensors"),
    }


def test_a_path_is_relative_to_the_models_file(read: Read, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "base")
    put_apart(folder, "transformer", tmp_path / "files" / "t.safetensors")
    put_apart(folder, "vae", tmp_path / "files" / "v.safetensors")
    entry = "parts: {transformer: ./files/t.safetensors, vae: {source: ./files/v.safetensors}}"
    found = only(read(one(LOCAL + entry)))

    assert found.modality.word == "t2v"  # the folder was read
    assert part_files.paths(found.parts) == {
        "transformer": tmp_path / "files" / "t.safetensors",
        "vae": tmp_path / "files" / "v.safetensors",
    }


def test_parts_without_a_value_are_none(read: Read) -> None:
    assert only(read(one(HUB + "parts:"))).parts == {}


def test_parts_of_the_hub_may_be_fetched_for_a_folder_that_is_here(
    read: Read, problems: Problems, tmp_path: Path
) -> None:
    put_apart(write_model(tmp_path / "base"), "vae", tmp_path / "v.safetensors")
    local = LOCAL + "modality: t2v\ndownload: true\n"
    assert only(read(one(local + "parts: {vae: me/x/v.safetensors}"))).download
    (found,) = problems(one(local + "parts: {vae: ./v.safetensors}"))

    assert found.message.startswith("is only for a source on the hub, got ")


def test_a_model_with_other_files_does_not_answer_to_the_repository(read: Read) -> None:
    source = "{source: Wan-AI/Wan2.1-T2V-1.3B-Diffusers, backend: diffusers"
    registry = read(f"models:\n  a: {source}, parts: {{vae: me/x/v.safetensors}}}}\n  b: {source}}}\n")

    found = registry.find("Wan-AI/Wan2.1-T2V-1.3B-Diffusers")
    assert found is not None
    assert found.name == "b"


def test_a_change_of_a_part_is_named(read: Read) -> None:
    before = read(one(HUB + "parts: {vae: me/x/v.safetensors, transformer: me/x/t.gguf}"))
    now = read(one(HUB + "parts: {vae: {source: me/x/v.safetensors, revision: b}, text_encoder: me/x/e.gguf}"))

    assert changes(before, now) == ("models: changed own (parts: transformer, text_encoder, vae)",)
    assert not only(now).loads_as(only(before))


# Files that are not here, or not what they should be


def test_a_missing_file_of_this_machine_breaks_its_model(read: Read, tmp_path: Path) -> None:
    write_model(tmp_path / "base")
    for base in (LOCAL, HUB):  # the latter is not here either, and may still arrive
        found = broken(read(one(base + "parts:\n  vae: ./no.safetensors")))

        assert found.reason == "no.safetensors of vae is missing"
        assert (found.problem.field, found.problem.line) == ("models.own.parts.vae", 6)
        assert found.problem.message == f"{tmp_path}/no.safetensors: no.safetensors of vae is missing"
        assert found.parts == {"vae": PartFile(f"{tmp_path}/no.safetensors")}


def test_a_file_that_cannot_be_read_breaks_its_model(read: Read, tmp_path: Path) -> None:
    write_model(tmp_path / "base")
    (tmp_path / "v.safetensors").write_bytes(b"PK\x03\x04" + bytes(99))
    found = broken(read(one(LOCAL + "parts: {vae: ./v.safetensors}")))

    assert found.reason.startswith("v.safetensors of vae is an archive (ZIP)")
    assert found.problem.field == "models.own.parts.vae"


def test_a_folder_is_no_file(read: Read, tmp_path: Path) -> None:
    write_model(tmp_path / "base")
    (tmp_path / "v.safetensors").mkdir()

    assert (
        broken(read(one(LOCAL + "parts: {vae: ./v.safetensors}"))).reason == "v.safetensors of vae is no regular file"
    )


def test_a_file_of_the_hub_may_still_arrive(read: Read, tmp_path: Path, cache: Path) -> None:
    folder = write_model(tmp_path / "base")
    assert broken(read(one(LOCAL + "parts: {vae: me/x/v.safetensors}"))).reason == (
        "v.safetensors of vae is missing: fetch it with 'framegate pull', or write the modality that the model has"
    )
    entry = one(LOCAL + "modality: t2v\nparts: {vae: me/x/v.safetensors}")
    assert only(read(entry)).parts == {"vae": PartFile("me/x", "v.safetensors")}
    put_apart(folder, "vae", snapshot(cache, "me/x") / "v.safetensors")
    assert only(read(entry)).modality.word == "t2v"
    (snapshot(cache, "me/x") / "v.safetensors").write_bytes(b"PK\x03\x04" + bytes(99))

    assert broken(read(entry)).problem.field == "models.own.parts.vae"


def test_a_folder_needs_no_weights_of_a_replaced_part(read: Read, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "base")
    put_apart(folder, "transformer", tmp_path / "t.safetensors")
    assert broken(read(one(LOCAL))).problem.field == "models.own.source"

    assert only(read(one(LOCAL + "parts: {transformer: ./t.safetensors}"))).parts
    write_json(folder / "vae" / "config.json", {})
    assert broken(read(one(LOCAL + "parts: {transformer: ./t.safetensors}"))).problem.field == "models.own.source"


def test_a_newer_snapshot_with_other_files_hides_no_part(cache: Path) -> None:
    older = snapshot(cache, "me/x", "0123") / "v.safetensors"
    older.touch()
    snapshot(cache, "me/x", "4567")

    assert part_files.path(PartFile("me/x", "v.safetensors")) == older
    assert part_files.path(PartFile("me/x", "v.safetensors", "4567")).parts[-2:] == ("4567", "v.safetensors")


# Each mistake

FORMS = "must be a path that begins with ./, ../, / or ~, or OWNER/NAME/FILE on the hub, got "
NO_FILE = "must name a file on the hub as OWNER/NAME/FILE, or be a path that begins with ./, ../, / or ~"
SUFFIX = "must be a .safetensors or .gguf file"
PICKLE = f"{SUFFIX}: pickles can run code and are not read, got "
WITHIN = "must be a path within the source, such as split_files/vae/wan_2.1_vae.safetensors, got "
ONLY = "is only for a source on the hub, got ./v.safetensors"
FIELDS = "there is no such field; there are source, file, revision"
BAD = [
    ("parts: me/x/v.gguf", 5, "parts", "must be a mapping, got 'me/x/v.gguf'"),
    ("parts: {}", 5, "parts", "must name the file of a part: transformer, transformer_2, text_encoder, vae"),
    ("parts:\n  vae:", 5, "parts", "must name the file of a part"),
    ("parts:\n  unet: me/x/v.gguf", 6, "parts.unet", "there is no such field; there are transformer, transformer_2, te"),
    ("parts:\n  vae: 3", 6, "parts.vae", "must be a path, OWNER/NAME/FILE on the hub, or a mapping with a source"),
    ("parts: {vae: ''}", 5, "parts.vae", "must have from 1 to 1000 characters"),
    ("parts: {vae: {file: v.gguf}}", 5, "parts.vae.source", "is required"),
    ("parts: {vae: {source: 3}}", 5, "parts.vae.source", "must be text"),
    ("parts: {vae: {source: me/x, path: v.gguf}}", 5, "parts.vae.path", FIELDS),
    ("parts: {vae: v.safetensors}", 5, "parts.vae", FORMS + "v.safetensors"),
    ("parts: {vae: https://a.org/v.safetensors}", 5, "parts.vae", FORMS + "https://a.org/v.safetensors"),
    ("parts: {vae: {source: 'embedded:wan-nano-t2v'}}", 5, "parts.vae.source", FORMS + "embedded:wan-nano-t2v"),
    ("parts: {vae: me/x}", 5, "parts.vae", NO_FILE + ", got me/x"),
    ("parts: {vae: {source: me/x}}", 5, "parts.vae.source", NO_FILE),
    ("parts: {vae: me/x/}", 5, "parts.vae", NO_FILE),
    ("parts: {vae: me/x/../v.safetensors}", 5, "parts.vae", WITHIN + "me/x/../v.safetensors"),
    ("parts: {vae: {source: me/x, file: a/../v.gguf}}", 5, "parts.vae.file", WITHIN + "'a/../v.gguf'"),
    ("parts: {vae: {source: me/x, file: /v.gguf}}", 5, "parts.vae.file", WITHIN + "'/v.gguf'"),
    ("parts: {vae: {source: me/x/a.gguf, file: b.gguf}}", 5, "parts.vae.file", "is only for OWNER/NAME on the hub, got "),
    ("parts: {vae: me/x/v.ckpt}", 5, "parts.vae", PICKLE + "me/x/v.ckpt"),
    ("parts: {vae: ./v.pth}", 5, "parts.vae", PICKLE + "./v.pth"),
    ("parts: {vae: {source: me/x, file: v.bin}}", 5, "parts.vae.file", PICKLE + "'v.bin'"),
    ("parts: {vae: ./folder}", 5, "parts.vae", SUFFIX + ", got ./folder"),
    ("parts: {vae: me/x/v.onnx}", 5, "parts.vae", SUFFIX + ", got me/x/v.onnx"),
    ("parts: {vae: {source: ./v.safetensors, revision: a}}", 5, "parts.vae.revision", ONLY),
    ("parts: {vae: {source: ./v.safetensors, file: v.gguf}}", 5, "parts.vae.file", ONLY),
    ("parts: {transformer_2: me/x/v.gguf}", 5, "parts.transformer_2", "must be left out: the model has one transformer"),
]  # fmt: skip


@pytest.mark.parametrize("written", ["models/unet/x.gguf", "unet/x.gguf", "x.gguf", "a/b c/d/x.gguf"])
def test_a_file_beside_the_models_file_needs_its_dot(problems: Problems, tmp_path: Path, written: str) -> None:
    (tmp_path / written).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / written).touch()

    for fields, field in ((f"{{vae: {written}}}", "vae"), (f"{{vae: {{source: {written}}}}}", "vae.source")):
        (found,) = problems(one(HUB + f"parts: {fields}"))

        assert (found.line, found.field) == (5, f"models.own.parts.{field}")
        assert found.message.startswith(f"is a file beside the models file: write ./{written} for it")


def test_a_mapping_names_a_file_of_the_hub_whatever_is_here(read: Read, tmp_path: Path) -> None:
    (tmp_path / "me" / "x").mkdir(parents=True)
    (tmp_path / "me" / "x" / "v.gguf").touch()
    entry = HUB + "modality: t2v\nparts: {vae: {source: me/x, file: v.gguf}}"

    assert only(read(one(entry))).parts == {"vae": PartFile("me/x", "v.gguf")}


def test_a_bad_part_is_told_line_field_and_what_is_allowed(problems: Problems, subtests: pytest.Subtests) -> None:
    for fields, line, field, message in BAD:
        with subtests.test(fields=fields):
            (found,) = problems(one(HUB + fields))
            assert (found.line, found.field) == (line, f"models.own.{field}")
            assert found.message.startswith(message)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            "backend: diffusers\nmodality: t2v",
            "needs a source beside it, which brings the configurations and the tokenizer",
        ),
        ("backend: still\nmodality: t2v\nsource: ./base", "must be left out: still reads no folder in the diffusers"),
        ("backend: diffusers\nsource: embedded:wan-nano-t2v", "must be left out: the weights of embedded:wan-nano-t2v"),
    ],
)
def test_parts_need_a_folder_to_replace_them_in(problems: Problems, fields: str, message: str) -> None:
    (found,) = problems(one(fields + "\nparts: {vae: me/x/v.safetensors}"))

    assert (found.field, found.line) == ("models.own.parts", 3 + len(fields.splitlines()))
    assert found.message.startswith(message)


@pytest.mark.parametrize("kind", [T2V, A14B])
def test_a_second_transformer_is_replaced_where_there_is_one(read: Read, tmp_path: Path, kind: object) -> None:
    folder = write_model(tmp_path / "base", kind)  # type: ignore[arg-type]
    write_whole(folder, "transformer", tmp_path / "t.safetensors")
    entry = one(LOCAL + "parts: {transformer_2: ./t.safetensors}")
    if kind is A14B:
        assert only(read(entry)).experts == 2
    else:
        assert "transformer_2" in broken(read(entry)).reason
