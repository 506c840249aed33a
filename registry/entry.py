"""One entry under `models:`, made into a `ModelSpec`: what it says, completed by its folder and its family."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from registry.backends import BackendInfo, Backends
from registry.families import EMBEDDED, FAMILIES, Family, find, stand_in
from registry.folders import INDEX, FolderError, ModelFolder, absent, hub_cache, read
from registry.lines import Document, Where
from registry.modality import Modality
from registry.models import BrokenModel, Defaults, Limits, ModelSpec, Size
from registry.schema import ModelSchema, check
from registry.source import is_hub_id, resolve


class Entry:
    """Reads one entry; its problems go to the document, where the loader looks before it believes the model.

    `base` is the folder from which a relative source is meant.
    """

    def __init__(self, document: Document, where: Where, data: object, base: Path, backends: Backends) -> None:
        self.document = document
        self.where = where
        self.given = check(document, where, ModelSchema(), data)
        self.source = self._source(base)
        self.lost = backends.may_have_brought(self.given.get("backend", ""))
        self.backend = self._backend(backends.found)
        self.named = self._family()
        self.weights = self._folder(backends.found)
        self.family = self._as_it_is(self.named)

    def model(self, name: str) -> ModelSpec | BrokenModel | None:
        """Return the model, None if not even its modality is known; one that its folder fails is broken."""
        if self.lost:
            return self._without_backend(name)
        options = self._options(self.backend)
        modality = self._modality()
        if isinstance(self.weights, FolderError):
            return self._broken_by(name, self.weights)
        if modality is None:
            return None
        if self.weights is not None and modality not in self.weights.modalities:
            can = " or ".join(each.title for each in self.weights.modalities)
            said = f"it is declared {modality.title}, its folder of weights is {can}"
            return self._broken_by(name, FolderError(said, self.weights.path))
        basis = self.family or stand_in(modality)
        defaults, limits = self._numbers(basis)
        warm_up: bool | tuple[Size, ...] = self.given.get("warm_up", False)
        sizes = warm_up if isinstance(warm_up, tuple) else ()
        problems = list(self._contradictions(defaults, limits, sizes, basis.size_multiple))
        if isinstance(self.weights, ModelFolder) and problems and not self._contradicts_itself(sizes, modality):
            field, message = problems[0]
            said = f"its folder of weights does not go with its entry: {field} {message}"
            return self._broken_by(name, FolderError(said, self.weights.path))
        for field, message in problems:
            self._complain(field, message)
        if basis.experts == 1 and defaults.guidance_scale_2 is not None:
            self._note("defaults.guidance_scale_2", "is not used: the model has one expert")
        return ModelSpec(
            name=name,
            backend=self.given.get("backend", ""),
            modality=modality,
            defaults=defaults,
            limits=limits,
            size_multiple=basis.size_multiple,
            source=self.source,
            revision=self.given.get("revision"),
            download=self.given.get("download", False),
            pin=self.given.get("pin", False),
            warm_up=bool(warm_up),
            warm_sizes=sizes,
            priority=self.given.get("priority", 0),
            engines=self.given.get("engines"),
            devices=tuple(self.given.get("devices", ())),
            family=self.family.name if self.family else None,
            experts=basis.experts,
            prompt_tokens=basis.prompt_tokens if self._is_wan() else None,
            aliases=tuple(self.given.get("aliases", ())),
            options=MappingProxyType(options),
        )

    def _is_wan(self) -> bool:
        """Say whether the model has weights of a layout that is known, not those of a stranger's backend."""
        return self.source is not None and (self.family is not None or bool(self.backend and self.backend.index))

    def _without_backend(self, name: str) -> BrokenModel:
        """Return the model as broken by what was to bring its backend; only that would know whether its options fit."""
        lack = f"its backend {self.given['backend']} is not there"
        return self._broken(
            name,
            f"{lack}: {'; '.join(lost.reason for lost in self.lost)}",
            ("backend", f"{self.given['backend']} is not there: {'; '.join(lost.problem for lost in self.lost)}"),
        )

    def _broken_by(self, name: str, error: FolderError) -> BrokenModel:
        return self._broken(name, error.reason, ("source", str(error)))

    def _broken(self, name: str, reason: str, problem: tuple[str, str]) -> BrokenModel:
        word = self.given.get("modality")
        field, message = problem
        return BrokenModel(
            name=name,
            backend=self.given.get("backend", ""),
            source=self.source,
            reason=reason,
            problem=self.document.problem((*self.where, field), message),
            modality=Modality.named(word) if word else None,
            revision=self.given.get("revision"),
            aliases=tuple(self.given.get("aliases", ())),
        )

    def _folder(self, backends: Mapping[str, BackendInfo]) -> ModelFolder | FolderError | None:
        """Return what the entry's folder is, or why it cannot be served; None where there is none to read.

        What is not there, or not whole, is no error where it may still come and enough is known of it: a repository of
        the hub, a folder that is to be made.
        """
        if self.source is None or self.source.startswith(EMBEDDED) or self.backend is None or not self.backend.index:
            return None
        remote = is_hub_id(self.source)
        path = hub_cache.snapshot(self.source, self.given.get("revision")) if remote else Path(self.source)
        told = self.named is not None or bool(self.given.get("modality"))
        if path is None:
            advice = f"fetch it with 'framegate pull {self.source}', or write the modality that it has"
            said = f"it is not a published Wan variant and not on this machine: {advice}"
            return None if told else FolderError(said, Path(self.source), missing=True)
        if told and absent(path):
            return None
        if not os.path.exists(path / self.backend.index):
            return None if remote and told else self._of_others(path, self.backend, backends.values(), told)
        if told and not os.path.exists(path / INDEX):
            return None
        try:
            return read(path)
        except FolderError as error:
            return None if remote and told and error.missing else error

    def _of_others(
        self, path: Path, backend: BackendInfo, backends: Iterable[BackendInfo], told: bool
    ) -> ModelFolder | FolderError | None:
        """Return why a folder is not for its backend; None where that is known as `unsuited` and no more."""
        for other in backends:
            if other.index and os.path.exists(path / other.index):
                said = f"it holds a model of the backend {other.name} ({other.index}), not of {backend.name}"
                return None if told else FolderError(said, path)
        if backend.index != INDEX:
            said = f"it has no {backend.index}, by which {backend.name} knows its models"
            return None if told else FolderError(said, path)
        try:
            return read(path)  # which says what it is instead
        except FolderError as error:
            return error

    def _as_it_is(self, named: Family | None) -> Family | None:
        """Return the family that the entry or its source names, or the closest one, as its folder has it."""
        if not isinstance(self.weights, ModelFolder):
            return named
        found = self.weights.family
        if named is None:
            return found
        self._compare(named, found)
        if named.experts != found.experts or named.modality not in self.weights.modalities:
            return found  # the defaults of the other kind would make a poor video
        return replace(named, size_multiple=found.size_multiple)

    def _compare(self, named: Family, found: Family) -> None:
        """Note where the family that an entry names is another than its folder's."""
        differences = [
            f"{what} {one}, the folder has {other}"
            for what, one, other in (
                ("experts", named.experts, found.experts),
                ("a size multiple of", named.size_multiple, found.size_multiple),
                ("a width of", named.inner_dim, found.inner_dim),
            )
            if one != other
        ]
        if isinstance(self.weights, ModelFolder) and named.modality not in self.weights.modalities:
            differences.append(f"the modality {named.modality.word}, the folder has {found.modality.word}")
        if differences:
            field = "family" if "family" in self.given else "source"
            self._note(field, f"{named.name} has {'; '.join(differences)}: the folder counts")

    def _note(self, field: str, message: str) -> None:
        self.document.notes.append(self.document.problem((*self.where, *field.split(".")), message))

    def _numbers(self, basis: Family) -> tuple[Defaults, Limits]:
        """Return the defaults and limits of a family with those that the entry states in their place."""
        defaults = replace(basis.defaults, **self._plain(), **self.given.get("defaults", {}))
        return defaults, replace(basis.limits, **self.given.get("limits", {}))

    def _plain(self) -> dict[str, Any]:
        """Return what a model without weights must not borrow from Wan: a negative prompt for its encoder."""
        stated = "negative_prompt" in self.given.get("defaults", {})
        return {} if self.source or stated else {"negative_prompt": ""}

    def _complain(self, field: str, message: str) -> None:
        self.document.complain((*self.where, *field.split(".")), message)

    def _blamed(self, *fields: str) -> bool:
        """Say whether one of `fields` is a problem already, so that what follows from it need not be one too."""
        return any((*self.where, field) in self.document.blamed for field in fields)

    def _source(self, base: Path) -> str | None:
        source: str | None = self.given.get("source")
        try:
            source = resolve(source, base) if source else None
        except ValueError as error:
            self._complain("source", str(error))
            return None
        for field in ("revision", "download"):
            if self.given.get(field) and not is_hub_id(source):
                self._complain(field, f"is only for a source on the hub, got {source or 'no source'}")
        return source

    def _family(self) -> Family | None:
        name: str | None = self.given.get("family")
        family = find(name or self.source or "")
        if name and family is None:
            self._complain("family", f"must be one of {', '.join(f.name for f in FAMILIES)}, got {name}")
        return family

    def _backend(self, backends: Mapping[str, BackendInfo]) -> BackendInfo | None:
        name: str | None = self.given.get("backend")
        if name and name not in backends and not self.lost:
            found = ", ".join(backends) or "none"
            said = f"must be one of those found ({found}), got {name}; a new plugin is found at the next start"
            self._complain("backend", said)
        return backends.get(name or "")

    def _options(self, backend: BackendInfo | None) -> dict[str, object]:
        options: dict[str, object] = self.given.get("options", {})
        if backend and backend.options:
            return check(self.document, (*self.where, "options"), backend.options(), options)
        if backend and options:
            self._complain("options", f"must be left out: {backend.name} has no options, got {', '.join(options)}")
        return {}

    def _modality(self) -> Modality | None:
        word: str | None = self.given.get("modality")
        known = self.family.modality if self.family else None
        modality = Modality.named(word) if word else known
        backend = self.backend
        if modality is None:
            unread = self._blamed("modality", "family", "source", "backend") or isinstance(self.weights, FolderError)
            if not unread:
                words = ", ".join(m.word for m in Modality)
                self._complain("modality", f"is required, as no known family says it: one of {words}")
            return None
        if self.weights is None and self.family and not _narrows(modality, self.family.modality):
            family = self.family
            self._complain("modality", f"must fit {family.name}, which is {family.modality.word}, got {modality.word}")
        elif backend and modality not in backend.modalities:
            runs = ", ".join(m.word for m in Modality if m in backend.modalities) or "nothing"
            field = "modality" if word else "backend"
            self._complain(field, f"must go together: {backend.name} runs {runs}, the model is {modality.word}")
        return modality

    def _contradicts_itself(self, sizes: tuple[Size, ...], modality: Modality) -> bool:
        """Say whether the entry would be wrong whatever its folder is."""
        basis = self.named or stand_in(modality)
        return any(self._contradictions(*self._numbers(basis), sizes, basis.size_multiple))

    def _contradictions(
        self, defaults: Defaults, limits: Limits, sizes: tuple[Size, ...], multiple: int
    ) -> Iterator[tuple[str, str]]:
        """Yield the fields whose numbers do not go together, and what each must be."""
        for side, pixels in (("width", defaults.width), ("height", defaults.height)):
            if pixels % multiple:
                yield f"defaults.{side}", f"must be a multiple of {multiple}, got {pixels}"
        if defaults.num_frames % 4 != 1:
            yield "defaults.num_frames", f"must be 4k+1 (1, 5, 9, ...), got {defaults.num_frames}"
        for fields, value, limit in _measured(defaults):
            most = getattr(limits, limit)
            if value > most:
                stated = [f"defaults.{field}" for field in fields if field in self.given.get("defaults", {})]
                message = f"the default {' x '.join(fields)} must be within the limit ({limit}) of {most}, got {value}"
                yield stated[0] if stated else f"limits.{limit}", message
        for size in sizes:
            if not size.width or not size.height or size.width % multiple or size.height % multiple:
                yield "warm_up", f"must have sides that are multiples of {multiple}, got {size}"
            elif size.num_frames % 4 != 1:
                yield "warm_up", f"must have 4k+1 frames (1, 5, 9, ...), got {size}"
            elif size.width * size.height > limits.pixels or size.num_frames > limits.frames:
                within = f"{limits.pixels} pixels and {limits.frames} frames"
                yield "warm_up", f"must be within the limits of {within}, got {size}"


def _narrows(modality: Modality, known: Modality) -> bool:
    """Say whether a model that is `known` may be declared `modality`: a ti2v may serve as t2v or i2v."""
    return known.needs <= modality.needs and modality.allows <= known.allows


def _measured(defaults: Defaults) -> Iterator[tuple[tuple[str, ...], int, str]]:
    """Yield the fields that a limit is about, what they amount to, and the limit's name."""
    yield ("width", "height"), defaults.width * defaults.height, "pixels"
    yield ("num_frames",), defaults.num_frames, "frames"
    yield ("steps",), defaults.steps, "steps"
    yield ("negative_prompt",), len(defaults.negative_prompt), "prompt"
