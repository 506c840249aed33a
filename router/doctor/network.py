"""Checks of the port and of proxies between this machine and itself."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http.client import HTTPException

from router.doctor.finding import DoctorContext, Finding, ok, warn

PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
LOCAL = ("localhost", "127.0.0.1")
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
SECONDS = 2


def check(context: DoctorContext) -> Iterator[Finding]:
    yield proxies(context.environ)
    yield port(context.host, context.port)


def proxies(environ: Mapping[str, str]) -> Finding:
    """Report proxies that would catch requests to this machine."""
    used = [name for name in PROXIES if environ.get(name)]
    spared = [part.strip() for part in (environ.get("no_proxy") or environ.get("NO_PROXY") or "").split(",")]
    if not used or "*" in spared:
        return ok("proxy", "none between this machine and itself")
    if caught := [name for name in LOCAL if name not in spared]:
        advice = f"NO_PROXY={','.join(dict.fromkeys([*filter(None, spared), *LOCAL]))}"
        return warn("proxy", f"{used[0]} is set, also for {' and '.join(caught)}: clients would not get here", advice)
    return ok("proxy", f"{used[0]} spares this machine")


def port(host: str, number: int) -> Finding:
    """Check whether the port is free, or serves Framegate already."""
    try:
        with socket.create_connection((host, number), timeout=SECONDS):
            pass
    except OSError:
        return ok("port", f"{host}, port {number} is free")
    if _is_framegate(host, number):
        return ok("port", f"a Framegate server answers at {host}, port {number}")
    return warn("port", f"another program listens at {host}, port {number}", "serve with another --port, or stop it")


def _is_framegate(host: str, number: int) -> bool:
    url = f"http://{f'[{host}]' if ':' in host else host}:{number}/healthz"
    try:
        with DIRECT.open(url, timeout=SECONDS) as answer:
            return bool(json.load(answer) == {"status": "ok"})
    except (OSError, ValueError, HTTPException):
        return False
