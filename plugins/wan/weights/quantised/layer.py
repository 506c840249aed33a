"""A linear layer whose weight is in codes."""

from collections.abc import Mapping

import torch

from plugins.wan.weights.quantised.codes import DTYPES, Codes, Weight, dense, product
from registry.folders.dtypes import BLOCKS

CODES, SCALE = "codes", "scale"  # its parameters, beside the bias


class QuantisedLinear(torch.nn.Linear):
    """A linear layer that makes plain numbers of its codes for each product.

    `format` is fp8, int8 or a format of GGUF; products are in the dtype of their input.
    """

    def __init__(self, rows: int, columns: int, form: str, dtype: torch.dtype, bias: torch.nn.Parameter | None) -> None:
        torch.nn.Module.__init__(self)  # nn.Linear's own would make a weight
        self.training = False  # it is for inference alone
        self.in_features, self.out_features, self.format, self.dtype = columns, rows, form, dtype
        self.register_parameter("bias", bias)
        for name, (shape, kind) in layout(form, (rows, columns)).items():
            empty = torch.empty(shape, dtype=kind, device="meta")
            self.register_parameter(name, torch.nn.Parameter(empty, requires_grad=False))

    @property
    def weight(self) -> torch.Tensor:  # type: ignore[override]
        """A tensor of the weight's shape and dtype, without its numbers."""
        return torch.empty(self.out_features, self.in_features, dtype=self.dtype, device="meta")

    def as_dense(self) -> torch.nn.Linear:
        """Return a layer of plain numbers, with memory of its own."""
        with torch.device("meta"):
            layer = torch.nn.Linear(self.in_features, self.out_features, bias=False)
        layer.weight = torch.nn.Parameter(dense(weight_of(self), self.dtype), requires_grad=False)
        layer.bias = self.bias
        return layer.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return product(x, weight_of(self), self.bias)


def layout(form: str, shape: tuple[int, ...]) -> Mapping[str, tuple[tuple[int, ...], torch.dtype]]:
    """Return the shapes and dtypes of a layer's codes and scales, by parameter."""
    rows, columns = shape
    if block := BLOCKS.get(form):
        return {CODES: ((rows, columns // block.numbers * block.size), torch.uint8)}
    return {CODES: ((rows, columns), DTYPES[form]), SCALE: ((rows, 1), torch.float32)}


def weight_of(layer: torch.nn.Module) -> Weight:
    """Return the weight of a linear layer: a plain tensor, or codes."""
    parameters = layer._parameters
    codes = parameters.get(CODES)
    if codes is not None:
        return Codes(codes, parameters.get(SCALE), vars(layer)["format"])
    weight = parameters["weight"]
    assert weight is not None
    return weight


def quantise_layers(module: torch.nn.Module, formats: Mapping[str, tuple[str, torch.dtype]]) -> None:
    """Replace linear layers by empty quantised ones, by the format and dtype of weights."""
    for name, (form, dtype) in formats.items():
        parent, _, child = name.removesuffix(".weight").rpartition(".")
        holder = module.get_submodule(parent)
        layer = getattr(holder, child)
        setattr(holder, child, QuantisedLinear(layer.out_features, layer.in_features, form, dtype, layer.bias))
