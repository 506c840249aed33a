"""The adapters of a model's entry, and each mistake with its line."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.lora import write_lora

from bench.tools.layout import A14B, T2V, write_model
from registry import Adapter, FlowShift, ModelSpec, PerExpert, Registry
from registry.changes import changes
from registry.errors import Problem

Read = Callable[[str | bytes], Registry]
Problems = Callable[[str | bytes], tuple[Problem, ...]]
TWO = "source: embedded:wan-nano-t2v\nbackend: diffusers\n"
ONE = "source: embedded:wan-nano-ti2v\nbackend: diffusers\n"
FOUR = {"steps": 4, "guidance_scale": 1.0, "guidance_scale_2": 1.0, "flow_shift": FlowShift(3, 3)}


def one(fields: str) -> str:
    """Return a file with one model, whose fields start in line 3."""
    return "models:\n  own:\n" + "".join(f"    {line}\n" for line in fields.splitlines())


def only(registry: Registry) -> ModelSpec:
    (model,) = registry.models
    return model


def adapters(registry: Registry) -> dict[str, Adapter]:
    return {adapter.name: adapter for adapter in only(registry).adapters}


# What an entry becomes


def test_a_name_alone_is_a_published_adapter(read: Read) -> None:
    found = adapters(read(one(TWO + "adapters:\n  fast4:\n  quick: fast4")))

    assert found["fast4"].source == found["quick"].source == "embedded:wan-nano-t2v/fast4"
    assert found["fast4"].files == PerExpert("fast4-high.safetensors", "fast4-low.safetensors")
    assert (found["fast4"].defaults, found["fast4"].strength) == (FOUR, (1, 1))


def test_a_list_names_published_ones(read: Read) -> None:
    both = only(read(one(TWO + "adapters: [noir, fast4]\ndefault_adapters: [fast4]")))
    single = only(read(one(ONE + "adapters: [fast4]")))

    assert [adapter.name for adapter in both.adapters] == ["noir", "fast4"]
    assert both.default_adapters == ("fast4",)
    assert single.adapters[0].files == PerExpert("fast4.safetensors", "fast4.safetensors")
    assert single.adapters[0].defaults == {"steps": 4, "guidance_scale": 1.0, "flow_shift": FlowShift(3, 3)}


def test_an_entrys_fields_go_before_those_of_the_published_one(read: Read) -> None:
    entry = "adapters: {mine: {source: fast4, strength: {high: 3, low: 1.5}, defaults: {steps: 6, flow_shift: 4}}}"
    mine = adapters(read(one(TWO + entry)))["mine"]

    assert mine.strength == PerExpert(3, 1.5)
    assert mine.defaults == {**FOUR, "steps": 6, "flow_shift": FlowShift(4, 4)}


def test_a_source_is_a_file_a_folder_or_a_repository(read: Read, tmp_path: Path) -> None:
    entry = """\
adapters:
  file: ./loras/style.safetensors
  folder: {source: ./loras, files: {low: low.safetensors}}
  plain: ../loras
  far: {source: me/loras, revision: 0123abcd, files: sub/one.safetensors, merge: true}"""
    found = adapters(read(one(TWO + entry)))

    assert found["file"] == Adapter("file", f"{tmp_path}/loras/style.safetensors", PerExpert("", ""))
    assert found["folder"] == Adapter("folder", f"{tmp_path}/loras", PerExpert(None, "low.safetensors"))
    assert found["plain"].source == str(tmp_path.parent / "loras")
    assert found["plain"].file_names == ("pytorch_lora_weights.safetensors",)
    files = PerExpert("sub/one.safetensors", "sub/one.safetensors")
    assert found["far"] == Adapter("far", "me/loras", files, "0123abcd", merge=True)


@pytest.mark.parametrize("fields", ["adapters:", "adapters: []", "adapters: {}", "default_adapters: []"])
def test_no_adapters_are_none(read: Read, fields: str) -> None:
    assert (only(read(one(TWO + fields))).adapters, only(read(one(TWO + fields))).default_adapters) == ((), ())


def test_a_thousand_adapters_are_read(read: Read) -> None:
    many = "".join(f"  a{n}: {{source: me/a{n}, merge: true, defaults: {{steps: 4}}}}\n" for n in range(1000))

    assert len(only(read(one(TWO + "adapters:\n" + many))).adapters) == 1000


def test_the_second_guidance_of_an_adapter_means_nothing_to_one_expert(read: Read) -> None:
    registry = read(one(ONE + "adapters: {a: {source: me/a, defaults: {guidance_scale_2: 1, steps: 4}}}"))

    assert adapters(registry)["a"].defaults == {"steps": 4}
    (note,) = registry.notes
    assert note.field == "models.own.adapters.a.defaults.guidance_scale_2"


def test_adapters_of_the_hub_may_be_fetched_for_a_model_that_is_here(read: Read, problems: Problems) -> None:
    assert only(read(one(TWO + "download: true\nadapters: {x: me/x}"))).download
    (found,) = problems(one(TWO + "download: true\nadapters: {x: ./x.safetensors}"))

    assert found.message == "is only for a source on the hub, got embedded:wan-nano-t2v"


# Each mistake

HUB = "is only for a source on the hub, got "
PATH = "must be a path within the source, such as loras/high.safetensors, got "
NUMBER = "must be a number from -10 to 10, got "
LISTS = "must be a mapping of names to adapters, or a list of published ones, such as [fast4], got "
FORMS = (
    "must be a published adapter (fast4, noir), a path that begins with ./, ../, / or ~, or OWNER/NAME on the hub, got "
)
BAD = [
    ("adapters: fast4", 5, "adapters", LISTS + "'fast4'"),
    ("adapters: 3", 5, "adapters", LISTS + "3"),
    ("adapters:\n- fast4\n- 3", 7, "adapters.1", "must be the name of a published adapter; a file of your own needs a mapping, {NAME: PATH}, got 3"),
    ("adapters:\n- fast4\n- fast4", 7, "adapters.1", "must be named once, got 'fast4'"),
    ("adapters:\n- fast4\n- lightning", 7, "adapters.lightning", FORMS + "lightning"),
    ("adapters:\n  x: lightning", 6, "adapters.x", FORMS + "lightning"),
    ("adapters:\n  x:", 6, "adapters.x", FORMS + "x"),
    ("adapters: {x: {strength: 2}}", 5, "adapters.x", FORMS + "x"),
    ("adapters: {x: https://a.org/x.safetensors}", 5, "adapters.x", FORMS + "https://a.org/x.safetensors"),
    ("adapters: {x: {source: me/loras/x.safetensors}}", 5, "adapters.x.source", FORMS + "me/loras/x.safetensors"),
    ("adapters: {x: embedded:wan-nano-t2v/other}", 5, "adapters.x", FORMS + "embedded:wan-nano-t2v/other"),
    ("adapters: {x: ./a.gguf}", 5, "adapters.x", "must be a .safetensors file: GGUF is not read, got ./a.gguf"),
    ("adapters: {x: ./a.pt}", 5, "adapters.x", "must be a .safetensors file: pickles can run code and are not read"),
    ("adapters: {x: {source: 3}}", 5, "adapters.x.source", "must be text (in quotes if it looks like a number), got 3"),
    ("adapters: {x: [1]}", 5, "adapters.x", "must be a mapping, got [1]"),
    ("adapters: {x: true}", 5, "adapters.x", "must be a mapping, got True"),
    ("adapters: {x: {path: ./a}}", 5, "adapters.x.path", "there is no such field; there are source, revision, files"),
    ("adapters: {../x: fast4}", 5, "adapters.../x", "a name starts with a letter or a digit and has up to 64"),
    ("adapters: {'': fast4}", 5, "adapters.", "a name starts with a letter or a digit and has up to 64"),
    (f"adapters: {{{'x' * 65}: fast4}}", 5, f"adapters.{'x' * 65}", "a name starts with a letter or a digit"),
    ("adapters:\n  x: fast4\n  x: noir", 7, "adapters.x", "given twice: first in line 6"),
    ("adapters: {x: {source: me/x, files: ../a.safetensors}}", 5, "adapters.x.files", PATH + "'../a.safetensors'"),
    ("adapters: {x: {source: me/x, files: a/../../b.safetensors}}", 5, "adapters.x.files", PATH),
    ("adapters: {x: {source: me/x, files: {low: /etc/a.safetensors}}}", 5, "adapters.x.files.low", PATH),
    ("adapters: {x: {source: me/x, files: 'a\\b.safetensors'}}", 5, "adapters.x.files", PATH),
    ("adapters: {x: {source: me/x, files: a.bin}}", 5, "adapters.x.files", "must be a .safetensors file: pickles"),
    ("adapters: {x: {source: me/x, files: a}}", 5, "adapters.x.files", "must be a .safetensors file, got 'a'"),
    ("adapters: {x: {source: me/x, files: {}}}", 5, "adapters.x.files", "must name the file of an expert"),
    ("adapters: {x: {source: me/x, files: {both: a}}}", 5, "adapters.x.files.both", "there is no such field; there are"),
    ("adapters: {x: {source: ./x.safetensors, files: a.safetensors}}", 5, "adapters.x.files", "is only for a folder or"),
    ("adapters: {fast4: {files: a.safetensors}}", 5, "adapters.fast4.files", "is only for a folder or a source on the"),
    ("adapters: {x: {source: ./x.safetensors, revision: a}}", 5, "adapters.x.revision", HUB),
    ("adapters: {fast4: {revision: a}}", 5, "adapters.fast4.revision", HUB + "embedded:wan-nano-t2v/fast4"),
    ("adapters: {fast4: {strength: true}}", 5, "adapters.fast4.strength", NUMBER + "True"),
    ("adapters: {fast4: {strength: '1'}}", 5, "adapters.fast4.strength", NUMBER + "'1'"),
    ("adapters: {fast4: {strength: 1e9}}", 5, "adapters.fast4.strength", NUMBER + "1000000000.0"),
    ("adapters: {fast4: {strength: 1e999}}", 5, "adapters.fast4.strength", NUMBER + "inf"),
    ("adapters: {fast4: {strength: .nan}}", 5, "adapters.fast4.strength", NUMBER + "'.nan'"),
    ("adapters: {fast4: {strength: 0}}", 5, "adapters.fast4.strength", "must not be 0, at which an adapter is not used"),
    ("adapters: {fast4: {strength: {high: 1}}}", 5, "adapters.fast4.strength.low", "is required"),
    ("adapters: {fast4: {strength: {high: 1, low: x}}}", 5, "adapters.fast4.strength.low", NUMBER + "'x'"),
    ("adapters: {fast4: {merge: perhaps}}", 5, "adapters.fast4.merge", "must be true or false, got 'perhaps'"),
    ("adapters: {fast4: {defaults: {stepz: 4}}}", 5, "adapters.fast4.defaults.stepz", "there is no such field"),
    ("adapters: {fast4: {defaults: {steps: 61}}}", 5, "adapters.fast4.defaults.steps", "the default steps must be within"),
    ("adapters: {fast4: {defaults: {num_frames: 4}}}", 5, "adapters.fast4.defaults.num_frames", "must be 4k+1"),
    ("adapters: {fast4: {defaults: {width: 4096}}}", 5, "adapters.fast4.defaults.width", "the default width x height must"),
    ("default_adapters: fast4", 5, "default_adapters", "must be a list, such as [a, b], got 'fast4'"),
    ("default_adapters:\n- fast4", 6, "default_adapters.0", "must be empty: adapters has none, got fast4"),
    ("adapters: [noir]\ndefault_adapters: [fast4]", 6, "default_adapters.0", "must be one of the adapters (noir), got"),
    ("adapters: [noir]\ndefault_adapters: [noir, noir]", 6, "default_adapters.1", "must be named once, got noir again"),
]  # fmt: skip


def test_a_bad_adapter_is_told_line_field_and_what_is_allowed(problems: Problems, subtests: pytest.Subtests) -> None:
    for fields, line, field, message in BAD:
        with subtests.test(fields=fields):
            (found,) = problems(one(TWO + fields))
            assert (found.line, found.field) == (line, f"models.own.{field}")
            assert found.message.startswith(message)


OF_ONE = "the model has one transformer"


@pytest.mark.parametrize(
    ("entry", "field", "message"),
    [
        ("files: {high: a.safetensors, low: b.safetensors}", "files", f"must be one file, or high alone: {OF_ONE}"),
        ("files: {low: b.safetensors}", "files", f"must be one file, or high alone: {OF_ONE}"),
        ("strength: {high: 1, low: 2}", "strength", f"must be one number: {OF_ONE}"),
    ],
)
def test_one_transformer_has_no_files_for_two(problems: Problems, entry: str, field: str, message: str) -> None:
    (found,) = problems(one(ONE + f"adapters: {{x: {{source: me/x, {entry}}}}}"))

    assert (found.field, found.message) == (f"models.own.adapters.x.{field}", message)


def test_one_transformer_may_have_its_file_as_the_high_one(read: Read) -> None:
    found = adapters(read(one(ONE + "adapters: {x: {source: me/x, files: {high: a.safetensors}}}")))
    assert found["x"].file_names == ("a.safetensors",)


@pytest.mark.parametrize(
    ("model", "name", "got"),
    [
        (ONE, "wan2.2-t2v-lightning", "wan2.2-t2v-lightning is for wan2.2-t2v-a14b, the model is wan-nano-ti2v"),
        (ONE, "embedded:wan-nano-i2v/fast4", "fast4 is for wan-nano-i2v, the model is wan-nano-ti2v"),
        (
            "source: me/far\nbackend: diffusers\nmodality: t2v\n",
            "fast4",
            "fast4 is for wan-nano-t2v, wan-nano-i2v, wan-nano-ti2v, the model is of none that is known",
        ),
    ],
)
def test_a_published_adapter_of_another_family_is_refused_by_name(
    problems: Problems, model: str, name: str, got: str
) -> None:
    (found,) = problems(one(model + f"adapters: {{x: {name}}}"))

    assert found.field == "models.own.adapters.x"
    assert found.message == f"must be an adapter for its model: {got}"


@pytest.mark.parametrize("merge", ["", ", merge: true"])
def test_adapters_that_are_used_at_once_must_agree(problems: Problems, read: Read, merge: str) -> None:
    entry = f"adapters: {{fast4: , x: {{source: me/x, defaults: {{steps: 5}}{merge}}}}}\n"
    (found,) = problems(one(TWO + entry + f"default_adapters: [fast4{'' if merge else ', x'}]"))

    assert (found.line, found.field) == (6, "models.own.default_adapters")
    assert found.message == "fast4 and x are used by every request that names none, so they must agree on steps"
    assert len(adapters(read(one(TWO + entry)))) == 2  # a request that names both will be told


@pytest.mark.parametrize(
    ("backend", "instead"),
    [("onnx", "; 'framegate export MODEL --adapter NAME' merges one"), ("still", "")],
)
def test_a_backend_that_runs_none_says_what_does(problems: Problems, backend: str, instead: str) -> None:
    (found,) = problems(one(f"source: embedded:wan-nano-t2v\nbackend: {backend}\nadapters: [fast4]"))

    assert (found.line, found.field) == (5, "models.own.adapters")
    assert found.message == f"must be left out: {backend} runs no adapters{instead}"


# Folders of weights


def test_a_folders_own_kind_says_what_adapters_it_takes(read: Read, tmp_path: Path) -> None:
    write_model(tmp_path / "m", A14B)
    entry = "source: ./m\nbackend: diffusers\nadapters: {x: {source: me/x, files: {high: a.safetensors, low: b.safetensors}}}"
    assert adapters(read(one(entry)))["x"].files == PerExpert("a.safetensors", "b.safetensors")

    write_model(tmp_path / "m", T2V)
    (broken,) = read(one(entry)).broken  # the file is as it was, and other models are served
    assert broken.reason == (
        "its folder of weights does not go with its entry: adapters.x.files must be one file, or high alone: "
        "the model has one transformer"
    )


def test_a_wrong_adapter_of_a_named_family_is_the_files_mistake(problems: Problems, tmp_path: Path) -> None:
    write_model(tmp_path / "m", T2V)
    entry = "source: ./m\nbackend: diffusers\nfamily: wan2.1-t2v-14b\nadapters: {x: wan2.2-t2v-lightning}"
    (found,) = problems(one(entry))

    assert found.field == "models.own.adapters.x"


# Files


def test_local_files_that_cannot_be_read_are_notes(read: Read, tmp_path: Path) -> None:
    write_lora(tmp_path / "loras" / "good.safetensors")
    (tmp_path / "loras" / "gguf.safetensors").write_bytes(b"GGUF" + bytes(99))
    (tmp_path / "loras" / "pickle.safetensors").write_bytes(b"PK\x03\x04" + bytes(99))
    (tmp_path / "loras" / "cut.safetensors").write_bytes((tmp_path / "loras" / "good.safetensors").read_bytes()[:-1])
    os.mkfifo(tmp_path / "loras" / "fifo.safetensors")
    names = ("good", "gguf", "pickle", "cut", "fifo", "gone")
    entries = "".join(f"  {name}: ./loras/{name}.safetensors\n" for name in names)
    notes = read(one(TWO + "adapters:\n" + entries + "  folder: ./loras")).notes

    said = {note.field.rpartition(".")[2]: (note.line, note.message) for note in notes}
    assert {name: line for name, (line, _) in said.items()} == {
        "gguf": 7, "pickle": 8, "cut": 9, "fifo": 10, "gone": 11, "folder": 12,
    }  # fmt: skip
    at = f"{tmp_path}/loras"
    assert said["gguf"][1].startswith(f"{at}/gguf.safetensors: gguf.safetensors of the adapter gguf is a GGUF file")
    assert "is an archive (ZIP), as torch.save makes it of pickles" in said["pickle"][1]
    assert "cut.safetensors of the adapter cut is cut short" in said["cut"][1]
    assert "is no regular file" in said["fifo"][1]
    assert said["gone"][1] == f"{at}/gone.safetensors: there is no such file"
    assert said["folder"][1] == f"{at}/pytorch_lora_weights.safetensors: there is no such file"


def test_a_file_that_was_mended_is_read_again(read: Read, tmp_path: Path) -> None:
    file = one(TWO + "adapters: {x: ./x.safetensors}")
    (tmp_path / "x.safetensors").write_bytes(b"GGUF" + bytes(99))
    assert len(read(file).notes) == 1
    write_lora(tmp_path / "x.safetensors")

    assert read(file).notes == ()


def test_files_of_the_hub_need_not_be_here_but_must_be_good(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    file = one(TWO + "adapters: {x: {source: me/x, files: a.safetensors}}")
    assert read(file).notes == ()
    snapshot = tmp_path / "hub" / "models--me--x" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (tmp_path / "hub" / "models--me--x" / "refs").mkdir()
    (tmp_path / "hub" / "models--me--x" / "refs" / "main").write_text("0123")
    (snapshot / "a.safetensors").write_bytes(b"GGUF" + bytes(99))

    (note,) = read(file).notes
    assert note.message.startswith(f"{snapshot}/a.safetensors: a.safetensors of the adapter x is a GGUF file")


# What a reload says, and what it loads anew


def test_a_report_names_changed_adapters(read: Read) -> None:
    before = read(one(TWO + "adapters: {a: me/a, b: me/b, c: me/c}"))
    after = read(one(TWO + "adapters: {c: me/c, b: {source: me/b, strength: 2, defaults: {steps: 3}}, d: me/d}"))
    turned = read(one(TWO + "adapters: {c: me/c, b: me/b, a: me/a}"))

    assert changes(before, after) == (
        "models: changed own (adapters: added d; removed a; changed b (strength, defaults))",
    )
    assert changes(before, turned) == ("models: changed own (adapters: in another order)",)


@pytest.mark.parametrize(
    ("before", "after", "serves"),
    [
        ("a: me/a", "a: me/b", True),
        ("a: me/a", "", True),
        ("a: {source: me/a, merge: true}", "a: {source: me/a, merge: true, defaults: {steps: 3}}", True),
        ("a: {source: me/a, merge: true}", "a: {source: me/a, merge: true, strength: 2}", False),
        ("a: {source: me/a, merge: true}", "a: me/a", False),
    ],
)
def test_only_merged_adapters_are_part_of_what_is_loaded(read: Read, before: str, after: str, serves: bool) -> None:
    old, new = (only(read(one(TWO + f"adapters: {{{entry}}}"))) for entry in (before, after))
    assert new.loads_as(old) is serves


def test_a_guidance_of_the_entry_is_for_both_experts(read: Read) -> None:
    quick = adapters(read(one(TWO + "adapters: {quick: {source: fast4, defaults: {guidance_scale: 4}}}")))["quick"]

    assert quick.defaults == {"steps": 4, "guidance_scale": 4.0, "flow_shift": FlowShift(3, 3)}
