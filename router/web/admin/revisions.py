"""`/admin/revisions` and `/admin/reload`: the models file as it was, is, and would be."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, jsonify, request

from registry import RegistryError
from router.catalog.history import difference
from router.errors import InvalidRequest, UnknownJob
from router.system import System
from router.values import Revision
from router.web.access import require_admin
from router.web.answer_fields import Answer, boolean, constant, integer, one_of, string, strings
from router.web.http import query
from router.web.http.fields import invalid_value
from router.web.openapi import problems as why
from router.web.openapi.operations import Example, Routes, ok
from router.web.openapi.parameters import in_query

ROUTES = Routes("Admin")
NUMBER = re.compile("[1-9][0-9]{0,17}")
NO_FILE = "there is no models file to read again: this server has the one model that it was started with"
AGAINST = in_query(
    "against", "the revision to compare with; the one before, without it", type="integer", minimum=1, maximum=10**18 - 1
)


class RevisionEntry(Answer):
    """A published text of the models file."""

    n = integer("its number, across all models files of this data folder")
    file = string("the file, on the server")
    created_at = integer("when that was read, in seconds since 1970")
    current = boolean("whether this process serves it")
    changes = strings("what changed against the one before, line by line")


class Revisions(Answer):
    object = constant("its kind", "list")
    data = one_of("those that the server keeps, newest first; none where it has one model and no file", RevisionEntry)


class RevisionDetail(RevisionEntry):
    """A published text of the models file, against another one."""

    class Meta(Answer.Meta):
        fields = (*RevisionEntry._declared_fields, "against", "diff", "text")

    changes = strings("what changed against that, line by line")
    against = integer("the revision that it is compared with, null without one", none=True)
    diff = string("a unified diff of both texts, empty without another one")
    text = string("the whole text")


class ReloadPreview(Answer):
    """What a reload would do."""

    file = string("the models file, on the server")
    changed = boolean("whether a reload would publish a new revision, or fail")
    diff = string("a unified diff against the last revision")
    changes = strings("what would change, line by line")
    problems = strings("why the file cannot be served, line by line; none where it can")


class Reload(Answer):
    object = constant("its kind", "reload")
    revision = integer("the newest revision now")
    changes = strings("what has changed, line by line")


REVISIONS, REVISION, DETAIL, PREVIEW, RELOAD = Revisions(), RevisionEntry(), RevisionDetail(), ReloadPreview(), Reload()


class RevisionViews:
    def __init__(self, system: System) -> None:
        self._system = system
        self._history = system.history

    @ROUTES.add("GET /admin/revisions", ok("the revisions", Revisions), examples=(Example("all"),))
    def list_revisions(self) -> Response:
        """List the revisions of the models file."""
        require_admin()
        found = self._history.published()
        pairs = zip(found, (*found[1:], None), strict=True) if found else ()
        return jsonify(REVISIONS.dump({"data": [REVISION.dump(self._entry(now, before)) for now, before in pairs]}))

    @ROUTES.add(
        "GET /admin/revisions/{n}",
        ok("the revision", RevisionDetail),
        parameters=(AGAINST,),
        problems=(why.BAD_VALUE, why.UNKNOWN_PARAMETER, why.NOT_FOUND),
        examples=(Example("against the one before"),),
    )
    def get_revision(self, n: str) -> Response:
        """Read a revision of the models file, and compare it with another one."""
        require_admin()
        query.require_known("against")
        found = self._history.published()
        now = _find(found, n)
        if now is None:
            raise UnknownJob(f"revision {n[:20]} was not found; GET /admin/revisions lists those that are kept")
        before = _against(found, now)
        diff = difference(before.text, now.text, f"revision {before.n}", f"revision {now.n}") if before else ""
        more = {"against": before.n if before else None, "diff": diff, "text": now.text}
        return jsonify(DETAIL.dump({**self._entry(now, before), **more}))

    @ROUTES.add(
        "GET /admin/reload",
        ok("the preview", ReloadPreview),
        problems=(why.BAD_VALUE,),
        examples=(Example("what would change?"),),
    )
    def preview_reload(self) -> Response:
        """Ask what a reload of the models file would change."""
        require_admin()
        preview = self._history.preview()
        if preview is None:
            raise InvalidRequest(NO_FILE)
        return jsonify(PREVIEW.dump({**vars(preview), "file": str(preview.file)}))

    @ROUTES.add(
        "POST /admin/reload",
        ok("what has changed", Reload),
        problems=(why.BAD_VALUE, why.BAD_MODELS_FILE, *why.WRITING),
        examples=(Example("reload"),),
    )
    def reload(self) -> Response:
        """Serve the current models file without a restart.

        A file with a problem changes nothing. Accepted jobs finish with the models of their acceptance.
        """
        require_admin()
        if self._history.file is None:
            raise InvalidRequest(NO_FILE)
        try:
            changes = self._system.registries.reload()
        except RegistryError as error:
            raise InvalidRequest(str(error), code="invalid_models_file") from error
        return jsonify(RELOAD.dump({"revision": self._history.published()[0].n, "changes": changes}))

    def _entry(self, now: Revision, before: Revision | None) -> Mapping[str, Any]:
        return {
            "n": now.n,
            "file": str(now.file),
            "created_at": int(now.created_at),
            "current": self._history.is_current(now),
            "changes": self._history.changes(before, now),
        }


def _find(revisions: Sequence[Revision], number: str) -> Revision | None:
    n = int(number) if NUMBER.fullmatch(number) else 0
    return next((revision for revision in revisions if revision.n == n), None)


def _against(revisions: Sequence[Revision], now: Revision) -> Revision | None:
    """Return the revision of the query, else the one before `now`, else None."""
    text = request.args.get("against")
    if text is None:
        return next((revision for revision in revisions if revision.n < now.n), None)
    if (found := _find(revisions, text)) is None:
        raise invalid_value("against", "the number of a revision that is kept", text)
    return found
