"""`framegate generate`: make a video on a running server or in this process."""

import base64
import mimetypes
import time
from pathlib import Path
from typing import Any

import click

from router.cli.client import CallFailed, Embedded, Remote, Server
from router.cli.options import with_settings
from router.engine.device import devices
from router.settings import Settings
from router.web.http.fields import number_in

HERE = "http://127.0.0.1:8000"
EMBEDDED = "embedded"  # do it in this process
POLL_SECONDS = 0.25
SUFFIXES = (".mp4", ".png")
OPTIONS: dict[str, type] = {
    "width": int,
    "height": int,
    "num_frames": int,
    "frames_per_second": int,
    "steps": int,
    "guidance_scale": float,
    "guidance_scale_2": float,
    "flow_shift": float,
    "negative_prompt": str,
    "seed": int,
}


def _with_options(command: Any) -> Any:
    for name, kind in reversed(OPTIONS.items()):
        default = "random" if name == "seed" else "the model's"
        command = click.option(f"--{name.replace('_', '-')}", type=kind, help=f"[default: {default}]")(command)
    return command


@click.command()
@click.argument("prompt")
@click.option("--image", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Start from this image.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Output file; .png makes one image. [default: video.mp4]"
)
@click.option("--model", help="Model or route. [default: the models file's]")
@click.option("--url", help=f"URL of a running server, or 'embedded'. [default: {HERE} if one answers, else embedded]")
@click.option(
    "--key",
    envvar="FRAMEGATE_KEY",
    help="The server's API key; the variable hides it from other users. [FRAMEGATE_KEY]",
)
@click.option(
    "--adapter",
    "adapters",
    multiple=True,
    metavar="NAME[=STRENGTH]",
    help="Adapter of the model's entry; may be repeated. [default: the entry's]",
)
@click.option("--no-adapters", is_flag=True, help="Use none, also where the entry has default ones.")
@_with_options
@with_settings
def generate(
    settings: Settings,
    prompt: str,
    image: Path | None,
    output: Path | None,
    model: str | None,
    url: str | None,
    key: str | None,
    adapters: tuple[str, ...],
    no_adapters: bool,
    **options: Any,
) -> None:
    """Make a video from PROMPT and, with --image, an image."""
    if output is not None and not output.parent.is_dir():
        raise click.BadParameter(f"there is no folder {output.parent}", param_hint="--output")
    if output is not None and output.suffix not in SUFFIXES:
        raise click.BadParameter(f"a video is .mp4, an image .png, got {output.name}", param_hint="--output")
    if adapters and no_adapters:
        raise click.BadParameter("it cannot be there with --adapter", param_hint="--no-adapters")
    if adapters or no_adapters:
        options["adapters"] = [_adapter(each) for each in adapters]
    server = _server(settings, url, key)
    still = output is not None and output.suffix == ".png"
    job = server.call("POST", "/v1/responses", _body(prompt, image, model, options, still))
    with server.working(job["id"].partition("_")[2]):
        done = _follow(server, job)
    if done["status"] != "completed":
        raise CallFailed((done["error"] or {}).get("message", f"the job was {done['status']}"))
    for warning in done["warnings"]:
        click.echo(f"note: {warning}", err=True)
    part = done["output"][0]["content"][0]
    path = output or Path(f"video.{part['format']}")
    path.write_bytes(server.download(part.get("video_url") or part["image_url"]))
    click.echo(f"{path} (seed {done['provider_options']['video']['seed']}, {done['model']})")


def _adapter(text: str) -> str | dict[str, str | float]:
    """Return the adapter of a request behind `NAME` or `NAME=STRENGTH`."""
    name, separator, strength = text.partition("=")
    if not separator:
        return name
    number = number_in(strength)
    if isinstance(number, str):
        raise click.BadParameter(f"a strength is a number, got {strength!r}", param_hint="--adapter")
    return {"name": name, "strength": number}


def _server(settings: Settings, url: str | None, key: str | None) -> Server:
    remote = Remote(url or HERE, key)
    if url != EMBEDDED and (url or remote.answers()):
        return remote
    return Embedded(settings, devices(())[0])


def _body(prompt: str, image: Path | None, model: str | None, options: dict[str, Any], still: bool) -> dict[str, Any]:
    content: list[dict[str, str]] = [{"type": "input_text", "text": prompt}]
    if image is not None:
        kind = mimetypes.guess_type(image.name)[0] or "application/octet-stream"
        data = base64.b64encode(image.read_bytes()).decode()
        content.append({"type": "input_image", "image_url": f"data:{kind};base64,{data}"})
    return {
        "model": model,
        "input": [{"role": "user", "content": content}],
        "background": True,
        "provider_options": {"image" if still else "video": {**options, "response_format": "url"}},
    }


def _follow(server: Server, job: dict[str, Any]) -> dict[str, Any]:
    """Show a progress bar until the job has finished; Ctrl-C cancels it."""
    path = f"/v1/responses/{job['id']}"
    with click.progressbar(length=100, label=job["model"], item_show_func=_shown) as bar:
        try:
            while job["status"] in ("queued", "in_progress"):
                if server.lost:
                    return server.call("POST", f"{path}/cancel")
                bar.update(job["progress"] - bar.pos, job)
                time.sleep(POLL_SECONDS)
                job = server.call("GET", path)
        except KeyboardInterrupt:  # the job would go on without its caller
            return server.call("POST", f"{path}/cancel")
        bar.update(100 - bar.pos, job)
    return job


def _shown(job: dict[str, Any] | None) -> str | None:
    if job is None or job["status"] == "completed":
        return None
    if job["status"] == "queued":
        return f"number {job['queue_position']} in the queue"
    steps = job["provider_options"]["video"]["steps"]
    return f"step {job['steps_done'] or 0} of {steps}" if job["phase"] == "step" else job["phase"]
