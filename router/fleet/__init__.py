"""The supervised processes of a server."""

from router.fleet.child import BEATS, HUNG, PARENT, Child
from router.fleet.supervisor import Supervisor

__all__ = ["BEATS", "HUNG", "PARENT", "Child", "Supervisor"]
