"""A truncated video: not served, named by the doctor, and swept with its row."""

import os
import urllib.error

import pytest
from support.books import books, sweep
from support.jobs import ask, completed, videos
from support.server import Server

from router.doctor import files
from router.doctor.finding import DoctorContext
from router.settings import Settings

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("fault", ["cut", "gone"])
def test_a_video_that_is_cut_or_gone(server: Server, fault: str) -> None:
    whole, broken = ask(server, "faulty"), ask(server, "faulty")
    assert completed(server, whole)
    assert completed(server, broken)
    file = videos(server, broken) / "1.mp4"
    size = file.stat().st_size
    if fault == "cut":
        os.truncate(file, size // 2)
    else:
        file.unlink()
    public = broken["id"].replace("resp", "video")
    for variant in ("video", "thumbnail", "spritesheet", "last_frame"):
        status, answer = server.call(f"/v1/videos/{public}/content?variant={variant}")
        assert (status, answer["error"]["code"]) == (404, "not_ready")
        assert answer["error"]["message"] == f"{public} was completed, but its file is gone, or no longer whole"
    (found,) = files.check(DoctorContext(Settings(data=server.data), {}))
    assert str(found).startswith(f"fail  files: the video of 1 completed job is gone or no longer whole: {file}; ")

    sweep(server.data)
    assert server.call(f"/v1/videos/{public}")[0] == 404
    assert books(server).strays == 0
    with pytest.raises(urllib.error.HTTPError):
        server.fetch(f"/v1/videos/{public}/content")
    assert [found.level for found in files.check(DoctorContext(Settings(data=server.data), {}))] == ["ok"]
