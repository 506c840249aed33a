"""Inspection of a plugin's hooks, without a call."""

from types import FunctionType, ModuleType

from router import hookspecs

REFUSING = ("check_request", "configure_app")
HOOKS = [name for name, hook in vars(hookspecs).items() if hasattr(hook, f"{hookspecs.PROJECT}_spec")]


def unmarked(plugin: object) -> list[str]:
    """Return a module's functions with a hook's name and no `@hookimpl`."""
    if not isinstance(plugin, ModuleType):
        return []
    functions = [function for function in vars(plugin).values() if isinstance(function, FunctionType)]
    own = [function for function in functions if function.__module__ == plugin.__name__]
    # not `generate`, a name that a helper beside plugins may have as well
    names = set(HOOKS) - {"generate"}
    return [f.__name__ for f in own if f.__name__ in names and not hasattr(f, f"{hookspecs.PROJECT}_impl")]


def may_refuse(plugin: object) -> bool:
    """Return whether a plugin has a hook that refuses requests.

    A backend's `check_request` is called for its own models only, which are refused without it.
    """
    has = [hook for hook in REFUSING if _has(plugin, hook)]
    return "configure_app" in has or ("check_request" in has and not _has(plugin, "declare_backend"))


def _has(plugin: object, hook: str) -> bool:
    try:
        return getattr(plugin, hook, None) is not None
    except Exception:
        return True
