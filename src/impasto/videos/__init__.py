"""Videos in and out, by FFmpeg's libraries (PyAV, the extra `video`): the only importer of video codecs.

Frames are arrays `(H, W, 3)` float32, sRGB-coded in [0, 1], upright. They stream: memory does not grow with a clip.
Time stamps are exact, in the source's own unit. Colour matrix and range are honoured; BT.2020's wide colours and HDR's
transfer are not mapped to sRGB, the file's tags are passed on.
"""

from impasto.videos._av import writing
from impasto.videos._coding import CODECS, VIDEO_EXTENSIONS, Coding, choose_coding
from impasto.videos._device import CameraWriter
from impasto.videos._read import FrameSource, VideoFrame, VideoHeader, VideoReader, live_frames, probe_video
from impasto.videos._sound import RATE, SOUND_EXTENSIONS, Sound, read_sound
from impasto.videos._write import (
    Segment,
    SegmentWriter,
    SourceTracks,
    VideoWriter,
    assemble,
    check_output,
    segment_coding,
)

__all__ = [
    "CODECS",
    "RATE",
    "SOUND_EXTENSIONS",
    "VIDEO_EXTENSIONS",
    "CameraWriter",
    "Coding",
    "FrameSource",
    "Segment",
    "SegmentWriter",
    "Sound",
    "SourceTracks",
    "VideoFrame",
    "VideoHeader",
    "VideoReader",
    "VideoWriter",
    "assemble",
    "check_output",
    "choose_coding",
    "live_frames",
    "probe_video",
    "read_sound",
    "segment_coding",
    "writing",
]
