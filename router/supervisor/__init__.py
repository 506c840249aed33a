"""Keep child processes alive: restart what dies, replace what shows no life, stop all of them in time."""

from router.supervisor.awake import AwakeClock
from router.supervisor.beats import STARTING, Beats
from router.supervisor.child import BEATS, HUNG, PARENT, TRY_AGAIN, Child
from router.supervisor.parent import die_with
from router.supervisor.supervisor import CANNOT_START, Supervisor
from router.supervisor.systemd import Notifier

__all__ = [
    "BEATS",
    "CANNOT_START",
    "HUNG",
    "PARENT",
    "STARTING",
    "TRY_AGAIN",
    "AwakeClock",
    "Beats",
    "Child",
    "Notifier",
    "Supervisor",
    "die_with",
]
