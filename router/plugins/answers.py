"""The answers of plugins to a hook, called one by one."""

from collections.abc import Callable, Iterator
from typing import Any

import pluggy

from router.errors import BootError
from router.plugins.broken import summary
from router.plugins.discovery import origin


def implementing(manager: pluggy.PluginManager, hook: str) -> list[object]:
    """Return the plugins that implement a hook, in the order of their registration."""
    found = {id(one.plugin) for one in getattr(manager.hook, hook).get_hookimpls()}
    return [plugin for _, plugin in manager.list_name_plugin() if id(plugin) in found]


def answer_of(manager: pluggy.PluginManager, hook: str, plugin: object) -> Any:
    """Return what one plugin answers, None without an answer; its errors pass."""
    others = [other for _, other in manager.list_name_plugin() if other is not plugin]
    return next(iter(manager.subset_hook_caller(hook, others)()), None)


def at_boot(
    manager: pluggy.PluginManager, hook: str, read: Callable[[Any], Any] = lambda answer: answer
) -> Iterator[tuple[str, Any]]:
    """Yield each plugin's origin and answer that is not None, as `read` returns it.

    Raises `BootError` for a plugin that fails, or whose answer cannot be read.
    """
    for plugin in implementing(manager, hook):
        try:
            answer = answer_of(manager, hook, plugin)
            answer = None if answer is None else read(answer)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a stranger's code
            raise BootError(f"{origin(plugin)}: {hook} raised {summary(error)}") from error
        if answer is not None:
            yield origin(plugin), answer
