"""`python -m bench.card.pack [FILE]`: pack the packages that a bare GPU machine lacks."""

import argparse
import lzma
import re
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from packaging.utils import canonicalize_name

from bench.tools.machine import ROOT

ARCHIVE = ROOT / ".card" / "packages.tar.xz"
CONSTRAINTS = ROOT / "constraints.txt"
LIMIT = 36_000_000  # bytes; a checkout travels with the archive, at most 64 MiB together

# Packages that Framegate needs, directly or not, and that the machine's image has. The machine's versions stay: its
# transformers needs huggingface_hub 1, which setup.cfg no longer allows.
# fmt: off
PRESENT = frozenset((
    "accelerate", "anyio", "click", "filelock", "h11", "huggingface-hub", "idna", "jinja2", "markupsafe", "numpy",
    "opencv-python-headless", "packaging", "pillow", "pluggy", "prometheus-client", "pyyaml", "regex", "requests",
    "safetensors", "sentencepiece", "tokenizers", "torch", "transformers", "typing-extensions",
))
# werkzeug and zipp are there too, in untested versions; both are small
PACKED = (
    "alembic", "apispec", "av", "blinker", "diffusers", "flask", "ftfy", "gunicorn", "httpcore2", "httpx2",
    "importlib-metadata", "itsdangerous", "lazy-importer", "mako", "marshmallow", "pillow-heif", "sqlalchemy",
    "truststore", "wcwidth", "werkzeug", "zipp",
)
# fmt: on

# CPython 3.12 on x86-64 Linux; pip needs the exact name of each platform
TARGET = ("--python-version", "3.12", "--implementation", "cp")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")

UNUSED_FOLDERS = frozenset({"__pycache__", "bin", "test", "tests"})
UNUSED_SUFFIXES = frozenset({".c", ".cpp", ".h", ".pxd", ".pyc", ".pyi", ".pyx"})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.card.pack", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=ARCHIVE, metavar="FILE", help=f"[default: {ARCHIVE}]")
    parser.add_argument("--check", action="store_true", help="only check that the registry has every wheel")
    options = parser.parse_args()
    wanted = pins(CONSTRAINTS.read_text())
    with tempfile.TemporaryDirectory(prefix="framegate-pack-") as folder:
        _install(Path(folder), wanted, *(["--dry-run"] if options.check else []))
        if options.check:
            print(f"the registry has all {len(wanted)} wheels")
            return
        write(Path(folder), options.file)
        print(f"{options.file}: {megabytes(options.file.stat().st_size)}; unpacked: {largest(Path(folder))}")


def pins(constraints: str) -> tuple[str, ...]:
    versions = dict(line.split("==") for line in constraints.splitlines() if "==" in line)
    versions = {canonicalize_name(name): version.strip() for name, version in versions.items()}
    if unknown := sorted(set(PACKED) - versions.keys()):
        sys.exit(f"constraints.txt must have a version of every packed package, has none of {', '.join(unknown)}")
    return tuple(f"{name}=={versions[name]}" for name in PACKED)


def _install(site: Path, wanted: Sequence[str], *more: str) -> None:
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps")
    platforms = [part for name in PLATFORMS for part in ("--platform", name)]
    target = ("--only-binary=:all:", "--no-compile", "--target", str(site), *TARGET, *platforms)
    done = subprocess.run([*pip, *target, *more, *wanted], check=False)
    if done.returncode:
        sys.exit(f"pip install must find the wheels of constraints.txt, ended with {done.returncode}; see above")


def needed(site: Path) -> list[Path]:
    """Return the files of `site` that a run needs, and licences, relative to it."""
    paths = sorted(path.relative_to(site) for path in site.rglob("*") if path.is_file())
    return [path for path in paths if _is_needed(path)]


def _is_needed(path: Path) -> bool:
    if path.parts[0].endswith(".dist-info"):
        return True
    return path.suffix not in UNUSED_SUFFIXES and UNUSED_FOLDERS.isdisjoint(path.parts[:-1])


def write(site: Path, archive: Path, limit: int = LIMIT) -> None:
    """Write `site` as a reproducible archive; exit if it exceeds the limit."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_name(archive.name + ".partial")
    try:
        with tarfile.open(partial, "w:xz", preset=9 | lzma.PRESET_EXTREME) as tar:
            for path in needed(site):
                # no owner, no date: the same files give the same bytes
                member = tarfile.TarInfo(path.as_posix())
                member.size = (site / path).stat().st_size
                with (site / path).open("rb") as content:
                    tar.addfile(member, content)
        size = partial.stat().st_size
        if size > limit:
            sys.exit(
                f"{archive} would be {megabytes(size)}: at most {megabytes(limit)} can be carried to the machine; "
                f"the largest packages, unpacked: {largest(site)}"
            )
        partial.replace(archive)
    finally:
        partial.unlink(missing_ok=True)


def largest(site: Path, count: int = 6) -> str:
    sizes = Counter[str]()
    for path in needed(site):
        sizes[_package(path)] += (site / path).stat().st_size
    return ", ".join(f"{name} {megabytes(size)}" for name, size in sizes.most_common(count))


def _package(path: Path) -> str:
    """Return the package of a file: `av` for `av.libs/…` and `av-18.1.0.dist-info/…`."""
    return re.split(r"[.-]", path.parts[0])[0].lower()


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


if __name__ == "__main__":
    main()
