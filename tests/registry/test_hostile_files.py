"""Special, endless and huge files in a model folder are refused at once."""

import os
import shutil
import signal
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.tools.layout import FLF2V, write_json, write_model
from registry import folders
from registry.folders import FolderError, files, hub_cache

SECONDS = 60  # a hang takes for ever, and nothing here a second
FILES = (
    "model_index.json",
    "transformer/config.json",
    "transformer/diffusion_pytorch_model.safetensors",
    "transformer/diffusion_pytorch_model.safetensors.index.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "vae/config.json",
    "image_encoder/config.json",
    "image_processor/preprocessor_config.json",
    "scheduler/scheduler_config.json",
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/spiece.model",
    "tokenizer/chat_template.jinja",
    "tokenizer/config.json",
)


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """Raise in whatever waits for a file."""

    def ring(*_: object) -> None:
        raise AssertionError("it waits for a file")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model", FLF2V)


def a_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # its name may have 107 characters
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b'{"a": "')
        file.truncate(300 * 10**9)


def linked(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


KINDS: dict[str, Callable[[Path], None]] = {
    "a FIFO": os.mkfifo,
    "a socket": a_socket,
    "a folder": os.mkdir,
    "a link to nothing": linked("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to /dev/zero": linked("/dev/zero"),
    "a link to /dev/tty": linked("/dev/tty"),
    "the process's memory": linked("/proc/self/mem"),
    "the kernel's log": linked("/proc/kmsg"),
    "an endless file without a length": linked("/proc/self/pagemap"),
    "300 GB of nothing": sparse,
}
# nobody opens a folder for a file
ENDS_WELL = {("tokenizer/chat_template.jinja", "a folder"), ("tokenizer/config.json", "a folder")}


@pytest.mark.parametrize(("name", "kind"), sorted({(name, kind) for name in FILES for kind in KINDS} - ENDS_WELL))
def test_it_is_refused_and_nothing_waits_for_it(folder: Path, name: str, kind: str) -> None:
    path = folder / name
    path.unlink(missing_ok=True)
    KINDS[kind](path)

    with pytest.raises(FolderError) as refused:
        folders.read(folder)
    assert str(folder) not in refused.value.reason
    assert folders.missing(folder) in (None, refused.value.reason)


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_of_a_part_may_be_that(folder: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "part.gguf"
    KINDS[kind](path)

    with pytest.raises(FolderError, match=r"part\.gguf of transformer"):
        folders.read(folder, {"transformer": path})


def test_a_file_of_the_kernel_that_has_nothing_to_say_yet_is_refused_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that was read to its end makes its next reader wait."""
    path = folder / "tokenizer" / "chat_template.jinja"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    status = os.stat_result((stat.S_IFREG | 0o444, 1, 1, 1, 0, 0, 0, 0, 0, 0))
    monkeypatch.setattr(files.os, "fstat", lambda _: status)
    monkeypatch.setattr(files, "regular_size", lambda *_: 0)
    try:
        with pytest.raises(FolderError, match="is no regular file"):
            files.readable_size(path, "chat_template.jinja of tokenizer")
    finally:
        os.close(writer)


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_itself_may_be_that(tmp_path: Path, kind: str) -> None:
    if kind != "a folder":
        KINDS[kind](tmp_path / "model")

    with pytest.raises(FolderError):
        folders.read(tmp_path / "model")


@pytest.mark.parametrize("kind", KINDS)
def test_a_configuration_beside_no_index_is_looked_at_as_carefully(tmp_path: Path, kind: str) -> None:
    """It may be of Wan's original layout, which is named."""
    KINDS[kind](tmp_path / "config.json")

    with pytest.raises(FolderError, match=r"has a model_index\.json"):
        folders.read(tmp_path)


def test_folders_of_templates_that_transformers_would_read_are_refused(folder: Path) -> None:
    (folder / "tokenizer" / "additional_chat_templates").mkdir()

    with pytest.raises(FolderError, match="tokenizer has additional_chat_templates"):
        folders.read(folder)


def test_many_files_of_a_tokenizer_are_too_many_together(folder: Path) -> None:
    for number in range(10):
        with (folder / "tokenizer" / f"{number}.txt").open("wb") as file:
            file.truncate(10 * 2**20)

    with pytest.raises(FolderError, match="the files of tokenizer have more than 67,108,864 bytes"):
        folders.read(folder)


def test_a_reference_of_the_hubs_cache_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    refs = tmp_path / "models--me--tuned" / "refs"
    refs.mkdir(parents=True)
    for make in KINDS.values():
        make(refs / "main")
        assert hub_cache.snapshot("me/tuned", None) is None
        shutil.rmtree(refs)
        refs.mkdir()


def test_files_that_come_go_and_grow_while_they_are_read_end_in_a_reason(folder: Path) -> None:
    """Each read returns a folder or a reason while files change."""
    stop = threading.Event()
    whole = {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}

    def change() -> None:
        while not stop.is_set():
            for name, content in whole.items():
                path = folder / name
                path.unlink(missing_ok=True)
                path.write_bytes(content[: len(content) // 2])
                path.unlink()
                os.mkfifo(path)
                path.unlink()
                path.write_bytes(content + b" ")
                path.write_bytes(content)

    changing = threading.Thread(target=change)
    changing.start()
    refused = 0
    try:
        for _ in range(300):
            try:
                folders.read(folder)
            except FolderError:
                refused += 1
    finally:
        stop.set()
        changing.join()

    assert refused
    assert folders.read(folder).pipeline == FLF2V.pipeline


def test_an_extra_file_of_another_part_is_not_opened(folder: Path) -> None:
    """Files with other names than configurations and weights are not read."""
    for part in ("transformer", "vae", "text_encoder", "scheduler", "image_processor"):
        os.mkfifo(folder / part / "notes.txt")
    write_json(folder / "other.json", {})

    assert folders.read(folder)
