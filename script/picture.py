"""Make the examples' image, and the front page's session from a real server."""

import base64
import json
import os
import subprocess
import tempfile
import textwrap
from collections.abc import Iterator
from html import escape
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

import demo
from docs.reference.markers import filled
from nano.scene import Subject, draw_scene, render

DOCS = demo.ROOT / "docs"
CIRCLE = DOCS / "circle.png"
SESSION, FRONT = DOCS / "session.svg", demo.ROOT / "README.md"
WIDTH, MARGIN, INDENT, LINE, COLUMNS = 860, 28, 48, 22, 94  # pixels, but for the columns
SIDE, GAP, SHOWN = 128, 8, (0, 4, 8, 12, 16)  # pixels, pixels, frames
PAPER, BAR, INK, PROMPT, FAINT, YELLOW = "#0f1720", "#1b2733", "#e6edf3", "#7ee787", "#9aa7b4", "#f2cc60"
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
MESSAGE = " | jq -r .error.message"
# what is typed; the answers are the server's
VIDEO = """curl -sS localhost:8000/v1/responses -H "Content-Type: application/json" \\
    -d '{"model": "wan-nano", "input": "a red circle moves right on a black background",
         "seed": 7, "provider_options": {"video": {}}}' >answer.json
curl -sS localhost:8000$(jq -r '.output[0].content[0].video_url' answer.json) -o circle.mp4"""
REFUSAL = """curl -sS localhost:8000/v1/responses -H "Content-Type: application/json" \\
    -d '{"model": "wan-nano-i2v", "input": "a red circle moves right"}'"""


def main() -> None:
    CIRCLE.write_bytes(circle())
    with tempfile.TemporaryDirectory() as folder, demo.server(Path(folder) / "data") as url:
        run(VIDEO, url, folder)
        refused = json.loads(run(REFUSAL, url, folder))["error"]
        SESSION.write_text(svg(frames(Path(folder) / "circle.mp4"), refused["message"]))
    FRONT.write_text(filled(FRONT.read_text(), "refusal", answer(refused)))


def circle() -> bytes:
    """Return a PNG of 64x64 pixels: a red circle on black."""
    scene = draw_scene(Subject("red", "circle", "right", "black"), np.random.default_rng(7))
    return png(render(scene, 64, 64, 1)[0])


def png(pixels: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()


def run(command: str, url: str, folder: str) -> str:
    """Run a command against the server at `url`, and return its output."""
    here = command.replace("localhost:8000", url.removeprefix("http://"))
    shell = ["bash", "-euo", "pipefail", "-c", here]
    return subprocess.run(shell, cwd=folder, check=True, capture_output=True, text=True, env=os.environ).stdout


def answer(error: dict[str, str]) -> str:
    """Return the block of an error, its message on a line of its own."""
    message, *others = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in error.items())
    return f'```json\n{{"error": {{{message},\n           {", ".join(others)}}}}}\n```'


def frames(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as video:
        found = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    return [found[index] for index in SHOWN]


def svg(shown: list[NDArray[np.uint8]], refused: str) -> str:
    """Return the picture of a session: a video and its frames, then a refusal."""
    parts = [*_typed(VIDEO, top := 74)]
    top += LINE * VIDEO.count("\n") + 34
    parts += _filmstrip(shown, top)
    top += SIDE + 64
    parts += _typed(REFUSAL + MESSAGE, top)
    top += LINE * (REFUSAL.count("\n") + 1)
    lines = textwrap.wrap(refused, COLUMNS)
    parts += [_text(line, top + LINE * number, YELLOW, INDENT) for number, line in enumerate(lines)]
    height = top + LINE * len(lines)
    size = f"viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' height='{height}'"
    head = f"<svg xmlns='http://www.w3.org/2000/svg' {size} font-family=\"{FONT}\" font-size='13.5'>"
    return "\n".join([head, "<title>A session with Framegate</title>", *_window(height), *parts, "</svg>", ""])


def _window(height: int) -> Iterator[str]:
    yield f"<rect width='{WIDTH}' height='{height}' rx='10' fill='{PAPER}'/>"
    yield f"<path d='M0 40 V10 A10 10 0 0 1 10 0 H{WIDTH - 10} A10 10 0 0 1 {WIDTH} 10 V40 z' fill='{BAR}'/>"
    for number, colour in enumerate(("#ff5f57", "#febc2e", "#28c840")):
        yield f"<circle cx='{24 + 20 * number}' cy='20' r='6' fill='{colour}'/>"


def _typed(command: str, top: int) -> Iterator[str]:
    for number, line in enumerate(command.splitlines()):
        y = top + LINE * number
        if not line.startswith(" "):
            yield _text("$", y, PROMPT)
        yield _text(line, y, INK, INDENT)


def _filmstrip(shown: list[NDArray[np.uint8]], top: int) -> Iterator[str]:
    for number, frame in enumerate(shown):
        x = INDENT + number * (SIDE + GAP)
        data = base64.b64encode(png(frame)).decode()
        where = f"x='{x}' y='{top}' width='{SIDE}' height='{SIDE}' style='image-rendering:pixelated'"
        yield f"<image {where} href='data:image/png;base64,{data}'/>"
    yield _text("circle.mp4, frames 1, 5, 9, 13, 17", top + SIDE + 18, FAINT, INDENT)


def _text(words: str, y: int, fill: str, x: int = MARGIN) -> str:
    return f"<text x='{x}' y='{y}' fill='{fill}' xml:space='preserve'>{escape(words, quote=False)}</text>"


if __name__ == "__main__":
    main()
