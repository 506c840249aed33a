"""Input pictures: out of or from their URL, measured by their header, decoded, fitted to a video's size."""

from router.images.data_url import parse_data_url
from router.images.decoding import Decoders
from router.images.header import MAX_BYTES, MAX_PIXELS, ImageInfo, inspect
from router.images.hosts import Hosts
from router.images.pixels import decode, decode_with_notes, fit, kept_of, size_for, to_png
from router.images.preparation import Prepared
from router.images.remote import Fetcher, is_remote

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "Decoders",
    "Fetcher",
    "Hosts",
    "ImageInfo",
    "Prepared",
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
