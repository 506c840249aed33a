"""`framegate serve` and `framegate engine`: the processes of a server, kept alive."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import click

import router
from router import logs
from router.cli.options import with_single_model
from router.engine.device import devices, hold
from router.errors import BootError
from router.settings import Settings
from router.supervisor import BEATS, PARENT, Child, Supervisor
from router.system import assemble
from router.values import Phase

CODE = Path(router.__file__).parents[1]
GUNICORN_CONF = CODE / "router" / "deploy" / "gunicorn.conf.py"
PYTHON = (sys.executable, "-P", "-m")  # without the working folder on the path
GRACEFUL_SECONDS = 5  # `serve` stops within ten

device_option = click.option(
    "--device", "asked", multiple=True, help="cpu, cuda:0, ... or all; repeatable. [default: every GPU, else cpu]"
)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--socket", "path", metavar="PATH", help="Listen on this unix socket instead.")
@device_option
@with_single_model
def serve(settings: Settings, host: str, port: int, path: str | None, asked: tuple[str, ...]) -> None:
    """Serve: the web half, and one engine per device.

    Runs until SIGTERM or Ctrl-C, and then stops within ten seconds; jobs that were running go on at the next start.
    """
    _prepare(settings)
    chosen = devices(asked)
    if path is None:
        _require_free(host, port)
    for device in chosen:
        with hold(settings.data, device):
            pass  # said here, once, before anything looks ready
    bind = f"unix:{Path(path).absolute()}" if path else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    sys.exit(Supervisor([_web(bind), *(_engine(device, settings) for device in chosen)]).run())


@click.command()
@device_option
@with_single_model
def engine(settings: Settings, asked: tuple[str, ...]) -> None:
    """Run one engine per device, and no web half."""
    _prepare(settings)
    sys.exit(Supervisor([_engine(device, settings) for device in devices(asked)]).run())


def _prepare(settings: Settings) -> None:
    """Ready this process and what its children inherit; every problem of plugins and models is said here, once."""
    logs.configure(settings)
    settings.export()
    assemble(settings)


def _require_free(host: str, port: int) -> None:
    """Raise `BootError` where nobody could listen."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(found[0], found[1]) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(found[4])
    except OSError as error:
        raise BootError(
            f"cannot listen on {host}, port {port}: {error.strerror}; --host and --port choose others"
        ) from error


def _web(bind: str) -> Child:
    command = (*PYTHON, "gunicorn", "-c", str(GUNICORN_CONF), "-b", bind)
    graceful = ("--graceful-timeout", str(GRACEFUL_SECONDS))
    environ = {"FRAMEGATE_PARENT": PARENT, "FRAMEGATE_BEATS": BEATS}
    # gunicorn puts its working folder first on the path, and a wsgi.py of somebody else may lie in ours
    return Child("web", (*command, *graceful, "wsgi:app"), environ, folder=CODE)


def _engine(device: str, settings: Settings) -> Child:
    stall: dict[str, float] = {
        Phase.DOWNLOAD: settings.stall_download_seconds,
        Phase.LOAD: settings.stall_load_seconds,
        Phase.STEP: settings.stall_step_seconds,
        Phase.DECODE: settings.stall_decode_seconds,
    }
    command = (*PYTHON, "router.engine", device, PARENT, BEATS)
    # OpenMP's threads wait by spinning, which costs a CPU engine a factor of six when anything else is busy.
    patience = {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE")}
    return Child(f"engine {device}", command, patience, stall)
