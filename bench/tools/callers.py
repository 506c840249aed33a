"""Calls of every kind: wait, poll, stream, cancel, disconnect, mismatch."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum, auto
from random import Random

import numpy as np

from bench.tools.server import data_url, message, request_body

SMALL = "width: 64, height: 64, num_frames: 17, frames_per_second: 8, negative_prompt: ''"
QUICK = f"backend: still, defaults: {{{SMALL}, steps: 8}}"
STEADY = f"backend: still, options: {{step_seconds: 0.02}}, defaults: {{{SMALL}, steps: 2}}, limits: {{steps: 1000}}"
MODELS = f"""
models:
  t2v: {{modality: t2v, {QUICK}}}
  i2v: {{modality: i2v, {QUICK}}}
  ti2v: {{modality: ti2v, {STEADY}}}
"""
STRICT = ("t2v", "i2v")  # the models that refuse some inputs
ENDLESS = 1000  # steps: twenty seconds
LONGISH = 25  # steps: some cancels come before the job runs, some during the run and some too late
LONGEST_PATIENCE = 1.0  # seconds
PICTURE = data_url(np.frombuffer(Random(6).randbytes(64 * 64 * 3), np.uint8).reshape(64, 64, 3))
CANCELS, LEAVES, MISMATCHES, RETRIES = 0.05, 0.05, 0.05, 0.1  # shares of the jobs


class Kind(StrEnum):
    """The behaviour of a caller once its request is sent."""

    WAIT = auto()
    POLL = auto()
    STREAM = auto()
    CANCEL = auto()
    LEAVE = auto()  # before the answer
    LEAVE_STREAM = auto()  # in the middle of it
    MISMATCH = auto()


PATIENT = (Kind.WAIT, Kind.POLL, Kind.STREAM)
LEAVERS = (Kind.LEAVE, Kind.LEAVE_STREAM)
IMPATIENT = (*LEAVERS, Kind.CANCEL)  # their jobs have many steps, on the model whose steps take time


@dataclass(frozen=True)
class Call:
    """One call.

    With a `key` its job survives a disconnect, and a patient caller sends it twice. `seconds` is the time until a
    cancel or a disconnect.
    """

    number: int
    kind: Kind
    model: str
    image: bool
    key: str | None
    seconds: float

    @property
    def fates(self) -> frozenset[str]:
        """The possible final statuses of the job; empty if there must be no job."""
        if self.kind is Kind.MISMATCH:
            return frozenset()
        if self.kind is Kind.CANCEL:
            return frozenset({"completed", "cancelled"})
        return frozenset({"cancelled" if self.endless else "completed"})

    @property
    def endless(self) -> bool:
        """Whether the job must be cancelled after its caller disconnects."""
        return self.kind in LEAVERS and self.key is None

    def body(self) -> bytes:
        """Return the request; its metadata carry the call's number into the job's row."""
        steps = {"provider_options": {"video": {"steps": self._steps}}} if self._steps else {}
        how = {Kind.POLL: "background", Kind.CANCEL: "background", Kind.STREAM: "stream", Kind.LEAVE_STREAM: "stream"}
        more = {how[self.kind]: True} if self.kind in how else {}
        what = message(f"ball {self.number}", PICTURE if self.image else None)
        return request_body(self.model, what, metadata={"call": str(self.number)}, **steps, **more)

    @property
    def _steps(self) -> int | None:
        return ENDLESS if self.endless else LONGISH if self.kind is Kind.CANCEL else None


def plan(jobs: int, seed: int = 6) -> tuple[Call, ...]:
    """Return calls for `jobs` jobs in random order, and mismatches besides."""
    rng = Random(seed)
    kinds = [Kind.MISMATCH] * round(jobs * MISMATCHES) + [Kind.CANCEL] * round(jobs * CANCELS)
    kinds += [LEAVERS[n % 2] for n in range(round(jobs * LEAVES))]
    patient = jobs + round(jobs * MISMATCHES) - len(kinds)
    kinds += [PATIENT[n % 3] for n in range(patient)]
    rng.shuffle(kinds)
    return tuple(_call(number, kind, rng) for number, kind in enumerate(kinds))


def jobs_in(calls: Sequence[Call]) -> int:
    return sum(call.kind is not Kind.MISMATCH for call in calls)


def _call(number: int, kind: Kind, rng: Random) -> Call:
    model = "ti2v" if kind in IMPATIENT else rng.choice(STRICT if kind is Kind.MISMATCH else (*STRICT, "ti2v"))
    fitting = {"t2v": False, "i2v": True, "ti2v": rng.random() < 0.5}[model]
    image = fitting is not (kind is Kind.MISMATCH)
    keyed = rng.random() < (0.5 if kind in LEAVERS else RETRIES if kind in PATIENT else 0)
    return Call(number, kind, model, image, f"key-{number}" if keyed else None, rng.uniform(0, LONGEST_PATIENCE))
