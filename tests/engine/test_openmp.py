"""The threads of an engine spin for a moment, unless the environment says otherwise."""

import pytest

from router.engine.openmp import WAIT_POLICY, wait_policy


def test_threads_spin_for_a_moment() -> None:
    assert wait_policy({"HOME": "/"}) == {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "3000"}


@pytest.mark.parametrize("name", WAIT_POLICY)
def test_who_has_said_how_they_wait_is_heeded(name: str) -> None:
    assert wait_policy({name: "whatever"}) == {}
