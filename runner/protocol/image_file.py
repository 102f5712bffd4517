"""What an encoded image claims to be, read from its header without decoding it: is it one, and how large?

Nothing else crosses the pipe as an image. Pure Python over bytes from strangers: every length is checked before it is
believed. Knows no pixels.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from runner.errors import InvalidRequest, Unsupported

MOST = 32  # images of one request
MOST_BYTES = 20 * 2**20  # of one encoded image
MOST_PIXELS = 40_000_000  # of one image; decoded, each takes 3 bytes
MOST_SIDE = 16_384  # pixels

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_GIF = (b"GIF87a", b"GIF89a")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG's markers that a frame's size follows
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers with nothing behind them
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of PNG's kinds of colour
_DEPTHS = frozenset({1, 2, 4, 8, 16})
_PASSES = 8  # an interlaced PNG comes in seven passes, whose rows begin with a byte each
_STEP = 1 << 16
_SCANS = 100  # of a JPEG: each takes a pass over the whole image, and usual ones have ten
_SCAN = b"\xff\xda"


def check(data: bytes, field: str) -> tuple[int, int]:
    """Width and height of an image that may be decoded. Raises InvalidRequest or Unsupported naming `field`."""
    if len(data) > MOST_BYTES:
        raise InvalidRequest(f"{field} has {len(data)} bytes; an image may have {MOST_BYTES}", field=field)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        raise Unsupported(f"{field} is a WebP image; PNG, JPEG and GIF are supported", field=field)
    size: tuple[int, int] | None = None
    if data.startswith(_PNG):
        size = _size_of_png(data)
    elif data.startswith(_JPEG):
        size = _size_of_jpeg(data)
    elif data.startswith(_GIF):
        size = struct.unpack_from("<HH", data, 6) if len(data) >= 13 else None
    else:
        raise InvalidRequest(f"{field} is no image; PNG, JPEG and GIF are supported", field=field)
    if size is None or not min(size):
        raise InvalidRequest(f"{field} is damaged: its header names no size", field=field)
    width, height = size
    if width * height > MOST_PIXELS or max(size) > MOST_SIDE:
        raise InvalidRequest(
            f"{field} has {width} x {height} pixels; an image may have {MOST_PIXELS}, and {MOST_SIDE} a side",
            field=field,
        )
    return width, height


def check_body(data: bytes, field: str) -> None:
    """`check`, and that an image takes no more than its size says, which a decoder finds out too late: a PNG unpacks to
    so much, a JPEG is passed over so often. Raises as it does."""
    width, height = check(data, field)
    if data.startswith(_JPEG) and data.count(_SCAN) > _SCANS:
        raise InvalidRequest(f"{field} has more than {_SCANS} scans", field=field)
    if not data.startswith(_PNG):
        return
    depth, colour = data[24], data[25]
    if depth not in _DEPTHS or colour not in _CHANNELS:
        raise InvalidRequest(f"{field} is damaged: there are no such colours", field=field)
    row = 1 + -(-width * depth * _CHANNELS[colour] // 8)
    room = _PASSES * (row + height) + row * height
    unpacker = zlib.decompressobj()
    try:
        for kind, packed in _chunks(data):
            if kind == b"CgBI":  # a dialect of PNG whose rows are packed without a head, so what follows would mislead
                raise Unsupported(f"{field} is an image for iOS; PNG, JPEG and GIF are supported", field=field)
            if kind != b"IDAT":
                continue
            while packed and not unpacker.eof:
                room -= len(unpacker.decompress(packed, _STEP))
                if room < 0:
                    raise InvalidRequest(f"{field} is damaged: it holds more than its size takes", field=field)
                packed = unpacker.unconsumed_tail
    except zlib.error as error:
        raise InvalidRequest(f"{field} is damaged: {error}", field=field) from error


def _size_of_png(data: bytes) -> tuple[int, int] | None:
    if len(data) < 33 or data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _size_of_jpeg(data: bytes) -> tuple[int, int] | None:
    """Goes from marker to marker to the first frame."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker in _ALONE:
            at += 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker in _FRAMES:
            if at + 9 > len(data):
                return None
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        if length < 2 or marker in (0xD9, 0xDA):  # the image's end, or its data, before any frame
            return None
        at += 2 + length
    return None


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The kinds of a PNG's chunks and what is in them, up to its end."""
    at = len(_PNG)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND":
            return
        yield kind, data[at + 8 : at + 8 + length]
        at += 12 + length
