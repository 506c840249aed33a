"""`python -m nano.train`: train Wan Nano from scratch, or resume its training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from transformers import PreTrainedTokenizerFast, UMT5EncoderModel

from nano import parts
from nano.family import WEIGHTS
from nano.training import diffusion, text, vae
from nano.training.adapter_stages import AdapterStudio
from nano.training.export import export
from nano.training.latents import BRIEF, SIZES, Latents, fit_colours, latents, measure_scale
from nano.training.loop import Loss, M, Plan, train
from nano.training.plot import plot_losses


@click.command()
@click.option("--work", type=click.Path(path_type=Path), default=Path("build/nano"), help="checkpoints and losses")
@click.option("--weights", type=click.Path(path_type=Path), default=WEIGHTS, help="where the trained family goes")
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu")
@click.option("--compile/--no-compile", default=True, help="compile the transformers' blocks (needs a C++ compiler)")
@click.option("--brief", is_flag=True, help="two steps of each stage, with small clips: to see that it runs")
@click.option("--until", type=click.Choice(["text", "vae", *(task.plan.name for task in diffusion.TASKS)]))
@click.option("--adapters", is_flag=True, help="train the adapters alone, from the weights that are there")
def main(work: Path, weights: Path, device: str, compile: bool, brief: bool, until: str | None, adapters: bool) -> None:
    """Train the family, or resume its training, and write its weights."""
    torch.set_float32_matmul_precision("high")
    if adapters:
        AdapterStudio(weights, work, torch.device(device), brief).run()
        return
    studio = Studio(work, torch.device(device), compile, brief)
    tokenizer, encoder = studio.text()
    if until == "text":
        return
    coder = studio.vae()
    if until == "vae":
        return
    data = studio.latents(coder)
    transformers: dict[str, WanTransformer3DModel] = {}
    for task in diffusion.TASKS:
        transformers[task.plan.name] = studio.transformer(task, transformers, data, tokenizer, encoder)
        if until == task.plan.name:
            return
    export(weights, tokenizer, encoder, coder, transformers, fit_colours(coder))
    AdapterStudio(weights, work, torch.device(device), brief).run()
    plot_losses(work, weights.parent / "losses.png")
    print(f"{weights}: {sum(path.stat().st_size for path in weights.rglob('*') if path.is_file()) / 1e6:.1f} MB")


@dataclass(frozen=True)
class Studio:
    """The stages of the training; each returns its trained modules."""

    work: Path
    device: torch.device
    compile: bool
    brief: bool

    def text(self) -> tuple[PreTrainedTokenizerFast, UMT5EncoderModel]:
        tokenizer = text.make_tokenizer()
        reader = parts.seeded(2, lambda: text.Reader(parts.text_encoder())).to(self.device)
        trained = self._train(text.PLAN, reader, text.loss(reader, tokenizer, self.device))
        return tokenizer, trained.encoder.eval()

    def vae(self) -> AutoencoderKLWan:
        model = vae.channels_last(parts.seeded(1, parts.vae)).to(self.device)
        losses = vae.losses(model, self.device)
        whole = [self._train(plan, model, losses[plan.name]) for plan in vae.PLANS][-1].eval()
        trained = self._train(vae.DECODER, whole, vae.decoder_loss(whole, self.device)).eval()
        measure_scale(trained)
        return trained

    def transformer(
        self,
        task: diffusion.Task,
        before: dict[str, WanTransformer3DModel],
        data: Sequence[Latents],
        tokenizer: PreTrainedTokenizerFast,
        encoder: UMT5EncoderModel,
    ) -> WanTransformer3DModel:
        model = parts.seeded(3, lambda: parts.transformer(task.in_channels))
        if task.start is not None:
            diffusion.start_from(model, before[task.start].state_dict())
        model.to(self.device)
        embed = diffusion.texts(tokenizer, encoder, self.device)
        loss = diffusion.loss(task, model, data, embed, self.device)
        if self.compile:
            model.compile_repeated_blocks(dynamic=False)
        return self._train(task.plan, model, loss).eval()

    def latents(self, coder: AutoencoderKLWan) -> list[Latents]:
        return [latents(coder, size, self.work) for size in (BRIEF if self.brief else SIZES)]

    def _train(self, plan: Plan, module: M, loss: Loss) -> M:
        return train(replace(plan, steps=2) if self.brief else plan, module, loss, self.work)


if __name__ == "__main__":
    main()
