"""The bytes inside a `data:` URL, by which a request carries an image itself."""

import base64
import re
from urllib.parse import unquote_to_bytes

from router.media.header import MAX_BYTES, about, invalid

_HEAD = re.compile(r"\s*data:[^,]*;\s*base64\s*,", re.IGNORECASE)
_WHITE_SPACE = b" \t\n\f\r"

_MAX_ESCAPES = 100_000  # each takes 250 bytes while it is undone; browsers escape only + and / and =


def parse_data_url(url: str, limit: int = MAX_BYTES, *, param: str = "") -> bytes:
    """Return the bytes, at most `limit`, in a base64 `data:` URL of any type.

    White space, percent-encoding and missing padding are fine, as in browsers. Raise `InvalidRequest`
    (`invalid_image`) about `param` for everything else.
    """
    with about(param):
        head = _HEAD.match(url)
        if head is None:
            got = repr(url if len(url) <= 40 else url[:40] + "...")
            raise invalid(f"an image must be a URL such as data:image/png;base64,... or https://..., got {got}")
        return _decoded(url[head.end() :], limit)


def _decoded(text: str, limit: int) -> bytes:
    if (escapes := text.count("%")) > _MAX_ESCAPES:
        raise invalid(f"an image's data: URL may have {_MAX_ESCAPES:,} percent-escapes, got {escapes:,}")
    try:
        encoded = unquote_to_bytes(text).translate(None, _WHITE_SPACE).rstrip(b"=")
        if (size := len(encoded) * 3 // 4) > limit:
            raise invalid(f"an image may have up to {limit:,} bytes, got {size:,}")
        body = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
    except ValueError:  # not base64, or a lone surrogate
        raise invalid("an image's data: URL must go on with base64 after the comma, got other text") from None
    if not body:
        raise invalid("an image's data: URL must go on with base64 after the comma, got nothing")
    return body
