"""An engine's memory with a 1.3B model on a CPU, against its plan."""

import tempfile

from bench.tools.machine import run_code
from bench.tools.table import Row

MOST = 1.15  # the largest ratio to the plan
CHILD = """
import json, sys
from pathlib import Path
import psutil
import bench.card.checkpoints as checkpoints
from bench.card.shapes import WAN_1_3B
from registry import Size
from router.engine.heap import trim
from router.engine.reporter import heartbeats
from router.engine.residency import Residency
from router.engine.warm_up import short_task
from router.settings import Settings
from router.system import assemble
# imported first: libraries are no part of the models' memory
import plugins.diffusers_backend.load, plugins.wan.generate.run

folder, size = Path(sys.argv[1]), Size(416, 240, 17)  # pixels and frames: activations of tens of megabytes
text = checkpoints.TOY_TEXT | {"d_model": 4096}
recipe = checkpoints.Recipe("wan2.1-t2v-1.3b", "WanPipeline", (WAN_1_3B,), {}, text, {"boundary_ratio": None})
place = checkpoints.write(folder, "large", recipe)
(folder / "models.yaml").write_text(f"models: {{large: {{backend: diffusers, source: '{place}'}}}}")
process = psutil.Process()
empty = process.memory_info().rss
system = assemble(Settings(data=folder / "data", models=folder / "models.yaml"))
residency, quiet = Residency(system, "cpu"), heartbeats(lambda phase: None)
model = system.registries.poll().find("large")
resident = residency.get(model, quiet)
loaded = process.memory_info().rss - empty
task = short_task(model, size)
for _ in range(2):
    generate = system.plugins.hook_for("generate", model)
    frames = generate(model=resident.model, loaded=resident.loaded, task=task, report=lambda *_: None)
    for _ in frames.pixels:
        pass
after = process.memory_info().rss - empty
trim()
rest = process.memory_info().rss - empty
print(json.dumps({"planned": residency._pool.size, "loaded": loaded, "after": after, "rest": rest}))
"""


def rows() -> tuple[Row, ...]:
    with tempfile.TemporaryDirectory() as folder:
        found = run_code(CHILD, folder)
    return (
        Row("weights of a 1.3B model's shapes, as planned", found["planned"] / 1e9, "GB"),
        Row("memory when they are loaded / planned", found["loaded"] / found["planned"], "", MOST),
        Row("memory when two jobs are done / planned", found["after"] / found["planned"]),
        Row("memory when the engine rests after them / planned", found["rest"] / found["planned"], "", MOST),
    )
