"""One file of an adapter, matched to a transformer's weights by its header."""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import NamedTuple

from plugins.wan.checkpoint import Part
from plugins.wan.weights.adapters.factors import Factors, beside, factors_of
from plugins.wan.weights.adapters.names import Names, Role, module_of
from plugins.wan.weights.safetensors import DTYPES, StoredTensor
from registry.folders import FolderError
from registry.folders.files import stamp
from registry.folders.safetensors import Tensor, read_header
from router import LoadFailed

INPUT = "patch_embedding.weight"  # its inputs differ between models of text and of images, as nothing else does
Shape = tuple[int, ...]


class LowRank(NamedTuple):
    """A product that is added to a weight: `factor * up @ down`."""

    down: StoredTensor
    up: StoredTensor
    factor: float


class Added(NamedTuple):
    """A tensor that is added to a weight, times `factor`."""

    tensor: StoredTensor
    factor: float = 1.0


Change = LowRank | Added


@dataclass(frozen=True)
class AdapterFile:
    """The changes of one file by the names of weights, and its unused tensors.

    `stamp` is the file's before its header was read.
    """

    path: Path
    changes: Mapping[str, tuple[Change, ...]]
    unused: tuple[str, ...]
    total: int
    factors: Factors
    stamp: Hashable

    @property
    def note(self) -> str:
        """Say how much of the file is not used, if any."""
        if not self.unused:
            return ""
        return f"{len(self.unused)} of the {self.total} tensors in {self.path.name} are not used: {_few(self.unused)}"


def stamp_of(path: Path) -> Hashable:
    """Return a value that changes with a file and peft's beside it; raises `OSError`."""
    return tuple(map(stamp, (path, *beside(path))))


def read(path: Path, part: Part, adapter: str) -> AdapterFile:
    """Return the changes in a file of `adapter` to a transformer; read no weights.

    Raises `LoadFailed` for another kind of file, shapes of another model, and a file of which nothing is used.
    """
    try:
        before = stamp_of(path)
    except OSError as error:
        raise LoadFailed(f"the file of the adapter {adapter} cannot be read: {error.strerror}") from error
    try:
        header = read_header(path, f"the adapter {adapter}")
        factors = factors_of(path, header.metadata, header.entries)
        shapes = {name: tensor.shape for name, tensor in (part.weights.read() if part.weights else {}).items()}
    except FolderError as error:
        raise LoadFailed(error.reason) from error
    matched = _Matched(f"{path.name} of the adapter {adapter}", shapes, factors, header.tensors())
    changes = {weight: found for weight in matched.roles if (found := tuple(matched.changes(weight)))}
    if not changes:
        raise LoadFailed(
            f"{matched.what} must change a {part.class_name}, none of its {matched.total} tensors does: "
            f"{_few(matched.unused) or 'it is empty'}"
        )
    return AdapterFile(path, changes, tuple(matched.unused), matched.total, factors, before)


class _Matched:
    """The tensors of a file by weight and role."""

    def __init__(self, what: str, shapes: Mapping[str, Shape], factors: Factors, tensors: Mapping[str, Tensor]) -> None:
        self.what, self.total = what, len(tensors)
        self.roles: dict[str, dict[Role, str]] = defaultdict(dict)
        self.unused: list[str] = []
        self._shapes, self._factors, self._tensors = shapes, factors, tensors
        names = Names(shapes)
        for name in tensors:
            target = names.target(name)
            if target is None:
                self.unused.append(name)
            elif target.role is Role.DORA:
                raise LoadFailed(f"{what} is a DoRA, by its tensor {name[:100]!r}; LoRAs are run")
            elif (other := self.roles[target.weight].get(target.role)) is not None:
                both = f"{other[:100]} and {name[:100]}"
                raise LoadFailed(f"{what} must hold one adapter, got two tensors for one place: {both}")
            else:
                self.roles[target.weight][target.role] = name

    def changes(self, weight: str) -> Iterator[Change]:
        """Yield the changes of a weight; note the tensors without use."""
        roles, shape = self.roles[weight], self._shapes[weight]
        down, up = roles.get(Role.DOWN), roles.get(Role.UP)
        if down is not None and up is not None:
            if self._fits(weight, _product(self._tensors[down].shape, self._tensors[up].shape), shape, down, up):
                yield LowRank(self._stored(down), self._stored(up), self._factor(weight))
        else:
            self.unused += [name for role, name in roles.items() if role in (Role.DOWN, Role.UP, Role.ALPHA)]
        if (name := roles.get(Role.ADDED)) and self._fits(weight, self._tensors[name].shape, shape, name):
            yield Added(self._stored(name))
        if name := roles.get(Role.ADDED_UP):
            of = f"{weight.removesuffix('bias')}weight"
            if not self._has_product(of):
                self.unused.append(name)
            elif self._fits(weight, self._tensors[name].shape, shape, name):
                yield Added(self._stored(name), self._factor(of))

    def _has_product(self, weight: str) -> bool:
        roles = self.roles.get(weight, {})
        if Role.DOWN not in roles or Role.UP not in roles:
            return False
        got = _product(*(self._tensors[roles[role]].shape for role in (Role.DOWN, Role.UP)))
        return got is not None and _flat(got) == _flat(self._shapes[weight])

    def _fits(self, weight: str, got: Shape | None, shape: Shape, *names: str) -> bool:
        """Say whether a change fits its weight; False at the input alone."""
        if numbers := [name for name in names if not DTYPES[self._tensors[name].dtype].is_floating_point]:
            raise LoadFailed(f"{self.what} must hold floating-point numbers, {numbers[0][:100]} does not")
        if got is not None and _flat(got) == _flat(shape):
            return True
        if weight == INPUT:
            self.unused += names
            return False
        tensors = " and ".join(f"{name[:100]} {self._tensors[name].shape}" for name in names)
        raise LoadFailed(f"{self.what} is for another model: {weight} has the shape {shape}, got {tensors}")

    def _factor(self, weight: str) -> float:
        """Return the factor of the product that changes a weight."""
        roles = self.roles[weight]
        down = roles[Role.DOWN]
        rank = self._tensors[down].shape[0]
        if (name := roles.get(Role.ALPHA)) is None:
            return self._factors.of((weight.removesuffix(".weight"), module_of(down)), rank)
        alpha = float(self._stored(name).read().float().mean()) if prod(self._tensors[name].shape) == 1 else math.nan
        if not math.isfinite(alpha):
            raise LoadFailed(f"{self.what} must have one number as {name[:100]}, got {alpha}")
        return alpha / rank

    def _stored(self, name: str) -> StoredTensor:
        return StoredTensor.of(self._tensors[name])


def _product(down: Shape, up: Shape) -> Shape | None:
    """Return the shape of `up @ down`, None if they do not fit each other."""
    if len(down) < 2 or len(up) < 2 or not down[0] or prod(up[1:]) != down[0]:
        return None
    return (up[0], *down[1:])


def _flat(shape: Shape) -> Shape:
    """Return a shape without its sides of 1."""
    return tuple(side for side in shape if side != 1)


def _few(names: list[str] | tuple[str, ...], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(name[:100] for name in names[:shown]) + more
