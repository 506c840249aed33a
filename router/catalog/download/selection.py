"""The files of a repository that a download brings."""

import glob
import posixpath
from fnmatch import fnmatch
from typing import NamedTuple

from registry.adapters import PEFT_CONFIG
from registry.folders.weights import SUFFIX

OF_MODELS = ("*.json", "*.safetensors", "*.model", "*.txt", "*.onnx", "*.onnx.data", "*.onnx_data")


class Selection(NamedTuple):
    """The files of `names`, and peft's beside them; without names a model's.

    Of a model the weights of the parts in `without` are left out; their configurations are not.
    """

    names: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def patterns(self) -> list[str]:
        beside = (posixpath.join(posixpath.dirname(name), PEFT_CONFIG) for name in self.names)
        return [glob.escape(name) for name in dict.fromkeys((*self.names, *beside))] or list(OF_MODELS)

    @property
    def left_out(self) -> list[str]:
        """Patterns that go before the others."""
        return [f"{glob.escape(part)}/*{SUFFIX}" for part in self.without]

    def has(self, path: str) -> bool:
        return any(fnmatch(path, each) for each in self.patterns) and not any(
            fnmatch(path, each) for each in self.left_out
        )


MODEL = Selection()
