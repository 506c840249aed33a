"""Every setting comes from the environment, is checked, and stands in the documentation."""

import os
import re
from pathlib import Path

import pytest

from docs.reference.settings import settings_of_operators
from router.errors import BootError
from router.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


def test_every_setting_is_documented_with_its_default_and_meaning() -> None:
    text = PAGE.read_text().split("<!-- settings -->")[1].split("<!-- /settings -->")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \|$", text, re.MULTILINE)

    assert rows == [
        (name, f"`{default}`" if default else "-", meaning) for name, default, meaning in settings_of_operators()
    ]


def test_settings_come_from_the_environment() -> None:
    environ = {"FRAMEGATE_DATA": "/srv/framegate", "FRAMEGATE_THREADS": "100", "FRAMEGATE_NO_AUTH": "1"}
    settings = Settings.from_environ({**environ, "FRAMEGATE_PLUGINS": "/a.py:/b"})

    assert (settings.data, settings.threads, settings.no_auth) == (Path("/srv/framegate"), 100, True)
    assert settings.plugins == (Path("/a.py"), Path("/b"))


def test_children_in_any_folder_get_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("DATA", "MODELS", "PLUGINS", "SHARED_VIDEOS")
    monkeypatch.chdir(tmp_path)
    for name in names:
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"FRAMEGATE_{name}", name)
    Settings.from_environ().export()

    assert [os.environ[f"FRAMEGATE_{name}"] for name in names] == [str(tmp_path / name) for name in names]


def test_every_bad_setting_is_named_at_once() -> None:
    environ = {
        "FRAMEGATE_THREADS": "many",
        "FRAMEGATE_WORKERS": "0",
        "FRAMEGATE_WAIT_SECONDS": "nan",
        "FRAMEGATE_NO_AUTH": "perhaps",
        "FRAMEGATE_LOG_FORMAT": "xml",
        "FRAMEGATE_LOG_LEVEL": "LOUD",
    }
    with pytest.raises(BootError) as refused:
        Settings.from_environ(environ)

    lines = refused.value.message.splitlines()
    assert [line.partition(":")[0] for line in lines] == sorted(environ, key=list(dict.fromkeys(order())).index)
    assert "FRAMEGATE_THREADS: must be a whole number of at least 1, got 'many'" in lines
    assert "FRAMEGATE_WORKERS: must be a whole number of at least 1, got '0'" in lines


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("FRAMEGATE_THREADS", "32", "must be above 32, the threads that never wait, got 32"),
        ("FRAMEGATE_RENEW_SECONDS", "20", "must be at most half of FRAMEGATE_LEASE_SECONDS (30), got 20"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(name: str, value: str, message: str) -> None:
    with pytest.raises(BootError) as refused:
        Settings.from_environ({name: value})
    assert refused.value.message == f"{name}: {message}"


def test_constants_of_the_protocol_reach_child_processes_and_stand_in_no_table() -> None:
    assert Settings.from_environ({"FRAMEGATE_RENEW_SECONDS": "2"}).renew_seconds == 2
    assert "FRAMEGATE_RENEW_SECONDS" not in order()


def test_an_empty_variable_counts_as_not_set() -> None:
    assert Settings.from_environ({"FRAMEGATE_DATA": "", "FRAMEGATE_MODEL": ""}) == Settings()


def order() -> list[str]:
    return [name for name, _, _ in settings_of_operators()]


def test_other_variables_are_left_alone() -> None:
    assert Settings.from_environ({"FRAMEGATE_UNKNOWN": "x", "PATH": "/bin"}) == Settings()


def test_image_hosts_are_names_or_addresses_with_or_without_a_port() -> None:
    settings = Settings.from_environ({"FRAMEGATE_IMAGE_HOSTS": " Intranet, cdn.example.org:8443,[::1]:80,10.0.0.5,"})

    assert settings.image_hosts == ("intranet", "cdn.example.org:8443", "[::1]:80", "10.0.0.5")


@pytest.mark.parametrize("value", ["http://a", "a:b", "a:0", "a:65536", "::1", "a b", "*.example.org", "a/b", "a@b"])
def test_other_image_hosts_are_refused(value: str) -> None:
    with pytest.raises(BootError, match="FRAMEGATE_IMAGE_HOSTS: must be HOST or HOST:PORT"):
        Settings.from_environ({"FRAMEGATE_IMAGE_HOSTS": value})


def test_proxies_are_addresses_and_networks() -> None:
    settings = Settings.from_environ({"FRAMEGATE_PROXIES": "127.0.0.1, 10.0.0.0/8,::1"})

    assert [str(network) for network in settings.proxies] == ["127.0.0.1/32", "10.0.0.0/8", "::1/128"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FRAMEGATE_PROXIES", "nginx"),
        ("FRAMEGATE_PROXIES", "10.0.0.1/8"),
        ("FRAMEGATE_ACCEL", "files"),
        ("FRAMEGATE_ACCEL", "/files/"),
        ("FRAMEGATE_ACCEL", "/a b"),
        ("FRAMEGATE_ACCEL", "/a;"),
    ],
)
def test_other_proxies_and_locations_are_refused(name: str, value: str) -> None:
    with pytest.raises(BootError, match=name):
        Settings.from_environ({name: value})


def test_budgets_are_numbers_a_window() -> None:
    settings = Settings.from_environ(
        {"FRAMEGATE_KEY_GPU_SECONDS": "3600/day", "FRAMEGATE_KEY_QUEUED": "2", "FRAMEGATE_OWNER_COST": "20.5/month"}
    )

    assert (settings.key_limits.queued, str(settings.key_limits.gpu_seconds)) == (2, "3600/day")
    assert [str(budget) for budget in (settings.key_limits.budgets.cost, settings.owner_budgets.cost)] == [
        "None",
        "20.5/month",
    ]


@pytest.mark.parametrize("name", ["KEY_GPU_SECONDS", "KEY_COST", "OWNER_GPU_SECONDS", "OWNER_COST"])
def test_other_budgets_are_refused(name: str) -> None:
    with pytest.raises(BootError, match=f"FRAMEGATE_{name}: must be a number above 0 .* got '3600'"):
        Settings.from_environ({f"FRAMEGATE_{name}": "3600"})
