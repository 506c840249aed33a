"""An engine process, `python -m router.engine DEVICE PARENT BEATS HUNG`, which a supervisor starts."""

import logging
import signal
import sys

from sqlalchemy.exc import SQLAlchemyError

from registry import RegistryError
from router.engine import encoder
from router.engine.device import hold
from router.engine.heartbeat import Heartbeat
from router.engine.worker import Worker
from router.errors import BootError, is_damaged, is_disk_full, is_unwritable, reason
from router.runtime import logs
from router.runtime.ending import end_process
from router.runtime.parent import die_with
from router.runtime.supervision import CANNOT_START, TRY_AGAIN, Beats, exit_status
from router.settings import Settings
from router.system import assemble
from router.values import Phase


def main(device: str, parent: int, pipe: int, hung: str) -> None:
    """Run an engine until a signal stops it.

    `hung` is the phase in which the former engine hung, empty if it did not hang.
    """
    die_with(parent)
    settings = Settings.from_environ()
    logs.configure(settings.log_format, settings.log_level)
    with hold(settings.data, device):
        worker = Worker(assemble(settings, plugins=[encoder]), device, Heartbeat(Beats(pipe)))
        logs.name_engine(worker.id)
        encoder.require()  # after the check of the models' own packages, whose extras bring it
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.keeper.stop())
        worker.run(Phase(hung) if hung in set(Phase) else None)


if __name__ == "__main__":
    try:
        main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
        end_process(0)
    except (BootError, RegistryError) as error:
        print(f"the engine cannot start:\n{error}", file=sys.stderr)
        sys.exit(exit_status(error))
    except SQLAlchemyError as error:  # it is locked, or its disk is full; or it is damaged
        logging.getLogger("router.engine").error("the store did not answer: %s", reason(error))
        sys.exit(CANNOT_START if is_damaged(error) else TRY_AGAIN)
    except OSError as error:
        if not (is_disk_full(error) or is_unwritable(error)):
            raise
        logging.getLogger("router.engine").error("the data folder cannot be written: %s", error)
        sys.exit(TRY_AGAIN)
