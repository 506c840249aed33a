"""`python -m docs.architecture`: write `docs/architecture.svg`."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from tests.test_boundaries import FLOORS

PICTURE = Path(__file__).with_suffix(".svg")
WIDTH, MARGIN = 1120, 24
STEP, GAP, FLOOR = 38, 10, 30  # heights of a step, of the space below it, of a floor
INK, FAINT, LINE = "#1f2933", "#5c6b7a", "#9aa5b1"
WEB, STORES, ENGINE, ROOM = "#e8f0f8", "#fdf6e3", "#eaf5ea", "#f4f6f8"
FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"

# the steps of a request and of a job; for each the modules in `router/`, and the hook
REQUEST = (
    ("parse", "web/responses/parse.py, web/videos/parse.py"),
    ("gate: key, model, modality, limits, queue", "intake/gate.py"),
    ("resolve: defaults and sizes", "intake/resolve.py"),
    ("policies", "hook check_request"),
    ("images: fetch, decode, store", "intake/images.py, media/fetch.py"),
    ("add the job", "jobs/store.py"),
    ("wait, then render the answer", "web/waiting/waiters.py, web/responses/render.py"),
)
JOB = (
    ("claim a lease", "engine/worker.py, jobs/claims.py"),
    ("load the model", "engine/residency.py, hook load_model"),
    ("generate frames", "engine/attempt.py, hook generate"),
    ("encode the file", "engine/encoder.py, hook encode_output"),
    ("finish or fail", "engine/attempt.py, jobs/work_queue.py"),
)


def svg() -> str:
    """Return the picture: the ways of a request and a job, then the floors."""
    parts = [*_ways(), *_floors(top := 476)]
    height = top + 44 + FLOOR * len(FLOORS) + MARGIN
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' {FONT} font-size='13'>"
    arrow = (
        "<defs><marker id='arrow' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' "
        f"orient='auto'><path d='M0 0 L8 4 L0 8 z' fill='{FAINT}'/></marker></defs>"
    )
    paper = f"<rect width='{WIDTH}' height='{height}' fill='white'/>"
    return "\n".join([head, "<title>Framegate's rooms</title>", arrow, paper, *parts, "</svg>", ""])


def _ways() -> Iterator[str]:
    left, middle, right, top = MARGIN, 484, 716, 72
    wide, narrow = 380, 152
    yield _text(left, 36, "client", bold=True)
    yield _arrow(left + 46, 32, left + 96, 32)
    yield _text(left + 102, 36, "nginx", bold=True)
    yield _arrow(left + 122, 42, left + 122, top - 2)
    yield from _process(left, top, wide, "web process: gunicorn and Flask", WEB, REQUEST)
    yield from _process(right, top, wide, "engine process: one per device", ENGINE, JOB)
    yield from _store(middle, top + 116, narrow, "jobs", "SQLite: jobs, engines", "jobs")
    yield from _store(middle, top + 256, narrow, "files", "folder: inputs, videos", "storage")
    yield from _links(left + wide, middle, middle + narrow, right, top)
    yield _text(middle + narrow / 2, top + 30, "The halves share these", FAINT, "middle")
    yield _text(middle + narrow / 2, top + 48, "two stores and nothing else.", FAINT, "middle")
    below = top + 44 + 5 * (STEP + GAP) + 26
    yield _text(right + 14, below, "Beside each attempt: engine/lease_keeper.py renews", FAINT)
    yield _text(right + 14, below + 18, "the lease, engine/reporter.py stores progress.", FAINT)
    yield _text(right + 14, below + 36, "fleet/supervisor.py restarts an engine that hangs.", FAINT)


def _links(web: float, store: float, end: float, engine: float, top: float) -> Iterator[str]:
    def step(number: int) -> float:
        return top + 44 + number * (STEP + GAP) + STEP / 2

    inset = 14
    yield _arrow(web - inset, step(4), store - 2, top + 280)  # images
    yield _arrow(web - inset, step(5), store - 2, top + 172)  # add
    yield _arrow(store - 2, top + 196, web - inset + 2, step(6) - 8)  # changes
    yield _arrow(store - 2, top + 312, web - inset + 2, step(6) + 8)  # the file
    yield _arrow(end + 2, top + 140, engine + inset - 2, step(0))  # claim
    yield _arrow(engine + inset, step(3), end + 2, top + 290)  # encode
    yield _arrow(engine + inset, step(4), end + 2, top + 184)  # finish


def _process(
    x: float, y: float, width: float, title: str, fill: str, steps: Sequence[tuple[str, str]]
) -> Iterator[str]:
    height = 44 + len(REQUEST) * (STEP + GAP) + 4
    yield _box(x, y, width, height, fill)
    yield _text(x + 14, y + 26, title, bold=True)
    for number, (what, where) in enumerate(steps):
        top = y + 44 + number * (STEP + GAP)
        yield _box(x + 14, top, width - 28, STEP, "white")
        yield _text(x + 26, top + 16, f"{number + 1}  {what}")
        yield _text(x + 43, top + 31, where, FAINT, size=11)


def _store(x: float, y: float, width: float, title: str, holds: str, room: str) -> Iterator[str]:
    height, cap = 92, 9
    sides = f"M{x} {y + cap} V{y + height - cap} A{width / 2} {cap} 0 0 0 {x + width} {y + height - cap} V{y + cap}"
    yield f"<path d='{sides}' fill='{STORES}' stroke='{LINE}'/>"
    yield (
        f"<ellipse cx='{x + width / 2}' cy='{y + cap}' rx='{width / 2}' ry='{cap}' fill='{STORES}' stroke='{LINE}'/>"
    )
    yield _text(x + width / 2, y + 40, title, anchor="middle", bold=True)
    yield _text(x + width / 2, y + 58, holds, FAINT, "middle", size=11)
    yield _text(x + width / 2, y + 74, f"router/{room}", FAINT, "middle", size=11)


def _floors(top: float) -> Iterator[str]:
    yield _text(MARGIN, top + 20, "Floors: a room imports rooms below its own floor, never beside or above", bold=True)
    for number, rooms in enumerate(reversed(FLOORS)):
        width = (WIDTH - 2 * MARGIN - GAP * (len(rooms) - 1)) / len(rooms)
        for index, room in enumerate(rooms):
            x, y = MARGIN + index * (width + GAP), top + 34 + FLOOR * number
            yield _box(x, y, width, FLOOR - 6, {"router.web": WEB, "router.engine": ENGINE}.get(room, ROOM))
            yield _text(x + width / 2, y + 16.5, room, anchor="middle", size=12)


def _box(x: float, y: float, width: float, height: float, fill: str) -> str:
    return f"<rect x='{x:g}' y='{y:g}' width='{width:g}' height='{height}' rx='4' fill='{fill}' stroke='{LINE}'/>"


def _text(
    x: float, y: float, words: str, fill: str = INK, anchor: str = "start", *, bold: bool = False, size: int = 13
) -> str:
    weight = " font-weight='bold'" if bold else ""
    return (
        f"<text x='{x:g}' y='{y:g}' fill='{fill}' text-anchor='{anchor}' font-size='{size}'{weight}>"
        f"{escape(words)}</text>"
    )


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    return f"<line x1='{x1}' y1='{y1}' x2='{x2}' y2='{y2}' stroke='{FAINT}' marker-end='url(#arrow)'/>"


if __name__ == "__main__":
    PICTURE.write_text(svg())
