"""Parsing of event streams."""

import json
from collections.abc import Iterable
from typing import Any

Event = dict[str, Any]


def parse(data: bytes) -> list[Event]:
    """Return the events of a stream's bytes, comments and the final `[DONE]` left out."""
    return [event for piece in data.split(b"\n\n") if (event := _event(piece)) is not None]


def _event(piece: bytes) -> Event | None:
    if not piece.startswith(b"event: "):
        assert piece in (b"", b"data: [DONE]") or piece.startswith(b":"), piece
        return None
    kind, data = piece.split(b"\n")
    event = json.loads(data.removeprefix(b"data: "))
    assert kind == f"event: {event['type']}".encode()
    return event


def kinds(events: Iterable[Event]) -> list[str]:
    """Return the types without their prefix and without repetitions."""
    names = [event["type"].removeprefix("response.") for event in events]
    return [name for before, name in zip([None, *names], names, strict=False) if name != before]


def numbers(events: Iterable[Event]) -> list[int]:
    return [event["sequence_number"] for event in events]
