"""Load a model with each change of its configurations: `python hostile_loads.py FOLDER [EVERY]`, a line each.

Where the change is to what works at each job it also runs. Run in a process of its own, which may take little more memory than the model itself and a minute for each change.
"""

import faulthandler
import json
import resource
import sys
import time
from pathlib import Path

SPARE = 2 * 2**30  # bytes of addresses beside what the libraries have
SECONDS = 60
AT_WORK = ("scheduler", "tokenizer", "image_processor", "vae")


def main(folder: Path, every: int) -> None:
    from registry import Input, Modality, folders
    from registry.folders import FolderError
    from router.errors import LoadFailed
    from support import hostile_configs
    from support.driving import KeepingPool, load, picture, run, spec, task, video

    request = task(
        steps=1,
        num_frames=5,
        width=32,
        height=32,
        image=picture(0, 32, 32),
        last_image=picture(1, 32, 32),
        input_kinds=frozenset({Input.TEXT, Input.IMAGE, Input.LAST_IMAGE}),
    )
    model, pool = spec(folder, Modality.FLF2V), KeepingPool()
    video(run(model, load(model, pool), request))  # what the libraries load with it is not the changes'
    whole = dict(pool.parts)
    resource.setrlimit(resource.RLIMIT_AS, (_addresses() + SPARE,) * 2)

    def outcome(part: str) -> str:
        try:
            folders.read(folder)
        except FolderError:
            return "broken"
        try:
            loaded = load(model, pool)
        except LoadFailed:
            return "load_failed"
        if part not in AT_WORK:
            return "loaded"
        try:
            video(run(model, loaded, request))
        except Exception as error:
            return f"failed: {type(error).__name__}"
        return "made"

    for case in list(hostile_configs.cases(folder))[::every]:
        path = folder / case.file
        before = path.read_text()
        case.apply(folder)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        begin = time.perf_counter()
        try:
            found = outcome(case.file.partition("/")[0])
        except Exception as error:
            found = f"traceback: {error!r}"[:300]
        faulthandler.cancel_dump_traceback_later()
        path.write_text(before)
        pool.parts = dict(whole)
        line = {"case": case.name, "outcome": found, "seconds": time.perf_counter() - begin, "peak": _peak()}
        print(json.dumps(line), flush=True)


def _addresses() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
