"""The `framegate` command, run in the process of a test."""

from collections.abc import Callable

import pytest

Run = Callable[..., tuple[int, str, str]]


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str, **settings: object) -> Run:
    """Return a function that runs `framegate WORDS ...` and returns status, output and messages."""
    from router.cli.main import main

    for name, value in settings.items():
        monkeypatch.setenv(f"FRAMEGATE_{name.upper()}", str(value))

    def framegate(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["framegate", *words, *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed, code = capsys.readouterr(), ended.value.code
        if isinstance(code, str):  # Python prints it at the end of the process, and exits with 1
            return 1, printed.out, f"{printed.err}{code}\n"
        return code or 0, printed.out, printed.err

    return framegate
