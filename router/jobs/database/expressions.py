"""Expressions that SQLite and PostgreSQL write differently."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Integer, Table, Text, column, literal_column
from sqlalchemy.dialects.postgresql import (  # with `index_elements` SQLite's compiler takes its conflicts, too
    Insert,
    insert,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

__all__ = ["insert", "insert_or_update", "json_item", "listed", "whole"]


class _Listed(FunctionElement[str]):
    inherit_cache = True


class _JsonItem(FunctionElement[Any]):
    inherit_cache = True


class _Whole(FunctionElement[int]):
    inherit_cache = True
    type = Integer()


def insert_or_update(table: Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> Insert:
    """Return a statement that inserts a row or updates the one there."""
    row = insert(table).values(**key, **values)
    return row.on_conflict_do_update(index_elements=list(table.primary_key), set_=dict(values))


def listed(items: Any, name: str) -> Any:
    """Return a JSON list as a table with one column of strings, `value`."""
    return _Listed(items).table_valued(column("value", Text), name=name)


def json_item(document: Any, key: str | int, kind: type[TypeEngine[Any]] = Text) -> Any:
    """Return an item of a JSON object or list, NULL if it has none."""
    path, name = (f"'$[{key}]'", str(key)) if isinstance(key, int) else (f"'$.{key}'", f"'{key}'")
    item = _JsonItem(document, literal_column(path), literal_column(name))
    item.type = kind()
    return item


def whole(number: Any) -> Any:
    """Return the integer below a positive number."""
    return _Whole(number)


@compiles(_Listed, "sqlite")
def _(element: Any, compiler: Any, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(_Listed, "postgresql")
def _(element: Any, compiler: Any, **options: Any) -> str:
    return f"jsonb_array_elements_text(CAST({compiler.process(element.clauses, **options)} AS jsonb))"


@compiles(_JsonItem, "sqlite")
def _(element: Any, compiler: Any, **options: Any) -> str:
    document, path, _ = (compiler.process(clause, **options) for clause in element.clauses)
    return f"json_extract({document}, {path})"


@compiles(_JsonItem, "postgresql")
def _(element: Any, compiler: Any, **options: Any) -> str:
    document, _, name = (compiler.process(clause, **options) for clause in element.clauses)
    kind = compiler.dialect.type_compiler_instance.process(element.type)
    return f"CAST(CAST({document} AS jsonb) ->> {name} AS {kind})"


@compiles(_Whole, "sqlite")
def _(element: Any, compiler: Any, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS INTEGER)"


@compiles(_Whole, "postgresql")
def _(element: Any, compiler: Any, **options: Any) -> str:
    return f"CAST(floor({compiler.process(element.clauses, **options)}) AS BIGINT)"
