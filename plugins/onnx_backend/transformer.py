"""A transformer that ONNX Runtime runs, for Wan's pipelines."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import onnxruntime
import torch
from diffusers import WanTransformer3DModel

from plugins.onnx_backend.graph import FILE, ONNX_TYPES
from plugins.onnx_backend.session import errors_of_torch, open_session
from plugins.wan.generate.cancel_watch import check_cancelled
from router import LoadFailed

INPUTS = {torch.float32: "tensor(float)", torch.float16: "tensor(float16)", torch.bfloat16: "tensor(bfloat16)"}


class OnnxTransformer:
    """A `transformer` of Wan's pipelines with the forward pass of one clip.

    A `framewise` graph takes a timestep for each latent frame. Inputs and outputs stay in torch's memory; on a GPU the
    graph runs on a stream of torch's. After each pass its working memory is freed, which the VAE needs.
    """

    def __init__(
        self,
        folder: Path,
        weights: Mapping[str, torch.Tensor],
        dtype: torch.dtype,
        provider: str,
        device: str,
        engines: Path | None = None,
    ) -> None:
        with torch.device("meta"):  # for its configuration, completed where config.json is older
            self.config = WanTransformer3DModel.from_config(WanTransformer3DModel.load_config(folder)).config
        self.dtype = dtype
        self.device = torch.device(device)
        self.provider = provider
        # the session uses them in place, and does not keep them alive
        self._weights = {name: onnxruntime.OrtValue.from_dlpack(tensor) for name, tensor in weights.items()}
        self._stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        stream = self._stream.cuda_stream if self._stream else None
        self._session = open_session(folder / FILE, self._weights, provider, device, stream, engines)
        if (takes := self._session.get_inputs()[0].type) != INPUTS[dtype]:
            raise LoadFailed(f"{FILE} of {folder.name} must take {INPUTS[dtype]}, as its export says, it takes {takes}")
        self._framewise = self._session.get_inputs()[1].shape != [1]
        self._after = onnxruntime.RunOptions()
        arena = f"gpu:{self.device.index or 0}" if self._stream else "cpu:0"
        self._after.add_run_config_entry("memory.enable_memory_arena_shrinkage", arena)
        if self._stream:
            self._after.add_run_config_entry("disable_synchronize_execution_providers", "1")

    @property
    def nbytes(self) -> int:
        return sum(value.tensor_size_in_bytes() for value in self._weights.values())

    def cache_context(self, name: str, **where: object) -> AbstractContextManager[None]:
        """Do nothing: step caches are diffusers' own."""
        return nullcontext()

    def __call__(
        self,
        hidden_states: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        encoder_hidden_states_image: torch.Tensor | None = None,
        attention_kwargs: object = None,
        return_dict: bool = True,
    ) -> tuple[torch.Tensor]:
        """Return the velocity of latents `(1, c, t, h, w)` in a tuple, as with `return_dict=False`."""
        check_cancelled()  # a session cannot be stopped
        inputs = {
            "hidden_states": hidden_states,
            "timestep": self._times(timestep, hidden_states.shape[2]),
            "encoder_hidden_states": encoder_hidden_states,
        }
        if self.config.image_dim is not None and encoder_hidden_states_image is not None:
            inputs["encoder_hidden_states_image"] = encoder_hidden_states_image
        channels = self.config.out_channels or self.config.in_channels
        output = torch.empty((1, channels, *hidden_states.shape[2:]), dtype=self.dtype, device=self.device)
        self._run({name: self._ready(name, tensor) for name, tensor in inputs.items()}, output)
        return (output,)

    def _times(self, timestep: torch.Tensor, frames: int) -> torch.Tensor:
        """Return timesteps `(t,)` framewise, else `(1,)`, of one or of one per token."""
        if not self._framewise:
            return timestep
        if timestep.ndim == 1:
            return timestep.expand(frames)
        return timestep.view(frames, -1)[:, 0]

    def _ready(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        dtype = torch.float32 if name == "timestep" else self.dtype
        return tensor.to(self.device, dtype).contiguous()

    def _run(self, inputs: Mapping[str, torch.Tensor], output: torch.Tensor) -> None:
        binding = self._session.io_binding()
        kind, index = self.device.type, self.device.index or 0
        for name, tensor in inputs.items():
            binding.bind_input(name, kind, index, ONNX_TYPES[tensor.dtype], tuple(tensor.shape), tensor.data_ptr())
        binding.bind_output("sample", kind, index, ONNX_TYPES[output.dtype], tuple(output.shape), output.data_ptr())
        with errors_of_torch(), self._ordered([*inputs.values(), output]):
            self._session.run_with_iobinding(binding, self._after)

    @contextmanager
    def _ordered(self, tensors: list[torch.Tensor]) -> Iterator[None]:
        """Order the block after torch's queued work and before torch's next work."""
        if self._stream is None:
            yield
            return
        here = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(here)
        try:
            yield
        finally:  # work queued before an error still reads the tensors
            here.wait_stream(self._stream)
            for tensor in tensors:
                tensor.record_stream(self._stream)
