"""A server in one process for the power cuts, which marks each answer.

`python traced_server.py FOLDER MARKS`: after each answer a line of JSON goes into the file MARKS.
"""

import base64
import json
import os
import sys
import time
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import numpy as np

from router.auth.keys import Scope, new_key, new_text
from router.engine import encoder
from router.engine.worker import Worker
from router.settings import Settings
from router.system import assemble
from router.web import create_app

SMALL = "defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 4, negative_prompt: ''}"
MODELS = f"""
models:
  text: {{backend: still, modality: t2v, {SMALL}}}
  image: {{backend: still, modality: i2v, {SMALL}}}
"""
MODELS_LATER = f"{MODELS}  more: {{backend: still, modality: t2v, {SMALL}}}\n"


def main(folder: Path, marks: Path) -> None:
    (folder / "models.yaml").write_text(MODELS)
    file = os.open(marks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def mark(what: str, **facts: object) -> None:
        os.write(file, json.dumps({"what": what, **facts}).encode() + b"\n")

    settings = Settings(data=folder / "deep" / "data", models=folder / "models.yaml", no_auth=True)
    system = assemble(settings, plugins=[encoder])
    client = create_app(system).test_client()

    def ask(model: str, key: str | None = None) -> str:
        picture = {"type": "input_image", "image_url": _picture()}
        content = [{"type": "input_text", "text": "a"}, *([picture] if model == "image" else [])]
        body = {"model": model, "input": [{"role": "user", "content": content}], "background": True}
        answer = client.post("/v1/responses", json=body, headers={"idempotency-key": key} if key else {})
        assert answer.status_code == 200, answer.text
        job = str(answer.json["id"]).removeprefix("resp_")
        mark("accepted", job=job, inputs=1 if model == "image" else 0, key=key)
        return job

    def end(job: str, *, method: str = "DELETE", path: str = "") -> None:
        assert client.open(f"/v1/responses/resp_{job}{path}", method=method).status_code == 200
        mark("deleted" if method == "DELETE" else "cancelled", job=job)

    first, second, third, fourth = ask("text"), ask("image", "a key"), ask("image"), ask("image")
    end(third)
    end(fourth, method="POST", path="/cancel")
    worker = Worker(system, "cpu")
    thread = Thread(target=worker.run, daemon=True)
    thread.start()
    for job in (first, second, ask("image"), ask("text")):
        _finish(client, job)
        mark("finished", job=job)
    end(first)
    worker.keeper.stop()
    thread.join(30)
    key = new_key(new_text(), "somebody", "somebody", [Scope.READ])
    assert system.keys.add(key) is not None
    mark("key made", name=key.name)
    assert system.keys.revoke(key.name) is not None
    mark("key revoked", name=key.name)
    (folder / "models.yaml").write_text(MODELS_LATER)
    system.registries.reload()
    mark("revision", n=2)
    system.archive.scrub()
    ask("image")


def _finish(client: Any, job: str) -> None:
    deadline = time.monotonic() + 60
    while (answer := client.get(f"/v1/responses/resp_{job}").json)["status"] in ("queued", "in_progress"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert answer["status"] == "completed", answer


def _picture() -> str:
    png = cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes()
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
