"""The packaged encoder, a plugin: H.264 in mp4, or PNG for a single frame."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from router.errors import BootError, DiskFull, GenerationFailed, is_disk_full
from router.hookspecs import hookimpl
from router.media.pixels import to_png
from router.values import Frames, Pixels

# Making a video takes minutes and showing it happens often: near transparent (crf 18) and small (medium;
# veryfast is three times as fast, and loses up to 0.8 dB). Without cpu-independent, x264's AVX-512 code gives other
# bytes each time; with it they depend on the number of threads alone, so that is fixed.
_X264 = {"preset": "medium", "crf": "18", "x264-params": "cpu-independent=1"}
_THREADS = 8


def require() -> None:
    """Raise `BootError` where PyAV is not installed."""
    if importlib.util.find_spec("av") is None:
        raise BootError("an engine needs PyAV to write videos: pip install 'framegate[engine]'")


@hookimpl(trylast=True)
def encode_output(frames: Frames, path: Path) -> bool | None:
    """Write `frames` as an mp4 or a PNG; equal frames give equal bytes.

    Raises `GenerationFailed` if the pixels differ from what `frames` announces, `DiskFull` if the file does not fit.
    After a failure the caller removes the partial file.
    """
    if path.suffix not in (".mp4", ".png"):
        return None
    try:
        if path.suffix == ".mp4":
            _write_mp4(frames, path)
        else:
            _write_png(frames, path)
    except OSError as error:  # PyAV's own errors derive from it
        if is_disk_full(error):
            raise DiskFull("the video could not be written: the server's disk is full") from error
        raise
    return True


def _write_png(frames: Frames, path: Path) -> None:
    if frames.num_frames != 1:
        raise GenerationFailed(f"a PNG takes one frame, the backend made {frames.num_frames}")
    (pixels,) = _each(frames)
    path.write_bytes(to_png(pixels))


def _write_mp4(frames: Frames, path: Path) -> None:
    """Write H.264 as yuv420p, BT.709 of limited range, with the index in front."""
    import av
    from av.codec.context import ThreadType
    from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter

    convert = VideoReformatter().reformat  # one for all frames, as it keeps its tables
    smooth = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=frames.frames_per_second, options=_X264)
        stream.width, stream.height, stream.pix_fmt = frames.width, frames.height, "yuv420p"
        codec = stream.codec_context
        codec.thread_count, codec.thread_type = _THREADS, ThreadType.FRAME
        codec.colorspace, codec.color_range = Colorspace.ITU709, ColorRange.MPEG
        codec.color_primaries, codec.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        for pixels in _each(frames):
            frame = convert(
                av.VideoFrame.from_ndarray(pixels, format="rgb24"),
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                dst_color_primaries=ColorPrimaries.BT709,
                dst_color_trc=ColorTrc.BT709,
                interpolation=smooth,
                threads=1,
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _each(frames: Frames) -> Iterator[Pixels]:
    """Yield each frame, `(height, width, 3)`; check every chunk, and the number of frames."""
    got = 0
    for chunk in frames.pixels:
        _check(chunk, frames)
        got += len(chunk)
        if got > frames.num_frames:
            break
        yield from chunk
    if got != frames.num_frames:
        more = "at least " if got > frames.num_frames else ""
        raise GenerationFailed(f"the backend announced {frames.num_frames} frames and made {more}{got}")


def _check(chunk: Pixels, frames: Frames) -> None:
    needed = f"uint8 pixels of shape (n, {frames.height}, {frames.width}, 3)"
    if not isinstance(chunk, np.ndarray):
        raise GenerationFailed(f"the backend must make {needed}, got {type(chunk).__name__}")
    if chunk.dtype != np.uint8 or chunk.ndim != 4 or chunk.shape[1:] != (frames.height, frames.width, 3):
        raise GenerationFailed(f"the backend must make {needed}, got {chunk.dtype} of shape {chunk.shape}")
