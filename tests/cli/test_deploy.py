"""`framegate deploy`: what it prints fits this installation and its settings."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from router.cli.deploy import UNITS, deploy
from router.errors import BootError


def run(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(deploy, arguments, env={"FRAMEGATE_DATA": "", **environ})


def test_the_site_follows_the_settings() -> None:
    usual = run("nginx", "video.example.org").output
    other = run(
        "nginx", "video.example.org", FRAMEGATE_MAX_BODY_BYTES="1000", FRAMEGATE_WAIT_SECONDS="7200",
        FRAMEGATE_DATA="/srv/videos", FRAMEGATE_ACCEL="/inner",
    ).output  # fmt: skip

    for line in (
        "server_name video.example.org;",
        "server unix:/run/framegate/web.sock fail_timeout=0;",
        "listen 80;",
        "client_max_body_size 65m;",
        '"a body may have 67,108,864 bytes, got more";',
        "proxy_read_timeout 3660s;",
        "location /framegate-files/ {",
        "alias /var/lib/framegate/videos/;",
    ):
        assert line in usual
    for line in (
        "client_max_body_size 2m;",
        '"a body may have 1,000 bytes, got more";',
        "proxy_read_timeout 7260s;",
        "location /inner/ {",
        "alias /srv/videos/videos/;",
    ):
        assert line in other


def test_with_a_certificate_it_serves_https_and_sends_others_there() -> None:
    site = run("nginx", "video.example.org", "--certificate", "/c.pem", "--key", "/k.pem").output

    assert "listen 443 ssl;\n    ssl_certificate /c.pem;\n    ssl_certificate_key /k.pem;" in site
    assert "return 308 https://$host$request_uri;" in site
    assert site.count("listen 80;") == 1


def test_the_web_half_may_listen_elsewhere() -> None:
    assert "server 10.0.0.7:8000 fail_timeout=0;" in run("nginx", "a.org", "--upstream", "10.0.0.7:8000").output
    assert "server unix:/tmp/a.sock fail_timeout=0;" in run("nginx", "a.org", "--socket", "/tmp/a.sock").output


@pytest.mark.parametrize(
    "arguments",
    [
        ("nginx",),
        ("nginx", "a; include /etc/passwd"),
        ("nginx", "a", "--data", "/with space"),
        ("nginx", "a", "--certificate", "/c.pem"),
        ("nginx", "a", "--upstream", "a;b"),
        ("systemd", "/nowhere/at/all"),
        ("systemd", "/tmp", "--user", "a b"),
    ],
)
def test_what_would_break_a_file_is_refused(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_the_web_half_may_write_into_the_shared_folder(tmp_path: Path) -> None:
    (shared := tmp_path / "shared").mkdir()
    run("systemd", str(tmp_path), FRAMEGATE_DATA="/srv/videos", FRAMEGATE_SHARED_VIDEOS=str(shared))

    assert f"ReadWritePaths=/srv/videos {shared}\n" in (tmp_path / "framegate-web.service").read_text()
    assert "ReadWritePaths=/srv/videos\n" in (tmp_path / "framegate-engine@.service").read_text()


@pytest.mark.parametrize(
    ("name", "message"), [("with space", "must have no spaces, quotes"), ("gone", "must be a folder")]
)
def test_a_shared_folder_that_cannot_work_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "with space").mkdir()
    refused = run("systemd", str(tmp_path), FRAMEGATE_SHARED_VIDEOS=str(tmp_path / name)).exception

    assert isinstance(refused, BootError)
    assert f"FRAMEGATE_SHARED_VIDEOS: {message}" in refused.message
    assert not list(tmp_path.glob("framegate*"))


def test_the_units_name_this_installation(tmp_path: Path) -> None:
    said = run("systemd", str(tmp_path), "--user", "video", FRAMEGATE_DATA="/srv/videos").output
    units = {name: (tmp_path / name).read_text() for name in UNITS}
    framegate = Path(sys.executable).with_name("framegate")

    assert said.split() == [str(tmp_path / name) for name in UNITS]
    assert f"ExecStart={framegate} web\n" in units["framegate-web.service"]
    assert f"ExecStart={framegate} engine --device %I\n" in units["framegate-engine@.service"]
    assert "SocketGroup=video\n" in units["framegate-web.socket"]
    for name in ("framegate-web.service", "framegate-engine@.service"):
        assert "User=video\n" in units[name]
        assert "Environment=FRAMEGATE_DATA=/srv/videos\n" in units[name]
        assert "ReadWritePaths=/srv/videos\n" in units[name]
