"""Images from strangers: what their headers claim, and what they really unpack to."""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import InvalidRequest, Unsupported
from runner.protocol.image_file import MOST_BYTES, MOST_SIDE, check, check_body

PNG = b"\x89PNG\r\n\x1a\n"


def png(width: int, height: int, packed: bytes, *, depth: int = 8, colour: int = 2, interlaced: int = 0) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    return PNG + chunk(b"IHDR", head) + chunk(b"tEXt", b"a\0b") + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def jpeg(width: int, height: int, frame: int = 0xC2) -> bytes:
    """Only the markers: what comes before the frame, and the frame."""
    return (
        b"\xff\xd8"
        b"\xff\xe0\x00\x04ab"
        b"\xff\xff\xc4\x00\x03a" + bytes((0xFF, frame)) + struct.pack(">HBHHB", 8, 8, height, width, 0)
    )


@pytest.mark.parametrize(
    "data",
    [
        png(640, 480, b""),
        jpeg(640, 480),
        jpeg(640, 480, 0xC0),
        b"GIF89a" + struct.pack("<HHBBB", 640, 480, 0, 0, 0),
    ],
)
def test_sizes_are_read_from_headers(data: bytes) -> None:
    assert check(data, "here") == (640, 480)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no image"),
        (b"%PDF-1.7", "no image"),
        (b"RIFF\0\0\0\0WAVEfmt ", "no image"),
        (b"BM" + bytes(60), "no image"),
        (PNG, "names no size"),
        (png(0, 5, b""), "names no size"),
        (b"\xff\xd8\xff", "names no size"),
        (b"\xff\xd8\xff\xd9\x00\x02", "names no size"),
        (b"\xff\xd8\xff\xc0\x00\x08\x08", "names no size"),
        (b"\xff\xd8" + b"\xff\xe0\x00\x01" * 9, "names no size"),  # a length that leads nowhere
        (b"\xff\xd8" + b"\xff\xff" * 500, "names no size"),
        (jpeg(640, 480, 0xC4), "names no size"),
        (png(MOST_SIDE + 1, 1, b""), "pixels"),
        (png(2**31, 2**31, b""), "pixels"),
        (jpeg(16000, 16000), "pixels"),
        (PNG + bytes(MOST_BYTES), "bytes"),
    ],
)
def test_what_may_not_be_decoded_is_named(data: bytes, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as caught:
        check(data, "messages[2].images[1]")
    assert caught.value.field == "messages[2].images[1]"


def test_webp_is_known_and_refused() -> None:
    with pytest.raises(Unsupported, match="WebP"):
        check(b"RIFF\x10\0\0\0WEBPVP8 ", "here")


@pytest.mark.parametrize(("depth", "colour", "row"), [(8, 2, 300), (16, 6, 800), (1, 0, 13), (8, 3, 100)])
def test_a_png_holds_as_much_as_its_size_takes(depth: int, colour: int, row: int) -> None:
    rows = zlib.compress(bytes((row + 1) * 50))
    check_body(png(100, 50, rows, depth=depth, colour=colour), "here")
    bomb = zlib.compress(bytes(100 * (row + 1) * 50))
    with pytest.raises(InvalidRequest, match="more than its size takes"):
        check_body(png(100, 50, bomb, depth=depth, colour=colour), "here")


def test_an_image_that_is_passed_over_for_ever_is_refused() -> None:
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00"
    check_body(jpeg(8, 8) + scan * 10, "here")
    with pytest.raises(InvalidRequest, match="more than 100 scans"):
        check_body(jpeg(8, 8) + scan * 101, "here")


def test_a_png_whose_rows_are_packed_another_way_is_refused() -> None:
    whole = png(8, 8, zlib.compress(bytes(8 * 25)))
    check_body(whole, "here")
    with pytest.raises(Unsupported, match="for iOS"):
        check_body(whole[:33] + chunk(b"CgBI", bytes(4)) + whole[33:], "here")


def test_a_bomb_is_found_before_it_is_unpacked() -> None:
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(512)) + packer.flush()
    with pytest.raises(InvalidRequest, match="more than its size takes"):
        check_body(png(8, 8, bomb), "here")


def test_an_interlaced_png_has_room_for_its_passes() -> None:
    rows = sum(height * (1 + width * 3) for width, height in passes(9, 9))
    check_body(png(9, 9, zlib.compress(bytes(rows)), interlaced=1), "here")


def passes(width: int, height: int) -> list[tuple[int, int]]:
    """Columns and rows of the seven passes of an interlaced image."""
    starts = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    return [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in starts]


@pytest.mark.parametrize("packed", [b"not packed at all", zlib.compress(b"abc")[:-6] + b"\0\0\0\0\0\0\0"])
def test_rows_that_cannot_be_unpacked_are_damage(packed: bytes) -> None:
    with pytest.raises(InvalidRequest, match="damaged"):
        check_body(png(8, 8, packed), "here")


@given(st.sampled_from([PNG, b"\xff\xd8\xff", b"GIF89a", b"RIFF", b""]), st.binary(max_size=200))
def test_whatever_is_sent_is_an_image_or_refused(start: bytes, rest: bytes) -> None:
    with suppress(InvalidRequest):  # nothing else is raised
        width, height = check(start + rest, "here")
        assert 0 < width <= MOST_SIDE
        assert 0 < height <= MOST_SIDE
        check_body(start + rest, "here")
