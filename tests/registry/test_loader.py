"""A models file is a registry, or it is all of its problems."""

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.tools.layout import A14B, FLF2V, I2V, TI2V, Kind, write_model
from registry import FlowShift, Limits, Modality, ModelSpec, Registry, RegistryError, Size
from registry.errors import Problem
from registry.loader import BackendInfo, load, load_one
from router.values import Backend

Read = Callable[[str | bytes], Registry]
Problems = Callable[[str | bytes], tuple[Problem, ...]]
EVERYTHING = frozenset(Modality)
DIFFUSERS = Backend("diffusers", EVERYTHING, index="model_index.json")

GOOD = """\
models:
  wan2.2-t2v:
    source: Wan-AI/Wan2.2-T2V-A14B-Diffusers
    backend: diffusers
  own:
    source: ./weights
    backend: diffusers
    modality: ti2v
    aliases: [mine, also-mine]
    options: {dtype: bf16}
    defaults: {steps: 30, flow_shift: {small: 2, large: 7.5}}
    limits: {frames: 121, prompt: 500}
routes:
  wan2.2:
    members: [wan2.2-t2v, mine]
    aliases: [wan]
  short: [own]
"""


def model(registry: Registry, name: str) -> ModelSpec:
    found = registry.find(name)
    assert isinstance(found, ModelSpec)
    return found


def one(fields: str) -> str:
    """Return a file with one model, whose fields start in line 3."""
    lines = "".join(f"    {line}\n" for line in fields.splitlines())
    return f"models:\n  own:\n{lines}"


# What a good file says


def test_three_lines_are_a_model_of_a_known_family(read: Read) -> None:
    spec = model(read(GOOD), "wan2.2-t2v")
    assert (spec.family, spec.modality, spec.size_multiple) == ("wan2.2-t2v-a14b", Modality.T2V, 16)
    assert (spec.defaults.steps, spec.defaults.guidance_scale_2) == (40, 3.0)
    assert spec.options == {"dtype": "auto"}


def test_what_an_entry_says_goes_before_what_the_family_says(read: Read) -> None:
    spec = model(read(GOOD), "own")
    assert spec.defaults.steps == 30
    assert spec.defaults.flow_shift == FlowShift(small=2, large=7.5)
    assert (spec.limits.frames, spec.limits.prompt, spec.limits.steps) == (121, 500, 100)
    assert spec.options == {"dtype": "bf16"}


def test_one_flow_shift_is_for_every_size(read: Read) -> None:
    registry = read(one("source: Wan-AI/Wan2.1-T2V-14B-Diffusers\nbackend: diffusers\ndefaults: {flow_shift: 8}"))
    assert model(registry, "own").defaults.flow_shift == FlowShift(small=8, large=8)


def test_a_model_of_unknown_family_gets_the_defaults_of_the_published_one_of_its_modality(read: Read) -> None:
    spec = model(read(GOOD), "own")
    assert spec.family is None
    assert (spec.size_multiple, spec.defaults.num_frames) == (32, 121)


def test_a_relative_folder_is_meant_from_where_the_file_is(read: Read, tmp_path: Path) -> None:
    assert model(read(GOOD), "own").source == str(tmp_path / "weights")


@pytest.mark.parametrize(("source", "folder"), [("/srv/../opt/wan", "/opt/wan"), ("~/wan", str(Path.home() / "wan"))])
def test_a_folder_is_absolute_in_the_end(read: Read, source: str, folder: str) -> None:
    assert model(read(one(f"source: {source}\nbackend: still\nmodality: t2v")), "own").source == folder


def test_a_family_can_be_named_for_weights_of_ones_own(read: Read) -> None:
    registry = read(
        one("source: me/tuned\nbackend: diffusers\nfamily: wan2.2-i2v-a14b\nrevision: 0123abc\ndownload: true")
    )
    spec = model(registry, "own")
    assert (spec.modality, spec.family, spec.defaults.guidance_scale) == (Modality.I2V, "wan2.2-i2v-a14b", 3.5)
    assert (spec.revision, spec.download) == ("0123abc", True)


@pytest.mark.parametrize(
    ("written", "price"), [("price: 0.0008", 0.0008), ("price: 2", 2.0), ("price: 0", 0.0), ("", None)]
)
def test_an_entry_has_a_price_that_nothing_loaded_depends_on(read: Read, written: str, price: float | None) -> None:
    priced = model(read(one(f"backend: still\nmodality: t2v\n{written}")), "own")
    plain = model(read(one("backend: still\nmodality: t2v")), "own")

    assert priced.price == price
    assert priced.loads_as(plain)


def test_an_entry_says_who_goes_first_and_where_it_may_run(read: Read) -> None:
    said = "priority: -2\nengines: 1\ndevices: [cuda:1, cpu]"
    spec = model(read(one(f"backend: still\nmodality: t2v\n{said}")), "own")
    plain = model(read(one("backend: still\nmodality: t2v")), "own")

    assert (spec.priority, spec.engines, spec.devices) == (-2, 1, ("cuda:1", "cpu"))
    assert (plain.priority, plain.engines, plain.devices) == (0, None, ())
    assert [spec.may_run_on(device) for device in ("cpu", "cuda:0", "cuda:1")] == [True, False, True]
    assert all(plain.may_run_on(device) for device in ("cpu", "cuda:0"))


def test_a_backend_without_weights_needs_a_modality_alone(read: Read) -> None:
    spec = model(read(one("backend: still\nmodality: i2v")), "own")
    assert (spec.source, spec.family, spec.modality) == (None, None, Modality.I2V)


def test_a_model_for_both_may_be_served_as_one_for_text_alone(read: Read) -> None:
    registry = read(one("source: Wan-AI/Wan2.2-TI2V-5B-Diffusers\nbackend: onnx\nmodality: t2v"))
    assert model(registry, "own").modality is Modality.T2V


def test_a_repository_is_an_alias_of_the_first_model_that_has_it(read: Read) -> None:
    entry = "    source: wan-ai/wan2.2-ti2v-5b-diffusers\n    backend: diffusers\n"
    registry = read(f"models:\n  a:\n{entry}  b:\n{entry}routes:\n  r: [Wan-AI/Wan2.2-TI2V-5B-Diffusers]\n")
    assert model(registry, "a").source == "Wan-AI/Wan2.2-TI2V-5B-Diffusers"
    assert registry.find("Wan-AI/Wan2.2-TI2V-5B-Diffusers") is model(registry, "a")
    assert model(registry, "b").aliases == ()
    assert registry.routes[0].members == ("a",)


def test_a_repository_that_is_another_entrys_name_stays_that(read: Read) -> None:
    registry = read(one("source: me/tuned\nbackend: still\nmodality: t2v") + "routes:\n  me/tuned: [own]\n")
    assert model(registry, "own").aliases == ()


def test_a_route_holds_names_of_models_however_they_were_given(read: Read) -> None:
    long, short = read(GOOD).routes
    assert (long.members, long.aliases) == (("wan2.2-t2v", "own"), ("wan",))
    assert short.members == ("own",)


@pytest.mark.parametrize(
    ("extra", "default"), [("", "wan2.2"), ("default: own\n", "own"), ("default: wan\n", "wan2.2")]
)
def test_the_default_is_what_was_said_or_the_first_route(read: Read, extra: str, default: str) -> None:
    assert read(extra + GOOD).default == default


def test_without_a_route_the_default_is_the_first_model(read: Read) -> None:
    assert read(GOOD[: GOOD.index("routes:")]).default == "wan2.2-t2v"


def test_a_field_with_nothing_behind_it_is_left_out(read: Read) -> None:
    spec = model(read(one("backend: still\nmodality: t2v\ndefaults:\n  steps:\naliases:\nsource:")), "own")
    assert (spec.defaults.steps, spec.aliases, spec.source) == (50, (), None)


def test_a_model_may_be_warmed_up_at_sizes(read: Read) -> None:
    said = ("true", "false", "[832x480x81, 480x832x1]")
    specs = [model(read(one(f"source: a/b\nbackend: still\nmodality: t2v\nwarm_up: {each}")), "own") for each in said]
    assert [(spec.warm_up, spec.warm_sizes) for spec in specs] == [
        (True, ()),
        (False, ()),
        (True, (Size(832, 480, 81), Size(480, 832, 1))),
    ]


def test_a_revision_that_looks_like_a_date_is_text(read: Read) -> None:
    assert model(read(one("source: a/b\nbackend: still\nmodality: t2v\nrevision: 2025-07-28")), "own").revision == (
        "2025-07-28"
    )


# What a bad file is told

T2V = "source: Wan-AI/Wan2.1-T2V-1.3B-Diffusers\nbackend: diffusers\n"  # lines 3 and 4

BAD_ENTRIES = [
    ("", 2, "backend", "is required"),
    ("source: foo\nbackend: still", 3, "source", "must be OWNER/NAME on the hub, a folder (./, ../, / or ~) or"),
    ("source: embedded:wan2.2-ti2v-5b\nbackend: still", 3, "source", "must be one of embedded:wan-nano-t2v, "),
    ("source: 3\nbackend: still", 3, "source", "must be text (in quotes if it looks like a number), got 3"),
    ("backend: still\nfamily: wan3", 4, "family", "must be one of wan2.1-t2v-14b, "),
    ("backend: nope\nmodality: t2v", 3, "backend", "must be one of those found (diffusers, onnx, still), got nope"),
    ("backend: still", 2, "modality", "is required, as no known family says it: one of t2v, i2v, ti2v, flf2v"),
    ("backend: still\nmodality: T2V", 4, "modality", "must be one of t2v, i2v, ti2v, flf2v, got 'T2V'"),
    (T2V + "modality: i2v", 5, "modality", "must fit wan2.1-t2v-1.3b, which is t2v, got i2v"),
    ("backend: onnx\nmodality: i2v", 4, "modality", "must go together: onnx runs t2v, the model is i2v"),
    ("backend: onnx\nfamily: wan2.2-ti2v-5b", 3, "backend", "must go together: onnx runs t2v, the model is ti2v"),
    (T2V + "stpes: 3", 5, "stpes", "there is no such field; there are source, backend, family, "),
    (T2V + "options: {dtyp: x}", 5, "options.dtyp", "there is no such field; there are dtype"),
    (T2V + "options:\n  dtype: fp8", 6, "options.dtype", "Must be one of: auto, bf16, got 'fp8'"),
    (T2V + "warm_up: 1", 5, "warm_up", "must be true, false or a list of sizes, such as [832x480x81], got 1"),
    (
        T2V + "warm_up: [832x480]",
        5,
        "warm_up",
        "must be true, false or a list of sizes, such as [832x480x81], got ['83",
    ),
    (T2V + "warm_up: []", 5, "warm_up", "must be true, false or a list of sizes, such as [832x480x81], got []"),
    (T2V + "warm_up: [832x481x81]", 5, "warm_up", "must have sides that are multiples of 16, got 832x481x81"),
    (T2V + "warm_up: [832x0x81]", 5, "warm_up", "must have sides that are multiples of 16, got 832x0x81"),
    (T2V + "warm_up: [832x480x80]", 5, "warm_up", "must have 4k+1 frames (1, 5, 9, ...), got 832x480x80"),
    (T2V + "warm_up: [832x480x81001]", 5, "warm_up", "must be within the limits of "),
    (T2V + "options: [dtype]", 5, "options", "must be a mapping, got ['dtype']"),
    ("backend: still\nmodality: t2v\noptions: {x: 1}", 5, "options", "must be left out: still has no options, got x"),
    (T2V + "defaults: 3", 5, "defaults", "must be a mapping, got 3"),
    (T2V + "defaults:\n  seed: 1", 6, "defaults.seed", "there is no such field; there are width, height, "),
    (T2V + "defaults:\n  steps: '30'", 6, "defaults.steps", "must be an integer from 1 to 1000, got '30'"),
    (T2V + "defaults:\n  steps: true", 6, "defaults.steps", "must be an integer from 1 to 1000, got True"),
    (T2V + "defaults:\n  steps: 30.0", 6, "defaults.steps", "must be an integer from 1 to 1000, got 30.0"),
    (T2V + "defaults:\n  steps: 0", 6, "defaults.steps", "must be an integer from 1 to 1000, got 0"),
    (
        T2V + "defaults:\n  frames_per_second: 61",
        6,
        "defaults.frames_per_second",
        "must be an integer from 1 to 60, got 61",
    ),
    (
        T2V + "defaults:\n  guidance_scale: .nan",
        6,
        "defaults.guidance_scale",
        "must be a number from 0 to 20, got '.nan'",
    ),
    (
        T2V + "defaults:\n  guidance_scale: 1.0e999",
        6,
        "defaults.guidance_scale",
        "must be a number from 0 to 20, got inf",
    ),
    (
        T2V + "defaults:\n  guidance_scale: true",
        6,
        "defaults.guidance_scale",
        "must be a number from 0 to 20, got True",
    ),
    (
        T2V + "defaults:\n  guidance_scale_2: 21",
        6,
        "defaults.guidance_scale_2",
        "must be a number from 0 to 20, got 21",
    ),
    (T2V + "defaults:\n  flow_shift: 0", 6, "defaults.flow_shift", "must be a number above 0 to 100, got 0"),
    (T2V + "defaults:\n  flow_shift: {small: 3}", 6, "defaults.flow_shift.large", "is required"),
    (T2V + "defaults:\n  flow_shift: {medium: 3, small: 1, large: 1}", 6, "defaults.flow_shift.medium", "there is no"),
    (T2V + "defaults:\n  negative_prompt: 3", 6, "defaults.negative_prompt", "must be text"),
    (T2V + "defaults:\n  width: 840", 6, "defaults.width", "must be a multiple of 16, got 840"),
    (T2V + "defaults:\n  num_frames: 80", 6, "defaults.num_frames", "must be 4k+1 (1, 5, 9, ...), got 80"),
    (T2V + "defaults:\n  num_frames: 165", 6, "defaults.num_frames", "the default num_frames must be within the limit"),
    (T2V + "defaults:\n  steps: 101", 6, "defaults.steps", "the default steps must be within the limit (steps) of 100"),
    (T2V + "defaults:\n  height: 1600", 6, "defaults.height", "the default width x height must be within the limit"),
    (T2V + "limits:\n  pixels: 9999", 6, "limits.pixels", "the default width x height must be within the limit"),
    (T2V + "limits:\n  steps: -1", 6, "limits.steps", "must be an integer from 1 to 1000, got -1"),
    (
        T2V + "limits:\n  frame: 81",
        6,
        "limits.frame",
        "there is no such field; there are pixels, frames, steps, prompt",
    ),
    (T2V + "aliases: mine", 5, "aliases", "must be a list, such as [a, b], got 'mine'"),
    (T2V + "aliases:\n- ok\n- 3", 7, "aliases.1", "must be text"),
    (T2V + "aliases:\n- ok\n- a b", 7, "aliases.1", "a name starts with a letter or a digit"),
    (T2V + "aliases: [own]", 5, "aliases.0", "must be a name of its own, got own, which is models.own"),
    (T2V + "priority: 101", 5, "priority", "must be an integer from -100 to 100, got 101"),
    (T2V + "engines: 0", 5, "engines", "must be an integer from 1 to 1000, got 0"),
    (T2V + "price: -0.1", 5, "price", "must be a number from 0 to 1000000, got -0.1"),
    (T2V + "price: 1000001", 5, "price", "must be a number from 0 to 1000000, got 1000001"),
    (T2V + "price: true", 5, "price", "must be a number from 0 to 1000000, got True"),
    (T2V + "price: .inf", 5, "price", "must be a number from 0 to 1000000, got '.inf'"),
    (T2V + "price: .nan", 5, "price", "must be a number from 0 to 1000000, got '.nan'"),
    (T2V + "price: '0.1'", 5, "price", "must be a number from 0 to 1000000, got '0.1'"),
    (T2V + "devices: []", 5, "devices", "must name at least one device, got []"),
    (
        T2V + "devices: [cuda:x]",
        5,
        "devices",
        "must be a list of cpu, cuda (every GPU), cuda:0 and so on, got ['cuda:x']",
    ),
    (T2V + "download: perhaps", 5, "download", "must be true or false, got 'perhaps'"),
    (T2V + "revision: 1234567", 5, "revision", "must be text (in quotes if it looks like a number), got 1234567"),
    (
        "source: ./w\nbackend: still\nmodality: t2v\nrevision: main",
        6,
        "revision",
        "is only for a source on the hub, got",
    ),
    ("backend: still\nmodality: t2v\ndownload: true", 5, "download", "is only for a source on the hub, got no source"),
    (T2V + "backend: still", 5, "backend", "given twice: first in line 4"),
]


def test_a_bad_entry_is_told_line_field_and_what_is_allowed(problems: Problems, subtests: pytest.Subtests) -> None:
    for fields, line, field, message in BAD_ENTRIES:
        with subtests.test(fields=fields, line=line):
            found = [p for p in problems(one(fields)) if p.field == f"models.own.{field}"]
            assert [p.line for p in found] == [line]
            assert found[0].message.startswith(message)


STILL = "  own: {backend: still, modality: t2v}\n"

TWICE = "models:\n" + STILL + "default: own\nmodels:\n  new: {backend: still, modality: t2v}\n"


def test_a_repeated_section_is_reported_without_its_consequences(problems: Problems) -> None:
    (found,) = problems(TWICE)

    assert (found.line, found.field) == (4, "models")
    assert found.message == "given twice: first in line 1, where its entries belong"


def test_every_repeated_key_is_reported(problems: Problems) -> None:
    found = problems(TWICE + "default: new\n" + "routes:\n  r: [own]\n  r: [new]\n")

    assert [(each.line, each.field) for each in found] == [(4, "models"), (6, "default"), (9, "routes.r")]


BAD_FILES = [
    ("", 1, "models", "is required: a mapping of names to models"),
    ("# nothing\n", 1, "models", "is required"),
    ("- a\n- b\n", 1, "", "must be a mapping, got ['a', 'b']"),
    ("models: {}\n", 1, "models", "must hold at least one model"),
    ("models: [a]\n", 1, "models", "must be a mapping, got ['a']"),
    ("models:\n  own: 3\n", 2, "models.own", "must be a mapping, got 3"),
    ("models:\n" + STILL + "modles:\n", 3, "modles", "there is no such field; there are default, models, routes"),
    ("models:\n" + STILL + "  a b: {}\n", 3, "models.a b", "a name starts with a letter or a digit"),
    ("models:\n" + STILL + "  -a: {}\n", 3, "models.-a", "a name starts with a letter or a digit"),
    ("models:\n" + STILL + STILL, 3, "models.own", "given twice: first in line 2"),
    ("models:\n" + STILL + "default: nope\n", 3, "default", "must be a model or a route (own), got nope"),
    ("models:\n" + STILL + "routes:\n  own: [own]\n", 4, "routes.own", "must be a name of its own, got own, which is"),
    (
        "models:\n" + STILL + "routes:\n  r: [own, x]\n",
        4,
        "routes.r.members.1",
        "must be one of the models (own), got x",
    ),
    ("models:\n" + STILL + "routes:\n  r:\n  - own\n  - x\n", 6, "routes.r.members.1", "must be one of the models"),
    (
        "models:\n" + STILL + "routes:\n  r: [own]\n  s: [r]\n",
        5,
        "routes.s.members.0",
        "must be one of the models (own)",
    ),
    ("models:\n" + STILL + "routes:\n  r: [r]\n", 4, "routes.r.members.0", "must be one of the models (own), got r, a"),
    ("models:\n" + STILL + "routes:\n  r: [own, own]\n", 4, "routes.r.members.1", "must be named once, got own again"),
    ("models:\n" + STILL + "routes:\n  r: []\n", 4, "routes.r.members", "must name at least one model"),
    ("models:\n" + STILL + "routes:\n  r:\n", 4, "routes.r.members", "is required"),
    ("models:\n" + STILL + "routes:\n  r: own\n", 4, "routes.r", "must be a mapping, got 'own'"),
    ("models:\n" + STILL + "routes:\n  r: {members: own}\n", 4, "routes.r.members", "must be a list, such as [a, b]"),
    (
        "models:\n" + STILL + "routes:\n  r: {members: [own], aliases: [own]}\n",
        4,
        "routes.r.aliases.0",
        "must be a name of its own",
    ),
    ("models:\n  a:\n\tb: 1\n", 3, "", "not YAML: while scanning for the next token found character '\\t'"),
    ("models: {a: [}\n", 1, "", "not YAML: "),
    ("models:\n  a: *b\n", 2, "", "anchors and aliases (& and *) are not allowed"),
    ("models: &a\n  b: c\n", 1, "", "anchors and aliases (& and *) are not allowed"),
    ("models:\n  a: !!python/object:os.system {}\n", 2, "", "tags (!) are not allowed"),
    ("models:\n  ? [a]\n  : b\n", 2, "", "a key must be text"),
    ("models:\n" + STILL + "---\nmodels:\n", 3, "", "expected one document, got a second"),
    ("a: " + "[" * 100_000, 1, "", "nested too deeply"),
    ('a: "\\0"\n', 1, "", "a character that is not text"),
    ('a: "\\ud800"\n', 1, "", "a character that is not text"),
    ('a:\n "\\UFFFFFFFF"\n', 0, "", "not YAML: "),
    ("a: 1\nb: \x01\n", 2, "", "not YAML: "),
    (b"models:\n  a: \xff\n", 2, "", "must be UTF-8, got byte 0xff"),
    (b"#" * (2**20 + 1), 0, "", "a models file may have up to 1048576 bytes, this one has more"),
]


def test_a_bad_file_is_told_line_field_and_what_is_allowed(problems: Problems, subtests: pytest.Subtests) -> None:
    for content, line, field, message in BAD_FILES:
        with subtests.test(content=content, line=line):
            found = [p for p in problems(content) if p.field == field and p.message.startswith(message)]
            assert [p.line for p in found] == [line]


def test_every_problem_comes_at_once_and_in_file_order(problems: Problems, tmp_path: Path) -> None:
    found = problems(
        "default: nope\n"
        "models:\n"
        "  a:\n"
        "    source: Wan-AI/Wan2.2-TI2V-5B-Diffusers\n"
        "    backend: onxx\n"
        "    defaults: {steps: no, width: 1000}\n"
        "    limits: {frames: 1.5}\n"
        "  b c:\n"
        "    backend: still\n"
        "routes:\n"
        "  r: [a, d]\n"
    )
    assert [(p.line, p.field) for p in found] == [
        (1, "default"),
        (5, "models.a.backend"),
        (6, "models.a.defaults.steps"),
        (6, "models.a.defaults.width"),
        (7, "models.a.limits.frames"),
        (8, "models.b c"),
        (8, "models.b c.modality"),
        (11, "routes.r.members.1"),
    ]
    assert {p.file for p in found} == {str(tmp_path / "models.yaml")}


def test_a_problem_is_one_line_that_an_editor_can_jump_to(problems: Problems, tmp_path: Path) -> None:
    (problem,) = problems(one(T2V + "stpes: 3"))
    assert str(problem).startswith(f"{tmp_path}/models.yaml:5: models.own.stpes: there is no such field")


def test_what_follows_from_a_problem_is_not_another(problems: Problems) -> None:
    assert [p.field for p in problems(one("backend: still\nsource: foo"))] == ["models.own.source"]


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read_says_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(RegistryError, match="cannot be read: "):
        load(tmp_path / name, ())


def test_mangled_files_are_registries_or_problems_and_nothing_else(read: Read) -> None:
    chance = random.Random(7)
    refused = 0
    for _ in range(400):
        try:
            read(mangled(GOOD, chance))
        except RegistryError:
            refused += 1
    assert 100 < refused < 400


def mangled(text: str, chance: random.Random) -> bytes:
    """Return the text with up to three pieces cut, doubled, swapped or overwritten."""
    pieces = [
        "~",
        "[]",
        "{}",
        "- ",
        ": ",
        "\t",
        '"',
        "*a",
        "&a ",
        "!!int ",
        "1e9",
        "-1",
        ".inf",
        "\x00",
        "\ud7ff",
        "null",
    ]
    for _ in range(chance.randint(1, 3)):
        start = chance.randrange(len(text))
        end = min(len(text), start + chance.randint(0, 12))
        other = chance.randrange(len(text))
        text = text[:start] + chance.choice(["", text[start:end] * 2, text[other : other + 9], *pieces]) + text[end:]
    return text.encode()


# One model without a file


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("Wan-AI/Wan2.2-TI2V-5B-Diffusers", "Wan-AI/Wan2.2-TI2V-5B-Diffusers"),
        ("wan-ai/wan2.2-ti2v-5b-diffusers", "Wan-AI/Wan2.2-TI2V-5B-Diffusers"),
        ("embedded:wan-nano-ti2v", "wan-nano-ti2v"),
    ],
)
def test_one_known_model_is_served_under_its_published_name(
    backends: tuple[BackendInfo, ...], source: str, name: str
) -> None:
    registry = load_one(source, "diffusers", backends)
    assert (registry.default, model(registry, name).modality) == (name, Modality.TI2V)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "My wan (tuned)", replace(TI2V, heads=24, head_dim=128, layers=1))


def test_one_folder_is_served_under_its_own_name(backends: tuple[BackendInfo, ...], folder: Path) -> None:
    spec = model(load_one(str(folder), "diffusers", backends), "My-wan-tuned")
    assert (spec.source, spec.family, spec.modality) == (str(folder), "wan2.2-ti2v-5b", Modality.TI2V)


def test_one_folder_may_be_named_from_where_one_is(
    backends: tuple[BackendInfo, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    assert load_one(folder.name, "diffusers", backends).models[0].source == str(folder)


def test_an_unknown_repository_is_told_by_its_snapshot(
    backends: tuple[BackendInfo, ...], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache_snapshot(tmp_path / "hf", "me/tuned", folder, monkeypatch)
    registry = load_one("me/tuned", "diffusers", backends, download=True)
    spec = model(registry, "me/tuned")
    assert (spec.modality, spec.source, spec.revision, spec.folder) == (Modality.TI2V, "me/tuned", None, None)


@pytest.mark.parametrize(
    ("source", "backend", "message"),
    [
        ("me/tuned", "diffusers", "is not a published Wan variant and not on this machine: fetch it with"),
        ("tuned", "diffusers", "must be OWNER/NAME on the hub"),
        ("./tuned", "diffusers", "there is no such folder"),
        ("", "diffusers", "must be OWNER/NAME on the hub"),
        ("~nobody-here", "diffusers", "there is no such folder"),
        ("/" + "x" * 5000, "diffusers", "must have from 1 to 1000 characters"),
        ("embedded:tuned", "diffusers", "must be one of embedded:wan-nano-t2v"),
        ("embedded:wan-nano-t2v", "nope", r"backend: must be one of those found \(diffusers, onnx, still\), got nope"),
        ("embedded:wan-nano-i2v", "onnx", "must go together: onnx runs t2v, the model is i2v"),
    ],
)
def test_one_model_that_cannot_be_served_says_why(
    backends: tuple[BackendInfo, ...], source: str, backend: str, message: str
) -> None:
    with pytest.raises(RegistryError, match=message):
        load_one(source, backend, backends)


def test_a_model_may_have_every_limit(read: Read) -> None:
    limits = "{pixels: 1000, frames: 9, steps: 5, prompt: 10, image_bytes: 1000, image_pixels: 4096, queued: 3}"
    (model,) = read(
        f"models: {{a: {{backend: still, modality: t2v, limits: {limits}, "
        "defaults: {width: 16, height: 16, num_frames: 5, steps: 5}}}"
    ).models

    assert model.limits == Limits(1000, 9, 5, 10, 1000, 4096, 3)


@pytest.mark.parametrize("limit", ["queued: 0", "queued: true", "image_bytes: 20971521", "image_pixels: 64000001"])
def test_limits_are_within_what_the_server_can_do(problems: Problems, limit: str) -> None:
    (problem,) = problems(f"models: {{a: {{backend: still, modality: t2v, limits: {{{limit}}}}}}}")

    assert limit.partition(":")[0] in str(problem)


# Folders of weights


@pytest.mark.parametrize(
    ("kind", "modality", "experts", "guidance", "second"),
    [
        (replace(A14B, heads=40, head_dim=128, layers=1), Modality.T2V, 2, 4.0, 3.0),
        (replace(I2V, heads=40, head_dim=128, layers=1), Modality.I2V, 2, 3.5, 3.5),
        (Kind(heads=40, head_dim=128, layers=1), Modality.T2V, 1, 5.0, None),
        (replace(FLF2V, heads=40, head_dim=128, layers=1), Modality.FLF2V, 1, 5.5, None),
    ],
)
@pytest.mark.parametrize("lines", ["", "\n    modality: {}"], ids=["three-lines", "with-its-modality"])
def test_a_folder_has_the_defaults_of_what_it_is(
    read: Read, tmp_path: Path, kind: Kind, modality: Modality, experts: int, guidance: float, second: float, lines: str
) -> None:
    write_model(tmp_path / "mine", kind)
    entry = "models:\n  mine:\n    source: ./mine\n    backend: diffusers" + lines.format(modality.word)
    found = model(read(entry), "mine")

    assert (found.modality, found.experts) == (modality, experts)
    assert (found.defaults.guidance_scale, found.defaults.guidance_scale_2) == (guidance, second)
    assert found == replace(
        model(load_one(str(tmp_path / "mine"), "diffusers", [DIFFUSERS]), "mine"), options=found.options
    )


def test_a_repository_that_is_here_is_read_for_what_it_is(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_model(tmp_path / "m", replace(A14B, heads=40, head_dim=128, layers=1))
    cache_snapshot(tmp_path / "hf", "me/tuned", folder, monkeypatch)
    found = model(read("models: {mine: {source: me/tuned, backend: diffusers, modality: t2v}}"), "mine")

    assert (found.experts, found.defaults.guidance_scale_2, found.family) == (2, 3.0, "wan2.2-t2v-a14b")


def test_a_repository_that_is_half_here_is_no_broken_one(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = cache_snapshot(tmp_path / "hf", "me/tuned", write_model(tmp_path / "m"), monkeypatch)
    shutil.rmtree(snapshot / "vae")
    registry = read("models: {mine: {source: me/tuned, backend: diffusers, modality: t2v, download: true}}")

    assert (model(registry, "mine").modality, registry.broken) == (Modality.T2V, ())


def test_a_repository_of_something_else_is_broken(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = cache_snapshot(tmp_path / "hf", "me/tuned", write_model(tmp_path / "m"), monkeypatch)
    (snapshot / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"<html>")
    registry = read("models: {mine: {source: me/tuned, backend: diffusers, modality: t2v}}")

    assert [one.name for one in registry.broken] == ["mine"]


BROKEN = """\
default: bad
models:
  good: {source: ./good, backend: diffusers}
  bad:
    source: ./bad
    backend: diffusers
    aliases: [worse]
routes:
  both: [bad, good]
  alone: [bad]
"""


def test_a_broken_folder_harms_no_other_model(read: Read, tmp_path: Path) -> None:
    write_model(tmp_path / "good")
    write_model(tmp_path / "bad")
    (tmp_path / "bad" / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    registry = read(BROKEN)

    (bad,) = registry.broken
    assert bad.reason == "diffusion_pytorch_model.safetensors of vae is empty: fetch it again"
    assert str(bad.problem) == (
        f"{tmp_path}/models.yaml:5: models.bad.source: {tmp_path}/bad/vae/diffusion_pytorch_model.safetensors: {bad.reason}"
    )
    assert [one.name for one in registry.models] == ["good"]
    assert registry.find("bad") is registry.find("worse") is bad
    assert [[one.name for one in registry.members(route)] for route in registry.routes] == [["good"], []]
    assert registry.broken_members(registry.routes[1]) == (bad,)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (
            "{source: ./nowhere, backend: diffusers}",
            "a folder of diffusers weights has a model_index.json: there is no",
        ),
        (
            "{source: ./mine, backend: diffusers, modality: i2v}",
            "it is declared image-to-video, its folder of weights is ",
        ),
        (
            "{source: ./mine, backend: diffusers, modality: ti2v}",
            "it is declared text-and-image-to-video, its folder of",
        ),
        (
            "{source: ./other, backend: diffusers}",
            "it holds a model of the backend onnx (export.json), not of diffusers",
        ),
        (
            "{source: ./mine, backend: onnx}",
            "it holds a model of the backend diffusers (model_index.json), not of onnx",
        ),
    ],
)
def test_an_entry_that_its_folder_contradicts_is_broken(tmp_path: Path, entry: str, reason: str) -> None:
    write_model(tmp_path / "mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "export.json").write_text("{}")
    (tmp_path / "models.yaml").write_text(f"models: {{a: {entry}}}")
    (broken,) = load(tmp_path / "models.yaml", [DIFFUSERS, Backend("onnx", EVERYTHING, index="export.json")]).broken

    assert broken.reason.startswith(reason)


def test_a_folder_that_is_still_to_come_is_no_broken_one(read: Read) -> None:
    registry = read("models: {a: {source: ./nowhere, backend: diffusers, modality: t2v}}")

    assert (len(registry.models), registry.broken) == (1, ())


def test_a_folder_of_a_backend_that_takes_any_is_not_read(read: Read, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model_index.json").write_text("{")

    assert read("models: {a: {source: ./mine, backend: still, modality: t2v}}").broken == ()


@pytest.mark.parametrize(
    ("entry", "notes"),
    [
        (
            "family: wan2.2-t2v-a14b",
            "family: wan2.2-t2v-a14b has experts 2, the folder has 1; a width of 5120, the folder",
        ),
        ("family: wan2.2-ti2v-5b", "a size multiple of 32, the folder has 16"),
        ("family: wan2.2-i2v-a14b", "the modality i2v, the folder has t2v: the folder counts"),
        ("defaults: {guidance_scale_2: 2}", "defaults.guidance_scale_2: is not used: the model has one expert"),
    ],
)
def test_where_entry_and_folder_disagree_the_folder_counts(read: Read, tmp_path: Path, entry: str, notes: str) -> None:
    write_model(tmp_path / "mine")
    registry = read(f"models: {{a: {{source: ./mine, backend: diffusers, {entry}}}}}")
    found = model(registry, "a")

    assert (found.modality, found.experts, found.size_multiple) == (Modality.T2V, 1, 16)
    assert notes in str(registry.notes[0])


@pytest.mark.parametrize("family", ["wan2.1-t2v-14b", "wan2.2-i2v-a14b", "wan2.2-ti2v-5b"])
def test_a_family_of_another_kind_does_not_bring_its_defaults(read: Read, tmp_path: Path, family: str) -> None:
    write_model(tmp_path / "mine", replace(A14B, heads=40, head_dim=128, layers=1))
    found = model(read(f"models: {{a: {{source: ./mine, backend: diffusers, family: {family}}}}}"), "a")

    assert (found.defaults.guidance_scale, found.defaults.guidance_scale_2, found.experts) == (4.0, 3.0, 2)
    assert found.defaults.flow_shift.at(832, 480) == 12


def test_a_size_that_the_folder_does_not_take_breaks_this_model_alone(read: Read, tmp_path: Path) -> None:
    write_model(tmp_path / "mine", TI2V)
    write_model(tmp_path / "good")
    small = "defaults: {width: 48, height: 48}"
    registry = read(
        f"models: {{a: {{source: ./mine, backend: diffusers, modality: t2v, {small}}}, "
        "b: {source: ./good, backend: diffusers}}"
    )

    assert [one.name for one in registry.models] == ["b"]
    assert registry.broken[0].reason == (
        "its folder of weights does not go with its entry: defaults.width must be a multiple of 32, got 48"
    )


def test_an_entry_that_is_wrong_by_itself_is_a_problem_whatever_its_folder_is(
    problems: Problems, tmp_path: Path
) -> None:
    write_model(tmp_path / "mine")
    (problem,) = problems("models: {a: {source: ./mine, backend: diffusers, defaults: {num_frames: 6}}}")

    assert problem.message == "must be 4k+1 (1, 5, 9, ...), got 6"


@pytest.mark.parametrize("lost", ["vae", "refs"])
def test_an_unknown_repository_that_lost_a_part_harms_no_other_model(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    snapshot = cache_snapshot(tmp_path / "hf", "me/tuned", write_model(tmp_path / "m"), monkeypatch)
    shutil.rmtree(snapshot / "vae" if lost == "vae" else snapshot.parents[1] / "refs")
    models = "{a: {source: me/tuned, backend: diffusers}, b: {backend: still, modality: t2v}}"
    registry = read(f"default: me/tuned\nmodels: {models}")

    (broken,) = registry.broken
    assert (broken.aliases, registry.find("me/tuned")) == (("me/tuned",), broken)
    assert [one.name for one in registry.models] == ["b"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody and come back")
def test_a_folder_that_may_not_be_looked_at_is_broken_though_its_modality_is_told(read: Read, tmp_path: Path) -> None:
    write_model(tmp_path / "closed" / "mine")
    (tmp_path / "closed").chmod(0)
    (tmp_path / "models.yaml").touch(0o666)
    (tmp_path / "models.yaml").chmod(0o666)
    for folder in (tmp_path, *tmp_path.parents):
        folder.chmod(folder.stat().st_mode | 0o555)
    os.seteuid(65534)
    try:
        registry = read("models: {a: {source: ./closed/mine, backend: diffusers, modality: t2v}}")
    finally:
        os.seteuid(0)

    assert registry.broken[0].reason.endswith("the folder cannot be read: Permission denied")


def test_an_entry_that_agrees_with_its_folder_has_no_note(read: Read, tmp_path: Path) -> None:
    write_model(tmp_path / "mine", replace(A14B, heads=40, head_dim=128, layers=1))
    registry = read("models: {a: {source: ./mine, backend: diffusers, family: wan2.2-t2v-a14b, modality: t2v}}")

    assert registry.notes == ()


def cache_snapshot(home: Path, repo: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy a model folder into a hub cache as `repo`; return the snapshot."""
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(home))
    cached = home / "hub" / f"models--{repo.replace('/', '--')}"
    snapshot = cached / "snapshots" / "0123"
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0123")
    return snapshot
