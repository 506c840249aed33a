"""Input pictures: fetched, measured by their header, decoded, fitted to a video."""

from router.media.data_url import parse_data_url
from router.media.decoder_pool import Decoders
from router.media.fetch import Fetcher, is_remote
from router.media.geometry import crop_size, size_for
from router.media.header import MAX_BYTES, ImageInfo, hold_pixels, inspect
from router.media.hosts import Hosts
from router.media.prepared_image import PreparedImage
