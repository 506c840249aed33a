"""The WSGI entry: `gunicorn -c router/deploy/gunicorn.conf.py wsgi:app`."""

import os
import sys

from registry import RegistryError
from router.errors import BootError
from router.runtime import logs
from router.runtime.supervision import CANNOT_START
from router.settings import Settings
from router.system import assemble, require_keys
from router.web import create_app

try:
    settings = Settings.from_environ()
    logs.configure(settings.log_format, settings.log_level)
    system = assemble(settings)
    if "FRAMEGATE_PARENT" not in os.environ:  # `framegate serve` knows who can connect
        require_keys(system)
    app = create_app(system)
except (BootError, RegistryError) as error:
    print(f"framegate cannot start:\n{error}", file=sys.stderr)
    sys.exit(CANNOT_START)  # gunicorn gives up instead of starting the worker again
