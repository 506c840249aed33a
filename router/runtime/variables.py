"""Parsers of environment variables; each raises `ValueError` with the allowed values."""

import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import NamedTuple

YEAR_SECONDS = 31_536_000
Network = IPv4Network | IPv6Network


class Address(NamedTuple):
    """A host and a port to listen on."""

    host: str
    port: int


def flag(text: str) -> bool:
    if text.lower() not in {"0", "1", "false", "true", "no", "yes", ""}:
        raise ValueError(f"must be 0 or 1, got {text!r}")
    return text.lower() in {"1", "true", "yes"}


def path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def paths(text: str) -> tuple[Path, ...]:
    return tuple(path(part) for part in text.split(os.pathsep) if part)


def positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number <= YEAR_SECONDS:
        raise ValueError(f"must be a number above 0 and up to {YEAR_SECONDS:,}, got {text!r}")
    return number


def count(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,17}", text):
        raise ValueError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def hosts(text: str) -> tuple[str, ...]:
    """Parse hosts separated by ',', each with or without a port."""
    found = tuple(filter(None, (part.strip().lower() for part in text.split(","))))
    for host in found:
        entry = re.fullmatch(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", host)
        if entry is None or not 0 < int(entry[2] or 80) < 2**16:
            raise ValueError(f"must be HOST or HOST:PORT, separated by ',', got {host!r}")
    return found


def host_names(text: str) -> tuple[str, ...]:
    """Parse host names separated by ','; ports are refused."""
    names = tuple(part.strip().lower().removesuffix(".") for part in text.split(",") if part.strip())
    for name in names:
        if not re.fullmatch(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]", name):
            raise ValueError(f"must be names of hosts without ports, in ASCII, separated by ',', got {name!r}")
    return tuple(name.strip("[]") for name in names)


def host_name(text: str) -> str:
    """Parse the name of a machine."""
    if not re.fullmatch(r"[a-z0-9._-]{1,64}", text.lower()):
        raise ValueError(f"must be up to 64 letters, digits, dots and dashes, got {text!r}")
    return text.lower()


def store(text: str) -> str:
    """Parse the URL of a PostgreSQL database."""
    address = r"(?:[^/?#@]*@)?(?:\[[0-9a-fA-F:.%]+\]|[^/?#@:\[\]]*)(?::[0-9]{1,5})?"
    found = re.fullmatch(rf"(?:postgresql(?:\+psycopg)?|postgres)://({address}/[^/?#@\s]+(?:\?[^#\s]*)?)", text)
    if found is None:
        shown = re.sub(r"^([a-z+]*:(?://)?)?.*@", r"\1...@", text.replace("\n", " ")).partition("?")[0]  # no password
        raise ValueError(f"must be postgresql+psycopg://USER:PASSWORD@HOST/DATABASE, got {shown!r}")
    return f"postgresql+psycopg://{found[1]}"


def address(text: str) -> Address:
    """Parse HOST:PORT, an IPv6 address in brackets."""
    found = re.fullmatch(r"([a-zA-Z0-9._-]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})", text)
    if found is None or not 0 < int(found[2]) < 2**16:
        raise ValueError(f"must be HOST:PORT, such as 127.0.0.1:9100, got {text!r}")
    return Address(found[1].strip("[]"), int(found[2]))


def networks(text: str) -> tuple[Network, ...]:
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def location(text: str) -> str:
    """Parse an nginx location."""
    if not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", text):
        raise ValueError(f"must be a path such as /framegate-files, got {text!r}")
    return text


def log_format(text: str) -> str:
    if text not in {"text", "json"}:
        raise ValueError(f"must be text or json, got {text!r}")
    return text


def log_level(text: str) -> str:
    if text.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise ValueError(f"must be DEBUG, INFO, WARNING or ERROR, got {text!r}")
    return text.upper()
