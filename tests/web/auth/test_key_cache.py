"""The keys that a web process knows."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

from router.auth.keys import Scope, new_key, new_text
from router.jobs import ApiKeyStore
from router.system import System
from router.web.auth.key_cache import FRESH_SECONDS, KeyCache


class SilentStore(ApiKeyStore):
    """A store that answers a look once it is told to."""

    def __init__(self, system: System) -> None:
        super().__init__(system.database)
        self.asked, self.answer, self.answered = Event(), Event(), Event()

    def version(self) -> int:
        self.asked.set()
        assert self.answer.wait(60)
        self.answered.set()
        return super().version()


def test_nobody_waits_for_the_look_of_another_thread(system: System) -> None:
    store, text = SilentStore(system), new_text()
    store.add(new_key(text, "one", "one", {Scope.READ}))
    cache = KeyCache(store, system.settings)
    store.answer.set()
    assert cache.find(text) is not None
    for event in (store.asked, store.answer, store.answered):
        event.clear()
    assert not Event().wait(FRESH_SECONDS)  # the keys are due to be read again

    with ThreadPoolExecutor(1) as another:
        look = another.submit(cache.find, text)
        assert store.asked.wait(60)
        found = cache.find(text)
        was_answered = store.answered.is_set()
        store.answer.set()

    assert not was_answered
    assert found == look.result()
    assert found is not None
