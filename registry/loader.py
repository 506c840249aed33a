"""The loader of a models file or single model: a `Registry`, or every problem."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from registry.backends import BackendInfo, Backends
from registry.entry import Entry
from registry.errors import Problem, RegistryError
from registry.families import EMBEDDED
from registry.lines import Document, Where, parse, read_text
from registry.models import BrokenModel, ModelSpec, Registry, Route
from registry.schema import FileSchema, RouteSchema, check
from registry.shared_folders import SharedFolders
from registry.source import is_hub_id, resolve

M = TypeVar("M", ModelSpec, BrokenModel)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
_NAME_RULE = "a name starts with a letter or a digit and has up to 128 of them, with . _ / - among them"


def load(path: Path, backends: Backends | Iterable[BackendInfo]) -> Registry:
    """Return the registry in the YAML file `path`; raise `RegistryError` with every problem."""
    return load_text(read_text(path), path, backends)


def load_text(
    text: str,
    path: Path,
    backends: Backends | Iterable[BackendInfo],
    revision: int | None = None,
    shared: SharedFolders | None = None,
) -> Registry:
    """Return the registry of `text` in `path`; relative sources start at its folder.

    `revision` is the number of the published text. Folders are those of this machine alone, or `shared`. Raises as
    `load` does.
    """
    document = parse(text, path)
    if document.problems:  # a repeated key hides the first one's entries, whose lack would be reported too
        raise document.error()
    known = Backends.of(backends)
    content = check(document, (), FileSchema(), document.data)
    entries, routes = content.get("models", {}), content.get("routes", {})
    names = _claim(document, {"models": entries, "routes": routes})
    base = path.parent.absolute()
    read_entries = {
        name: Entry(document, ("models", name), entry, base, known, shared) for name, entry in entries.items()
    }
    read = [entry.model(name) for name, entry in read_entries.items()]
    models = [model for model in read if isinstance(model, ModelSpec)]
    broken = [model for model in read if isinstance(model, BrokenModel)]
    repos = _repositories([*models, *broken], names)
    names |= repos
    found = [_route(document, name, entry, names) for name, entry in routes.items()]
    default = _default(document, content.get("default"), names)
    if document.problems:
        raise document.error()
    served = tuple(_answering_to(model, repos) for model in models)
    failed = tuple(_answering_to(model, repos) for model in broken)
    return Registry(
        models=served,
        routes=tuple(found),
        default=default,
        file=str(path),
        revision=revision,
        broken=failed,
        notes=tuple(document.notes),
        traits={source: traits for entry in read_entries.values() for source, traits in entry.traits.items()},
        lacks={name: entry.lack for name, entry in read_entries.items() if entry.lack},
    )


def load_one(
    source: str, backend_name: str, backends: Backends | Iterable[BackendInfo], download: bool = False
) -> Registry:
    """Return the registry of one model, named after its hub id or folder."""
    if os.path.isdir(written := os.path.expanduser(source)):  # as in diffusers, a folder goes before a hub id
        source = os.path.abspath(written)
    try:
        source = resolve(source, Path.cwd())
    except ValueError as error:
        raise RegistryError([Problem(source, 0, "", str(error))]) from error
    document = Document(source)
    entry = {"source": source, "backend": backend_name, "download": download}
    read = Entry(document, (), entry, Path.cwd(), Backends.of(backends))
    model = read.model(_name(source))
    if isinstance(model, BrokenModel):
        raise RegistryError([Problem(source, 0, "", model.problem.message if read.lost else model.reason)])
    if document.problems or model is None:
        raise document.error()
    return Registry((model,), default=model.name, notes=tuple(document.notes))


def _name(source: str) -> str:
    if is_hub_id(source):
        return source
    last = source.removeprefix(EMBEDDED).rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("._-")[:128] or "model"


def _claim(document: Document, sections: Mapping[str, Mapping[str, object]]) -> dict[str, Where]:
    """Return the entry of each name and alias; names come before aliases."""
    entries = [((section, name), entry) for section, found in sections.items() for name, entry in found.items()]
    claims: list[tuple[Where, Where, str]] = [(where, where, where[1]) for where, _ in entries]
    claims += [
        ((*where, "aliases", at), where, alias) for where, entry in entries for at, alias in _texts(entry, "aliases")
    ]
    names: dict[str, Where] = {}
    for claim, where, name in claims:
        if not _NAME.fullmatch(name):
            document.add_problem(claim, f"{_NAME_RULE}, got {name!r}")
        elif name in names:
            taken = ".".join(map(str, names[name]))
            document.add_problem(claim, f"must be a name of its own, got {name}, which is {taken}")
        else:
            names[name] = where
    return names


def _texts(entry: object, field: str) -> Iterator[tuple[int, str]]:
    # the schema reports other values
    items = entry.get(field) if isinstance(entry, Mapping) else None
    yield from ((at, item) for at, item in enumerate(items if isinstance(items, list) else ()) if isinstance(item, str))


def _route(document: Document, name: str, entry: object, names: Mapping[str, Where]) -> Route:
    where: Where = ("routes", name)
    if isinstance(entry, list):  # the short form, with the lines where the long form would have them
        document.lines |= {(*where, "members", at): document.lines[*where, at] for at in range(len(entry))}
        entry = {"members": entry}
    fields = check(document, where, RouteSchema(), entry)
    members: list[str] = []
    for at, member in _texts(entry, "members"):
        section, model = names.get(member, ("", member))
        if section != "models":
            models = ", ".join(dict.fromkeys(str(model) for section, model in names.values() if section == "models"))
            route = ", a route" if section else ""
            document.add_problem((*where, "members", at), f"must be one of the models ({models}), got {member}{route}")
        elif model in members:
            document.add_problem((*where, "members", at), f"must be named once, got {member} again")
        members.append(str(model))
    return Route(name, tuple(members), tuple(fields.get("aliases", ())))


def _default(document: Document, wanted: str | None, names: Mapping[str, Where]) -> str | None:
    """Return the default model or route: the chosen, first route or first model."""
    if wanted and names and wanted not in names:
        document.add_problem(("default",), f"must be a model or a route ({', '.join(names)}), got {wanted}")
    routes_first = sorted(names.values(), key=lambda entry: entry[0] != "routes")
    chosen = names.get(wanted or "") or next(iter(routes_first), None)
    return str(chosen[1]) if chosen else None


def _repositories(models: Iterable[ModelSpec | BrokenModel], names: Mapping[str, Where]) -> dict[str, Where]:
    """Return the first model of each hub repository whose id is no name."""
    repos: dict[str, Where] = {}
    for model in models:
        # with other files it is another model than the repository's
        if model.source and is_hub_id(model.source) and not model.parts and model.source not in names:
            repos.setdefault(model.source, ("models", model.name))
    return repos


def _answering_to(model: M, repos: Mapping[str, Where]) -> M:
    if model.source and repos.get(model.source) == ("models", model.name):
        return replace(model, aliases=(*model.aliases, model.source))
    return model
