"""A scheduler's steps as sums, against the scheduler itself."""

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from plugins.wan.generate import linear_scheduler  # noqa: E402
from plugins.wan.generate.schedulers import Schedulers  # noqa: E402

FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}


def unipc(**config: Any) -> Any:
    from diffusers import UniPCMultistepScheduler

    return UniPCMultistepScheduler(**FLOW, **config)


def walked(scheduler: Any, step: Any, noise: Any) -> list[Any]:
    """Return the latents after each step, by velocities that depend on earlier latents."""
    made, latents = [], noise
    for timestep in scheduler.timesteps:
        velocity = torch.tanh(latents * 3 + timestep / 1000)
        latents = step(velocity, timestep, latents)
        made.append(latents)
    return made


@pytest.mark.parametrize("steps", [1, 2, 3, 12, 50])
@pytest.mark.parametrize(
    "config",
    [
        {"flow_shift": 3.0},
        {"flow_shift": 8.0, "solver_order": 3},
        {"solver_order": 1},
        {"disable_corrector": [0, 2]},
        {"final_sigmas_type": "sigma_min"},
    ],
    ids=str,
)
def test_the_sums_are_the_steps(config: dict[str, Any], steps: int) -> None:
    scheduler = unipc(**config)
    weights = linear_scheduler.weights_of(copy.deepcopy(scheduler), steps)
    scheduler.set_timesteps(steps)
    noise = torch.randn(1, 4, 3, 4, 4, generator=torch.Generator().manual_seed(1))

    got = walked(scheduler, linear_scheduler.step_function(scheduler, weights, noise), noise)
    expected = walked(scheduler, linear_scheduler.step_function(scheduler, None, noise), noise)

    assert weights.shape == (steps, steps + 1)
    for sum_, step in zip(got, expected, strict=True):
        torch.testing.assert_close(sum_, step, rtol=2e-5, atol=2e-5)


def test_only_what_is_known_to_be_a_sum_is_taken_for_one() -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    assert linear_scheduler.weights_of(FlowMatchEulerDiscreteScheduler(), 3) is None
    assert linear_scheduler.weights_of(unipc(thresholding=True), 3) is None


def test_large_latents_are_left_to_the_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, noise = linear_scheduler.weights_of(unipc(), 4), torch.zeros(1, 1, 1, 4, 4)
    monkeypatch.setattr(linear_scheduler, "MAX_BYTES", 5 * 64)
    assert isinstance(linear_scheduler.step_function(None, weights, noise), linear_scheduler._Sums)
    monkeypatch.setattr(linear_scheduler, "MAX_BYTES", 5 * 64 - 1)
    assert not isinstance(linear_scheduler.step_function(None, weights, noise), linear_scheduler._Sums)


def test_schedulers_have_no_state_in_common() -> None:
    kept = Schedulers(type(unipc()), dict(unipc().config))
    one, other = kept.new(3.0), kept.new(3.0)
    one.set_timesteps(4)
    one.step(torch.ones(1, 2), one.timesteps[0], torch.ones(1, 2))

    assert other.step_index is None
    assert kept.new(3.0).step_index is None
    assert (one.config.flow_shift, kept.new(5.0).config.flow_shift) == (3.0, 5.0)
    assert kept.weights(3.0, 4) is kept.weights(3.0, 4)
    assert kept.weights(3.0, 5).shape == (5, 6)
