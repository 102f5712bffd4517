"""A model's projector: an image to the embeddings that stand for it among the embeddings of tokens (llama.cpp's mtmd).

Owns the native projector. One thread at a time; beside it contexts of the same model may compute. What a file claims
to be is checked before it comes here: the decoder is llama.cpp's own and reads what strangers send.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import llama_cpp.llama_cpp as lib
import llama_cpp.mtmd_cpp as mtmd
import numpy as np
import numpy.typing as npt

from runner.errors import LoadFailed, RunnerError
from runner.llama.cores import threads
from runner.llama.library import Log
from runner.llama.model import Model
from runner.protocol.options import LoadOptions

Embedding = npt.NDArray[np.float32]
Places = npt.NDArray[np.int32]

_LARGE = 4096  # pixels a side
_NOWHERE = b"/nonexistent"  # what is no image might be a film, which mtmd would hand to programs found in the path


@dataclass(frozen=True, slots=True)
class Tile:
    """An image, or the part of one that is embedded by itself: `count` embeddings that take `positions` positions.

    `places` are their positions by (time, height, width, other), shape (4, count), if it stood at 0, and `moves` by how
    much they go along with where it stands; None where they follow each other like tokens.
    """

    index: int
    count: int
    positions: int
    places: Places | None = None
    moves: Places | None = None


class Vision:
    """Load the projector at `path` for a model. Raises LoadFailed with llama.cpp's own words."""

    def __init__(self, path: str, model: Model, options: LoadOptions, log: Log) -> None:
        mtmd.mtmd_log_set(log.callback, ctypes.c_void_p(0))
        mtmd.mtmd_helper_log_set(log.callback, ctypes.c_void_p(0))
        params = mtmd.mtmd_context_params_default()
        params.use_gpu = not model.laid.is_cpu
        params.device = model.laid.first
        params.n_threads = threads(options)
        params.print_timings = False
        log.forget_errors()
        handle = mtmd.mtmd_init_from_file(path.encode(), model.handle, params)
        if not handle:
            raise LoadFailed(f"llama.cpp could not load the projector: {log.errors() or 'no reason given'}")
        self.handle = handle
        self.width: int = lib.llama_model_n_embd_inp(model.handle)
        self.is_grid = bool(mtmd.mtmd_decode_use_mrope(handle))
        self.is_whole = bool(mtmd.mtmd_decode_use_non_causal(handle, None))
        if not mtmd.mtmd_support_vision(handle):
            self.close()
            raise LoadFailed("the projector is none for images")

    def close(self) -> None:
        """Free the projector. Every `Opened` is closed."""
        if self.handle:
            mtmd.mtmd_free(self.handle)
            self.handle = None

    def open(self, data: bytes) -> Opened | None:
        """Decode an image file and cut it up as the model wants it. None if it can't be decoded."""
        options = mtmd.mtmd_helper_init_opt_default()
        options.video_params.ffmpeg_bin_dir = _NOWHERE
        buffer = (ctypes.c_uint8 * len(data)).from_buffer_copy(data)
        decoded = mtmd.mtmd_helper_bitmap_init_from_buf_wrapper(self.handle, buffer, len(data), False, options)
        return self._cut_up(decoded.bitmap) if decoded.bitmap else None

    @property
    def at_once(self) -> int:
        """Embeddings that have to be computed together at most: those of a large image where they see each other."""
        opened = self._cut_up(mtmd.mtmd_bitmap_init(_LARGE, _LARGE, None)) if self.is_whole else None
        if opened is None:
            return 0
        with opened:
            most = max((part.count for part in opened.parts() if isinstance(part, Tile)), default=0)
        return most + most // 8  # other shapes take a few more than a square

    def _cut_up(self, bitmap: mtmd.mtmd_bitmap_p | None) -> Opened | None:
        """Takes the bitmap and frees it."""
        part = mtmd.mtmd_input_part(None, bitmap)
        parts = (ctypes.POINTER(mtmd.mtmd_input_part) * 1)(ctypes.pointer(part))
        chunks = mtmd.mtmd_input_chunks_init()
        try:
            failed = mtmd.mtmd_tokenize_from_parts(self.handle, chunks, parts, 1, False)
        finally:
            mtmd.mtmd_bitmap_free(bitmap)
        opened = Opened(self, chunks)
        if failed:
            opened.close()
            return None
        return opened


class Opened:
    """An image that is ready to be embedded, until it is closed."""

    def __init__(self, vision: Vision, chunks: mtmd.mtmd_input_chunks_p | None) -> None:
        self._vision = vision
        self._chunks = chunks

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Free it."""
        if self._chunks:
            mtmd.mtmd_input_chunks_free(self._chunks)
            self._chunks = None

    def parts(self) -> list[list[int] | Tile]:
        """What stands for the image in a prompt, in order: tokens of text that the model wants around it, and tiles."""
        assert self._chunks
        found: list[list[int] | Tile] = []
        for index in range(mtmd.mtmd_input_chunks_size(self._chunks)):
            chunk = self._chunk(index)
            if mtmd.mtmd_input_chunk_get_type(chunk) == mtmd.MTMD_INPUT_CHUNK_TYPE_TEXT:
                count = ctypes.c_size_t()
                tokens = mtmd.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
                found.append(list(tokens[: count.value]) if tokens else [])
            else:
                found.append(self._tile(index, chunk))
        return found

    def embed(self, tile: Tile) -> Embedding:
        """Its embeddings, shape (count, width of the model's inputs). Blocks for as long as the encoder takes.

        Raises RunnerError when llama.cpp can't.
        """
        chunk = self._chunk(tile.index)
        if mtmd.mtmd_encode_chunk(self._vision.handle, chunk) != 0:
            raise RunnerError("llama.cpp failed to encode an image")
        pointer = mtmd.mtmd_get_output_embd(self._vision.handle)
        return np.ctypeslib.as_array(pointer, shape=(tile.count, self._vision.width)).copy()

    def _chunk(self, index: int) -> mtmd.mtmd_input_chunk_p:
        assert self._chunks
        chunk: mtmd.mtmd_input_chunk_p = mtmd.mtmd_input_chunks_get(self._chunks, index)
        return chunk

    def _tile(self, index: int, chunk: mtmd.mtmd_input_chunk_p) -> Tile:
        count = mtmd.mtmd_input_chunk_get_n_tokens(chunk)
        positions = mtmd.mtmd_input_chunk_get_n_pos(chunk)
        if not self._vision.is_grid:
            return Tile(index, count, positions)
        image = mtmd.mtmd_input_chunk_get_tokens_image(chunk)
        places, further = (_places(image, start, count) for start in (0, 1))
        return Tile(index, count, positions, places, further - places)


def _places(image: mtmd.mtmd_image_tokens_p, start: int, count: int) -> Places:
    found = [mtmd.mtmd_image_tokens_get_decoder_pos(image, start, place) for place in range(count)]
    return np.array([(each.t, each.y, each.x, each.z) for each in found], np.int32).reshape(count, 4).T.copy()
