"""The contract of backends: checks on a loaded model, for tests and authors."""

from collections.abc import Callable

from router.testing.contract import jobs, state
from router.testing.contract.subject import ContractBroken, Subject

__all__ = ["CHECKS", "STATE", "ContractBroken", "Subject"]

STATE: tuple[Callable[[Subject], None], ...] = (
    state.a_job_cancelled_at_any_report_stops_there_and_leaves_nothing_behind,
    state.a_job_that_fails_at_any_report_leaves_nothing_behind,
    state.pixels_closed_after_any_chunk_leave_nothing_behind,
    state.a_load_that_ends_early_leaves_nothing_behind,
    state.a_model_comes_back_after_it_was_unloaded,
    state.an_adapter_changes_the_jobs_that_name_it_and_no_others,
)
CHECKS: tuple[Callable[[Subject], None], ...] = (
    jobs.frames_have_the_size_and_number_of_the_task,
    jobs.each_step_is_reported,
    jobs.previews_are_pictures,
    jobs.a_seed_gives_the_same_video_and_another_seed_another,
    jobs.the_defaults_of_the_model_work,
    jobs.warnings_are_sentences,
    jobs.every_way_to_ask_works,
    jobs.a_large_seed_works,
    jobs.any_text_is_a_prompt,
    *STATE,
)
