"""Input pictures: fetched, measured by their header, decoded, fitted to a video."""

from router.media.data_url import parse_data_url
from router.media.decoder_pool import Decoders
from router.media.fetch import Fetcher, is_remote
from router.media.header import MAX_BYTES, MAX_PIXELS, ImageInfo, inspect
from router.media.hosts import Hosts
from router.media.pixels import decode, decode_with_notes, fit, kept_of, size_for, to_png
from router.media.stored_image import PreparedImage

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "Decoders",
    "Fetcher",
    "Hosts",
    "ImageInfo",
    "PreparedImage",
    "decode",
    "decode_with_notes",
    "fit",
    "inspect",
    "is_remote",
    "kept_of",
    "parse_data_url",
    "size_for",
    "to_png",
]
