"""`framegate doctor`: one module for each topic that it looks at."""

from router.cli.doctor.command import doctor

__all__ = ["doctor"]
