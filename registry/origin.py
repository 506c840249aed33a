"""The origin of an entry's weights: its source, and files of parts."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from registry import part_files
from registry.adapters import Adapter
from registry.backends import BackendInfo
from registry.families import EMBEDDED
from registry.folders import FolderError, ModelFolder
from registry.lines import Document, Where
from registry.part_entries import PartEntries
from registry.source import is_hub_id, resolve, weights_folder


class Origin:
    """Reads the source of one entry and its part files, relative to `base`.

    Problems go to the document.
    """

    def __init__(self, document: Document, where: Where, fields: Mapping[str, Any], base: Path) -> None:
        self.document = document
        self.where = where
        self.fields = fields
        self.source = self._source(base)
        self.written = "@".join(filter(None, (fields.get("source"), fields.get("revision"))))
        self.parts = PartEntries(document, where, fields, base)

    def folder(
        self, backend: BackendInfo | None, backends: Iterable[BackendInfo], modality_known: bool
    ) -> ModelFolder | FolderError | None:
        """Read the entry's folder; None without one, or if its files may still arrive."""
        self.parts.check_base(self.source, backend)
        if self.source is None or self.source.startswith(EMBEDDED) or backend is None or not backend.index:
            return None
        files = self.parts.files
        found = weights_folder(self.source, self.fields.get("revision"), backend, backends, modality_known, files)
        if found is not None:
            return found
        # the files of this machine come with no download
        local = (part_files.refusal(part, file) for part, file in files.items() if not file.file)
        return next(filter(None, local), None)

    def field_of(self, error: FolderError) -> Where:
        """Return the field that names the folder or file of an error."""
        part = part_files.part_of(error, self.parts.files)
        return ("parts", part) if part else ("source",)

    def check_download(self, adapters: Iterable[Adapter]) -> None:
        """Add a problem if nothing of a model to download is on the hub."""
        files = self.parts.files.values()
        sources = (self.source, *(adapter.source for adapter in adapters), *(file.source for file in files))
        explained = self.document.has_problem((*self.where, "source"))
        if self.fields.get("download") and not explained and not any(map(is_hub_id, sources)):
            self._add_problem("download", f"is only for a source on the hub, got {self.source or 'no source'}")

    def _source(self, base: Path) -> str | None:
        source: str | None = self.fields.get("source")
        try:
            source = resolve(source, base) if source else None
        except ValueError as error:
            self._add_problem("source", str(error))
            return None
        if self.fields.get("revision") and not is_hub_id(source):
            self._add_problem("revision", f"is only for a source on the hub, got {source or 'no source'}")
        return source

    def _add_problem(self, field: str, message: str) -> None:
        self.document.add_problem((*self.where, field), message)
