"""What a caller reads names files, and no folder of the server."""

import sys
from pathlib import Path

import pytest

from router.catalog.download.failures import reason
from router.runtime.server_paths import CODE, ServerPaths


@pytest.fixture
def paths(tmp_path: Path) -> ServerPaths:
    return ServerPaths((tmp_path / "the data", Path("/models.d"), Path("/own")))


SHOWN = {
    "[Errno 13] Permission denied: '/srv/models/wan/transformer/a.safetensors'": "[Errno 13] Permission denied: 'a.safetensors'",
    "'/srv/my models/b.py' is broken": "'b.py' is broken",
    'File "/usr/lib/x/site.py", line 3': 'File "site.py", line 3',
    "Load model from /srv/wan/model.onnx failed:Protobuf parsing failed.": "Load model from model.onnx failed:Protobuf parsing failed.",
    "libcudnn.so (in /usr/lib/x86_64-linux-gnu/libcudnn.so.9) is gone": "libcudnn.so (in libcudnn.so.9) is gone",
    "path=/srv/a/b, other: /srv/c/d;": "path=b, other: d;",
    "file:///srv/a/b.png": "b.png",
    "see ~/.cache/hub/x": "see x",
    "error:/srv/a/b": "error:b",
    "/models.d is full, /models.d/a.bin too": "... is full, a.bin too",
    "/own/policy.py fails": "policy.py fails",
    "two: /srv/a/b /srv/c/d/": "two: b d",
}  # fmt: skip
KEPT = (
    "fetch it from Wan-AI/Wan2.2-TI2V-5B-Diffusers", "GET /v1/models lists them", "there is no POST /v1/responses/resp_1/x", "text/plain or a/b/c",
    "https://video.example.org/v1/videos/a/content?x=/y", "1/2 and 3/4", "http://h:8000/docs/api", "set 'download: true' in its entry", "and/or", "/", "a // b", "",
)  # fmt: skip


@pytest.mark.parametrize(("text", "shown"), SHOWN.items())
def test_of_a_path_only_its_end_is_shown(paths: ServerPaths, text: str, shown: str) -> None:
    assert paths.hide(text) == shown


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_path_of_the_server_stays(paths: ServerPaths, text: str) -> None:
    assert paths.hide(text) == text


def test_known_folders_are_hidden_whatever_is_in_their_names(paths: ServerPaths, tmp_path: Path) -> None:
    for root in (tmp_path / "the data", Path.home(), Path(sys.prefix), CODE, tmp_path):
        message = paths.hide(f"cannot read {root}/a.bin or {root}: no, {root}")
        assert str(root) not in message, message
        assert "a.bin" in message


def test_a_long_message_takes_no_time(paths: ServerPaths) -> None:
    for start, piece in (("'", "/a"), ("", "'/a b/c'")):
        assert isinstance(paths.hide(start + piece * 100_000), str)
    for piece in ("/a", "/", "'/a", "~/", "/a/ ", "a:/b/c"):
        assert isinstance(paths.hide(piece * 100_000), str)


def test_an_error_of_the_hubs_cache_names_no_folder(tmp_path: Path) -> None:
    message = reason(PermissionError(13, "Permission denied", str(tmp_path / "blobs" / "abc")), None)

    assert message == "PermissionError: Permission denied (abc)"
    assert reason(OSError(5, "Input/output error"), None) == "OSError: Input/output error"
