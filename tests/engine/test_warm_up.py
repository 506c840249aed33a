"""Warming up: an engine that it ended is replaced by one that leaves it."""

from __future__ import annotations

from pathlib import Path

from router.engine.warm_up import crash_note


def test_a_start_that_went_well_leaves_no_note(tmp_path: Path) -> None:
    note = tmp_path / "devices" / "cpu.warming"
    with crash_note(note) as is_safe:
        assert (is_safe, note.is_file()) == (True, True)

    assert not note.exists()


def test_the_note_of_ones_own_supervisor_says_no_and_stays(tmp_path: Path) -> None:
    note = tmp_path / "cpu.warming"
    with crash_note(note):
        left = note.read_text()
    note.write_text(left)  # as an engine leaves it that was killed
    for _ in range(2):
        with crash_note(note) as is_safe:
            assert not is_safe


def test_the_note_of_another_supervisor_says_nothing(tmp_path: Path) -> None:
    note = tmp_path / "cpu.warming"
    note.write_text("1 1")
    with crash_note(note) as is_safe:
        assert is_safe


def test_where_no_note_can_be_left_nothing_is_warmed_up(tmp_path: Path) -> None:
    note = tmp_path / "cpu.warming"
    note.mkdir()  # as little writable as a file of a full disk
    with crash_note(note) as is_safe:
        assert not is_safe
