"""Three machines with data folders of their own, and the PostgreSQL server between them."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Lock

import psutil

from support.namespaces import NETWORK, Namespace, Switch
from support.one_request import send
from support.patience import until
from support.server import FRAMEGATE, ROOT, START_SECONDS
from support.shared_store import Store

PORT = 8000
LEASE, RENEW = 4.0, 0.5  # seconds
FRESH = 2.0  # an engine seen within this lives
NAMES = ("one", "two", "three")
WEB = NAMES[:2]  # with a web half
SMALL = "defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 4, negative_prompt: ''}"
LIMITS = "limits: {pixels: 16384, frames: 49, steps: 1000}"
MODELS = f"""
models:
  quick: {{backend: still, modality: t2v, options: {{step_seconds: 0.01}}, {SMALL}, {LIMITS}}}
  image: {{backend: still, modality: i2v, options: {{step_seconds: 0.01}}, {SMALL}, {LIMITS}}}
  slow: {{backend: still, modality: t2v, options: {{step_seconds: 0.1}}, {SMALL}, {LIMITS}}}
"""
SETTINGS = {
    "no_auth": 1,
    "workers": 1,
    "threads": 96,
    "lease_seconds": LEASE,
    "renew_seconds": RENEW,
    "heartbeat_seconds": 1,
    "max_attempts": 1000,  # no job is to fail for its many lost engines
    "stall_process_seconds": 15,
}
# What systemd does for a server.
RESTARTED = "while :; do {command}; sleep 1; done"


class Machine:
    """A machine whose server is started again whenever it ends."""

    def __init__(self, site: "Site", name: str) -> None:
        self.name, self.address = name, f"{NETWORK}.{10 + NAMES.index(name)}"
        self.url = f"http://{self.address}:{PORT}"
        self.log = site.folder / f"{name}.log"
        self.lock = Lock()  # of its faults
        self._site = site
        self._data = _data_folder(site.folder, name)
        self._namespace: Namespace | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        """Connect the machine and start its server."""
        self._namespace = Namespace()
        self._site.switch.plug(self._namespace, self.name, self.address)
        known = {**SETTINGS, "store": self._site.store.url, "host": self.name, "data": self._data}
        known["models"] = self._site.folder / "models.yaml"
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        environ |= {f"FRAMEGATE_{name.upper()}": str(value) for name, value in known.items()}
        half = ("serve", "--host", "0.0.0.0", "--port", str(PORT)) if self.name in WEB else ("engine",)
        script = RESTARTED.format(command=shlex.join([*FRAMEGATE, *half, "--device", "cpu"]))
        with open(self.log, "ab") as output:
            command = self._namespace.command("sh", "-c", script)
            self._process = subprocess.Popen(command, env=environ, stdout=output, stderr=output)

    def is_ready(self) -> bool:
        """Say whether its engine lives, and its callers are answered."""
        fresh = f"device = '{self.name}/cpu' AND seen > {self._site.store.now() - FRESH}"
        has_engine = bool(self._site.store.rows(f"SELECT 1 FROM engines WHERE {fresh}"))
        return has_engine and (self.name not in WEB or self._site.status(self, "/readyz") == 200)

    def vanish(self) -> None:
        """Let the machine lose its power: nobody hears of it again."""
        assert self._namespace is not None
        assert self._process is not None
        self._site.switch.unplug(self.name)  # first, or the kernel would close its connections in good order
        self._namespace.kill()
        self._process.wait()
        self._namespace = None

    def cut(self) -> None:
        self._site.switch.cut(self.name)

    def heal(self) -> None:
        self._site.switch.heal(self.name)

    def supervisors(self) -> list[psutil.Process]:
        return self._processes(f"{sys.executable} -c from router.cli")

    def engines(self) -> list[psutil.Process]:
        return self._processes("router.engine")

    def web_workers(self) -> list[psutil.Process]:
        found = self._processes("gunicorn")
        known = {each.pid for each in found}
        return [each for each in found if _parent(each) in known]

    def close(self) -> None:
        if self._namespace is not None:
            self.vanish()

    def _processes(self, word: str) -> list[psutil.Process]:
        assert self._namespace is not None
        return [each for each in self._namespace.processes() if word in _command(each)]


class Site:
    """The machines, their switch and their store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "models.yaml").write_text(MODELS)
        self.switch = Switch()
        self.store = Store(self.switch)
        self.machines = {name: Machine(self, name) for name in NAMES}

    def of(self, engine: str) -> Machine:
        """Return the machine of an engine, by the engine's id."""
        return self.machines[engine.partition("-")[0]]

    def ready(self) -> None:
        for machine in self.machines.values():
            until(machine.is_ready, START_SECONDS)

    @property
    def addresses(self) -> list[str]:
        """The web machines' URLs."""
        return [self.machines[name].url for name in WEB]

    def status(self, machine: Machine, path: str) -> int:
        """Return the status of an answer; 0 without one."""
        with self.switch.inside():
            return send(machine.url, path)[0]

    def logs(self) -> str:
        """Return the ends of all logs."""
        return "\n".join(f"--- {each.name}\n{each.log.read_text()[-6000:]}" for each in self.machines.values())


@contextmanager
def three_machines(folder: Path) -> Iterator[Site]:
    """Boot three machines that have one store."""
    with ExitStack() as closing:
        site = Site(folder)
        closing.callback(site.switch.kill)
        closing.callback(site.store.close)
        for machine in site.machines.values():
            machine.boot()
            closing.callback(machine.close)
        site.ready()
        yield site


def _data_folder(folder: Path, name: str) -> Path:
    """Make a data folder whose inputs and videos are those of all machines."""
    data = folder / name
    data.mkdir(0o700)
    for kind in ("inputs", "videos"):
        (folder / kind).mkdir(0o700, exist_ok=True)
        (data / kind).symlink_to(folder / kind)
    return data


def _command(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _parent(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return process.ppid()
    return 0
