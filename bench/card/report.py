"""The card run in the documentation: a short table, and all sections."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.card.plan import SECTIONS
from bench.card.shapes import TRUE
from bench.tools.table import RESULTS, Figure, Row, load, number

NOT_RUN = "not run"
CARD = re.compile(r"^(.+), capability \d")  # the card's name in a note of the section `device`


@dataclass(frozen=True)
class Headline:
    """A line of the short table: the worst of the rows matching `row`."""

    what: str
    section: str
    row: str
    worst: Callable[..., Row | None]  # min or max
    wanted: str = ""


def _share(what: str, size: str) -> Headline:
    wanted = f"{TRUE.dits[size].wanted:g} %"
    return Headline(f"{what}: share of the product rate", "sizes", f"^{size}: ours, of that rate", min, wanted)


HEADLINES = (
    Headline("bf16 products of 8192 x 8192", "device", "^a product of 8192", min),
    Headline("videos in fp32 against a CPU's, the worst", "truth", ", fp32, against the CPU's fp32$", min),
    Headline("videos in bf16 against a CPU's, the worst", "truth", ", bf16, against the CPU's fp32$", min),
    Headline("videos whose bytes a seed did not give again", "truth", "^same seed, other bytes", max),
    _share("A14B 832x480x81", "14B, 832x480x81"),
    _share("TI2V-5B 1280x704x121", "5B, 1280x704x121"),
    _share("1.3B 832x480x81", "1.3B, 832x480x81"),
    Headline("our forward pass / diffusers', the worst", "sizes", ": ours / diffusers$", max, "1"),
    Headline("our VAE decoding / diffusers', the worst", "sizes", "decode, ours / diffusers$", max, "0.56"),
    Headline("a whole job of TI2V-5B, 1280x704x121, 4 steps, with its load", "job", "^the whole job", max),
    Headline("all of Wan 2.2 resident", "job", "^allocated with all three resident", max, "138.0 GB"),
)


def short(results: Path = RESULTS) -> str:
    found = _figures(results)
    lines = ["| on one GPU | measured | wanted |", "|---|---:|---:|"]
    for line in HEADLINES:
        rows = found[line.section].rows if line.section in found else ()
        matching = [row for row in rows if re.search(line.row, row.what)]
        row = line.worst(matching, key=lambda row: row.value, default=None)
        measured = NOT_RUN if row is None else number(row.value, row.unit)
        lines.append(f"| {line.what} | {measured} | {line.wanted or (row.wanted if row else '')} |")
    return "\n".join(lines) + f"\n\n{_where(found)}"


def whole(results: Path = RESULTS) -> Iterable[tuple[str, Figure | None]]:
    found = _figures(results)
    for name, section in SECTIONS.items():
        yield f"card {name}: {section.title}", found.get(name)


def _figures(results: Path) -> dict[str, Figure]:
    known = {name: load(f"card_{name}", results) for name in SECTIONS}
    return {name: each[0] for name, each in known.items() if each is not None}


def _where(found: dict[str, Figure]) -> str:
    notes = found["device"].notes if "device" in found else ()
    names = [match[1] for note in notes if (match := CARD.match(note))]
    if not names:
        return "No GPU has run it yet; on a machine with one, `script/card` does, in five minutes."
    return f"On one {names[0]}, by `script/card`."
