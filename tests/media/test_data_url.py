"""Images in `data:` URLs, read as by browsers."""

import base64

import pytest

from router.errors import InvalidRequest
from router.media import MAX_BYTES, parse_data_url

BYTES = bytes(range(256))
BASE64 = base64.b64encode(BYTES).decode()


@pytest.mark.parametrize(
    "url",
    [
        f"data:image/png;base64,{BASE64}",
        f"data:;base64,{BASE64}",
        f"data:image/png;name=a.png;base64,{BASE64}",
        f" DATA:text/plain;BASE64,{BASE64}\n",
        f"data:image/png;base64,{base64.encodebytes(BYTES).decode()}",
        f"data:image/png;base64,{BASE64.replace('+', '%2B').replace('=', '%3D')}",
        f"data:image/png;base64,{BASE64.rstrip('=')}",
    ],
    ids=["plain", "untyped", "parameters", "capitals", "wrapped", "percent-encoded", "unpadded"],
)
def test_a_data_url_gives_its_bytes(url: str) -> None:
    assert parse_data_url(url) == BYTES


@pytest.mark.parametrize(
    "url",
    [
        "",
        "data:",
        "data:image/png;base64",
        "data:image/png;base64,",
        "data:image/png;base64,====",
        "data:image/png,rawbytes",
        "data:image/png;base64,a",
        "data:image/png;base64,ab=cd",
        "data:image/png;base64,_-_-",
        "data:image/png;base64,\ud800abc",
        "data:image/png;base64,ä",
        "file:///etc/passwd",
        "https://example.org/cat.png",
        "/cat.png",
        "iVBORw0KGgo=",
    ],
)
def test_another_url_is_no_image(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_data_url(url, param="input")

    assert (caught.value.code, caught.value.param) == ("invalid_image", "input")


def test_the_limit_counts_decoded_bytes() -> None:
    exact = "data:;base64," + base64.b64encode(b"x" * 1000).decode()

    assert len(parse_data_url(exact, 1000)) == 1000
    with pytest.raises(InvalidRequest, match="up to 999 bytes, got 1,000"):
        parse_data_url(exact, 999)


def test_twenty_mebibytes_fit_and_one_byte_more_does_not() -> None:
    assert len(parse_data_url("data:;base64," + base64.b64encode(b"x" * MAX_BYTES).decode())) == MAX_BYTES
    with pytest.raises(InvalidRequest, match="20,971,520 bytes, got 20,971,521"):
        parse_data_url("data:;base64," + base64.b64encode(b"x" * (MAX_BYTES + 1)).decode())


def test_a_long_url_is_not_echoed() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_data_url("x" * 1_000_000)

    assert len(caught.value.message) < 200
