"""`framegate serve`, `web` and `engine`: the processes of a server."""

import logging
import os
import socket
import sys
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click
from sqlalchemy.exc import SQLAlchemyError

import router
from registry import RegistryError, part_files
from router.catalog.publication import log_broken
from router.cli.metrics import serve_metrics
from router.cli.options import with_single_model
from router.engine.device import devices, hold
from router.engine.heartbeat import CANCELLED, IDLE
from router.engine.openmp import wait_policy
from router.errors import BootError, RouterError, reason
from router.fleet import BEATS, HUNG, PARENT, Child, Supervisor
from router.runtime import logs
from router.runtime.ending import end_process
from router.runtime.permissions import changeable
from router.runtime.supervision import CANNOT_START, SERVING, STARTING
from router.settings import Settings
from router.system import System, assemble, require_keys
from router.values import Phase

CODE = Path(router.__file__).parents[1]
GUNICORN_CONF = CODE / "router" / "deploy" / "gunicorn.conf.py"
PYTHON = (sys.executable, "-P", "-m")  # without the working folder on the path
GRACEFUL_SECONDS = 5  # `serve` stops within ten
log = logging.getLogger(__name__)

device_option = click.option(
    "--device",
    "names",
    multiple=True,
    help="Device: cpu, cuda:0, ... or all; repeatable. [default: every GPU, else cpu]",
)


def listens(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give `command` the options of its listening address."""
    for option in (
        click.option("--socket", "path", metavar="PATH", help="Listen on this unix socket instead."),
        click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535)),
        click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
    ):
        command = option(command)
    return command


@click.command()
@listens
@device_option
@with_single_model
def serve(settings: Settings, host: str, port: int, path: str | None, names: tuple[str, ...]) -> None:
    """Run a server: the web half, and one engine per device.

    SIGTERM or Ctrl-C stops it within ten seconds; running jobs continue at the next start. SIGHUP does the same as
    `framegate reload`.
    """
    system = _prepare(settings)
    chosen = devices(names)
    if path is None:
        _require_keys(system, host)
        _require_free(host, port)
    for device in chosen:
        with hold(settings.data, device):
            pass  # fail here, once, before anything looks ready
    web = _web(_address(host, port, path), settings)
    children = [web, *(_engine(device, settings) for device in chosen)]
    end_process(Supervisor(children, partial(_reload, system)).run())


@click.command()
@listens
@with_single_model
def web(settings: Settings, host: str, port: int, path: str | None) -> None:
    """Run the web half without an engine.

    This process becomes gunicorn and listens on the sockets of systemd, if any. SIGHUP restarts the web processes with
    the models file; waiting requests stay with the old ones. SIGTERM asks waiting callers to retry, and stops.
    """
    _prepare(settings)
    os.chdir(CODE)
    os.execv(sys.executable, (*_gunicorn(_address(host, port, path)), "wsgi:app"))


@click.command()
@device_option
@with_single_model
def engine(settings: Settings, names: tuple[str, ...]) -> None:
    """Run one engine per device without the web half."""
    system = _prepare(settings)
    serve_metrics(system)
    end_process(Supervisor([_engine(device, settings) for device in devices(names)], partial(_reload, system)).run())


def _prepare(settings: Settings) -> System:
    """Prepare this process and its children; log every problem of plugins and models."""
    logs.configure(settings.log_format, settings.log_level)
    settings.export()
    system = assemble(settings)
    for broken in system.plugins.broken:
        log.error("%s", broken)
    log_broken(system.registries.poll())
    _warn_of_open_files(system)
    system.archive.keep_reserve()
    return system


def _warn_of_open_files(system: System) -> None:
    """Warn of files of this server that other users may change."""
    settings, models = system.settings, system.registries.poll().models
    folders = {model.name: system.weights.locate(model) for model in models if model.source is not None}
    kept: dict[str, tuple[Path, ...]] = {
        "the data folder": (settings.data,),
        "the plugins": settings.plugins,
        "the models file": (settings.models,) if settings.model is None else (),
        **{f"the weights of {name}": (folder,) for name, folder in folders.items() if folder is not None},
        **{f"the part files of {model.name}": tuple(part_files.paths(model.parts).values()) for model in models},
    }
    for what, paths in kept.items():
        found = changeable(paths, os.geteuid(), below=what != "the data folder")
        if found.advice:
            log.warning("others may change %s: %s; %s", what, found, found.advice)


def _require_keys(system: System, host: str) -> None:
    """End this process if strangers could call without a key."""
    # this exit status tells systemd not to start it again
    try:
        if not _is_loopback(host):
            require_keys(system)
    except BootError as error:
        print(f"framegate cannot start: {error.message}", file=sys.stderr)
        sys.exit(CANNOT_START)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reload(system: System) -> None:
    """Publish the models file for all processes; log problems without a change."""
    try:
        for line in system.registries.reload():
            log.info("%s", line)
    except RegistryError as error:
        log.error("what is served stays as it is, for the models file cannot be:\n%s", error)
    except (RouterError, SQLAlchemyError, OSError) as error:
        log.error("the models file could not be published: %s", reason(error))


def _address(host: str, port: int, path: str | None) -> str:
    """Return the address in gunicorn's format."""
    if path:
        return f"unix:{Path(path).absolute()}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _require_free(host: str, port: int) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(found[0], found[1]) as listener:
            # as gunicorn does, so that connections of a former server do not count
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(found[4])
    except OSError as error:
        raise BootError(
            f"cannot listen on {host}, port {port}: {error.strerror}; --host and --port choose others"
        ) from error


def _web(bind: str, settings: Settings) -> Child:
    environ = {"FRAMEGATE_PARENT": PARENT, "FRAMEGATE_BEATS": BEATS}
    # gunicorn puts its working folder first on the path, and the current one may hold another wsgi.py
    command = (*_gunicorn(bind), "--graceful-timeout", str(GRACEFUL_SECONDS), "wsgi:app")
    stall = {STARTING: settings.stall_start_seconds, SERVING: settings.stall_process_seconds}
    return Child("web", command, environ, stall, settings.stall_process_seconds, folder=CODE)


def _gunicorn(bind: str) -> tuple[str, ...]:
    return (*PYTHON, "gunicorn", "-c", str(GUNICORN_CONF), "-b", bind)


def _engine(device: str, settings: Settings) -> Child:
    factor = settings.stall_factor
    stall: dict[str, float] = {
        STARTING: settings.stall_start_seconds,
        IDLE: settings.stall_idle_seconds,
        CANCELLED: settings.cancel_seconds,
        Phase.DOWNLOAD: factor * settings.stall_download_seconds,
        Phase.LOAD: factor * settings.stall_load_seconds,
        Phase.STEP: factor * settings.stall_step_seconds,
        Phase.DECODE: factor * settings.stall_decode_seconds,
    }
    command = (*PYTHON, "router.engine", device, PARENT, BEATS, HUNG)
    return Child(f"engine {device}", command, wait_policy(os.environ), stall, settings.stall_process_seconds)
