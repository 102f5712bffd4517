"""One model's weights and vocabulary in memory.

Owns the native model. Tokenising is thread-safe; freeing is the owner's business, after every context on it is gone.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable, Sequence

import llama_cpp.llama_cpp as lib

from runner.errors import LoadFailed
from runner.llama.library import Log
from runner.llama.placement import Laid, layout
from runner.llama.refusals import unloadable
from runner.protocol.devices import Placement
from runner.protocol.options import LoadOptions

_POOLING = {"1": "mean", "2": "cls", "3": "last", "4": "rank"}  # as GGUF numbers them; 0 is none


class Model:
    """Load the shards `paths`, in order, to where `placement` says. `on_progress` hears the fraction read (0 to 1).

    `gpu_layers` are those on other devices than the CPU, the output counted as one. Raises LoadFailed with llama.cpp's
    own words when it refuses the file.
    """

    def __init__(
        self,
        paths: Sequence[str],
        options: LoadOptions,
        log: Log,
        on_progress: Callable[[float], None] | None = None,
        placement: Placement | None = None,
    ) -> None:
        params = lib.llama_model_default_params()
        self.laid = Laid(layout(placement, options), params)
        params.load_mode = lib.LLAMA_LOAD_MODE_MMAP if options.use_mmap else lib.LLAMA_LOAD_MODE_NONE

        def progress(fraction: float, _: object) -> bool:
            if on_progress is not None:
                on_progress(fraction)
            return True

        keep = lib.llama_progress_callback(progress)  # alive until the call below returns
        params.progress_callback = keep
        log.forget_errors()
        log.gpu_layers = 0
        encoded = [path.encode() for path in paths]
        if len(encoded) == 1:
            handle = lib.llama_model_load_from_file(encoded[0], params)
        else:
            array = (ctypes.c_char_p * len(encoded))(*encoded)
            handle = lib.llama_model_load_from_splits(array, len(encoded), params)
        if not handle:
            raise unloadable(log.errors())
        self.handle = handle
        self.gpu_layers = log.gpu_layers
        self.vocab = lib.llama_model_get_vocab(handle)
        self.n_vocab = lib.llama_vocab_n_tokens(self.vocab)
        self.n_embd = lib.llama_model_n_embd_out(handle)
        self.n_layer = lib.llama_model_n_layer(handle)
        self.n_head = lib.llama_model_n_head(handle)
        # Without the table that a token is looked up in.
        self.n_weights = lib.llama_model_n_params(handle) - self.n_vocab * lib.llama_model_n_embd(handle)
        self.n_ctx_train: int = lib.llama_model_n_ctx_train(handle)
        self.n_swa = lib.llama_model_n_swa(handle)
        self.has_state = lib.llama_model_is_recurrent(handle) or lib.llama_model_is_hybrid(handle)
        self.pooling = _POOLING.get(self.metadata(f"{self.metadata('general.architecture')}.pooling_type") or "")
        self.ranks = self.pooling == "rank"
        # Values of a pooled vector: the model's width, or the outputs of its head.
        self.n_pooled: int = lib.llama_model_n_cls_out(handle) if self.ranks else self.n_embd
        self.adds_bos = lib.llama_vocab_get_add_bos(self.vocab)
        self.adds_eos = lib.llama_vocab_get_add_eos(self.vocab)
        self.adds_sep = lib.llama_vocab_get_add_sep(self.vocab)
        self.sep = lib.llama_vocab_sep(self.vocab)
        self.bos = lib.llama_vocab_bos(self.vocab)
        self.eos = lib.llama_vocab_eos(self.vocab)
        self._pieces: list[bytes | None] = [None] * self.n_vocab
        self._spellings: dict[int, bytes] = {}
        self._visible: frozenset[int] = frozenset()
        self.changing = threading.Lock()  # held while contexts are made, and adapters loaded or freed

    @property
    def is_cuttable(self) -> bool:
        """Whether what was computed of a sequence can be cut at any token: not with a recurrent part or a window."""
        return not self.has_state and not self.n_swa

    def close(self) -> None:
        """Free the weights. Nothing may use this object or a context on it afterwards."""
        if self.handle:
            lib.llama_model_free(self.handle)
            self.handle = None

    def ends(self, token: int) -> bool:
        """Whether this token ends an answer."""
        return bool(lib.llama_vocab_is_eog(self.vocab, token))

    @functools.cached_property
    def end_tokens(self) -> frozenset[int]:
        """Every token that ends an answer. Found on first use: asking of 150k tokens takes 0.1 s."""
        return frozenset(token for token in range(self.n_vocab) if self.ends(token))

    def metadata(self, key: str) -> str | None:
        """One value of the GGUF's metadata as text. Arrays have none."""
        buffer = ctypes.create_string_buffer(256)
        size = lib.llama_model_meta_val_str(self.handle, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if size >= 0 else None

    def chat_template(self, name: str | None = None) -> str | None:
        """The GGUF's own template of this name (Jinja text, but for those of rerankers), by default that for chats, if
        it has one."""
        raw = lib.llama_model_chat_template(self.handle, name.encode() if name else None)
        # For one model without a template, llama.cpp gives the name of a format of its own instead.
        return raw.decode("utf-8", "replace") if raw and raw != b"mistral-v7-tekken" else None

    def tokenize(self, text: str, *, special: bool, bos: bool) -> list[int]:
        """Token ids of `text`. With `special`, markers such as `<|im_end|>` become their tokens; with `bos`, the
        vocabulary's leading and closing tokens are added if the model asks for them."""
        # A lone surrogate has no UTF-8 form; the dialects refuse it, so this only keeps a bug from killing the worker.
        data = text.encode("utf-8", "replace")
        size = len(data) + 8
        buffer = (lib.llama_token * size)()
        count = lib.llama_tokenize(self.vocab, data, len(data), buffer, size, bos, special)
        if count < 0:
            size = -count
            buffer = (lib.llama_token * size)()
            count = lib.llama_tokenize(self.vocab, data, len(data), buffer, size, bos, special)
        return buffer[:count]

    def show(self, markers: Sequence[str]) -> None:
        """Let the tokens of these markers come out as text although they are control tokens (thoughts)."""
        self._visible |= self.marked(markers)

    def marked(self, markers: Sequence[str]) -> frozenset[int]:
        """The tokens of those markers that are one token."""
        found = (self.tokenize(marker, special=True, bos=False) for marker in markers)
        return frozenset(tokens[0] for tokens in found if len(tokens) == 1)

    def piece(self, token: int) -> bytes:
        """The bytes of one token; a part of a character is possible. Control tokens have none unless shown."""
        known = self._pieces[token]
        if known is None:
            known = self.read_piece(token, special=token in self._visible)
            self._pieces[token] = known
        return known

    def spelling(self, token: int) -> bytes:
        """The bytes of one token, a control token's marker included."""
        known = self._spellings.get(token)
        if known is None:
            known = self._spellings[token] = self.read_piece(token, special=True)
        return known

    def text_of(self, token: int) -> str:
        """How one special token is written, as chat templates want their BOS and EOS."""
        return self.spelling(token).decode("utf-8", "replace") if token >= 0 else ""

    def read_piece(self, token: int, *, special: bool) -> bytes:
        """The bytes of one token as llama.cpp has them, with `special` a control token's marker. They aren't kept."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            count = lib.llama_token_to_piece(self.vocab, token, buffer, size, 0, special)
            if count >= 0:
                return buffer.raw[:count]
            size = -count

    def infill_tokens(self) -> tuple[int, int, int] | None:
        """Ids of the prefix, suffix and middle markers, if the vocabulary has all three."""
        found = (
            lib.llama_vocab_fim_pre(self.vocab),
            lib.llama_vocab_fim_suf(self.vocab),
            lib.llama_vocab_fim_mid(self.vocab),
        )
        return None if min(found) < 0 else found

    def load_adapter(self, path: str, log: Log) -> int:
        """Load a LoRA adapter and return its address, good until it is freed or this model is. Raises LoadFailed.

        Every context on the model looks at all adapters when it reserves its buffers: no other thread may decode
        meanwhile, and none makes a context (`changing`).
        """
        log.forget_errors()
        with self.changing:
            handle = lib.llama_adapter_lora_init(self.handle, path.encode())
        if not handle:
            raise LoadFailed(f"llama.cpp could not load the adapter {path}: {log.errors() or 'no reason given'}")
        address = ctypes.cast(handle, ctypes.c_void_p).value
        assert address is not None
        return address

    def free_adapter(self, address: int) -> None:
        """Free an adapter that no context applies any more; the same rules hold as for loading one."""
        with self.changing:
            lib.llama_adapter_lora_free(ctypes.cast(address, lib.llama_adapter_lora_p_ctypes))
