"""SGLang's ComfyUI nodes: their client, called with their arguments."""

import base64
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import requests
from seen import BASE, kind, latest, refusal, report
from stubs import bare

NODES = "sglang.multimodal_gen.apps.ComfyUI_SGLDiffusion"
bare("sglang", "sglang", "sglang.multimodal_gen", "sglang.multimodal_gen.apps", NODES, f"{NODES}.core")
from sglang.multimodal_gen.apps.ComfyUI_SGLDiffusion.core.server_api import SGLDiffusionServerAPI  # noqa: E402

IMAGE = sys.argv[2]
DATA_URL = f"data:image/png;base64,{base64.b64encode(Path(IMAGE).read_bytes()).decode()}"
FOLDER = tempfile.mkdtemp()
COMMON = {"size": "48x32", "negative_prompt": "blur", "guidance_scale": 4.5, "num_inference_steps": 3, "seed": 7}
client = SGLDiffusionServerAPI(BASE)


def video(**options: Any) -> dict[str, Any]:
    """Make a video as the node does, which opens `file_path` or else fetches `url`."""
    asked = {**COMMON, "seconds": 2, "fps": 4, "num_frames": 9, "output_path": FOLDER, **options}
    job = client.generate_video("a red ball", **asked)
    path = job.get("file_path")
    data = Path(path).read_bytes() if path else requests.get(job["url"], timeout=60).content
    return {"id": job["id"], "file": kind(data), "size": job["size"]}


def image(**options: Any) -> dict[str, Any]:
    answer = client.generate_image("a red ball", **{**COMMON, "response_format": "b64_json", **options})
    return {**latest(len(answer["data"])), "files": [kind(base64.b64decode(one["b64_json"])) for one in answer["data"]]}


def model() -> dict[str, Any]:
    return {"id": client.get_model_info()["id"]}


def text_to_video() -> dict[str, Any]:
    return video()


def image_to_video() -> dict[str, Any]:
    return video(input_reference=IMAGE)


def data_url_to_video() -> dict[str, Any]:
    return video(input_reference=DATA_URL)


def frames_beside_seconds() -> dict[str, Any]:
    """Set the number of frames; the node's seconds stay 5."""
    try:
        return video(seconds=5)
    except RuntimeError as error:
        return {"error": str(error)}


def text_to_image() -> dict[str, Any]:
    return image(n=2)


def edited() -> dict[str, Any]:
    return image(image_path=IMAGE)


def refused() -> dict[str, Any]:
    return {
        "steps": refusal(lambda: video(num_inference_steps=61)),
        "video": refusal(lambda: video(video_path=IMAGE)),
        "no_file": refusal(lambda: video(input_reference="/no/such/file.png")),
        "lora": refusal(lambda: client.set_lora("lightning", "org/lightning")),
    }


report(
    version("sglang"),
    [model, text_to_video, image_to_video, data_url_to_video, frames_beside_seconds, text_to_image, edited, refused],
)
