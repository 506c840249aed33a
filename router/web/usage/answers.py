"""The answer of `/v1/usage`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from router.accounting.ledger_rows import FIELDS, LOAD, LedgerRow, LedgerSum, total, totals
from router.values import Outcome
from router.web.answer_fields import Answer, constant, integer, nested, number, one_of, string
from router.web.usage.budgets import BudgetAnswer

DAY = "such as 2026-12-01, in UTC"


class JobCounts(Answer):
    """Jobs by how they ended, and the attempts lost before."""

    completed = integer("with a file")
    failed = integer("with an error")
    cancelled = integer("cancelled or deleted while they ran")
    lost = integer("attempts that ended with their engine: their seconds cost nothing")


class UsageSum(Answer):
    """What completed, failed and cancelled jobs used together."""

    jobs = nested(JobCounts, "how many of them, and lost attempts")
    gpu_seconds = number("of their own work on a device, without loads of models")
    steps = integer("denoising steps that were done")
    frames = integer("frames that were made")
    total_pixels = integer("pixels of all these frames together", lambda found: found["pixels"])
    cost = number("the seconds times the price of the model when each job was accepted")
    lost_gpu_seconds = number("of lost attempts, up to their last reports: in no other figure")


class UsageRow(UsageSum):
    """What an owner used with one key and model on one day."""

    class Meta(Answer.Meta):
        fields = (*FIELDS[:3], "key_name", FIELDS[3], *UsageSum._declared_fields)

    day = string(f"on which the jobs ended, {DAY}")
    owner = string("whose jobs they were; `local` on a server without keys")
    key = string("the id of the key that asked for them, null without one", none=True)
    key_name = string("the name of that key", none=True)
    model = string("which model ran")


class ModelLoads(Answer):
    """The loads of a model on one day, which are in nobody's usage."""

    day = string(DAY)
    model = string("which model was loaded")
    count = integer("how often, warm-ups included")
    seconds = number("how long they took together")


class UsageReport(Answer):
    """Used work by day, owner, key and model, the newest day first."""

    object = constant("its kind", "list")
    since = string(f"the first day, {DAY}")
    until = string(f"the last day, {DAY}")
    data = one_of("the rows that this key may see", UsageRow)
    model_loads = one_of("the server's loads, for keys of scope `admin`, and on a server without keys", ModelLoads)
    total = nested(UsageSum, "the sums of all rows")
    budgets = one_of(
        "those of the key and the owner that were asked for, else of the key that asks and of its owner", BudgetAnswer
    )


REPORT, ROW, SUM, LOADS = UsageReport(), UsageRow(), UsageSum(), ModelLoads()


def render(
    since: str,
    until: str,
    rows: Iterable[LedgerRow],
    key_names: Mapping[str, str],
    budgets: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the report on rows of the ledger; `key_names` are by id, `budgets` rendered."""
    used = [row for row in rows if row.outcome != LOAD]
    loads = [row for row in rows if row.outcome == LOAD]
    return REPORT.dump(
        {
            "since": since,
            "until": until,
            "data": [_row(found, key_names, *names) for names, found in totals(used, FIELDS)],
            "model_loads": [_loads(found, *names) for names, found in totals(loads, ("day", "model"))],
            "total": _plain(total(used)),
            "budgets": budgets,
        }
    )


def _row(found: LedgerSum, key_names: Mapping[str, str], day: str, owner: str, key: str, model: str) -> dict[str, Any]:
    names = {"day": day, "owner": owner, "key": key or None, "key_name": key_names.get(key), "model": model}
    return ROW.dump({**names, **_plain(found)})


def _plain(found: LedgerSum) -> dict[str, Any]:
    used = found.used
    return {
        **vars(used),
        "jobs": {outcome.value: found.jobs[outcome] for outcome in Outcome},
        "gpu_seconds": round(used.gpu_seconds, 3),
        "cost": round(used.cost, 6),
        "lost_gpu_seconds": round(found.lost_gpu_seconds, 3),
    }


def _loads(found: LedgerSum, day: str, model: str) -> dict[str, Any]:
    return LOADS.dump({"day": day, "model": model, "count": found.loads, "seconds": round(found.load_seconds, 3)})
