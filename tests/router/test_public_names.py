"""The promise to authors of plugins: these names, parameters and fields stay.

A test that fails here has found a break of that promise. Add to the tables below; remove or rename nothing.
"""

import inspect
from collections.abc import Callable
from dataclasses import fields
from enum import Enum
from pathlib import Path

import pytest

import router
from router import hookspecs

BROKEN = "a promise to authors of plugins is broken (docs/plugins.md, Stable imports): "
ERROR = "message, *, param=, code=, headers="
CALLED = {  # in full: authors call these
    "Alternative": "plan, options=, files=",
    "Backend": "name, modalities, options=, requires=, extra=, index=, made_by=, deterministic=, uses_seed=, "
    "runs_adapters=, merged_by=",
    "CutPrompt.of": "text, encoding, limit",
    "CutPrompt.warning": "self, name",
    "DeviceLost": "message",
    "Frames": "pixels, num_frames, width, height, frames_per_second, warnings=, late_warnings=",
    "GenerationFailed": "message",
    "InvalidRequest": ERROR,
    "JobCancelled": "message",
    "LimitExceeded": ERROR,
    "LoadFailed": "message",
    "Modality.accepts": "self, given",
    "NumericalError": "message",
    "Offloader.cool": "self, part",
    "Offloader.warm": "self, part",
    "OutOfMemory": "message",
    "Numerics": "reproducible=, lossy=, may_vary_with=",
    "Panel": "name, title, script, admin=",
    "PartPath": "path, reason=",
    "PerExpert": "high, low",
    "Plan": "parts, basis=, activations=, alternatives=",
    "PlannedPart": "name, device_bytes, host_bytes=, format=, identity=",
    "Pool.borrow": "self",
    "Pool.digest": "self, path",
    "Pool.part": "self, key, load, offloader=",
    "Pool.private": "self, load",
    "Pool.reserve": "self, sizes",
    "RateLimited": ERROR,
    "Refused": ERROR,
    "Report.__call__": "self, done, total, preview=",
    "RequestError": ERROR,
    "Unauthorized": ERROR,
}
READ = {  # at least: authors read these fields and members, and there may be more
    "Adapter": "name source files revision strength merge paths",
    "Basis": "FILES PUBLISHED FORMATS",
    "Input": "TEXT IMAGE LAST_IMAGE",
    "Job": "id owner model task inputs status progress warnings artifact failure attempt request_id created_at "
    "started_at finished_at key",
    "Modality": "T2V I2V TI2V FLF2V",
    "ModelSpec": "name backend modality defaults limits size_multiple source revision adapters options folder",
    "Status": "QUEUED IN_PROGRESS COMPLETED FAILED CANCELLED",
    "Task": "prompt negative_prompt width height num_frames frames_per_second steps guidance_scale guidance_scale_2 "
    "flow_shift seed input_kinds adapters image last_image",
    "UsedAdapter": "name high low",
}
OTHERS = {"Pixels", "Preview", "hookimpl"}  # names of types, and pluggy's mark
HOOKS = {  # at least: an implementation may take fewer arguments than there are
    "add_commands": "cli",
    "check_request": "model task",
    "configure_app": "app",
    "declare_backend": "",
    "describe_loaded": "model loaded",
    "describe_numerics": "model task",
    "encode_output": "model frames path",
    "generate": "model loaded task report",
    "job_changed": "job",
    "load_model": "model device pool report",
    "open_paths": "",
    "plan_model": "model device",
    "studio_panel": "",
    "unload_model": "model loaded gone",
}


def parameters(function: Callable[..., object]) -> str:
    """Return a function's parameters as in `name, option=, *, keyword=`."""
    words: list[str] = []
    for each in inspect.signature(function).parameters.values():
        if each.kind is each.KEYWORD_ONLY and "*" not in words:
            words.append("*")
        words.append(each.name + ("" if each.default is each.empty else "="))
    return ", ".join(words)


def found(path: str) -> Callable[..., object]:
    """Return the object of a dotted name in `router`."""
    value: object = router
    for name in path.split("."):
        value = getattr(value, name, None)
    assert callable(value), f"{BROKEN}router.{path} is gone"
    return value


def test_the_public_names_are_these() -> None:
    promised = {path.split(".")[0] for path in (*CALLED, *READ)} | OTHERS
    gone = promised - set(router.__all__)

    assert not gone, f"{BROKEN}router has no {', '.join(sorted(gone))} any more"
    new = sorted(set(router.__all__) - promised)
    assert not new, f"{', '.join(new)} would be promised to authors for good: add it to the tables of this test"


def test_every_public_name_is_there() -> None:
    assert [name for name in router.__all__ if not hasattr(router, name)] == []
    assert list(router.__all__) == sorted(router.__all__, key=lambda name: (name[0].islower(), name))


@pytest.mark.parametrize("path", CALLED)
def test_what_authors_call_takes_the_same_parameters(path: str) -> None:
    now = parameters(found(path))

    assert now == CALLED[path], f"{BROKEN}router.{path} takes ({now}), it took ({CALLED[path]})"


@pytest.mark.parametrize("name", READ)
def test_what_authors_read_has_the_same_fields(name: str) -> None:
    value = getattr(router, name)
    now = set(value.__members__) if issubclass(value, Enum) else {each.name for each in fields(value)}
    gone = set(READ[name].split()) - now

    assert not gone, f"{BROKEN}router.{name} has no {', '.join(sorted(gone))} any more"


def test_the_hooks_have_the_same_arguments() -> None:
    for name, promised in HOOKS.items():
        hook = getattr(hookspecs, name, None)
        now = set(inspect.signature(hook).parameters) if hook else set()
        gone = set(promised.split()) - now

        assert hook is not None, f"{BROKEN}the hook {name} is gone"
        assert not gone, f"{BROKEN}the hook {name} has no {', '.join(sorted(gone))} any more"


def test_every_public_value_says_what_it_is() -> None:
    """The page of plugins lists the first line of each docstring."""
    silent = [name for name in router.__all__ if name not in OTHERS and not getattr(router, name).__doc__]

    assert silent == []


def test_a_broken_promise_would_be_found() -> None:
    def changed(name: str, *, needed: int, option: int = 0) -> None: ...

    assert parameters(changed) == "name, *, needed, option="
    with pytest.raises(AssertionError, match="a promise to authors of plugins is broken"):
        found("Backend.nowhere")


def test_the_page_of_plugins_has_a_section_of_them() -> None:
    page = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()

    assert "## Stable imports" in page
    for marker in ("hooks", "contract", "imports"):
        assert page.count(f"<!-- {marker} -->") == page.count(f"<!-- /{marker} -->") == 1
