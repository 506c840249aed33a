"""Every setting: its name in the environment, its default and its meaning."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

from router.auth.keys import KeyLimits
from router.errors import BootError
from router.runtime.byte_size import ByteSize

YEAR_SECONDS = 31_536_000
Network = IPv4Network | IPv6Network
FREE_THREADS = 32  # of a web process: they answer health checks and polls while all others wait


def _setting(default: Any, meaning: str, parse: Callable[[str], Any] = str) -> Any:
    metadata = {"meaning": meaning, "parse": parse}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def _flag(text: str) -> bool:
    if text.lower() not in {"0", "1", "false", "true", "no", "yes", ""}:
        raise ValueError(f"must be 0 or 1, got {text!r}")
    return text.lower() in {"1", "true", "yes"}


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(Path(part).expanduser().absolute() for part in text.split(os.pathsep) if part)


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number <= YEAR_SECONDS:
        raise ValueError(f"must be a number above 0 and up to {YEAR_SECONDS:,}, got {text!r}")
    return number


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,17}", text):
        raise ValueError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def _amount(text: str) -> ByteSize:
    return ByteSize.parse(text)


def _hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(filter(None, (part.strip().lower() for part in text.split(","))))
    for host in hosts:
        entry = re.fullmatch(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", host)
        if entry is None or not 0 < int(entry[2] or 80) < 2**16:
            raise ValueError(f"must be HOST or HOST:PORT, separated by ',', got {host!r}")
    return hosts


def _names(text: str) -> tuple[str, ...]:
    names = tuple(part.strip().lower().removesuffix(".") for part in text.split(",") if part.strip())
    for name in names:
        if not re.fullmatch(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]", name):
            raise ValueError(f"must be names of hosts without ports, in ASCII, separated by ',', got {name!r}")
    return tuple(name.strip("[]") for name in names)


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def _location(text: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", text):
        raise ValueError(f"must be a path such as /framegate-files, got {text!r}")
    return text


def _log_format(text: str) -> str:
    if text not in {"text", "json"}:
        raise ValueError(f"must be text or json, got {text!r}")
    return text


def _log_level(text: str) -> str:
    if text.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise ValueError(f"must be DEBUG, INFO, WARNING or ERROR, got {text!r}")
    return text.upper()


def _data_folder() -> Path:
    return _path(os.environ.get("XDG_DATA_HOME") or "~/.local/share") / "framegate"


def _models_file() -> Path:
    """Return the models.yaml that came with the code: beside it in a checkout, in share/ when installed."""
    beside = Path(__file__).parents[1] / "models.yaml"
    return beside if beside.is_file() else Path(sys.prefix, "share", "framegate", "models.yaml")


@dataclass(frozen=True)
class Settings:
    """What an operator can set; `from_environ` reads `FRAMEGATE_<NAME>` for each field."""

    data: Path = _setting(_data_folder, "folder of the job store, inputs, videos and embedded weights", _path)
    models: Path = _setting(_models_file, "the models file", _path)
    model: str | None = _setting(None, "serve this one hub id or folder and no models file")
    backend: str = _setting("diffusers", "the backend of that one model")
    plugins: tuple[Path, ...] = _setting((), "plugin files or folders of your own, separated by ':'", _paths)
    no_auth: bool = _setting(False, "1: nobody needs a key, and whoever can connect is let in", _flag)
    allowed_hosts: tuple[str, ...] = _setting(
        (),
        "hosts, separated by ',', that requests may name beside localhost and the public URL's where nobody needs a "
        "key, and whose pages may send them",
        _names,
    )
    public_url: str = _setting("", "put before the paths of videos and images, such as https://video.example.org")
    metrics_key: str = _setting("", "the key of /metrics; without one it answers direct calls to localhost only")
    proxies: tuple[Network, ...] = _setting(
        (),
        "addresses or networks of proxies, separated by ',', whose X-Forwarded-For and -Proto are believed; "
        "what comes over a unix socket is believed anyway",
        _networks,
    )
    accel: str = _setting(
        "",
        "nginx's internal location of the folder `videos`, such as /framegate-files: nginx then sends the files",
        _location,
    )
    workers: int = _setting(2, "web processes", _count)
    threads: int = _setting(640, "threads of a web process; 32 of them never wait for a video", _count)
    max_body_bytes: int = _setting(64 * 2**20, "largest request body", _count)
    receive_seconds: float = _setting(
        30.0, "how long a request's headers may take to arrive, and each 64 KiB of its body", _positive
    )
    keep_seconds: float = _setting(
        2_592_000.0, "how long a finished job stays, with its inputs and its video; 30 days", _positive
    )
    keep_bytes: ByteSize = _setting(
        ByteSize(80, "%"),
        "what inputs and videos may take of their disk, such as 500GB; those read longest ago leave first",
        _amount,
    )
    min_free: ByteSize = _setting(
        ByteSize(1, "%"), "free bytes of the data folder's disk, such as 2GB, below which no new job is taken", _amount
    )
    max_queued: int = _setting(1000, "queued jobs beyond which requests get 429 queue_full", _count)
    key_queued: int | None = _setting(None, "queued jobs of a key that has no such limit of its own", _count)
    key_running: int | None = _setting(None, "running jobs of a key that has no such limit of its own", _count)
    key_per_minute: int | None = _setting(None, "requests a minute of a key that has no such limit of its own", _count)
    link_seconds: float = _setting(86400.0, "how long a link to a file opens it without a key", _positive)
    image_hosts: tuple[str, ...] = _setting(
        (),
        "hosts whose images are fetched although they are at private addresses: "
        "HOST for its ports 80 and 443, or HOST:PORT, separated by ','",
        _hosts,
    )
    image_public: bool = _setting(True, "0: fetch images from those hosts only; with none listed, from nowhere", _flag)
    wait_seconds: float = _setting(3600.0, "longest that a synchronous request waits for its video", _positive)
    silent_seconds: float = _setting(
        30.0, "after this long a synchronous answer begins, with white space before the JSON", _positive
    )
    pad_seconds: float = _setting(10.0, "how often white space is sent then", _positive)
    heartbeat_seconds: float = _setting(15.0, "how often a stream that has nothing to tell sends a comment", _positive)
    leave_seconds: float = _setting(
        5.0, "a job whose caller has left is cancelled if nobody waits for it this much later", _positive
    )
    engine_missing_seconds: float = _setting(
        300.0, "a model that no engine has served for this long is answered with 503", _positive
    )
    lease_seconds: float = _setting(30.0, "a job whose engine is silent for this long is run again", _positive)
    renew_seconds: float = _setting(5.0, "how often an engine renews its lease and its heartbeat", _positive)
    max_attempts: int = _setting(3, "engines that a job may lose before it fails with engine_lost or timed_out", _count)
    job_seconds: float = _setting(
        21_600.0, "longest that one attempt at a job may run; then it fails with timed_out", _positive
    )
    overtake_seconds: float = _setting(
        600.0, "how long younger jobs, whose model is loaded, may go before one whose model is not", _positive
    )
    resident_models: int = _setting(
        8, "models that an engine keeps loaded at most, however small; the least recently used leaves", _count
    )
    memory_budget: ByteSize = _setting(
        ByteSize(90, "%"),
        "what an engine takes of its device, such as 24GB or 90%; models leave for others",
        _amount,
    )
    activation_reserve: ByteSize = _setting(
        ByteSize(10, "%"), "how much of that budget is kept free of weights, for what a job computes", _amount
    )
    warm_budget: ByteSize = _setting(
        ByteSize(25, "%"), "what weights that have left take of the host's memory, to come back fast", _amount
    )
    stall_process_seconds: float = _setting(
        20.0, "a process that is stopped by a signal, or a web process that is silent, is replaced then", _positive
    )
    stall_start_seconds: float = _setting(600.0, "a process that takes longer to start is hung", _positive)
    stall_idle_seconds: float = _setting(
        120.0, "an engine that shows no life for this long, without a job, is hung", _positive
    )
    cancel_seconds: float = _setting(
        60.0, "how long a cancelled or deleted job may go on; then its engine is replaced", _positive
    )
    stall_download_seconds: float = _setting(900.0, "a download that moves nothing for this long is hung", _positive)
    stall_load_seconds: float = _setting(1800.0, "a load that reports nothing for this long is hung", _positive)
    stall_step_seconds: float = _setting(1800.0, "a step that takes longer is hung; its engine is replaced", _positive)
    stall_decode_seconds: float = _setting(900.0, "a chunk of frames that takes longer is hung", _positive)
    log_format: str = _setting("text", "text or json", _log_format)
    log_level: str = _setting("INFO", "DEBUG, INFO, WARNING or ERROR", _log_level)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Return the settings of this environment; raise `BootError` that lists every bad value."""
        values: dict[str, Any] = {}
        problems = []
        for entry in fields(cls):
            name = variable(entry.name)
            if environ.get(name):  # empty counts as not set
                try:
                    values[entry.name] = entry.metadata["parse"](environ[name])
                except ValueError as error:
                    problems.append(f"{name}: {error}")
        if problems:
            raise BootError("\n".join(problems))
        settings = cls(**values)
        settings._check()
        return settings

    def _check(self) -> None:
        """Raise `BootError` where two settings contradict each other."""
        if self.threads <= FREE_THREADS:
            raise BootError(
                f"FRAMEGATE_THREADS: must be above {FREE_THREADS}, the threads that never wait, got {self.threads}"
            )
        if self.renew_seconds * 2 > self.lease_seconds:
            raise BootError(
                "FRAMEGATE_RENEW_SECONDS: must be at most half of FRAMEGATE_LEASE_SECONDS "
                f"({self.lease_seconds:g}), got {self.renew_seconds:g}"
            )

    @property
    def key_limits(self) -> KeyLimits:
        """The limits of a key that has none of its own."""
        return KeyLimits(self.key_queued, self.key_running, self.key_per_minute)

    @property
    def waiters(self) -> int:
        """How many requests of a web process may wait for a video."""
        return self.threads - FREE_THREADS

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where the data, the models file and the user's plugins lie: callers read none of it."""
        return (self.data, self.models.parent, *self.plugins)

    def export(self) -> None:
        """Put the places into this process's environment in a form that holds in any folder, for its children."""
        os.environ[variable("data")] = str(self.data)
        os.environ[variable("models")] = str(self.models)
        os.environ[variable("plugins")] = os.pathsep.join(map(str, self.plugins))
        if self.model and Path(self.model).is_dir():
            os.environ[variable("model")] = str(Path(self.model).absolute())


def variable(name: str) -> str:
    """Return the environment variable of the setting `name`."""
    return f"FRAMEGATE_{name.upper()}"


def table() -> tuple[tuple[str, str, str], ...]:
    """Return (variable, default, meaning) of every setting, for the documentation and `framegate --help`."""
    home = str(Path.home())
    rows = []
    for entry in fields(Settings):
        default = {"data": "~/.local/share/framegate", "models": "models.yaml of the package"}.get(entry.name)
        shown = default if default is not None else _shown(entry.default)
        rows.append((variable(entry.name), shown.replace(home, "~"), entry.metadata["meaning"]))
    return tuple(rows)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return "" if value in (None, ()) else str(value)
