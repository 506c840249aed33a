"""Errors of stores, by their remedy."""

from collections.abc import Callable

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from support.postgresql import Postgres
from support.server import free_port

from router.errors import is_damaged, is_disk_full, is_outage, is_unwritable, reason
from router.errors.storage import is_refusal
from router.web.errors import as_http_error

SECRET = "correct-horse"


class Refused(psycopg.OperationalError):
    """What the server says with an SQLSTATE."""

    def __init__(self, state: str) -> None:
        super().__init__("it refuses\nDETAIL: a row")
        self.sqlstate = state


def caught(do: Callable[[], object]) -> SQLAlchemyError:
    with pytest.raises(SQLAlchemyError) as raised:
        do()
    return raised.value


def connected(url: str, statement: str = "SELECT 1", **options: object) -> Callable[[], object]:
    def do() -> object:
        with create_engine(url, **options).connect() as connection:  # type: ignore[arg-type]
            return connection.execute(text(statement), {"value": SECRET} if ":value" in statement else {})

    return do


def kinds(error: BaseException) -> set[str]:
    found = {is_outage, is_refusal, is_disk_full, is_damaged}
    return {kind.__name__ for kind in found if kind(error)}


def test_no_server_is_an_outage() -> None:
    port = free_port()
    error = caught(connected(f"postgresql+psycopg://me:{SECRET}@127.0.0.1:{port}/jobs"))

    assert kinds(error) == {"is_outage"}
    assert is_unwritable(error)
    assert str(port) in reason(error)
    assert "refused" in reason(error)
    assert SECRET not in reason(error)
    assert "\n" not in reason(error)


def test_a_missing_database_is_a_refusal(postgres_url: str) -> None:
    error = caught(connected(f"{postgres_url}_not_there"))

    assert kinds(error) == {"is_refusal"}
    assert not is_unwritable(error)
    assert as_http_error(error).code == "store_unavailable"


def test_an_ended_session_is_an_outage(postgres_url: str) -> None:
    error = caught(connected(postgres_url, "SELECT pg_terminate_backend(pg_backend_pid())"))

    assert kinds(error) == {"is_outage"}
    assert reason(error) == "terminating connection due to administrator command"


@pytest.mark.parametrize(
    "statement",
    [
        "SET lock_timeout = 1; SELECT pg_advisory_lock(7)",
        "SET transaction_read_only = on; CREATE TABLE t (n int)",
        "SET statement_timeout = 1; SELECT pg_sleep(9)",
    ],
)
def test_what_is_over_later_is_an_outage(postgres_url: str, statement: str) -> None:
    with create_engine(postgres_url).connect() as holder:
        holder.execute(text("SELECT pg_advisory_lock(7)"))
        error = caught(connected(postgres_url, statement, isolation_level="AUTOCOMMIT"))

    assert kinds(error) == {"is_outage"}


def test_an_empty_pool_is_an_outage(postgres_url: str) -> None:
    engine = create_engine(postgres_url, pool_size=1, max_overflow=0, pool_timeout=0.01)
    with engine.connect():
        error = caught(engine.connect)

    assert kinds(error) == {"is_outage"}
    assert reason(error) == "every connection of this process to the store was in use for too long"


def test_a_transaction_whose_connection_was_lost_is_an_outage(postgres_url: str) -> None:
    with create_engine(postgres_url).connect() as connection:
        caught(lambda: connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())")))
        error = caught(lambda: connection.execute(text("SELECT 1")))

    assert kinds(error) == {"is_outage"}


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("08006", "is_outage"),
        ("57P01", "is_outage"),
        ("57P03", "is_outage"),
        ("53300", "is_outage"),
        ("25P03", "is_outage"),
        ("25006", "is_outage"),
        ("58030", "is_outage"),
        ("XX001", "is_damaged"),
        ("XX002", "is_damaged"),
    ],
)
def test_a_state_of_the_server_has_one_remedy(state: str, kind: str) -> None:
    assert kinds(Refused(state)) == {kind}
    assert is_unwritable(Refused(state))


def test_a_full_disk_of_the_server_is_an_outage_too() -> None:
    assert kinds(Refused("53100")) == {"is_outage", "is_disk_full"}


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("SELECT nonsense FROM pg_class WHERE relname = :value", 'column "nonsense" does not exist'),
        ("SELECT 1 / (length(:value) - 13)", "division by zero"),
    ],
)
def test_a_mistake_of_ours_is_none_of_these(postgres_url: str, statement: str, said: str) -> None:
    error = caught(connected(postgres_url, statement))

    assert kinds(error) == set()
    assert not is_unwritable(error)
    assert reason(error) == said


def test_a_reason_has_no_row(postgres_url: str) -> None:
    create = "CREATE TABLE t (name text UNIQUE); INSERT INTO t VALUES ('correct-horse'), ('correct-horse')"
    error = caught(connected(postgres_url, create))

    assert SECRET in str(error)
    assert reason(error) == 'duplicate key value violates unique constraint "t_name_key"'


def test_too_many_connections_are_an_outage(postgres: Postgres) -> None:
    name = postgres.create("crowded").rpartition("/")[2]
    postgres.psql(f"ALTER DATABASE {name} CONNECTION LIMIT 0")
    postgres.psql("CREATE ROLE guest LOGIN")
    try:
        error = caught(connected(postgres.url(name).replace("framegate@", "guest@")))
    finally:
        postgres.drop(name)
        postgres.psql("DROP ROLE guest")

    assert kinds(error) == {"is_outage"}
    assert "too many connections" in reason(error)
