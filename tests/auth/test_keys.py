"""API keys as they are made and kept."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.stores import ON_SQLITE

from router.auth.keys import LOCAL, TEXT, ApiKey, KeyLimits, Scope, digest, id_of, new_key, new_text
from router.jobs import ApiKeyStore, Database

TEXT_OF = new_text()


@pytest.fixture
def store(database: Database) -> ApiKeyStore:
    return ApiKeyStore(database)


def key(name: str = "ci", text: str | None = None, *scopes: Scope) -> ApiKey:
    return new_key(text or new_text(), name, "team", scopes or (Scope.READ,))


def test_texts_are_recognisable_and_never_the_same() -> None:
    texts = {new_text() for _ in range(1000)}

    assert len(texts) == 1000
    assert all(TEXT.fullmatch(text) for text in texts)
    assert all(id_of(text) == text[:11] for text in texts)


def test_a_key_knows_its_text_and_no_other() -> None:
    made = key(text=TEXT_OF)

    assert made.is_of(TEXT_OF)
    for other in ("", TEXT_OF[:-1], TEXT_OF + "A", TEXT_OF.upper(), new_text(), "é"):
        assert not made.is_of(other)


def test_neither_text_nor_digest_is_in_what_a_key_shows_of_itself() -> None:
    made = key(text=TEXT_OF)

    assert TEXT_OF not in repr(made)
    assert digest(TEXT_OF) not in repr(made)


def test_admin_may_everything_and_others_what_they_have() -> None:
    admin, reader = key("a", None, Scope.ADMIN), key("r", None, Scope.READ)

    assert all(admin.may(scope) for scope in Scope)
    assert [reader.may(scope) for scope in (Scope.GENERATE, Scope.READ, Scope.ADMIN)] == [False, True, False]


def test_own_limits_come_before_the_usual_ones() -> None:
    assert KeyLimits(queued=1).over(KeyLimits(2, 3)) == KeyLimits(1, 3, None)


def test_a_key_comes_back_as_it_was_added(store: ApiKeyStore) -> None:
    new = replace(key("ci", None, Scope.READ, Scope.GENERATE), limits=KeyLimits(1, 2, 3), expires_at=9.0)
    added = store.add(new)

    assert added == replace(new, created_at=added.created_at if added else 0, number=1)
    assert store.all() == (added,)
    assert store.find("ci") == added
    assert store.find("no") is None


@ON_SQLITE
def test_only_a_digest_is_kept(store: ApiKeyStore, tmp_path: Path) -> None:
    store.add(key(text=TEXT_OF))
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert digest(TEXT_OF).encode() in kept
    assert TEXT_OF.encode() not in kept
    assert TEXT_OF[11:].encode() not in kept


def test_a_name_is_one_key_s_for_ever(store: ApiKeyStore) -> None:
    store.add(key("ci"))
    store.revoke("ci")

    assert store.add(key("ci")) is None
    assert len(store.all()) == 1


def test_each_change_has_a_new_version_and_refusals_have_none(store: ApiKeyStore) -> None:
    seen = [store.version()]
    for change in (
        lambda: store.add(key("a")),
        lambda: store.add(key("b")),
        lambda: store.limit("a", KeyLimits(per_minute=1)),
        lambda: store.revoke("a"),
    ):
        change()
        seen.append(store.version())
    assert seen == [0, 1, 2, 3, 4]

    assert store.add(key("a")) is store.revoke("a") is store.revoke("no") is store.limit("no", KeyLimits()) is None
    assert store.version() == 4


def test_a_key_is_active_until_it_expires_or_is_revoked(store: ApiKeyStore) -> None:
    now = time.time()
    made = replace(key(), expires_at=now)

    assert [made.state(now - 1), made.state(now)] == ["active", "expired"]
    assert replace(made, revoked_at=now).state(now - 1) == "revoked"
    assert key().state(now + 1e9) == "active"


def test_the_owner_of_a_server_without_keys_can_own_keys_too() -> None:
    from router.auth.keys import NAME

    assert NAME.fullmatch(LOCAL)
