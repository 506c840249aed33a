"""The program of a decoder process.

For each picture it reads a JSON line and a file, and writes a JSON line and a PNG.

The decoders are native code of others. What a picture makes them do stays in this process: a crash, memory, seconds
of a core, lines on standard error.
"""

import json
import math
import os
import resource
import signal
import sys
from contextlib import suppress
from typing import BinaryIO

from router.errors import InvalidRequest
from router.media.header import broken, read_header
from router.media.pixels import prepare
from router.media.prepared_image import PreparedImage
from router.runtime.parent import die_with

MEMORY = 1_200_000_000  # bytes, libraries and all: an AVIF of 64 megapixels takes 1.0 GB
CORE_SECONDS, PIXEL_SECONDS = 2.0, 200e-9  # what a picture may take of a core: four times what any was seen to take
COMPLAINTS = 2**16  # bytes that libraries may write on standard error for each picture
FILES = 64
TOO_MUCH = "an image must be decoded in 1.2 GB of memory, got one that takes more"
CUT_SHORT = (b"remature end of",)  # libjpeg's warning when it invents the rest of a picture


def main() -> None:
    die_with(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends when its stdin does
    _load()
    _limit()
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    _put(outgoing, {"ready": True})
    while line := incoming.readline():
        head = json.loads(line)
        data = incoming.read(head["size"])
        body = b""
        try:
            prepared = _prepared(data, (head["width"], head["height"]), head["limit"])
            answer: dict[str, object] = {"notes": prepared.notes}
            body = prepared.png
            del prepared
        except InvalidRequest as error:
            answer = {"invalid": error.message}
        except MemoryError:
            answer = {"invalid": TOO_MUCH}
        _put(outgoing, {**answer, "size": len(body)}, body)


def _prepared(data: bytes, size: tuple[int, int], limit: int) -> PreparedImage:
    _allow(CORE_SECONDS)
    header = read_header(data)
    _allow(CORE_SECONDS + header.width * header.height * PIXEL_SECONDS)
    before = os.fstat(sys.stderr.fileno()).st_size
    prepared = prepare(data, header, size, limit)
    complaints = os.pread(sys.stderr.fileno(), COMPLAINTS, before)
    if header.media_type == "image/jpeg" and any(words in complaints for words in CUT_SHORT):
        raise broken(header.media_type, "it ends too early")
    return prepared


def _allow(seconds: float) -> None:
    """Have the kernel end this process after this many more seconds of a core."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    end = math.ceil(used.ru_utime + used.ru_stime + seconds)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (end if hard == resource.RLIM_INFINITY else min(end, hard), hard))


def _load() -> None:
    """Import the decoders before the limits are set."""
    import cv2

    cv2.setNumThreads(1)
    with suppress(ImportError):
        import pillow_heif  # noqa: F401


def _limit() -> None:
    for kind, most in (
        (resource.RLIMIT_DATA, MEMORY),
        (resource.RLIMIT_FSIZE, COMPLAINTS),
        (resource.RLIMIT_NOFILE, FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (soft, soft))


def _put(outgoing: BinaryIO, answer: dict[str, object], body: bytes = b"") -> None:
    outgoing.write(json.dumps(answer).encode() + b"\n")
    outgoing.write(body)
    outgoing.flush()


if __name__ == "__main__":
    main()
