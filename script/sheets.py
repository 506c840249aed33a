"""Make a picture for each nano model: some frames of a few videos."""

import base64
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

import demo
from nano.scene import Subject, draw_scene, render

DOCS = demo.ROOT / "docs"
SHOWN = (0, 4, 8, 12, 16)
ZOOM, GAP, MARGIN = 2, 4, 330  # pixels; the margin holds the words
SEED = 7


@dataclass(frozen=True)
class Row:
    prompt: str
    image: Subject | None = None
    size: int = 64


SHEETS = {
    "wan-nano-t2v": (
        Row("a red circle rolls to the right"),
        Row("a yellow star falls on a dark background"),
        Row("on white, a violet square moves up"),
        Row("a green triangle drifts to the left"),
    ),
    "wan-nano-i2v": (
        Row("it rises", Subject("orange", "star", "up", "black")),
        Row("move it to the left", Subject("cyan", "square", "left", "gray")),
        Row("the ball drops", Subject("blue", "circle", "down", "white")),
    ),
    "wan-nano-ti2v": (
        Row("a blue circle slides to the left"),
        Row("the turquoise triangle rises"),
        Row("it goes to the right", Subject("red", "triangle", "right", "white")),
    ),
}


def main() -> None:
    DOCS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as data, demo.server(Path(data)) as url:
        for model, rows in SHEETS.items():
            path = DOCS / f"{model}.png"
            picture = np.concatenate([strip(row, clip(url, model, row)) for row in rows])
            cv2.imwrite(str(path), picture[..., ::-1])
            print(path.relative_to(demo.ROOT))


def clip(url: str, model: str, row: Row) -> NDArray[np.uint8]:
    """Return the frames of the server's video for a row."""
    content = [{"type": "input_text", "text": row.prompt}]
    if row.image is not None:
        image = render(draw_scene(row.image, np.random.default_rng(SEED)), row.size, row.size, 1)[0]
        png = base64.b64encode(cv2.imencode(".png", image[..., ::-1])[1].tobytes()).decode()
        content.insert(0, {"type": "input_image", "image_url": f"data:image/png;base64,{png}"})
    options = {"video": {"width": row.size, "height": row.size}}
    body = {
        "model": model,
        "input": [{"role": "user", "content": content}],
        "seed": SEED,
        "provider_options": options,
    }
    answer = json.loads(demo.fetch(f"{url}/v1/responses", body))
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(demo.fetch(url + answer["output"][0]["content"][0]["video_url"]))
        file.flush()
        with av.open(file.name) as video:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])


def strip(row: Row, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture of the prompt and the shown frames, side by side."""
    side = row.size * ZOOM
    picture = np.full((side + GAP, MARGIN + len(SHOWN) * (side + GAP), 3), 255, np.uint8)
    lines = [row.prompt, "(and an image: the first frame)"] if row.image is not None else [row.prompt]
    for index, line in enumerate(lines):
        corner = (4, side // 2 + 22 * index)
        cv2.putText(picture, line, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    for column, index in enumerate(SHOWN):
        left = MARGIN + column * (side + GAP)
        larger = cv2.resize(frames[index], (side, side), interpolation=cv2.INTER_NEAREST)
        picture[:side, left : left + side] = larger
    return picture


if __name__ == "__main__":
    main()
