"""Every setting: its environment variable, its default and its meaning."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from router.accounting.budgets import Budget, Budgets
from router.auth.keys import KeyLimits
from router.errors import BootError
from router.runtime import variables
from router.runtime.byte_size import ByteSize
from router.runtime.default_paths import data_folder, models_file
from router.runtime.variables import Address, Network, count, positive

FREE_THREADS = 32  # of a web process: never wait for a video, so that health checks and polls are answered


def _setting(default: Any, meaning: str, parse: Callable[[str], Any] = str, internal: bool = False) -> Any:
    metadata = {"meaning": meaning, "parse": parse, "internal": internal}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata, repr=default != "")  # such a text may have a password in it


def _internal(default: float, meaning: str, parse: Callable[[str], Any] = positive) -> Any:
    """Declare a constant of the protocol: tests shorten it, no operator needs to."""
    # it has a variable all the same, as processes inherit their settings by the environment
    return _setting(default, meaning, parse, internal=True)


@dataclass(frozen=True)
class Settings:
    """The settings of one process; `from_environ` reads `FRAMEGATE_<NAME>` for each field."""

    data: Path = _setting(data_folder, "folder of the job store, inputs, videos and embedded weights", variables.path)
    store: str = _setting(
        "", "the job store of many machines, such as postgresql+psycopg://USER@HOST/NAME; else a file", variables.store
    )
    host: str = _setting("", "the name of this machine in such a store, by default its host name", variables.host_name)
    models: Path = _setting(models_file, "the models file", variables.path)
    model: str | None = _setting(None, "serve this one hub id or folder and no models file")
    backend: str = _setting("diffusers", "the backend of that one model")
    plugins: tuple[Path, ...] = _setting((), "plugin files or folders of your own, separated by ':'", variables.paths)
    no_auth: bool = _setting(False, "1: no request needs a key; whoever can connect is let in", variables.flag)
    allowed_hosts: tuple[str, ...] = _setting(
        (),
        "without keys: host names, separated by ',', that requests may name and whose pages may send requests, beside "
        "localhost and the host of the public URL",
        variables.host_names,
    )
    public_url: str = _setting("", "prefix of the paths of videos and images, such as https://video.example.org")
    metrics_key: str = _setting("", "the key of /metrics; without one it answers direct calls to localhost only")
    metrics_listen: Address | None = _setting(
        None, "HOST:PORT at which `framegate engine` answers GET /metrics for its machine", variables.address
    )
    proxies: tuple[Network, ...] = _setting(
        (),
        "addresses or networks of trusted proxies, separated by ',': their X-Forwarded-For and -Proto are believed; "
        "a unix socket is always trusted",
        variables.networks,
    )
    accel: str = _setting(
        "",
        "nginx's internal location of the folder `videos`, such as /framegate-files: nginx then sends the files",
        variables.location,
    )
    workers: int = _setting(2, "web processes", count)
    threads: int = _setting(640, "threads of a web process; 32 of them never wait for a video", count)
    max_body_bytes: int = _setting(64 * 2**20, "largest request body", count)
    keep_seconds: float = _setting(
        2_592_000.0, "a finished job is deleted after this time, with its inputs and its video; 30 days", positive
    )
    keep_bytes: ByteSize = _setting(
        ByteSize(80, "%"),
        "the limit of all inputs and videos, of their disk or such as 500GB; the least recently read are deleted first",
        ByteSize.parse,
    )
    min_free: ByteSize = _setting(
        ByteSize(1, "%"), "no new job is taken below this much free space on the data folder's disk", ByteSize.parse
    )
    overtake_seconds: float = _setting(
        1800.0, "no job that arrives later than twice this after another one runs before it", positive
    )
    max_queued: int = _setting(1000, "queued jobs beyond which requests get 429 queue_full", count)
    key_queued: int | None = _setting(None, "limit of queued jobs of a key without its own", count)
    key_running: int | None = _setting(None, "limit of running jobs of a key without its own", count)
    key_per_minute: int | None = _setting(None, "limit of requests per minute of a key without its own", count)
    key_gpu_seconds: Budget | None = _setting(
        None, "budget of a key without its own: gpu-seconds a UTC day, week or month, such as 3600/day", Budget.parse
    )
    key_cost: Budget | None = _setting(None, "the same in the unit of the prices, such as 20/month", Budget.parse)
    owner_gpu_seconds: Budget | None = _setting(
        None, "budget of an owner without its own, for all its keys together, such as 36000/week", Budget.parse
    )
    owner_cost: Budget | None = _setting(None, "the same in the unit of the prices, such as 100/month", Budget.parse)
    link_seconds: float = _setting(86400.0, "a signed link to a file is valid for this time", positive)
    shared_videos: Path | None = _setting(
        None,
        "folder that callers can read: `video_path` of /v1/videos/generations copies there; no copy is ever removed",
        variables.path,
    )
    image_hosts: tuple[str, ...] = _setting(
        (),
        "hosts at private addresses from which images may be fetched: HOST for its ports 80 and 443, or HOST:PORT, "
        "separated by ','",
        variables.hosts,
    )
    image_public: bool = _setting(
        True, "0: fetch images from those hosts only; with none listed, from nowhere", variables.flag
    )
    wait_seconds: float = _setting(3600.0, "a synchronous request waits at most this long for its video", positive)
    max_attempts: int = _setting(3, "lost engines after which a job fails with engine_lost or timed_out", count)
    job_seconds: float = _setting(21_600.0, "an attempt that runs longer fails with timed_out", positive)
    memory_budget: ByteSize = _setting(
        ByteSize(90, "%"), "an engine's share of its device's memory, such as 24GB or 90%", ByteSize.parse
    )
    activation_reserve: ByteSize = _setting(
        ByteSize(10, "%"), "the part of that budget without weights, for the activations of a job", ByteSize.parse
    )
    warm_budget: ByteSize = _setting(
        ByteSize(25, "%"), "host memory for the weights of unloaded models, which load fast from there", ByteSize.parse
    )
    stall_factor: float = _setting(
        1.0, "multiplies the limits of a silent download (15 min), load (30), step (30) or chunk (15)", positive
    )
    log_format: str = _setting("text", "text or json", variables.log_format)
    log_level: str = _setting("INFO", "DEBUG, INFO, WARNING or ERROR", variables.log_level)

    receive_seconds: float = _internal(30.0, "a request's headers, and each 64 KiB of its body, arrive within this")
    silent_seconds: float = _internal(30.0, "a synchronous answer begins with white space after this time")
    pad_seconds: float = _internal(10.0, "time between two pieces of white space")
    heartbeat_seconds: float = _internal(15.0, "a silent stream sends a comment this often")
    leave_seconds: float = _internal(5.0, "a job without waiters is cancelled this long after its caller disconnected")
    engine_missing_seconds: float = _internal(300.0, "a model without an engine for this long is answered with 503")
    lease_seconds: float = _internal(30.0, "a job whose engine is silent for this long runs again")
    renew_seconds: float = _internal(5.0, "time between two renewals of a lease")
    resident_models: int = _internal(8, "limit of loaded models of an engine, however small", count)
    stall_process_seconds: float = _internal(20.0, "a stopped process, or a silent web process, is replaced then")
    stall_start_seconds: float = _internal(600.0, "a process that starts for longer is hung")
    stall_idle_seconds: float = _internal(120.0, "an engine without a job that is silent for longer is hung")
    stall_download_seconds: float = _internal(900.0, "a download without progress is hung")
    stall_load_seconds: float = _internal(1800.0, "a load without progress is hung")
    stall_step_seconds: float = _internal(1800.0, "a longer step is hung")
    stall_decode_seconds: float = _internal(900.0, "a chunk of frames that takes longer is hung")
    cancel_seconds: float = _internal(60.0, "the engine of a cancelled job that goes on for longer is replaced")

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
        if self.shared_videos is not None and not self.shared_videos.is_dir():
            raise BootError(f"FRAMEGATE_SHARED_VIDEOS: must be a folder, got {self.shared_videos}")
        if self.renew_seconds * 2 > self.lease_seconds:
            raise BootError(
                "FRAMEGATE_RENEW_SECONDS: must be at most half of FRAMEGATE_LEASE_SECONDS "
                f"({self.lease_seconds:g}), got {self.renew_seconds:g}"
            )

    @property
    def job_store(self) -> Path | str:
        """The file or the URL of the job store."""
        return self.store or self.data / "jobs.sqlite"

    @property
    def key_limits(self) -> KeyLimits:
        """The limits of a key without its own."""
        return KeyLimits(self.key_queued, self.key_running, self.key_per_minute, self.key_gpu_seconds, self.key_cost)

    @property
    def owner_budgets(self) -> Budgets:
        """The budgets of an owner without its own."""
        return Budgets(self.owner_gpu_seconds, self.owner_cost)

    @property
    def waiters(self) -> int:
        """The requests of a web process that may wait for a video."""
        return self.threads - FREE_THREADS

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of data, models file and plugins: their paths are hidden from callers."""
        return (self.data, self.models.parent, *self.plugins)

    def export(self) -> None:
        """Put absolute paths into this process's environment, for child processes in any folder."""
        paths = {"data": self.data, "models": self.models, "shared_videos": self.shared_videos}
        os.environ |= {variable(name): str(path) for name, path in paths.items() if path is not None}
        os.environ[variable("plugins")] = os.pathsep.join(map(str, self.plugins))
        if self.model and Path(self.model).is_dir():
            os.environ[variable("model")] = str(Path(self.model).absolute())


def variable(name: str) -> str:
    """Return the environment variable of the setting `name`."""
    return f"FRAMEGATE_{name.upper()}"
