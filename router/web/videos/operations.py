"""The operations of `/v1/videos`; its files are in `router.web.files`."""

from __future__ import annotations

from router.web.openapi import problems as why
from router.web.openapi.operations import JSON, Example, Operation, ok
from router.web.openapi.parameters import AFTER, KEY, LIMIT, ORDER
from router.web.videos import answers
from router.web.videos.form import MULTIPART
from router.web.videos.parse import CREATE
from router.web.videos.schema import CreateVideo
from router.web.videos.views import Videos

BALL = "a red ball rolls to the right"
POLLED = "openai-poll-after-ms"
REMIX = CreateVideo(only=("prompt",))

OPERATIONS = (
    Operation(
        "POST",
        "/v1/videos",
        Videos.create,
        "createVideo",
        "Videos",
        "Make a video",
        ok("the video, which is being made", answers.Video, POLLED),
        about="Answers at once. A form's names have brackets where JSON nests: `provider_options[video][steps]`.",
        parameters=(KEY,),
        bodies={JSON: CREATE, MULTIPART: CREATE},
        problems=(*why.MAKING, why.BAD_FORM),
        examples=(
            Example("from text", {"prompt": BALL, "seed": 7, "provider_options": {"video": {"steps": 8}}}),
            Example("from an image, as a form", form={"prompt": "it rises", "input_reference": "@ball.png"}),
        ),
        links=("retrieveVideo", "deleteVideo", "remixVideo", "getVideoContent"),
    ),
    Operation(
        "GET",
        "/v1/videos",
        Videos.list,
        "listVideos",
        "Videos",
        "List the videos",
        ok("a page", answers.Videos),
        about="Those that were asked for by `/v1/responses` too.",
        parameters=(LIMIT, ORDER, AFTER),
        problems=(why.BAD_VALUE, why.NOT_FOUND),
        examples=(Example("the newest"), Example("the next page", query="?limit=2&after=VIDEO_ID")),
    ),
    Operation(
        "GET",
        "/v1/videos/{video_id}",
        Videos.retrieve,
        "retrieveVideo",
        "Videos",
        "Look at a video",
        ok("the video", answers.Video, POLLED),
        problems=(why.NOT_FOUND,),
        examples=(Example("how far is it?"),),
    ),
    Operation(
        "DELETE",
        "/v1/videos/{video_id}",
        Videos.delete,
        "deleteVideo",
        "Videos",
        "Forget a video and its files",
        ok("it is gone", answers.DeletedVideo),
        about="In any state; a device that works on it stops at its next step.",
        problems=(why.NOT_FOUND, *why.WRITING),
        examples=(Example("delete"),),
    ),
    Operation(
        "POST",
        "/v1/videos/{video_id}/remix",
        Videos.remix,
        "remixVideo",
        "Videos",
        "Make a video again with another prompt",
        ok("the new video", answers.Video, POLLED),
        about="With the images, the options and the seed of its source.",
        parameters=(KEY,),
        bodies={JSON: REMIX, MULTIPART: REMIX},
        problems=(*why.MAKING, why.BAD_FORM, why.NOT_FOUND),
        examples=(Example("another colour", {"prompt": "a blue ball rolls to the right"}),),
        links=("retrieveVideo", "deleteVideo"),
    ),
)
