"""`framegate doctor`: run every check and print each finding."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from types import ModuleType

import click

from router.cli.options import share
from router.doctor import (
    clock,
    codecs,
    devices,
    disk,
    files,
    memory,
    models,
    network,
    packages,
    permissions,
    plugins,
    runtimes,
    store,
)
from router.doctor.finding import DoctorContext, Finding, Level, fail
from router.errors import BootError
from router.settings import Settings

Check = Callable[[DoctorContext], Iterator[Finding]]
TOPICS: tuple[ModuleType, ...] = (
    packages,
    devices,
    runtimes,
    codecs,
    memory,
    disk,
    store,
    files,
    clock,
    permissions,
    plugins,
    models,
    network,
)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the server.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(host: str, port: int, as_json: bool) -> None:
    """Check the needs of a server, and say how to fix problems.

    Prints one line per check: ok, warn or fail. Nothing is changed. The exit status is 1 after a failure.
    """
    findings = []
    for finding in examine(host, port):
        findings.append(finding)
        if not as_json:
            click.echo(str(finding))
    failed = any(finding.level is Level.FAIL for finding in findings)
    if as_json:
        click.echo(json.dumps({"ok": not failed, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        counts = [sum(finding.level is level for finding in findings) for level in Level]
        click.echo("{} ok, {} to look at, {} wrong".format(*counts))
    raise SystemExit(int(failed))


share(doctor)


def examine(host: str, port: int) -> Iterator[Finding]:
    """Yield the findings of every topic, or the problems of the settings."""
    try:
        context = DoctorContext(Settings.from_environ(), os.environ, host, port)
    except BootError as error:
        for line in error.message.splitlines():
            yield fail("settings", line, "all other checks wait for that")
        return
    for topic in TOPICS:
        yield from guarded(topic.check, context)


def guarded(check: Check, context: DoctorContext) -> Iterator[Finding]:
    """Yield a check's findings; an exception becomes a finding."""
    try:
        yield from check(context)
    except Exception as error:  # the machine, the libraries and the files may be broken in any way
        name = check.__module__.rpartition(".")[2]
        message = f"this check broke off: {type(error).__name__}: {error}".splitlines()[0]
        yield fail(name, message, "its subject may be broken")
