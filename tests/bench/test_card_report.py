"""The card run in the documentation."""

import re
from pathlib import Path

from support.server import ROOT

from bench.card import report
from bench.tools.table import Figure, Row, save
from docs.reference.markers import between


def test_without_a_run_the_table_says_so(tmp_path: Path) -> None:
    table = report.short(tmp_path)

    assert table.count(f"| {report.NOT_RUN} |") == len(report.HEADLINES)
    assert "No GPU has run it yet" in table
    assert {figure for _, figure in report.whole(tmp_path)} == {None}


def test_a_run_is_reported_with_the_cards_name(tmp_path: Path) -> None:
    device = Figure(
        "card_device",
        "t",
        (Row("a product of 8192 x 8192 random bf16 matrices, median of 5", 780.4, "TFLOP/s"),),
        ("torch 2.11.0", "NVIDIA H200, capability 9.0, 132 multiprocessors"),
    )
    sizes = Figure(
        "card_sizes",
        "t",
        (
            Row("14B, 832x480x81: ours, of that rate", 88.6, "%", least=88.0),
            Row("14B, 832x480x81: ours / diffusers", 0.61, "times"),
            Row("5B, 1280x704x121: ours / diffusers", 0.64, "times"),
        ),
    )
    for figure in (device, sizes):
        save(figure, {}, tmp_path)

    table = report.short(tmp_path)

    assert "| bf16 products of 8192 x 8192 | 780 TFLOP/s |  |" in table
    assert "| A14B 832x480x81: share of the product rate | 88.6 % | 88 % |" in table
    assert "| TI2V-5B 1280x704x121: share of the product rate | not run | 86 % |" in table
    assert "| our forward pass / diffusers', the worst | 0.64 times | 1 |" in table
    assert table.endswith("On one NVIDIA H200, by `script/card`.")


def test_the_pages_have_the_saved_figures() -> None:
    short = between((ROOT / "docs" / "speed-and-memory.md").read_text(), "card")
    whole = between((ROOT / "bench" / "README.md").read_text(), "card")

    assert short == f"{report.short()}\n"
    assert re.findall(r"^### (.*)$", whole, re.MULTILINE) == [heading for heading, _ in report.whole()]
