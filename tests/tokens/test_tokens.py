"""Warnings of prompts that will be cut, and hostile tokenizer files."""

import json
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.driving import spec, task
from support.patience import until, watch

from nano.family import WEIGHTS
from registry import Modality, ModelSpec
from router.tokens import CutPrompt, TokenCounter, merged
from router.tokens.counter import LARGEST, PATIENCE_SECONDS

tokenizers = pytest.importorskip("tokenizers")
pytest.importorskip("ftfy")

NANO = WEIGHTS / "shared" / "tokenizer"
LONG = task(prompt="x" * 600, negative_prompt="")
CUT = f'the prompt has 602 tokens; it is cut to the first 512, after "…{"x" * 40}"'


def model(folder: Path, prompt_tokens: int | None = 512) -> ModelSpec:
    return replace(spec(folder, Modality.T2V), prompt_tokens=prompt_tokens)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a model folder with the tokenizer of the nano family."""
    shutil.copytree(NANO, tmp_path / "model" / "tokenizer")
    return tmp_path / "model"


@pytest.fixture
def counter() -> Iterator[TokenCounter]:
    counter = TokenCounter(lambda model: model.folder)
    yield counter
    counter._process.end()  # it would stay until the tests end


@pytest.fixture
def count(counter: TokenCounter, folder: Path) -> Callable[..., tuple[str, ...]]:
    """Count prompts once the tokenizer has been read."""
    until(lambda: counter.warnings(model(folder), LONG))

    def warnings(**changes: Any) -> tuple[str, ...]:
        # on a busy machine a count can take longer than a request waits for it
        asked = task(**{"negative_prompt": "", **changes})
        tries = (counter.warnings(model(folder), asked) for _ in range(4))
        return next(filter(None, tries), ())

    return warnings


def state(counter: TokenCounter) -> list[str]:
    return list(counter._states.values())


def test_the_first_request_is_not_kept_waiting_and_a_later_one_is_warned(counter: TokenCounter, folder: Path) -> None:
    with watch() as first:
        assert counter.warnings(model(folder), LONG) == ()

    assert first.seconds < 0.2
    assert until(lambda: counter.warnings(model(folder), LONG)) == (CUT,)


def test_the_warning_says_where_the_prompt_is_cut(count: Any) -> None:
    words = [f"w{number}" for number in range(400)]
    prompt = " ".join(words)
    (warning,) = count(prompt=prompt)
    kept = warning.partition("…")[2].rstrip('"')
    encoding = tokenizers.Tokenizer.from_file(str(NANO / "tokenizer.json")).encode(prompt)
    end = encoding.offsets[510][1]  # 511 tokens and the one that ends the text

    assert f"the prompt has {len(encoding.ids)} tokens" in warning
    assert kept == prompt[end - 40 : end].strip()


@pytest.mark.parametrize(("letters", "warnings"), [(0, 0), (509, 0), (510, 0), (511, 1), (8000, 1)])
def test_a_prompt_of_as_many_tokens_as_are_read_is_not_cut(count: Any, letters: int, warnings: int) -> None:
    assert len(count(prompt="x" * letters)) == warnings


@pytest.mark.parametrize(
    ("text", "tokens"), [("ä" * 300, 602), ("&amp;" * 300, 302), ("  x \n" * 300, 601), ("&#xFDFA;" * 60, 1982)]
)
def test_what_is_counted_is_what_the_tokenizer_gets(count: Any, text: str, tokens: int) -> None:
    counts = [warning.partition(";")[0] for warning in count(prompt=text)]

    assert counts == ([f"the prompt has {tokens} tokens"] if tokens > 512 else [])


def test_the_negative_prompt_is_counted_where_it_is_read(count: Any) -> None:
    prompts = {"prompt": "a", "negative_prompt": "x" * 600}

    assert count(**prompts) == (CUT.replace("the prompt", "the negative prompt"),)
    assert count(**prompts, guidance_scale=1.0) == ()


def test_a_prompt_that_spells_out_a_special_token_is_left_to_the_engine(count: Any) -> None:
    assert count(prompt="x" * 600 + "</s>") == ()


@pytest.mark.parametrize("text", ["x" * 600 + "\ud800", "\udfff" * 600, "\x00" * 600])
def test_an_odd_text_ends_no_count(count: Any, text: str) -> None:
    count(prompt=text)

    assert count(prompt="x" * 600) == (CUT,)


def test_a_model_without_a_limit_or_a_tokenizer_is_not_counted(counter: TokenCounter, folder: Path) -> None:
    assert counter.warnings(model(folder, None), LONG) == ()
    assert counter.warnings(model(folder.parent), LONG) == ()
    assert (state(counter), counter._thread) == ([], None)


def test_the_same_content_in_two_folders_is_held_once(folder: Path) -> None:
    from router.tokens.counter_child import Tokenizers

    other, known = folder.parent / "other.json", Tokenizers()
    shutil.copy(folder / "tokenizer/tokenizer.json", other)

    assert known.of(str(other)) is known.of(str(folder / "tokenizer/tokenizer.json"))


def nested(path: Path) -> None:
    path.write_text('{"model":' + "[" * 1_000_000 + "]" * 1_000_000 + "}")


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(LARGEST + 1)


def zeros(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(LARGEST)


def foreign(path: Path) -> None:
    path.write_text(
        json.dumps({"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 2**40}, "merges": [["a", "b"]]}})
    )


BROKEN = {
    "empty": lambda path: path.write_text(""),
    "cut": lambda path: path.write_bytes((NANO / "tokenizer.json").read_bytes()[:9000]),
    "a list": lambda path: path.write_text("[]"),
    "bytes": lambda path: path.write_bytes(b"\xff\x00" * 5000),
    "nested": nested,
    "huge": huge,
    "zeros": zeros,
    "foreign": foreign,
    "unreadable": lambda path: path.write_text(
        '{"version": "1.0", "model": {"type": "Unigram", "vocab": [], "unk_id": 5}}'
    ),
}


@pytest.mark.parametrize("make", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_named_once_and_delays_nobody(
    counter: TokenCounter, folder: Path, caplog: pytest.LogCaptureFixture, make: Any
) -> None:
    path = folder / "tokenizer/tokenizer.json"
    make(path)
    with caplog.at_level(logging.WARNING, "router.tokens"):
        with watch() as first:
            assert counter.warnings(model(folder), LONG) == ()
        until(lambda: state(counter) == ["broken"])
        assert [counter.warnings(model(folder), LONG) for _ in range(20)] == [()] * 20

    assert first.seconds < 0.2
    assert [str(path) in record.getMessage() for record in caplog.records] == [True]
    shutil.copy(NANO / "tokenizer.json", path)
    assert until(lambda: counter.warnings(model(folder), LONG)) == (CUT,)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def circle(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [pipe, circle, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_not_opened(counter: TokenCounter, folder: Path, make: Any) -> None:
    path = folder / "tokenizer/tokenizer.json"
    path.unlink()
    make(path)

    assert counter.warnings(model(folder), LONG) == ()
    assert state(counter) == []


def test_a_process_that_hangs_is_killed_and_delays_one_request_by_a_moment(folder: Path) -> None:
    counter = TokenCounter(lambda model: model.folder, stall_seconds=3.0)
    until(lambda: counter.warnings(model(folder), LONG))
    process = counter._process.child
    assert process is not None
    process.send_signal(signal.SIGSTOP)

    with watch() as all_of_them:
        assert [counter.warnings(model(folder), LONG) for _ in range(50)] == [()] * 50

    assert all_of_them.seconds < 25 * PATIENCE_SECONDS  # half of fifty delays
    until(lambda: process.poll() is not None)
    until(lambda: state(counter) == ["broken"])


@pytest.mark.parametrize("pattern", ["(x+x+)+y", "(x?){60}x{60}$z", "(a|x|xx)*$y"])
def test_a_pattern_that_takes_long_delays_nobody(counter: TokenCounter, folder: Path, pattern: str) -> None:
    path = folder / "tokenizer/tokenizer.json"
    content = json.loads(path.read_text())
    content["normalizer"] = {"type": "Replace", "pattern": {"Regex": pattern}, "content": ""}
    path.write_text(json.dumps(content))
    counter.warnings(model(folder), LONG)
    until(lambda: "coming" not in state(counter))

    taken = []
    for _ in range(20):
        with watch() as one:
            counter.warnings(model(folder), LONG)
        taken.append(one.seconds)

    assert max(taken) < 8 * PATIENCE_SECONDS  # a quarter of a second, on a machine that does nothing else


def test_a_process_that_was_killed_is_started_again(count: Any, counter: TokenCounter) -> None:
    process = counter._process.child
    assert process is not None
    process.kill()
    process.wait()

    assert until(lambda: count(prompt="x" * 600)) == (CUT,)


def test_of_two_warnings_about_one_prompt_the_engine_s_is_kept() -> None:
    size, other = "size 70x70 was made 64x64", "the colours were guessed"
    web, engine = (CutPrompt(tokens, 512, "a").warning("prompt") for tokens in (602, 601))
    negative = CutPrompt(700, 512, "b").warning("negative prompt")

    assert merged((size, web), (web, other)) == (size, web, other)
    assert merged((size, web, negative), (engine, other)) == (size, engine, negative, other)
    assert merged((size,), (engine,)) == (size, engine)
    assert merged((size, size), ()) == (size,)
