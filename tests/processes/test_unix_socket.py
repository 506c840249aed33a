"""The server's unix socket belongs to its user and group under any umask."""

import os
import stat
from pathlib import Path

import pytest
from support.edge import half
from support.patience import until


@pytest.mark.slow
@pytest.mark.parametrize("umask", [0o000, 0o077])
@pytest.mark.parametrize("command", ["web", "serve"])
def test_a_socket_is_open_to_its_group_only(tmp_path: Path, umask: int, command: str) -> None:
    (tmp_path / "models.yaml").write_text("models: {text: {backend: still, modality: t2v}}")
    listens, before = tmp_path / "web.sock", os.umask(umask)
    settings = {"models": tmp_path / "models.yaml", "data": tmp_path / "data", "no_auth": 1, "workers": 1}
    more = ["--device", "cpu"] if command == "serve" else []
    try:
        with half(tmp_path / "log", command, "--socket", str(listens), *more, **settings):
            until(listens.exists)
            until(lambda: "takes requests" in (tmp_path / "log").read_text())
            found = stat.S_IMODE(listens.stat().st_mode)
    finally:
        os.umask(before)

    assert oct(found) == "0o660"
