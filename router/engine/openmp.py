"""OpenMP settings of a CPU engine: how its threads wait for each other."""

from collections.abc import Mapping

# Spinning for long costs a factor of ten while another process is busy; sleeping at once costs a factor of two while
# none is, as a sleeping core is slow to wake. So threads spin for some microseconds, then sleep.
WAIT_POLICY = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "3000"}


def wait_policy(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables to add to `environ`; none if it sets a policy."""
    return {} if WAIT_POLICY.keys() & environ.keys() else dict(WAIT_POLICY)
