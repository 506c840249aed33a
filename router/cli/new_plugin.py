"""`framegate new-plugin`: a package with a small backend, to begin with."""

import json
import keyword
import re
import shutil
import sys
from collections.abc import Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import click
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from router.errors import BootError
from router.plugins import Plugins, find
from router.runtime.release import installed_version
from router.settings import Settings

TEMPLATES = Path(__file__).with_name("plugin_template")
NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9_-]{0,48}[A-Za-z0-9])?")
WANTED = "letters, digits, - and _, at most 50, with a letter first and no sign last"
OURS = {"framegate", "router", "registry", "plugins", "nano", "wsgi", "tests", "conftest", "setup"}


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path(), help="Write the package into this folder. [default: .]"
)
def new_plugin(name: str, folder: Path) -> None:
    """Write a package NAME with a small backend, ready to install and test."""
    module = name.replace("-", "_")
    package = folder / name
    _check(name, module)
    _check_folder(folder, package)
    values = {"name": name, "module": module, "yaml_name": _yaml(name), "version": installed_version()}
    _write(package, {_name(path, module): text for path, text in _filled(values).items()})
    steps = f"'cd {package}', \"pip install -e '.[test]'\" and 'python -m pytest'"
    click.echo(f"{package} is written: {steps} show that it works")


def _check(name: str, module: str) -> None:
    """Raise `click.BadParameter` for a name that a package or a backend cannot have."""
    if not NAME.fullmatch(name):
        raise click.BadParameter(f"must be {WANTED}, got {name!r}", param_hint="NAME")
    for is_taken, what in (
        (keyword.iskeyword(module), "a word of the language Python"),
        (module.lower() in {each.lower() for each in sys.stdlib_module_names}, "a module of Python's standard library"),
        (module.lower() in OURS, "a module of Framegate, or of each project"),
        (name in Plugins(find(Settings.from_environ().plugins)).backends, "a backend here"),
        (_is_installed(name, module), "a module or package that is installed here"),
    ):
        if is_taken:
            raise click.BadParameter(f"must be a name that is free, got {name!r}, {what}", param_hint="NAME")


def _is_installed(name: str, module: str) -> bool:
    if find_spec(module) is not None:
        return True
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _check_folder(folder: Path, package: Path) -> None:
    try:
        is_folder, is_taken = folder.is_dir(), package.exists() or package.is_symlink()
    except OSError as error:
        raise BootError(f"--folder {folder} cannot be used: {error.strerror}") from error
    if not is_folder:
        raise BootError(f"--folder must be a folder that is there, got {folder}")
    if is_taken:
        raise BootError(f"{package} is there already: choose another name, or another --folder")


def _yaml(name: str) -> str:
    """Quote a name that YAML would read as another value, such as `on`."""
    return name if yaml.safe_load(name) == name else json.dumps(name)


def _filled(values: Mapping[str, str]) -> dict[Path, str]:
    files = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # the templates are no HTML
    )
    return {Path(each): files.get_template(each).render(values) for each in files.list_templates(extensions=["jinja"])}


def _name(path: Path, module: str) -> Path:
    names = {"module.py": f"{module}.py", "gitignore": ".gitignore"}
    return path.with_name(names.get(path.stem, path.stem))


def _write(package: Path, files: Mapping[Path, str]) -> None:
    """Write all files, or none."""
    try:
        package.mkdir()
    except OSError as error:
        raise BootError(f"{package} cannot be made: {error.strerror}") from error
    try:
        for path, text in files.items():
            (package / path).parent.mkdir(parents=True, exist_ok=True)
            (package / path).write_text(text)
    except OSError as error:
        shutil.rmtree(package, ignore_errors=True)
        raise BootError(f"{package} cannot be written: {error.strerror}") from error
