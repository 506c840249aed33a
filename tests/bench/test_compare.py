"""The comparison of two commits."""

import subprocess
import sys

from support.server import ROOT

from bench.tools.compare import compared


def test_rows_are_matched_by_name_and_compared_by_their_medians() -> None:
    old, new = {"boot": [1.0, 2.0, 9.0], "gone": [1.0]}, {"boot": [1.0, 3.0, 3.0], "zero": [0.0]}

    rows = {row["what"]: row for row in compared(old, new, {"boot": "s", "gone": "s", "zero": ""})}

    assert (rows["boot"]["old"], rows["boot"]["new"], rows["boot"]["ratio"]) == (2.0, 3.0, 1.5)
    assert (rows["gone"]["new"], rows["gone"]["ratio"]) == (None, None)
    assert (rows["zero"]["old"], rows["zero"]["ratio"]) == (None, None)


def test_an_unknown_commit_is_refused_with_gits_words() -> None:
    command = [sys.executable, "-m", "bench", "compare", "no-such-commit", "boot", "--rounds", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "no-such-commit" in done.stderr
