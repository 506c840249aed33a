"""What a request would be and take, if it were sent now."""

from dataclasses import dataclass

from registry import ModelSpec
from router.values import Estimate, Task


@dataclass(frozen=True)
class RequestEstimate:
    """A request's effective task and its expected seconds, None if unknown.

    `seed` is the caller's, None where the server would draw one. `work` is the job's own; `load` are the seconds of a
    load of its model, 0 where an engine has it loaded; `remaining` are those until the job would be done.
    """

    model: ModelSpec
    task: Task
    seed: int | None
    warnings: tuple[str, ...]
    work: Estimate | None
    load: float | None
    remaining: float | None

    @property
    def cost(self) -> float | None:
        """The expected price of the job; None without a price or expected seconds."""
        if self.work is None or self.model.price is None:
            return None
        return self.work.seconds.total * self.model.price
