"""One entry under `models:`, completed by its folder and family into a `ModelSpec`."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from registry.adapter_entries import AdapterEntries
from registry.backends import BackendInfo, Backends
from registry.consistency import contradictions, family_differences, narrows
from registry.families import FAMILIES, PROMPT_TOKENS, Family, find, stand_in
from registry.folders import FolderError, ModelFolder
from registry.lines import Document, Where
from registry.modality import Modality
from registry.models import BrokenModel, Defaults, Limits, ModelSpec, Size
from registry.origin import Origin
from registry.schema import ModelSchema, check
from registry.shared_folders import SharedFolders, traits_of
from registry.traits import Traits

SAME = ("revision", "download", "pin", "priority", "price", "engines", "text_only")  # a model takes them unchanged


class Entry:
    """Reads one entry; its problems go to the document; relative sources start at `base`."""

    def __init__(
        self,
        document: Document,
        where: Where,
        data: object,
        base: Path,
        backends: Backends,
        shared: SharedFolders | None = None,
    ) -> None:
        self.document = document
        self.where = where
        self.fields = check(document, where, ModelSchema(), data)
        self.origin = Origin(document, where, self.fields, base)
        self.source = self.origin.source
        self.lost = backends.may_have_brought(self.fields.get("backend", ""))
        self.backend = self._backend(backends.found, backends.advice)
        self.named = self._family()
        modality_known = self.named is not None or bool(self.fields.get("modality"))
        here = self.origin.folder(self.backend, backends.found.values(), modality_known)
        reading = shared.read(self.origin.written, here, Path(self.source or ""), modality_known) if shared else None
        self.weights = reading.folder if reading else here
        self.lack = reading.lack if reading else None  # why this machine cannot load the model
        self.family = self._actual_family()
        warm_up: bool | tuple[Size, ...] = self.fields.get("warm_up", False)
        self.warm_sizes = warm_up if isinstance(warm_up, tuple) else ()
        self.adapters = AdapterEntries(document, where, self.fields, base, self.family)
        self.origin.check_download(self.adapters.adapters)

    @property
    def traits(self) -> Traits:
        """The traits of its folder by its source, none if the folder is unknown."""
        return {self.origin.written: traits_of(self.weights)} if isinstance(self.weights, ModelFolder) else {}

    def model(self, name: str) -> ModelSpec | BrokenModel | None:
        """Return the model, broken by its folder or backend; None without a modality."""
        if self.lost:
            return self._without_backend(name)
        options = self._options()
        if self.backend is not None:
            self.adapters.check_backend(self.backend)
        modality = self._modality()
        if isinstance(self.weights, FolderError):
            return self._broken_by(name, self.weights)
        if modality is None:
            return None
        if self.weights is not None and modality not in self.weights.modalities:
            titles = " or ".join(each.title for each in self.weights.modalities)
            reason = f"it is declared {modality.title}, its folder of weights is {titles}"
            return self._broken_by(name, FolderError(reason, self.weights.path))
        problems = list(self._contradictions(self.family, modality))
        alone = self._contradictions(self.named, modality)  # those that it has without its folder, too
        if isinstance(self.weights, ModelFolder) and problems and not any(alone):
            where, message = problems[0]
            reason = f"its folder of weights does not go with its entry: {'.'.join(map(str, where))} {message}"
            return self._broken_by(name, FolderError(reason, self.weights.path))
        for where, message in problems:
            self.document.add_problem((*self.where, *where), message)
        return self._spec(name, modality, self.family or stand_in(modality), options)

    def _spec(self, name: str, modality: Modality, basis: Family, options: dict[str, object]) -> ModelSpec:
        defaults, limits = self._numbers(basis)
        is_wan = self.source is not None and (self.family is not None or bool(self.backend and self.backend.index))
        if basis.experts == 1 and defaults.guidance_scale_2 is not None:
            self._note("defaults.guidance_scale_2", "is not used: the model has one expert")
        self.adapters.note_files()
        return ModelSpec(
            name=name,
            backend=self.fields.get("backend", ""),
            modality=modality,
            defaults=defaults,
            limits=limits,
            size_multiple=basis.size_multiple,
            source=self.source,
            parts=self.origin.parts.files,
            warm_up=bool(self.fields.get("warm_up", False)),
            warm_sizes=self.warm_sizes,
            devices=tuple(self.fields.get("devices", ())),
            family=self.family.name if self.family else None,
            experts=basis.experts,
            prompt_tokens=PROMPT_TOKENS if is_wan else None,
            aliases=tuple(self.fields.get("aliases", ())),
            adapters=self.adapters.adapters,
            default_adapters=self.adapters.defaults,
            options=MappingProxyType(options),
            **{name: self.fields[name] for name in SAME if name in self.fields},
        )

    def _without_backend(self, name: str) -> BrokenModel:
        # only the backend could check the options
        lack = f"its backend {self.fields['backend']} is not there"
        reason = f"{lack}: {'; '.join(lost.reason for lost in self.lost)}"
        problem = f"{self.fields['backend']} is not there: {'; '.join(lost.problem for lost in self.lost)}"
        return self._broken(name, reason, ("backend",), problem)

    def _broken_by(self, name: str, error: FolderError) -> BrokenModel:
        return self._broken(name, error.reason, self.origin.field_of(error), str(error))

    def _broken(self, name: str, reason: str, field: Where, message: str) -> BrokenModel:
        word = self.fields.get("modality")
        return BrokenModel(
            name=name,
            backend=self.fields.get("backend", ""),
            source=self.source,
            reason=reason,
            problem=self.document.problem((*self.where, *field), message),
            modality=Modality.named(word) if word else None,
            revision=self.fields.get("revision"),
            parts=self.origin.parts.files,
            aliases=tuple(self.fields.get("aliases", ())),
        )

    def _actual_family(self) -> Family | None:
        named = self.named
        if not isinstance(self.weights, ModelFolder):
            return named
        found = self.weights.family
        if named is None:
            return found
        if differences := family_differences(named, found, self.weights.modalities):
            field = "family" if "family" in self.fields else "source"
            self._note(field, f"{named.name} has {'; '.join(differences)}: the folder counts")
        if named.experts != found.experts or named.modality not in self.weights.modalities:
            return found  # the defaults of the other kind would make a poor video
        return replace(named, size_multiple=found.size_multiple)

    def _note(self, field: str, message: str) -> None:
        self.document.notes.append(self.document.problem((*self.where, *field.split(".")), message))

    def _numbers(self, basis: Family) -> tuple[Defaults, Limits]:
        # without weights there is no encoder of Wan, for which its negative prompt is written
        negative_prompt = basis.defaults.negative_prompt if self.source else ""
        own = {"negative_prompt": negative_prompt, **self.fields.get("defaults", {})}
        return replace(basis.defaults, **own), replace(basis.limits, **self.fields.get("limits", {}))

    def _add_problem(self, field: str, message: str) -> None:
        self.document.add_problem((*self.where, *field.split(".")), message)

    def _family(self) -> Family | None:
        name: str | None = self.fields.get("family")
        family = find(name or self.source or "")
        if name and family is None:
            self._add_problem("family", f"must be one of {', '.join(f.name for f in FAMILIES)}, got {name}")
        return family

    def _backend(self, backends: Mapping[str, BackendInfo], advice: str) -> BackendInfo | None:
        name: str | None = self.fields.get("backend")
        if name and name not in backends and not self.lost:
            found = ", ".join(backends) or "none"
            self._add_problem("backend", f"must be one of those found ({found}), got {name}; {advice}")
        return backends.get(name or "")

    def _options(self) -> dict[str, object]:
        backend, options = self.backend, self.fields.get("options", {})
        if backend and backend.options:
            return check(self.document, (*self.where, "options"), backend.options(), options)
        if backend and options:
            self._add_problem("options", f"must be left out: {backend.name} has no options, got {', '.join(options)}")
        return {}

    def _modality(self) -> Modality | None:
        word: str | None = self.fields.get("modality")
        known = self.family.modality if self.family else None
        modality = Modality.named(word) if word else known
        backend = self.backend
        if modality is None:
            causes = ("modality", "family", "source", "backend")  # whose problem explains this one
            explained = any(self.document.has_problem((*self.where, field)) for field in causes)
            if not explained and not isinstance(self.weights, FolderError):
                words = ", ".join(m.word for m in Modality)
                self._add_problem("modality", f"is required, as no known family says it: one of {words}")
            return None
        if self.weights is None and self.family and not narrows(modality, self.family.modality):
            fitting = f"must fit {self.family.name}, which is {self.family.modality.word}"
            self._add_problem("modality", f"{fitting}, got {modality.word}")
        elif backend and modality not in backend.modalities:
            runs = ", ".join(m.word for m in Modality if m in backend.modalities) or "nothing"
            field = "modality" if word else "backend"
            self._add_problem(field, f"must go together: {backend.name} runs {runs}, the model is {modality.word}")
        return modality

    def _contradictions(self, family: Family | None, modality: Modality) -> Iterator[tuple[Where, str]]:
        basis = family or stand_in(modality)
        defaults, limits = self._numbers(basis)
        stated = self.fields.get("defaults", {})
        for field, rule in contradictions(defaults, limits, self.warm_sizes, basis.size_multiple, stated):
            yield tuple(field.split(".")), rule
        yield from self.origin.parts.contradictions(family)
        if (family and family.name) == (self.family and self.family.name):  # the adapters are read for the latter
            yield from self.adapters.contradictions(defaults, limits, basis.size_multiple)
