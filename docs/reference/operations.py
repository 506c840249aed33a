"""Tables of settings, metrics, error codes and commands."""

from collections.abc import Iterable, Iterator

import click

from docs.reference.settings import settings_of_operators
from docs.reference.table import code, first_line, table
from router import errors
from router.cli.main import OURS, Commands
from router.cli.options import SHARED
from router.metrics.definitions import DEFINITIONS
from router.plugins import Plugins, find
from router.web.openapi import problems
from router.web.openapi.operations import Problem
from router.web.server.refusal import BUSY

# answers of the server itself, before there is a request
SERVER = (
    (405, errors.NotAllowed.code, "the path takes other methods"),
    (408, "request_timeout", "the headers, or 64 KiB of the body, took over 30 seconds"),
    (BUSY[0], BUSY[1], "too many large bodies at once"),
)


def settings() -> str:
    rows = [(code(name), code(default), meaning) for name, default, meaning in settings_of_operators()]
    return table(("variable", "default", "meaning"), rows)


def metrics() -> str:
    rows = [(code(each.name), each.kind.value, ", ".join(each.labels), each.about) for each in DEFINITIONS]
    return table(("metric", "kind", "labels", "meaning"), rows)


def codes() -> str:
    """Return every error code with its status, in the order of the status."""
    groups = [each if isinstance(each, tuple) else (each,) for each in vars(problems).values()]
    listed = (each for group in groups for each in group if isinstance(each, Problem))
    found = {(each.kind.status, each.code): each.about for each in listed}
    found |= {(status, name): about for status, name, about in SERVER}
    return table(("status", "code", "meaning"), [(str(key[0]), code(key[1]), found[key]) for key in sorted(found)])


def commands() -> str:
    """Return a section for each command, after the options that most commands share."""
    group = Commands("framegate", commands=dict(OURS))  # the program's own may have those of a test's plugin, too
    Plugins(find([])).add_commands(group)
    context = click.Context(group)
    shared = _options(_parameters(SHARED.values()), context)
    found = {name: group.get_command(context, name) for name in sorted(group.commands)}
    sections = [_section(command, ["framegate", name]) for name, command in found.items() if command]
    return "\n\n".join([f"Options of every command that reads settings:\n\n{shared}", *sections])


def _section(command: click.Command, names: list[str]) -> str:
    if isinstance(command, click.Group):
        below = [_section(command.commands[name], [*names, name]) for name in sorted(command.commands)]
        return "\n\n".join(below)
    context = click.Context(command, info_name=" ".join(names))
    own = [each for each in command.params if isinstance(each, click.Option) and each.name not in SHARED]
    arguments = [each.make_metavar(context) for each in command.params if isinstance(each, click.Argument)]
    usage = [f"{code(' '.join([*names, *arguments]))}:"] if arguments else []
    about = " ".join([*usage, first_line(command.help)])
    return "\n\n".join([f"### {code(' '.join(names))}", about, *([_options(own, context)] if own else [])])


def _options(options: Iterable[click.Option], context: click.Context) -> str:
    records = [option.get_help_record(context) for option in options if not option.hidden]
    rows = [(code(names), " ".join(about.split())) for names, about in filter(None, records)]
    return table(("option", "meaning"), rows)


def _parameters(decorators: Iterable[object]) -> Iterator[click.Option]:
    """Yield the options that click's decorators add to a command."""
    for decorate in decorators:
        command = click.Command("any")
        decorate(command)  # type: ignore[operator]
        yield from (each for each in command.params if isinstance(each, click.Option))
