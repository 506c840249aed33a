"""The adapters of one entry under `models:`, completed by the table of published ones."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from registry import adapter_files, known_adapters
from registry.adapter_schema import AdapterSchema
from registry.adapters import NAME, Adapter, PerExpert
from registry.backends import BackendInfo
from registry.consistency import adapter_contradictions, of_two_experts
from registry.errors import printable
from registry.families import EMBEDDED, Family
from registry.folders.files import PICKLES
from registry.folders.weights import SUFFIX
from registry.lines import Document, Where
from registry.models import Defaults, Limits
from registry.schema import check
from registry.source import is_folder, is_hub_id, resolve
from registry.weight_file import GGUF, misnamed

FIRST, SECOND = "guidance_scale", "guidance_scale_2"
SAME = ("files", "revision", "strength", "merge")  # an adapter takes them unchanged
NAME_RULE = "a name starts with a letter or a digit and has up to 64 of them, with . _ - among them"
OF_FILES = (SUFFIX, *PICKLES, GGUF)
FORMS = "a path that begins with ./, ../, / or ~, or OWNER/NAME on the hub"


class AdapterEntries:
    """Reads the adapters of one model; relative sources start at `base`.

    Problems go to the document, but for `misplaced`: published adapters of other families than the model's.
    """

    def __init__(
        self, document: Document, where: Where, fields: Mapping[str, Any], base: Path, family: Family | None
    ) -> None:
        self.document = document
        self.where = where
        self.base = base
        self.family = family
        self.misplaced: list[tuple[Where, str]] = []
        entries: Mapping[str, object] = fields.get("adapters", {})
        for at, name in enumerate(entries):  # of a list: the lines where a mapping would have them
            if (line := document.lines.get((*where, "adapters", at))) is not None:
                document.lines[*where, "adapters", name] = line
        read = [self._adapter(name, entry) for name, entry in entries.items()]
        self.adapters = tuple(adapter for adapter in read if adapter is not None)
        self.defaults: tuple[str, ...] = tuple(fields.get("default_adapters", ()))
        self._check_defaults(tuple(entries))

    def check_backend(self, backend: BackendInfo) -> None:
        """Add a problem if the backend runs no adapters."""
        if (self.adapters or self.misplaced) and not backend.runs_adapters:
            instead = f"; '{backend.merged_by}' merges one" if backend.merged_by else ""
            self._add_problem(("adapters",), f"must be left out: {backend.name} runs no adapters{instead}")

    def contradictions(self, defaults: Defaults, limits: Limits, multiple: int) -> Iterator[tuple[Where, str]]:
        """Yield each field that does not go with the model, with its rule."""
        yield from self.misplaced
        if self.family and self.family.experts == 1:
            yield from of_two_experts(self.adapters)
        yield from adapter_contradictions(self.adapters, self.defaults, defaults, limits, multiple)

    def note_files(self) -> None:
        """Add a note for each unreadable or missing file; the hub's may be missing."""
        for adapter in self.adapters:
            folder = None if adapter.source.startswith(EMBEDDED) else adapter_files.folder(adapter)
            for error in adapter_files.refusals(adapter, folder) if folder else ():
                if not (error.missing and is_hub_id(adapter.source)):
                    gone = error.missing and not error.path.exists()  # a cut file may still arrive, too
                    message = printable(f"{error.path}: there is no such file") if gone else str(error)
                    self._note(("adapters", adapter.name), message)

    def _adapter(self, name: str, entry: object) -> Adapter | None:
        where: Where = ("adapters", name)
        if not NAME.fullmatch(name):
            self._add_problem(where, f"{NAME_RULE}, got {name[:100]!r}")
            return None
        before = len(self.document.problems)
        written = {"source": entry} if isinstance(entry, str) else entry
        own = check(self.document, (*self.where, *where), AdapterSchema(), written)
        if len(self.document.problems) > before:
            return None
        basis = self._basis(name, own.pop("source", None), isinstance(entry, Mapping))
        if basis is None or self._has_misused(basis, own):
            return None
        stated = own.get("defaults", {})
        # a guidance of the entry's own is for both experts, as in a request
        given = {name: value for name, value in basis.defaults.items() if name != SECOND or FIRST not in stated}
        defaults = {**given, **stated}
        if self.family and self.family.experts == 1 and defaults.pop(SECOND, None) is not None:
            self._note((*where, "defaults", SECOND), "is not used: the model has one expert")
        taken = {field: own[field] for field in SAME if field in own}
        return replace(basis, defaults=MappingProxyType(defaults), **taken)

    def _basis(self, name: str, source: str | None, is_long: bool) -> Adapter | None:
        """Return the adapter of a source or a known name alone."""
        where: Where = ("adapters", name, "source") if source and is_long else ("adapters", name)
        if rows := known_adapters.of_name(source or name):
            return self._published(name, where, rows)
        if source is None or source.startswith(EMBEDDED) or not (is_folder(source) or is_hub_id(source)):
            self._add_problem(where, f"must be {self._published_names()}{FORMS}, got {(source or name)[:200]}")
            return None
        if not is_folder(source):
            return Adapter(name, source)
        path = resolve(source, self.base)
        if not path.endswith(OF_FILES):
            return Adapter(name, path)
        if rule := misnamed(path):
            self._add_problem(where, f"{rule}, got {source}")
            return None
        return Adapter(name, path, PerExpert("", ""))

    def _published(self, name: str, where: Where, rows: tuple[known_adapters.KnownAdapter, ...]) -> Adapter | None:
        fitting = [row for row in rows if self.family is None or row.family == self.family.name]
        if len(fitting) != 1:
            families = ", ".join(row.family for row in rows)
            got = f"the model is {self.family.name}" if self.family else "the model is of none that is known"
            self.misplaced.append((where, f"must be an adapter for its model: {rows[0].name} is for {families}, {got}"))
            return None
        row = fitting[0]
        strength = PerExpert(row.strength, row.strength)
        return Adapter(name, row.source, row.files, strength=strength, defaults=row.defaults)

    def _published_names(self) -> str:
        names = known_adapters.of_family(self.family.name) if self.family else known_adapters.NAMES
        return f"a published adapter ({', '.join(names)}), " if names else ""

    def _has_misused(self, basis: Adapter, own: Mapping[str, Any]) -> bool:
        wrong = {}
        if "revision" in own and not is_hub_id(basis.source):
            wrong["revision"] = f"is only for a source on the hub, got {basis.source}"
        if "files" in own and (basis.files == PerExpert("", "") or basis.source.startswith(EMBEDDED)):
            wrong["files"] = f"is only for a folder or a source on the hub, got {basis.source}"
        for field, rule in wrong.items():
            self._add_problem(("adapters", basis.name, field), rule)
        return bool(wrong)

    def _check_defaults(self, names: tuple[str, ...]) -> None:
        for at, name in enumerate(self.defaults):
            if name not in names:
                listed = f"must be one of the adapters ({', '.join(names)})"
                rule = listed if names else "must be empty: adapters has none"
                self._add_problem(("default_adapters", at), f"{rule}, got {name}")
            elif name in self.defaults[:at]:
                self._add_problem(("default_adapters", at), f"must be named once, got {name} again")

    def _add_problem(self, where: Where, message: str) -> None:
        self.document.add_problem((*self.where, *where), message)

    def _note(self, where: Where, message: str) -> None:
        self.document.notes.append(self.document.problem((*self.where, *where), message))
