"""A video's request as curl, Python and JSON: run, they make the same video."""

import base64
import io
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.browser import Studio

from router.web.studio.static_files import static_files

pytestmark = pytest.mark.slow
HARD = 'it\'s "100 %" of `ls` $HOME ${HOME} \\n\\\n\tein Hügel 🌊 @circle.png; <a> & null # [x] {y} !!'
RUN = """
import { readFileSync } from "node:fs";
import { asCurl, asJson, asPython } from "./snippets.mjs";
const { video, server, images, keyed } = JSON.parse(readFileSync(0, "utf8"));
const made = {};
for (const [kind, write] of Object.entries({ curl: asCurl, Python: asPython, JSON: asJson })) made[kind] = write(video, images, server, keyed);
console.log(JSON.stringify(made));
"""


def png(width: int, height: int, colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "png")
    return file.getvalue()


def url_of(image: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"


def written(folder: Path, studio: Studio, video: dict[str, Any], images: dict[str, bytes]) -> dict[str, str]:
    """Return the three texts of a video, and write its images beside them."""
    (folder / "snippets.mjs").write_bytes(static_files()["snippets.js"].data)
    (folder / "run.mjs").write_text(RUN)
    for role, data in images.items():
        (folder / f"{role}.png").write_bytes(data)
    urls = {role: url_of(data) for role, data in images.items()}
    sent = json.dumps({"video": video, "server": f"{studio.url}/", "images": urls, "keyed": True})
    command = ("node", str(folder / "run.mjs"))
    texts: dict[str, str] = json.loads(
        subprocess.run(command, input=sent.encode(), capture_output=True, check=True).stdout
    )
    return texts


def run(folder: Path, studio: Studio, *command: str) -> str:
    environ = {**os.environ, "FRAMEGATE_API_KEY": studio.key}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def bytes_of(studio: Studio, video: dict[str, Any]) -> bytes:
    with urllib.request.urlopen(studio.finished(video)["url"], timeout=60) as answer:
        data: bytes = answer.read()
    return data


def video_of(answer: dict[str, Any]) -> dict[str, Any]:
    return {"id": answer["id"].replace("resp_", "video_")}


def check_all(folder: Path, studio: Studio, video: dict[str, Any], images: dict[str, bytes]) -> None:
    """Run the three texts, and compare their videos with the first one."""
    video = studio.finished(video)
    assert video["status"] == "completed", video["error"]
    expected, texts = bytes_of(studio, video), written(folder, studio, video, images)

    by_curl = json.loads(run(folder, studio, "bash", "-c", texts["curl"]))
    by_json = studio.call("/v1/responses", json.loads(texts["JSON"]))
    (folder / "program.py").write_text(texts["Python"])
    run(folder, studio, sys.executable, "program.py")
    (by_python,) = {*folder.glob("*.mp4"), *folder.glob("*.png")} - {folder / f"{role}.png" for role in images}

    assert bytes_of(studio, video_of(by_curl)) == expected
    assert bytes_of(studio, video_of(by_json)) == expected
    assert by_python.read_bytes() == expected
    assert studio.key not in "".join(texts.values())


def test_a_prompt_of_hard_characters_survives_each_of_them(studio: Studio, tmp_path: Path) -> None:
    options = {"negative_prompt": "it's `blurry`", "num_frames": 9, "steps": 3, "guidance_scale": 2.5}
    check_all(tmp_path, studio, studio.make(HARD, seed=5, provider_options={"video": options}), {})


def test_a_prompt_that_looks_like_a_constant_stays_text(studio: Studio, tmp_path: Path) -> None:
    check_all(tmp_path, studio, studio.make("null", seed=2**53 - 1), {})


def test_an_image_is_made_again(studio: Studio, tmp_path: Path) -> None:
    check_all(tmp_path, studio, studio.make("a still", provider_options={"video": {"num_frames": 1}}), {})


def test_images_come_as_files(studio: Studio, tmp_path: Path) -> None:
    first, last = png(96, 64, "red"), png(64, 64, "blue")
    video = studio.make(HARD, "ends", input_reference=url_of(first), last_image=url_of(last))
    check_all(tmp_path, studio, video, {"image": first, "last_image": last})


def test_adapters_keep_their_strength(studio: Studio, tmp_path: Path) -> None:
    image = png(64, 64, "red")
    options = {"num_frames": 5, "adapters": [{"name": "fast4", "strength": 0.75}]}
    video = studio.make("it moves", "wan-nano-i2v", input_reference=url_of(image), provider_options={"video": options})
    check_all(tmp_path, studio, video, {"image": image})
