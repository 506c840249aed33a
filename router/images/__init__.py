"""Input pictures: out of their URL, measured by their header, decoded, fitted to a video's size."""

from router.images.data_url import parse_data_url
from router.images.header import MAX_BYTES, MAX_PIXELS, ImageInfo, inspect
from router.images.pixels import decode, fit, size_for, to_png

__all__ = ["MAX_BYTES", "MAX_PIXELS", "ImageInfo", "decode", "fit", "inspect", "parse_data_url", "size_for", "to_png"]
