"""A disk that breaks under a server: errors tell, and stored videos stay readable."""

from pathlib import Path

import pytest
from support.disks import break_down, breakable
from support.jobs import ask, completed
from support.server import serve_in

pytestmark = pytest.mark.slow


def test_a_disk_that_breaks_while_it_serves(tmp_path: Path, models: str, plugins: str) -> None:
    """Let ext4 abort as the kernel does after an error of the disk."""
    with breakable(tmp_path / "data"):
        running = serve_in(tmp_path, models, plugins=plugins)
        done = ask(running, "good")
        assert completed(running, done)
        assert running.call("/readyz")[0] == 200
        break_down(running.data)
        for path, body, method in (
            ("/v1/responses", {"model": "good", "input": "a", "background": True}, "POST"),
            (f"/v1/responses/{done['id']}", None, "DELETE"),
        ):
            status, answer = running.call(path, body, method)
            assert (status, answer["error"]["code"]) == (503, "store_unavailable")
        ready = running.until(lambda: found[1] if (found := running.call("/readyz"))[0] == 503 else None)
        assert running.call("/healthz")[0] == 200
        log = running.log.read_text()
        running.stop()

    assert ready["status"] == "store unavailable"
    assert ready["reason"].startswith("the store cannot be ")
    assert "Traceback" not in log
