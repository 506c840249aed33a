"""The tables of a store brought up to date."""

from pathlib import Path

from sqlalchemy import Connection, insert, inspect, select, text

from router.errors import BootError, reason
from router.jobs import tables

VERSION = text("SELECT version_num FROM alembic_version")
PROBE = "UPDATE alembic_version SET version_num = version_num"  # a write of its one row, without a change


def revision_of(connection: Connection) -> str | None:
    """Return the newest migration of a store, None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return str(connection.execute(VERSION).scalar_one())


def is_usable(connection: Connection, name: str) -> bool:
    """Say whether a store needs no migration; raise `BootError` for a newer one.

    A newer one can be used while its changes are additions: its migrations say by `tables.LEAST` since which revision.
    """
    revision = revision_of(connection)
    if revision is None or revision < tables.FACTS_SINCE:
        return False
    facts = known_facts(connection)
    if tables.MOVED in facts:
        raise BootError(f"{name} was moved to {facts[tables.MOVED]}: use that one")
    if revision > tables.HEAD and facts.get(tables.LEAST, revision) > tables.HEAD:
        raise BootError(
            f"{name} is of a newer Framegate (revision {revision}, this one knows {tables.HEAD}): "
            "use that one, or another store"
        )
    return revision >= tables.HEAD


def known_facts(connection: Connection) -> dict[str, str]:
    """Return what a store says of itself, by name."""
    name, value = tables.facts.c.name, tables.facts.c.value
    rows = connection.execute(select(name, value).where(name.in_((tables.LEAST, tables.MOVED))))
    return {row.name: row.value for row in rows}


def bring_up_to_date(connection: Connection, name: str) -> None:
    """Create or migrate the tables; other processes must wait meanwhile."""
    if is_usable(connection, name):  # another process may have done it
        return
    if revision_of(connection) is None:
        _create(connection)
    else:
        upgrade(connection)


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Migrate a store of any older revision, or an empty one, to `revision`."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(tables.__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def unusable(name: object, error: Exception) -> BootError:
    """Return the one-line error of a process that cannot open this store."""
    return BootError(f"the job store {name} cannot be opened: {reason(error)}; 'framegate doctor' says more")


def _create(connection: Connection) -> None:
    """Create the newest schema without Alembic, in a fifth of the time."""
    tables.metadata.create_all(connection, checkfirst=False)
    connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": tables.HEAD})
    connection.execute(insert(tables.facts).values(name=tables.LEAST, value=tables.USABLE_SINCE))
