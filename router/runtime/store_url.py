"""The name of a store in messages: no secret is in it."""

from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

SHOWN = ("host", "port")  # of the parameters: a unix socket's folder stands there


def without_secrets(url: str) -> str:
    """Return a valid URL of a store for messages: no password, no key."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    query = urlencode([each for each in parse_qsl(parts.query) if each[0] in SHOWN], safe="/")
    return parts._replace(netloc=f"{user.partition(':')[0]}{at}{host}", query=query).geturl()


def store_name(store: Path | str) -> str:
    """Return a store's path, or its URL without secrets."""
    return str(store) if isinstance(store, Path) else without_secrets(store)
