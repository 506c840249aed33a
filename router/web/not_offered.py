"""Paths of OpenAI's API that are not offered, refused in words."""

from flask import Flask, Response, request

from router.errors import UnknownJob

VIDEOS = "this server makes, remixes and keeps videos"
CHAT = (
    "no model here chats, and POST /v1/responses makes a video of a prompt. In Open WebUI choose the API type "
    "'responses' for the connection, in LangChain use_responses_api=True"
)
PATHS = {
    "/v1/videos/edits": VIDEOS,
    "/v1/videos/extensions": VIDEOS,
    "/v1/videos/characters": VIDEOS,
    "/v1/images/variations": "POST /v1/images/generations and /v1/images/edits make images",
    "/v1/chat/completions": CHAT,
    "/v1/completions": CHAT,
}


def add_refusals(app: Flask) -> None:
    """Answer these paths and those below with 404 and advice."""
    for path, advice in PATHS.items():

        def refuse(rest: str = "", *, advice: str = advice) -> Response:
            raise UnknownJob(f"not found: there is no {request.path[:200]} here: {advice}")

        for rule in (path, f"{path}/<path:rest>"):
            app.add_url_rule(rule, f"not_offered{path}", refuse, methods=["GET", "POST", "DELETE"])
