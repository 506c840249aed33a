"""The installed version of Framegate."""

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """Return the version, `0` for a checkout that nobody installed."""
    try:
        return version("framegate")
    except PackageNotFoundError:
        return "0"
