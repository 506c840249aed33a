"""The nano family: complete or absent, stored once, readable by stock diffusers."""

import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from nano.adapters import FOLDER
from nano.family import RECIPES, WEIGHTS, link_family

STRANGE = (
    "",
    " ",
    "ein Ball",
    "红色的球在雪地里",
    "🎈👩‍👩‍👧‍👦",
    "\x00\x01\ud7ff\uffff",
    "\U0010ffff",
    "a\u0301\u200d\u202e",
    "</s><pad>",
    "&amp;",
)


def files(folder: Path) -> dict[str, Path]:
    """Map the files of a family to their real paths."""
    found = (Path(top, name) for top, _, names in os.walk(folder, followlinks=True) for name in names)
    return {str(path.relative_to(folder)): path.resolve() for path in found}


def test_two_processes_that_link_it_at_once_both_find_it_whole(whole_family: Path, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "family"

    with ProcessPoolExecutor(2) as both:
        list(both.map(link_family, [folder] * 2))

    assert files(folder) == files(whole_family)
    assert sorted(path.name for path in folder.parent.iterdir()) == [".family.lock", "family"]


def test_what_a_killed_process_left_is_made_anew(tmp_path: Path) -> None:
    left = tmp_path / ".family.tmp" / "wan-nano-t2v"
    left.mkdir(parents=True)
    (left / "half").write_text("half")

    link_family(tmp_path / "family")

    assert not (tmp_path / "family" / "wan-nano-t2v" / "half").exists()


def test_a_family_that_is_there_is_left_alone(whole_family: Path) -> None:
    before = {path: path.lstat().st_mtime_ns for path in whole_family.rglob("*")}

    link_family(whole_family)

    assert {path: path.lstat().st_mtime_ns for path in whole_family.rglob("*")} == before


def test_a_package_that_moved_is_followed(tmp_path: Path) -> None:
    for folder in ("old", "new"):
        shutil.copytree(WEIGHTS, tmp_path / folder)
    link_family(tmp_path / "family", tmp_path / "old")
    shutil.rmtree(tmp_path / "old")

    link_family(tmp_path / "family", tmp_path / "new")

    assert all(path.is_relative_to(tmp_path / "new") and path.is_file() for path in files(tmp_path / "family").values())


def test_the_three_store_one_text_encoder_and_one_vae(whole_family: Path) -> None:
    for part in ("text_encoder", "tokenizer", "vae"):
        assert {(whole_family / model / part).resolve() for model in RECIPES} == {WEIGHTS / "shared" / part}
    stored = [path.stat().st_ino for path in WEIGHTS.rglob("*.safetensors") if FOLDER not in path.parts]
    used = {path.stat().st_ino for name, path in files(whole_family).items() if name.endswith(".safetensors")}
    assert len(stored) == len(used) == 2 + 5  # the shared two and five transformers


def test_all_weights_together_are_small() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) <= 24e6


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_stock_diffusers_reads_each_model(whole_family: Path, name: str) -> None:
    from diffusers import DiffusionPipeline

    pipe = DiffusionPipeline.from_pretrained(whole_family / name)

    channels = pipe.transformer.config.in_channels
    assert channels == (36 if name == "wan-nano-i2v" else 16)
    assert pipe.config.boundary_ratio == {"wan-nano-t2v": 0.875, "wan-nano-i2v": 0.9}.get(name)
    assert pipe.config.expand_timesteps == (name == "wan-nano-ti2v")
    assert pipe.scheduler.config.flow_shift == 3.0
    assert {type(pipe.vae).__name__, type(pipe.text_encoder).__name__} == {"AutoencoderKLWan", "UMT5EncoderModel"}


@pytest.mark.slow
@pytest.mark.parametrize("text", STRANGE, ids=ascii)
def test_the_tokenizer_knows_every_text(text: str) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS / "shared" / "tokenizer")

    ids = tokenizer(text).input_ids
    padded = tokenizer(text, padding="max_length", max_length=512, truncation=True)

    assert type(tokenizer).__name__ == "PreTrainedTokenizerFast" or tokenizer.is_fast
    assert tokenizer.unk_token_id not in ids
    assert ids == [*ids[:-1], tokenizer.eos_token_id]
    assert len(padded.input_ids) == 512
    assert sum(padded.attention_mask) == len(ids)


@pytest.mark.slow
def test_no_text_is_lost_between_the_words_it_knows() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS / "shared" / "tokenizer")

    assert tokenizer.decode(tokenizer("a red 球 slides ünder 🎈").input_ids[:-1]).strip() == "a red 球 slides ünder 🎈"
    assert len(tokenizer("A red circle slides leftwards").input_ids) == 5 + 1
