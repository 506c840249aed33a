"""`/v1/me`: whom the server takes the caller for."""

from operator import attrgetter

from flask import Response, jsonify

from router.web.access import caller, is_admin
from router.web.answer_fields import Answer, boolean, constant, nested, string, strings
from router.web.auth.authenticate import Caller
from router.web.model_answers import KeyLimits
from router.web.openapi.operations import Example, Routes, ok

ROUTES = Routes("Server")


class CallersKey(Answer):
    """The key that the request was sent with, without its text."""

    id = string("its public part", examples=["fg-x1y2z3a4"])
    name = string("its name")
    scopes = strings("what it may do: `generate`, `read`, `admin`", attrgetter("listed_scopes"))


class Me(Answer):
    """The caller of this request."""

    object = constant("its kind", "caller")
    owner = string("whose jobs it makes; `local` on a server without keys")
    key = nested(CallersKey, "the key that was sent, null where none is needed", none=True)
    admin = boolean(
        "whether it may administer the server: by scope `admin`, or without keys from this machine",
        lambda _: is_admin(),
    )
    limits = nested(
        KeyLimits, "the limits of the key, null where none is needed", lambda by: by.key and by.key.limits, none=True
    )


ME = Me()


class MeView:
    @ROUTES.add("GET /v1/me", ok("the caller", Me), examples=(Example("who am I?"),))
    def get_me(self) -> Response:
        """Ask for the owner, the scopes and the limits of a key."""
        by: Caller = caller()
        return jsonify(ME.dump(by))
