"""The WSGI entry: `gunicorn -c router/deploy/gunicorn.conf.py wsgi:app`."""

import sys

from registry import RegistryError
from router import logs
from router.errors import BootError
from router.settings import Settings
from router.supervisor import CANNOT_START
from router.system import assemble
from router.web import create_app

try:
    settings = Settings.from_environ()
    logs.configure(settings)
    app = create_app(assemble(settings))
except (BootError, RegistryError) as error:
    print(f"framegate cannot start:\n{error}", file=sys.stderr)
    sys.exit(CANNOT_START)  # gunicorn gives up instead of starting the worker again
