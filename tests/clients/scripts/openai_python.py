"""The `openai` package for Python: both dialects, and what its user sees."""

import base64
import sys
import time
import urllib.request
import warnings
from typing import Any

import openai
from seen import BASE, download, kind, refusal, report

warnings.simplefilter("ignore", DeprecationWarning)  # 3.x: the Videos API is to be shut down upstream
client = openai.OpenAI(base_url=BASE, api_key="none", max_retries=0)
responses, videos = client.responses, client.videos
VIDEO = {"provider_options": {"video": {"steps": 3}}}
IMAGE = {"num_inference_steps": 3, "seed": 7}
with open(sys.argv[2], "rb") as file:
    PNG = file.read()
DATA_URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
PICTURE = {"type": "input_image", "image_url": DATA_URL, "detail": "auto"}


def created() -> dict[str, Any]:
    response = responses.create(model="wan-nano", input="a red ball", extra_body=VIDEO)
    part = response.output[0].content[0]
    return {
        "model": response.model,
        "part": part.type,
        "output_text": response.output_text,
        "file": download(part.video_url),
        "request_id": bool(response._request_id),
    }


def with_text() -> dict[str, Any]:
    """Set options and read text all the same."""
    body = {"provider_options": {"video": {"steps": 3, "num_frames": 9}}, "seed": 7, "text_output": True}
    response = responses.create(model="wan-nano", input="a red ball", extra_body=body)
    with responses.stream(model="wan-nano", input="a red ball", extra_body=body) as stream:
        final = stream.get_final_response()
    return {
        "id": response.id,
        "parts": [part.type for part in response.output[0].content],
        "file": download(response.output_text),
        "streamed": download(final.output_text),
    }


def with_an_image() -> dict[str, Any]:
    content = [PICTURE, {"type": "input_text", "text": "a red ball"}]
    response = responses.create(model="wan-nano", input=[{"role": "user", "content": content}])
    return {"model": response.model, "file": download(response.output_text)}


def polled() -> dict[str, Any]:
    response = responses.create(model="slow", input="a red ball", background=True)
    statuses = [response.status]
    while response.status in ("queued", "in_progress"):
        time.sleep(0.05)
        response = responses.retrieve(response.id)
        statuses.append(response.status)
    prompt = responses.input_items.list(response.id).data[0].content[0].text
    return {"first": statuses[0], "last": statuses[-1], "polls": len(statuses), "prompt": prompt}


def streamed() -> dict[str, Any]:
    events = list(responses.create(model="slow", input="a red ball", stream=True))
    progress = [event.response.progress for event in events if event.type == "response.in_progress"]
    with responses.stream(model="slow", input="a red ball") as stream:
        final = stream.get_final_response()
    return {
        "types": list(dict.fromkeys(event.type for event in events)),
        "progress": progress,
        "last": events[-1].response.status,
        "file": download(final.output_text),
    }


def resumed() -> dict[str, Any]:
    """Break a stream off and resume it after the last event read."""
    numbers = []
    with responses.create(model="slow", input="a red ball", stream=True, background=True) as stream:
        for event in stream:
            numbers.append(event.sequence_number)
            if event.type == "response.in_progress":
                break
    rest = list(responses.retrieve(event.response.id, stream=True, starting_after=numbers[-1]))
    numbers += [event.sequence_number for event in rest]
    return {"in_order": numbers == sorted(set(numbers)), "last": rest[-1].type}


def cancelled() -> dict[str, Any]:
    response = responses.create(model="slow", input="a red ball", background=True)
    return {"status": responses.cancel(response.id).status, "again": responses.cancel(response.id).status}


def called() -> dict[str, Any]:
    tool = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
    response = responses.create(model="wan-nano", input="a", tools=[tool], tool_choice="required")
    return {"type": response.output[0].type, "name": response.output[0].name}


def video() -> dict[str, Any]:
    made = videos.create_and_poll(model="wan-nano", prompt="a red ball", seconds="1", size="64x64", extra_body=VIDEO)
    remix = videos.poll(videos.remix(made.id, prompt="a blue ball").id)
    image = videos.create_and_poll(model="wan-nano", prompt="a red ball", input_reference=PNG, extra_body=IMAGE)
    return {
        "status": made.status,
        "size": made.size,
        "seconds": made.seconds,
        "file": kind(videos.download_content(made.id).read()),
        "thumbnail": kind(videos.download_content(made.id, variant="thumbnail").read()),
        "remixed": remix.remixed_from_video_id == made.id,
        "image_model": image.model,
        "ids": [made.id, image.id],
    }


def flat() -> dict[str, Any]:
    """Give options of a video beside the prompt, as docs/clients.md says."""
    body = {"steps": 3, "num_frames": 9, "negative_prompt": "blur", "seed": 7}
    return {"id": videos.create_and_poll(model="wan-nano", prompt="a red ball", extra_body=body).id}


def images() -> dict[str, Any]:
    images = client.images
    many = images.generate(
        model="wan-nano", prompt="a red ball", n=2, size="48x32", response_format="b64_json", extra_body=IMAGE
    )
    ids = [videos.list(limit=2).data[1].id]  # the first of the two images
    link = images.generate(model="wan-nano", prompt="a red ball", response_format="url")
    jpeg = images.generate(model="wan-nano", prompt="a red ball", output_format="jpeg", response_format="b64_json")
    edited = images.edit(
        model="wan-nano", image=("cat.png", PNG), prompt="a", size="48x32", response_format="b64_json", extra_body=IMAGE
    )
    ids += [video.id for video in videos.list(limit=1).data]
    listed = images.edit(model="wan-nano", image=[("cat.png", PNG)], prompt="a", response_format="b64_json")
    return {
        "many": [kind(base64.b64decode(one.b64_json)) for one in many.data],
        "link": [kind(urllib.request.urlopen(link.data[0].url, timeout=60).read())],
        "jpeg": [kind(base64.b64decode(jpeg.data[0].b64_json))],
        "edited": [kind(base64.b64decode(one.data[0].b64_json)) for one in (edited, listed)],
        "ids": ids,
    }


def listed() -> dict[str, Any]:
    page = videos.list(limit=2)
    every = [video.id for video in videos.list(limit=2)]
    return {"page": len(page.data), "has_more": page.has_more, "all": len(every), "unique": len(set(every))}


def deleted() -> dict[str, Any]:
    made = videos.create_and_poll(model="wan-nano", prompt="a red ball")
    response = responses.create(model="wan-nano", input="a red ball")
    answer = videos.delete(made.id)
    responses.delete(response.id)
    return {
        "deleted": answer.deleted,
        "object": answer.object,
        "video": refusal(lambda: videos.retrieve(made.id)),
        "content": refusal(lambda: videos.download_content(made.id)),
        "response": refusal(lambda: responses.retrieve(response.id)),
    }


def failed() -> dict[str, Any]:
    stream = list(responses.create(model="broken", input="a", stream=True))
    polled = videos.create_and_poll(model="broken", prompt="a")
    return {
        "waited": refusal(lambda: responses.create(model="broken", input="a")),
        "streamed": [stream[-1].type, stream[-1].response.error.code],
        "polled": [polled.status, polled.error.code],
    }


def models() -> dict[str, Any]:
    one = client.models.retrieve("org/text")
    return {"ids": sorted(model.id for model in client.models.list()), "alias": one.id, "modality": one.modality}


def refused() -> dict[str, Any]:
    picture = [{"role": "user", "content": [PICTURE, {"type": "input_text", "text": "a"}]}]
    frames = {"provider_options": {"video": {"num_frames": "five"}}}
    steps = {"provider_options": {"video": {"steps": 61}}}
    running = videos.create(model="slow", prompt="a red ball")
    return {
        "mismatch": refusal(lambda: responses.create(model="wan-nano-i2v", input="a red ball")),
        "mismatch_image": refusal(lambda: responses.create(model="wan-nano-t2v", input=picture)),
        "mismatch_stream": refusal(lambda: responses.create(model="wan-nano-i2v", input="a", stream=True)),
        "mismatch_video": refusal(lambda: videos.create(model="wan-nano-i2v", prompt="a red ball")),
        "bad_value": refusal(lambda: responses.create(model="wan-nano", input="a", extra_body=frames)),
        "bad_value_video": refusal(lambda: videos.create(model="wan-nano", prompt="a", size="720p")),
        "limit": refusal(lambda: responses.create(model="wan-nano", input="a", extra_body=steps)),
        "mismatch_images": refusal(lambda: client.images.generate(model="wan-nano-i2v", prompt="a red ball")),
        "no_model": refusal(lambda: responses.create(model="nobody", input="a")),
        "not_ready": refusal(lambda: videos.download_content(running.id)),
    }


report(
    openai.__version__,
    [
        *(created, with_text, with_an_image, polled, streamed, resumed, cancelled, called),
        *(video, flat, images, listed, deleted, failed, models, refused),
    ],
)
