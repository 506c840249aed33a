"""The part files of one entry under `models:`."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from registry.backends import BackendInfo
from registry.families import EMBEDDED, Family
from registry.folders import INDEX
from registry.lines import Document, Where
from registry.part_schema import EXAMPLE, SUFFIXES, PartEntry
from registry.parts import PartFile, PartFiles
from registry.source import is_folder, is_hub_id, resolve
from registry.weight_file import misnamed, outside

PATH = "a path that begins with ./, ../, / or ~"
FORMS = f"must be {PATH}, or OWNER/NAME/FILE on the hub"
HUB_ONLY = "is only for a source on the hub"


class PartEntries:
    """Reads the part files of one model; problems go to the document.

    Relative paths start at `base`.
    """

    def __init__(self, document: Document, where: Where, fields: Mapping[str, Any], base: Path) -> None:
        self.document = document
        self.where = where
        self.base = base
        entries: Mapping[str, PartEntry] = fields.get("parts", {})
        read = {part: self._file(part, entry) for part, entry in entries.items()}
        self.files: PartFiles = MappingProxyType({part: file for part, file in read.items() if file is not None})

    def check_base(self, source: str | None, backend: BackendInfo | None) -> None:
        """Add a problem if there is no folder whose weights the files could replace."""
        if not self.files:
            return
        if source is None:
            if not self.document.has_problem((*self.where, "source")):
                self._add_problem((), "needs a source beside it, which brings the configurations and the tokenizer")
        elif source.startswith(EMBEDDED):
            self._add_problem((), f"must be left out: the weights of {source} come with the package")
        elif backend is not None and backend.index != INDEX:
            self._add_problem((), f"must be left out: {backend.name} reads no folder in the diffusers layout")

    def contradictions(self, family: Family | None) -> Iterator[tuple[Where, str]]:
        """Yield each part that the model has not, with its rule."""
        if family and family.experts == 1 and "transformer_2" in self.files:
            yield ("parts", "transformer_2"), "must be left out: the model has one transformer"

    def _file(self, part: str, entry: PartEntry) -> PartFile | None:
        if not entry.file and not is_folder(entry.source) and os.path.isfile(self.base / entry.source):
            hub = "a file on the hub needs a mapping with source and file"
            rule = f"is a file beside the models file: write ./{entry.source[:200]} for it; {hub}"
            self._add_problem((part, *entry.at), rule)
            return None
        repo, inner = _on_hub(entry.source)
        problem = _problem_of_hub(entry, inner) if repo else _problem_of_path(entry)
        if problem is not None:
            where, rule = problem
            self._add_problem((part, *where), f"{rule}, got {entry.source[:200]}")
            return None
        return PartFile(resolve(repo or entry.source, self.base), entry.file or inner, entry.revision)

    def _add_problem(self, where: Where, message: str) -> None:
        self.document.add_problem((*self.where, "parts", *where), message)


def _on_hub(source: str) -> tuple[str, str]:
    """Return the repository and the file of `OWNER/NAME/FILE`; both are empty for others."""
    owner, name, file = (*source.split("/", 2), "", "")[:3]
    repo = f"{owner}/{name}"
    return (repo, file) if is_hub_id(repo) else ("", "")


def _problem_of_hub(entry: PartEntry, inner: str) -> tuple[Where, str] | None:
    if entry.file:  # its name has been checked
        return (("file",), "is only for OWNER/NAME on the hub") if inner else None
    if not inner:
        return entry.at, f"must name a file on the hub as OWNER/NAME/FILE, or be {PATH}"
    rule = outside(inner, EXAMPLE) or misnamed(inner, SUFFIXES)
    return (entry.at, rule) if rule else None


def _problem_of_path(entry: PartEntry) -> tuple[Where, str] | None:
    if not is_folder(entry.source):
        return entry.at, FORMS
    if rule := misnamed(entry.source, SUFFIXES):
        return entry.at, rule
    for field in ("file", "revision"):
        if getattr(entry, field) is not None:
            return (field,), HUB_ONLY
    return None
