"""A check of a store's revision."""

from collections.abc import Mapping

from router.doctor.finding import Finding, fail, ok
from router.jobs.tables import HEAD, LEAST, MOVED


def compared(name: str, found: str, facts: Mapping[str, str]) -> Finding:
    """Hold a store's revision and facts against those of this version."""
    if moved := facts.get(MOVED):
        return fail("store", f"{name} was moved to {moved}", "use that one; 'framegate store reopen' is the way back")
    if found == "none" or found < HEAD:
        return ok("store", f"{name} is of revision {found}: the next start brings it to {HEAD}")
    if found == HEAD:
        return ok("store", f"{name} is of this version (revision {HEAD})")
    newer = f"{name} is of a newer Framegate (revision {found}, this one knows {HEAD})"
    if facts.get(LEAST, found) <= HEAD:
        return ok("store", f"{newer}, and can be used by this one, too")
    return fail("store", newer, "use that one, or another store")
