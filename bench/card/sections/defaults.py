"""The gain of each default: times with one switch changed."""

from collections.abc import Iterator

import torch

from bench.card import dit, models, vae
from bench.card.session import Check, Finding, Session

DIT, VAE = "1.3B", "VAE 2.1"  # the smallest: most rounds in the time, largest share of small operations


def transformer(session: Session) -> Iterator[Finding]:
    name, each = session.shape(session.shapes.dits, DIT)
    model = models.transformer(each.config, session.device)
    with torch.no_grad():
        yield from dit.parts(name, each, session.clock(rounds=3), model)


def decoder(session: Session) -> Iterator[Finding]:
    name, each = session.shape(session.shapes.vaes, VAE)
    yield from vae.parts(name, each, session.clock(rounds=1))


def small_clips(session: Session) -> Iterator[Finding]:
    name, each = session.shape(session.shapes.dits, DIT)
    with torch.no_grad():
        yield from dit.guidance(name, each, session.shapes.small, session.clock(rounds=3))


CHECKS: dict[str, Check] = {
    "switches of the transformer": transformer,
    "small clips": small_clips,
    "switches of the VAE": decoder,
}
