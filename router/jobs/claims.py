"""Whose turn it is, as far as the store knows: asked and noted inside the transaction that claims."""

from __future__ import annotations

import json

from sqlalchemy import Connection

from router.jobs import statements as sql
from router.jobs.scheduling import ClaimRequest, QueueHead, SchedulingPolicy, choose
from router.runtime import clock


def take_turn(
    db: Connection, engine: str, offer: ClaimRequest, rules: SchedulingPolicy, seen_since: float
) -> int | None:
    """Return the row of the job that `engine` is to claim, and note whom it overtakes; None if there is none."""
    heads = _heads(db, engine, offer, rules, seen_since)
    if not heads:
        return None
    chosen = _chosen(db, heads, offer, rules)
    overtaken = [head.seq for head in heads if head.priority == chosen.priority and head.seq < chosen.seq]
    db.execute(sql.NEXT_TURN)
    if overtaken:
        db.execute(sql.OVERTAKEN, {"_seqs": overtaken, "_now": clock.now()})
    return chosen.seq


def _heads(
    db: Connection, engine: str, offer: ClaimRequest, rules: SchedulingPolicy, seen_since: float
) -> list[QueueHead]:
    """Return the first job of each model that `engine` may run now."""
    crowded = _crowded(db, engine, offer, seen_since)
    models = [model for model in offer.models if model not in crowded]
    wanted = {"models": json.dumps(models), "key_running": rules.key_running}
    return [QueueHead(**row) for row in db.execute(sql.HEADS, wanted).mappings()]


def _chosen(db: Connection, heads: list[QueueHead], offer: ClaimRequest, rules: SchedulingPolicy) -> QueueHead:
    turn: int = db.execute(sql.TURN).scalar_one()
    return choose(heads, offer.loaded, turn, clock.now(), rules.overtake_seconds)


def _crowded(db: Connection, engine: str, offer: ClaimRequest, seen_since: float) -> set[str]:
    """Return the models that are on as many other engines as they may be.

    Where several engines have loaded one before they knew of each other, the first by name go on with it.
    """
    if not offer.most:
        return set()
    holders: dict[str, set[str]] = {model: {engine} if model in offer.loaded else set() for model in offer.most}
    for row in db.execute(sql.RUNNING).mappings():
        holders.get(row["model"], set()).add(row["engine"])
    for row in db.execute(sql.RESIDENT, {"_boot": clock.boot(), "_since": seen_since}).mappings():
        for model in json.loads(row["resident"]):
            holders.get(model, set()).add(row["id"])
    return {model for model, most in offer.most.items() if not _has_room(engine, holders[model], most)}


def _has_room(engine: str, holders: set[str], most: int) -> bool:
    return engine in sorted(holders)[:most] if engine in holders else len(holders) < most
