"""`framegate deploy`: configuration of nginx and systemd for this installation."""

import re
import sys
from functools import partial
from pathlib import Path

import click
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import router
from router.errors import BootError
from router.settings import Settings

TEMPLATES = Path(router.__file__).parent / "deploy"
UNITS = ("framegate.target", "framegate-web.socket", "framegate-web.service", "framegate-engine@.service")
SOCKET = "/run/framegate/web.sock"
ACCEL = "/framegate-files"
LOG = "/var/log/nginx/framegate.log"
MIB = 2**20
BODY_MARGIN = MIB  # nginx accepts this much more than we do, so that most too large requests get our error
PLAIN = re.compile(r"[A-Za-z0-9_.:/@+*-]+")
READ_MARGIN_SECONDS = 60  # nginx waits this much longer than we do


def _plain(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Refuse values that need quotes in the printed files."""
    if value is not None and not PLAIN.fullmatch(value):
        raise click.BadParameter(f"must have no spaces, quotes or other special characters, got {value!r}")
    return value


plain_option = partial(click.option, callback=_plain)
data_option = plain_option(
    "--data",
    envvar="FRAMEGATE_DATA",
    default="/var/lib/framegate",
    show_default=True,
    help="The data folder. [FRAMEGATE_DATA]",
)
socket_option = plain_option("--socket", default=SOCKET, show_default=True, help="The web half's unix socket.")


@click.group()
def deploy() -> None:
    """Print the nginx site and the systemd units of a server."""


@deploy.command()
@click.argument("host", callback=_plain)
@plain_option("--certificate", metavar="PEM", help="Serve HTTPS with this certificate chain.")
@plain_option("--key", metavar="PEM", help="Private key of the certificate.")
@plain_option("--upstream", metavar="HOST:PORT", help="Address of the web half, instead of the socket.")
@plain_option("--log", default=LOG, show_default=True, help="nginx's access log.")
@socket_option
@data_option
def nginx(
    host: str, certificate: str | None, key: str | None, upstream: str | None, log: str, socket: str, data: str
) -> None:
    """Print the nginx site of HOST, such as video.example.org.

    Limits and time-outs follow FRAMEGATE_MAX_BODY_BYTES and FRAMEGATE_WAIT_SECONDS.
    """
    if bool(certificate) != bool(key):
        raise click.UsageError("--certificate and --key go together")
    settings = Settings.from_environ()
    site = _filled(
        "nginx.conf",
        host=host,
        certificate=certificate,
        key=key,
        upstream=upstream or f"unix:{socket}",
        log=log,
        data=data,
        accel=settings.accel or ACCEL,
        body_bytes=settings.max_body_bytes,
        body_size=f"{-(-(settings.max_body_bytes + BODY_MARGIN) // MIB)}m",
        read_seconds=int(settings.wait_seconds) + READ_MARGIN_SECONDS,
    )
    click.echo(site, nl=False)


@deploy.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@plain_option("--user", default="framegate", show_default=True, help="User and group of the services.")
@socket_option
@data_option
def systemd(folder: Path, user: str, socket: str, data: str) -> None:
    """Write the systemd units into FOLDER, such as /etc/systemd/system.

    The web half may also write into FRAMEGATE_SHARED_VIDEOS.
    """
    framegate = Path(sys.executable).with_name("framegate")
    settings = Settings.from_environ()
    accel, shared = settings.accel or ACCEL, _shared(settings)
    for name in UNITS:
        text = _filled(name, framegate=framegate, user=user, socket=socket, data=data, accel=accel, shared=shared)
        (folder / name).write_text(text)
        click.echo(folder / name)


def _shared(settings: Settings) -> str:
    """Return the shared folder's path; '' without one."""
    path = str(settings.shared_videos or "")
    if path and not PLAIN.fullmatch(path):
        wanted = "must have no spaces, quotes or other special characters in a unit"
        raise BootError(f"FRAMEGATE_SHARED_VIDEOS: {wanted}, got {path!r}")
    return path


def _filled(template: str, **values: object) -> str:
    files = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the templates are no HTML
    )
    return files.get_template(template).render(values)
