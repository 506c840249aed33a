"""Train the text encoder to classify captions by mean and last token."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast, UMT5EncoderModel

from nano import parts
from nano.captions import FULL, MOTION, PARTIAL, Caption, describe, vocabulary
from nano.scene import BACKGROUNDS, COLOURS, DIRECTIONS, SHAPES, subjects
from nano.training.loop import Draw, Loss, Plan

PLAN = Plan("text", steps=500, rate=1e-3, decay=0.05)
SLOTS = 32  # the most tokens of a caption of the grammar; the rest of 512 rows is padding
ASPECTS = {"colour": tuple(COLOURS), "shape": SHAPES, "direction": tuple(DIRECTIONS), "background": tuple(BACKGROUNDS)}
_KNOWN = subjects(held_out=False)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with each word of the grammar as one token."""
    return parts.tokenizer(text for text in vocabulary() for _ in range(2))


def draw_caption(rng: np.random.Generator) -> Caption:
    """Return a random caption of a random subject: full, partial, or empty."""
    subject = _KNOWN[rng.integers(len(_KNOWN))]
    kind = rng.random()
    if kind < 0.06:
        return Caption("", None, None, None, None)
    return describe(subject, rng, FULL if kind < 0.6 else PARTIAL if kind < 0.8 else MOTION)


class Reader(torch.nn.Module):
    """The encoder with two linear heads for each aspect; only the encoder is kept."""

    def __init__(self, encoder: UMT5EncoderModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.from_mean, self.from_last = _heads(), _heads()


def _heads() -> torch.nn.ModuleDict:
    """Return a head for each aspect; the last class is for omission."""
    return torch.nn.ModuleDict(
        {aspect: torch.nn.Linear(parts.TEXT_DIM, len(values) + 1) for aspect, values in ASPECTS.items()}
    )


def embed(encoder: UMT5EncoderModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the embedding `(b, SLOTS, d)`, zeros for padding as in the pipelines."""
    hidden: torch.Tensor = encoder(ids, mask).last_hidden_state
    return hidden * mask.unsqueeze(-1)


def tokenize(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and mask, `(b, SLOTS)`; raise `ValueError` for a longer text."""
    # the pipelines clean a text, so their tokenizer sees no blanks at the ends
    batch = tokenizer([text.strip() for text in texts], padding="max_length", max_length=SLOTS, return_tensors="pt")
    if batch.input_ids.shape[1] != SLOTS:
        raise ValueError(f"a caption has {batch.input_ids.shape[1]} tokens, at most {SLOTS} fit")
    return batch.input_ids, batch.attention_mask


def loss(reader: Reader, tokenizer: PreTrainedTokenizerFast, device: torch.device) -> Loss:

    def step(draw: Draw) -> dict[str, torch.Tensor]:
        captions = [draw_caption(draw.rng) for _ in range(128)]
        ids, mask = (tensor.to(device) for tensor in tokenize(tokenizer, [caption.text for caption in captions]))
        hidden = embed(reader.encoder, ids, mask)
        mean = hidden.sum(dim=1) / mask.sum(dim=1, keepdim=True)
        last = hidden[torch.arange(len(captions)), mask.sum(dim=1) - 1]
        total, right = torch.zeros((), device=device), []
        for aspect, values in ASPECTS.items():
            classes = [_class(getattr(caption, aspect), values) for caption in captions]
            answer = torch.tensor(classes, device=device)
            for heads, features in ((reader.from_mean, mean), (reader.from_last, last)):
                scores = heads[aspect](features)
                total = total + torch.nn.functional.cross_entropy(scores, answer)
                right.append((scores.argmax(dim=1) == answer).float().mean())
        return {"loss": total, "accuracy": torch.stack(right).mean()}

    return step


def _class(value: str | None, values: Sequence[str]) -> int:
    return len(values) if value is None else values.index(value)
