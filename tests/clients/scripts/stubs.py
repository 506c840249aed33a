"""Modules of a wheel without its GPU packages; standard library only."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType
from typing import Any


class AnyName(type):
    """A class with attributes of any name, each such a class."""

    def __getattr__(cls, name: str) -> Any:
        return any_class(name)


def any_class(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return AnyName(name, (), {"__init__": lambda self, *_, **__: None})


class Stub(ModuleType):
    """A module of any names."""

    def __getattr__(self, name: str) -> Any:
        return any_class(name)


@dataclass
class Finder(MetaPathFinder, Loader):
    """Finds stubs for modules of these prefixes."""

    prefixes: tuple[str, ...]
    values: dict[str, dict[str, Any]] = field(default_factory=dict)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name in self.values or any(f"{name}.".startswith(f"{prefix}.") for prefix in self.prefixes):
            return ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = Stub(spec.name)
        module.__dict__.update(self.values.get(spec.name, {}))
        return module

    def exec_module(self, module: ModuleType) -> None:
        pass


def stub(*prefixes: str, **values: dict[str, Any]) -> None:
    """Replace modules by stubs; `values` are attributes that matter, by module."""
    sys.meta_path.insert(0, Finder(prefixes, {name.replace("__", "."): value for name, value in values.items()}))


def bare(distributed: str, *packages: str) -> None:
    """Let packages of a distribution be imported without their `__init__`."""
    root = Path(str(distribution(distributed).locate_file("")))
    for package in packages:
        module = ModuleType(package)
        module.__path__ = [str(root / package.replace(".", "/"))]
        sys.modules[package] = module
