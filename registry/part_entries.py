"""The part files of one entry under `models:`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from marshmallow import ValidationError

from registry.backends import BackendInfo
from registry.families import EMBEDDED, Family
from registry.folders import INDEX
from registry.lines import Document, Where
from registry.part_schema import EXAMPLE, SUFFIXES
from registry.parts import PartFile, PartFiles
from registry.source import is_folder, is_hub_id, resolve
from registry.weight_file import File, misnamed

FORMS = "must be a path that begins with ./, ../, / or ~, or OWNER/NAME/FILE on the hub"
HUB_ONLY = "is only for a source on the hub"


class PartEntries:
    """Reads the part files of one model; problems go to the document.

    Relative paths start at `base`.
    """

    def __init__(self, document: Document, where: Where, fields: Mapping[str, Any], base: Path) -> None:
        self.document = document
        self.where = where
        self.base = base
        entries: Mapping[str, str | Mapping[str, str]] = fields.get("parts", {})
        read = {part: self._file(part, entry) for part, entry in entries.items()}
        self.files: PartFiles = MappingProxyType({part: file for part, file in read.items() if file is not None})

    def check_base(self, source: str | None, backend: BackendInfo | None) -> None:
        """Add a problem if there is no folder whose weights the files could replace."""
        if not self.files:
            return
        if source is None:
            if not self.document.has_problem((*self.where, "source")):
                self._add_problem((), "must be left out without a source, which brings the configurations")
        elif source.startswith(EMBEDDED):
            self._add_problem((), f"must be left out: the weights of {source} come with the package")
        elif backend is not None and backend.index != INDEX:
            self._add_problem((), f"must be left out: {backend.name} reads no folder in the diffusers layout")

    def contradictions(self, family: Family | None) -> Iterator[tuple[Where, str]]:
        """Yield each part that the model has not, with its rule."""
        if family and family.experts == 1 and "transformer_2" in self.files:
            yield ("parts", "transformer_2"), "must be left out: the model has one transformer"

    def _file(self, part: str, entry: str | Mapping[str, str]) -> PartFile | None:
        if isinstance(entry, str):
            return self._read((part,), (part,), entry)
        return self._read((part,), (part, "source"), entry["source"], entry.get("file"), entry.get("revision"))

    def _read(
        self, where: Where, at: Where, source: str, file: str | None = None, revision: str | None = None
    ) -> PartFile | None:
        """Return the file of an entry `where`; its source is the field `at`."""
        owner, name, inner = (*source.split("/", 2), "", "")[:3]
        repo = f"{owner}/{name}"
        if is_folder(source) or not is_hub_id(repo):
            return self._local(where, at, source, file, revision)
        if inner and file:
            self._add_problem((*where, "file"), f"is only for OWNER/NAME on the hub, got {source}")
            return None
        try:
            found = file or File(SUFFIXES, EXAMPLE).deserialize(inner or None)
        except ValidationError as error:
            rule = error.messages[0] if inner else "must name a file of the repository, as OWNER/NAME/FILE"
            self._add_problem(at, f"{rule}, got {source}")
            return None
        return PartFile(resolve(repo, self.base), found, revision)

    def _local(self, where: Where, at: Where, source: str, file: str | None, revision: str | None) -> PartFile | None:
        wrong = {}
        if not is_folder(source):
            wrong[at] = f"{FORMS}, got {source[:200]}"
        elif rule := misnamed(source, SUFFIXES):
            wrong[at] = f"{rule}, got {source[:200]}"
        elif file is not None:
            wrong[*where, "file"] = f"{HUB_ONLY}, got {source[:200]}"
        elif revision is not None:
            wrong[*where, "revision"] = f"{HUB_ONLY}, got {source[:200]}"
        for field, message in wrong.items():
            self._add_problem(field, message)
        return None if wrong else PartFile(resolve(source, self.base))

    def _add_problem(self, where: Where, message: str) -> None:
        self.document.add_problem((*self.where, "parts", *where), message)
