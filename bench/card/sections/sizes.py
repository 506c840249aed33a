"""Forward passes and VAEs at true size, diffusers' and ours, the most valuable first."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
from diffusers import WanTransformer3DModel

from bench.card import dit, models, vae
from bench.card.session import Check, Finding, Session
from bench.card.shapes import TRUE, Dit
from bench.tools.table import Row
from plugins.diffusers_backend.dit.network import Network
from plugins.diffusers_backend.dit.timestep_embedding import embed_timesteps
from plugins.wan.tuning.switches import Switches

COMPILED = ("5B", "1.3B")  # the time limit allows no more
FEW_BLOCKS, MOST_ADDED = 4, 0.03  # of a pass with adapters
LARGE = "14B, 1280x720x81"  # a pass takes ten seconds: one round, and late


def forwards(word: str, rounds: int, session: Session) -> Iterator[Finding]:
    name, each = session.shape(session.shapes.dits, word)
    model = models.transformer(each.config, session.device)
    with torch.no_grad():
        yield from dit.forward(name, each, session.clock(rounds=rounds), model)


def adapted(session: Session) -> Iterator[Finding]:
    name, each = session.shape(session.shapes.dits, "14B, 832")
    few = replace(each, config={**each.config, "num_layers": FEW_BLOCKS})
    model = models.transformer(few.config, session.device)
    with torch.no_grad():
        most = None if session.is_toy else MOST_ADDED
        yield from dit.adapted(f"{name}, {FEW_BLOCKS} blocks", few, session.clock(rounds=3), model, most)
    _free(session)


def quantised(session: Session) -> Iterator[Finding]:
    name, each = session.shape(session.shapes.dits, "14B, 832")
    few = replace(each, config={**each.config, "num_layers": FEW_BLOCKS})
    model = models.transformer(few.config, session.device)
    with torch.no_grad():
        yield from dit.quantised(f"{name}, {FEW_BLOCKS} blocks", few, session.clock(rounds=3), model)
    _free(session)


def compiled(session: Session) -> Iterator[Finding]:
    wanted = [session.shape(session.shapes.dits, word) for word in COMPILED]
    if session.is_toy:  # one block is enough to check the code
        name, toy = wanted[0]
        wanted = [(name, replace(toy, config={**toy.config, "num_layers": 1}))]
    for name, each in wanted:
        model = models.transformer(each.config, session.device)
        with torch.no_grad():
            yield from dit.compiled(name, each, session.clock(rounds=2), model)


def errors(session: Session) -> Iterator[Finding]:
    for name, each in session.shapes.dits.items():
        if name != LARGE:
            with torch.no_grad():
                yield from dit.error(name, each, session.clock())
            _free(session)


def decoding(session: Session) -> Iterator[Finding]:
    for name, each in session.shapes.vaes.items():
        yield from vae.decode(name, each, session.clock(rounds=1))
        _free(session)


def encoding(session: Session) -> Iterator[Finding]:
    for name, each in session.shapes.vaes.items():
        frames = each.latents[1] if "2.1" in name else 1  # TI2V-5B encodes one image, A14B a whole clip
        channels, _, *size = each.latents
        shown = replace(each, latents=(channels, frames, *size))
        yield from vae.encode(f"{name}, {1 + 4 * (frames - 1)} frames", shown, session.clock(rounds=1))
        _free(session)


def without_numbers(session: Session) -> Iterator[Finding]:
    """Run our pass at every true size on meta tensors."""
    wrong = 0
    for each in TRUE.dits.values():
        with torch.no_grad():
            wrong += _by_shapes(each) != (1, each.config["out_channels"], *each.latents)
    yield Row(f"true sizes whose pass gives another shape, of {len(TRUE.dits)}", wrong, "", 1)


def _by_shapes(each: Dit) -> tuple[int, ...]:
    """Return the output shape of our pass on meta tensors, with all kernels on."""
    with torch.device("meta"):
        model = WanTransformer3DModel(**{**each.config, "num_layers": 2}).to(torch.bfloat16)
        latents = torch.empty(1, each.config["in_channels"], *each.latents, dtype=torch.bfloat16)
        embeds = torch.empty(1, 512, each.config["text_dim"], dtype=torch.bfloat16)
        prepared = Network(model, Switches(), None).prepare(latents, embeds, 1)
        kernels = {"rope_kernel": True, "norm_kernel": True, "fused_gelu": True, "attention": "_native_cudnn"}
        ready = replace(prepared, kernels=prepared.kernels._replace(**kernels))
        return tuple(ready(latents, embed_timesteps(model, torch.empty(1))).shape)


def _free(session: Session) -> None:
    if not session.is_toy:
        torch.cuda.empty_cache()


CHECKS: dict[str, Check] = {
    "true sizes without numbers": without_numbers,
    "TI2V-5B": partial(forwards, "5B", 2),
    "A14B, an expert": partial(forwards, "14B, 832", 2),
    "1.3B": partial(forwards, "1.3B", 2),
    "VAEs, decoding": decoding,
    "A14B with adapters": adapted,
    "A14B with weights in codes": quantised,
    "errors of a slice": errors,
    "A14B at 720p": partial(forwards, LARGE, 1),
    "compiled blocks": compiled,
    "VAEs, encoding": encoding,
}
