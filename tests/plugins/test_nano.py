"""The nano family: whole or absent, the same every time, stored once, and at home in stock diffusers."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MODELS = ("wan-nano-t2v", "wan-nano-i2v", "wan-nano-ti2v")
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


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def weights(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def test_the_family_is_the_same_every_time(family: Path, tmp_path: Path) -> None:
    from nano.make import make_family

    make_family(tmp_path / "again")

    assert digests(tmp_path / "again") == digests(family)


def test_two_processes_that_make_it_at_once_both_find_it_whole(family: Path, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "family"
    command = [sys.executable, "-m", "nano.make", str(folder)]

    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) for _ in range(2)]

    assert [process.wait(60) for process in both] == [0, 0]
    assert digests(folder) == digests(family)
    assert sorted(path.name for path in folder.parent.iterdir()) == [".family.lock", "family"]


def test_what_a_killed_process_left_is_made_anew(tmp_path: Path) -> None:
    from nano.make import make_family

    left = tmp_path / ".family.tmp" / "shared"
    left.mkdir(parents=True)
    (left / "half").write_text("half")

    make_family(tmp_path / "family")

    assert not (tmp_path / "family" / "shared" / "half").exists()


def test_a_family_that_is_there_is_left_alone(family: Path) -> None:
    from nano.make import make_family

    before = {path: path.stat().st_mtime_ns for path in family.rglob("*")}

    make_family(family)

    assert {path: path.stat().st_mtime_ns for path in family.rglob("*")} == before


def test_the_three_store_one_text_encoder_and_one_vae(family: Path) -> None:
    for part in ("text_encoder", "tokenizer", "vae"):
        assert {(family / model / part).resolve() for model in MODELS} == {family / "shared" / part}
        assert not (family / MODELS[0] / part).readlink().is_absolute()
    assert weights(family) < 40 * 2**20


@pytest.mark.parametrize("name", MODELS)
def test_stock_diffusers_reads_each_model(family: Path, name: str) -> None:
    from diffusers import DiffusionPipeline

    pipe = DiffusionPipeline.from_pretrained(family / name)

    channels = pipe.transformer.config.in_channels
    assert channels == (36 if name == "wan-nano-i2v" else 16)
    assert pipe.config.boundary_ratio == {"wan-nano-t2v": 0.875, "wan-nano-i2v": 0.9}.get(name)
    assert pipe.config.expand_timesteps == (name == "wan-nano-ti2v")
    assert pipe.scheduler.config.flow_shift == 3.0


@pytest.mark.parametrize("text", STRANGE, ids=ascii)
def test_the_tokenizer_knows_every_text(family: Path, text: str) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(family / "shared" / "tokenizer")

    ids = tokenizer(text).input_ids
    padded = tokenizer(text, padding="max_length", max_length=512, truncation=True)

    assert tokenizer.unk_token_id not in ids
    assert ids == [*ids[:-1], tokenizer.eos_token_id]
    assert len(ids) == len(text.encode()) + 1
    assert tokenizer.decode(ids[:-1]) == text
    assert len(padded.input_ids) == 512
    assert sum(padded.attention_mask) == len(ids)
