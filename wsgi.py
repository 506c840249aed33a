"""The WSGI entry: `gunicorn -c router/deploy/gunicorn.conf.py wsgi:app`."""

import os
import sys

from sqlalchemy.exc import SQLAlchemyError

from registry import RegistryError
from router.errors import BootError, is_outage, reason
from router.runtime import logs
from router.runtime.supervision import TRY_AGAIN, exit_status
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
    sys.exit(exit_status(error))  # after `CANNOT_START` gunicorn does not start the worker again
except SQLAlchemyError as error:
    if not is_outage(error):
        raise
    print(f"framegate cannot start now: the store does not answer: {reason(error)}", file=sys.stderr)
    sys.exit(TRY_AGAIN)
