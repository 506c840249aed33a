"""Faults of machines, processes and links: each happens, lasts and is healed."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from random import Random

import psutil

from support.keyed_callers import KeyedCallers
from support.patience import until
from support.server import START_SECONDS
from support.three_machines import LEASE, WEB, Machine, Site

CRASH = "store crashed"
REST_SECONDS = 1.0  # at most, before a fault
SHORT = 2.0  # seconds: no process counts as silent, no lease ends
LONGER = LEASE + 2.0  # than a lease
HOLD_SECONDS = 0.03  # a process that goes on ends its write within this, mostly
BACKENDS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'framegate'"
# Backends in the middle of a transaction that others wait for.
WRITERS = """
    SELECT pid, host(client_addr), xact_start::text FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND state = 'idle in transaction'
"""
Find = Callable[[Machine], list[psutil.Process]]


@dataclass(frozen=True)
class Scene:
    """The machines and the callers of a storm, and the dice of one fault."""

    site: Site
    callers: KeyedCallers
    dice: Random

    def machine(self, names: tuple[str, ...]) -> Machine:
        return self.site.machines[self.dice.choice(names)]


Fault = Callable[..., None]  # of a scene and its machine, or of a scene for the store's faults


def _process(find: Find, machine: Machine) -> psutil.Process:
    """Wait for a machine that boots, perhaps without its store."""
    return until(partial(find, machine), START_SECONDS)[0]


def killed(scene: Scene, machine: Machine, find: Find) -> None:
    """Kill a process by SIGKILL."""
    with suppress(psutil.NoSuchProcess):
        _process(find, machine).kill()


def stopped(scene: Scene, machine: Machine, find: Find, seconds: float) -> None:
    """Stop a process by SIGSTOP, and continue it."""
    with suppress(psutil.NoSuchProcess):
        process = _process(find, machine)
        process.suspend()
        time.sleep(seconds)
        process.resume()


def stopped_inside_a_write(scene: Scene, machine: Machine, find: Find) -> None:
    """Stop a process inside a write, until others have written again."""
    store = scene.site.store
    process, writer = until(lambda: _stop_inside_a_write(scene, machine, find), START_SECONDS)
    until(lambda: writer not in store.rows(WRITERS))
    scene.callers.put(3)
    before = store.completed()
    until(lambda: store.completed() > before, START_SECONDS)
    with suppress(psutil.NoSuchProcess):
        process.resume()


def _stop_inside_a_write(
    scene: Scene, machine: Machine, find: Find
) -> tuple[psutil.Process, tuple[object, ...]] | None:
    scene.callers.put(4)  # so that there is something to write
    with suppress(psutil.NoSuchProcess):
        process = _process(find, machine)
        for _ in range(20):
            process.suspend()
            if (writer := _writer(scene.site, machine)) is not None:
                return process, writer
            process.resume()
            time.sleep(scene.dice.random() * 0.02)
    return None


def _writer(site: Site, machine: Machine) -> tuple[object, ...] | None:
    """Return a machine's write if it has stopped, else None."""
    before = site.store.rows(WRITERS)
    if machine.address not in (address for _, address, _ in before):
        return None
    time.sleep(HOLD_SECONDS)
    return next((row for row in site.store.rows(WRITERS) if row in before and row[1] == machine.address), None)


def cut(scene: Scene, machine: Machine, seconds: float) -> None:
    """Cut a machine's link, and heal it."""
    machine.cut()
    time.sleep(seconds)
    machine.heal()


def gone(scene: Scene, machine: Machine) -> None:
    """Let a machine lose its power; it boots again when others have its jobs."""
    machine.vanish()
    time.sleep(LONGER)
    machine.boot()


def store_stopped(scene: Scene, seconds: float) -> None:
    scene.site.store.stop()
    time.sleep(seconds)
    scene.site.store.start()


def store_cut(scene: Scene, seconds: float) -> None:
    scene.site.switch.cut(scene.site.store.name)
    time.sleep(seconds)
    scene.site.switch.heal(scene.site.store.name)


def backend_killed(scene: Scene) -> None:
    """Kill one of PostgreSQL's processes: it ends all others, and recovers."""
    with suppress(ProcessLookupError):
        os.kill(_pid(scene, BACKENDS), signal.SIGKILL)


def backend_stopped(scene: Scene) -> None:
    """Stop one of PostgreSQL's processes inside a write."""
    with suppress(ProcessLookupError):
        pid = _pid(scene, WRITERS)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(SHORT)
        os.kill(pid, signal.SIGCONT)


def _pid(scene: Scene, query: str) -> int:
    def look() -> list[tuple[object, ...]]:
        scene.callers.put(1)
        return [row for _ in range(20) for row in scene.site.store.rows(query)]

    return int(str(scene.dice.choice(until(look))[0]))


def _kinds() -> Iterator[tuple[str, tuple[str, ...], Fault]]:
    """Yield each fault with its name and its machines, none for the store's."""
    every = (*WEB, "three")
    processes = {"engine": Machine.engines, "supervisor": Machine.supervisors, "web worker": Machine.web_workers}
    for name, find in processes.items():
        machines = WEB if name == "web worker" else every
        yield f"{name} killed", machines, partial(killed, find=find)
        yield f"{name} stopped", machines, partial(stopped, find=find, seconds=LONGER if name == "engine" else SHORT)
        if name != "supervisor":  # which does not write
            yield f"{name} stopped inside a write", machines, partial(stopped_inside_a_write, find=find)
    yield "link cut", every, partial(cut, seconds=3)
    yield "link cut for longer than a lease", every, partial(cut, seconds=LONGER)
    yield "machine gone", every, gone
    yield CRASH, (), partial(store_stopped, seconds=0)
    yield "store stopped for 4 s", (), partial(store_stopped, seconds=4)
    yield "store stopped for 20 s", (), partial(store_stopped, seconds=20)
    yield "store's link cut", (), partial(store_cut, seconds=3)
    yield "store's process killed", (), backend_killed
    yield "store's process stopped inside a write", (), backend_stopped


KINDS = {name: (machines, fault) for name, machines, fault in _kinds()}


def happen(kind: str, scene: Scene) -> None:
    """Let a fault happen, after those of the same machine."""
    machines, fault = KINDS[kind]
    machine = scene.machine(machines) if machines else None
    where = machine or scene.site.store
    time.sleep(scene.dice.random() * REST_SECONDS)
    with where.lock, _printed(f"{kind}: {where.name}"):
        if machine is None:
            fault(scene)
        else:
            fault(scene, machine)


@contextmanager
def _printed(what: str) -> Iterator[None]:
    began = time.monotonic()
    print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)
    yield
    print(f"{time.strftime('%H:%M:%S')} {what}: over after {time.monotonic() - began:.1f} s", flush=True)
