"""The simulated days of `bench scheduling`: their order, seconds and load."""

from random import Random

from bench.figures.scheduling import BOUND, ENGINES, FIRST_COME, JOBS, LOAD, MODELS, _day, _run


def test_a_bound_of_0_is_first_come_first_served() -> None:
    jobs = list(_day(Random(1)))
    first, ours = _run(jobs, FIRST_COME), _run(jobs, BOUND)

    assert list(first.claimed) == sorted(first.claimed)
    assert list(ours.claimed) != sorted(ours.claimed)


def test_each_job_runs_once_for_its_own_seconds_and_those_of_a_load() -> None:
    jobs = list(_day(Random(2)))
    run = _run(jobs, BOUND)

    loads = 0
    for job, claimed, done in zip(jobs, run.claimed, run.done, strict=True):
        assert job.arrival <= claimed
        load = done - claimed - job.work
        assert min(abs(load), abs(load - MODELS[job.model].load)) < 1e-6
        loads += load > 1e-6
    assert loads == run.loads


def test_the_jobs_of_a_day_keep_the_engines_as_busy_as_it_says() -> None:
    jobs = list(_day(Random(3)))
    work = sum(job.work for job in jobs)

    assert len(jobs) == JOBS
    assert abs(work / ENGINES / jobs[-1].arrival - LOAD) < 0.03
    assert abs(sum(job.estimate for job in jobs) / work - 1) < 0.03
