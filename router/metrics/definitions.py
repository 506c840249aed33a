"""Every metric, and the error codes that may be labels."""

from dataclasses import dataclass
from enum import StrEnum

from router import errors

LONG = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)  # seconds
SHORT = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Kind(StrEnum):
    """Gauges are read from the store on request; counters and histograms from files.

    The seconds of the ledger are the one counter that the store has.
    """

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Definition:
    """A metric; `buckets` are a histogram's upper bounds without infinity."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    about: str
    buckets: tuple[float, ...] = ()

    @property
    def family(self) -> str:
        """The name in Prometheus' libraries."""
        return self.name.removesuffix("_total")


JOBS = Definition("framegate_jobs", Kind.GAUGE, ("model", "status"), "jobs that the store holds")
DISK_FREE = Definition("framegate_disk_free_bytes", Kind.GAUGE, (), "what is free on the disk of the data folder")
ENGINE_ALIVE = Definition(
    "framegate_engine_alive", Kind.GAUGE, ("device",), "1: an engine works there; 0: one did within the last hour"
)
ENGINE_BUSY = Definition("framegate_engine_busy", Kind.GAUGE, ("device",), "1: it had a job at its last heartbeat")
MODEL_STATE = Definition(
    "framegate_model_state",
    Kind.GAUGE,
    ("device", "model", "state"),
    "1 for the one that a model is in: loaded (on the device), warm (in the host's memory) or cold",
)
WEIGHTS = Definition(
    "framegate_weights_bytes",
    Kind.GAUGE,
    ("device", "held", "model"),
    "weights of a loaded model: owned (by it alone) or shared (counted for each that holds them)",
)
ENGINE_MEMORY = Definition(
    "framegate_engine_resident_bytes", Kind.GAUGE, ("device",), "resident memory of the engine's process, on the host"
)
DEVICE_MEMORY = Definition(
    "framegate_device_used_bytes",
    Kind.GAUGE,
    ("device",),
    "memory in use on the engine's device, by all processes; of a CPU that of the machine, or of its container",
)
PATH = Definition(
    "framegate_model_path",
    Kind.GAUGE,
    ("device", "model", "part", "path", "reason"),
    "1 for the code by which a part of a loaded model runs (fast or diffusers), and why, where it is not the usual one",
)
ACCEPTED = Definition("framegate_jobs_accepted_total", Kind.COUNTER, ("model",), "jobs that were queued")
GPU_SECONDS = Definition(
    "framegate_gpu_seconds_total",
    Kind.COUNTER,
    ("model", "outcome"),
    "gpu-seconds by how the work ended: completed, failed, cancelled or lost; loads of models apart, as load",
)
FINISHED = Definition(
    "framegate_jobs_finished_total",
    Kind.COUNTER,
    ("model", "outcome"),
    "jobs that ended: completed, cancelled or the code of their error; not those deleted before",
)
QUEUE = Definition(
    "framegate_queue_seconds",
    Kind.HISTOGRAM,
    ("model",),
    "how long jobs waited until an engine took them for the first time",
    LONG,
)
PHASE = Definition(
    "framegate_phase_seconds",
    Kind.HISTOGRAM,
    ("model", "phase"),
    "how long each phase of a job took that came to its end: download, load, step (all of them) or decode (and encode)",
    LONG,
)
STEP = Definition(
    "framegate_step_seconds",
    Kind.HISTOGRAM,
    ("model",),
    "how long one step took; not the first of a job, which has the text encoder in it",
    SHORT,
)
ESTIMATE_ERROR = Definition(
    "framegate_estimate_error",
    Kind.HISTOGRAM,
    ("model", "basis"),
    "how far the expected seconds of completed jobs were from those taken, as a share of these; by basis: measured "
    "(jobs of this size), fitted (jobs of other sizes) or borrowed (jobs of other models)",
    (0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0),
)
LOADS = Definition("framegate_loads_total", Kind.COUNTER, ("device", "model"), "models that were loaded")
EVICTIONS = Definition(
    "framegate_evictions_total", Kind.COUNTER, ("device", "model"), "models that left to make room for others"
)
REFUSALS = Definition(
    "framegate_refusals_total", Kind.COUNTER, ("code",), "requests that were answered with an error, by its code"
)
REQUESTS = Definition(
    "framegate_requests_total", Kind.COUNTER, ("status",), "requests that were answered: 2xx, 4xx, ..."
)

DEFINITIONS = tuple(each for each in vars().values() if isinstance(each, Definition))

OTHER = "other"
RAISED = {  # by `raise`, beside the codes of error classes
    "cancelled",
    "disk_full",
    "image_url_refused",
    "invalid_form",
    "invalid_image",
    "invalid_json",
    "invalid_models_file",
    "missing_required_parameter",
    "store_unavailable",
    "unknown_parameter",
}
KINDS = (errors.HttpError, errors.EngineError)
# a closed set: a plugin's codes would make labels without limit
CODES = RAISED | {kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, KINDS)}


def code_label(code: str) -> str:
    """Return a code of ours unchanged, any other as `other`."""
    return code if code in CODES else OTHER
