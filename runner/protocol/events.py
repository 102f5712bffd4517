"""What a worker tells the daemon. One frame carries a list of these: all that one decode step brought.

Every accepted piece of work ends in exactly one Done, Vectors, Told or Failed with its id. A Generate of several
choices is one request: its Text names the choice, each choice but the last to be complete ends in an Ended, that one in
Done.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from runner.formats import CallFormat, Thinking
from runner.protocol.sandbox import Promise
from runner.protocol.totals import Totals

Reason = Literal["stop", "length", "cancelled"]


class Loading(msgspec.Struct, frozen=True, tag="loading"):
    """How much of the weights has been read, 0 to 1. Also a sign of life while a load takes long."""

    progress: float


class Ready(msgspec.Struct, frozen=True, tag="ready", kw_only=True):
    """The model is loaded. Byte figures are what llama.cpp reported while loading, by device: all in the machine's own
    memory, whatever it is for, counts as CPU's. `devices` are the names of those that hold layers or compute for them.
    Of the CPU's weights `packed_bytes` are copies in another order, beside what is mapped from the file. With
    `flash_attn` attention is computed in one piece, which auto comes to or not."""

    context_length: int  # tokens that one request may use
    cells: int  # tokens that all sequences together may hold
    sequences: int  # decoded together at most
    vocabulary: int
    embedding_length: int
    devices: tuple[str, ...]
    gpu_layers: int
    layers: int
    weights_bytes: dict[str, int]
    kv_bytes: dict[str, int]
    compute_bytes: dict[str, int]
    load_ns: int
    engine: str  # build of llama.cpp
    has_template: bool  # of its own
    vision: bool = False  # it is shown images
    sandbox: tuple[Promise, ...] = ()  # what holds of its shell, and what doesn't
    flash_attn: bool | None = None  # None where llama.cpp didn't say
    packed_bytes: int = 0


class Started(msgspec.Struct, frozen=True, tag="started", kw_only=True):
    """The request has a sequence and its prefill begins. `thinking` and `calls` say how the model that was asked for
    writes thoughts and tool calls, as far as its template tells. `prompt` is the rendered one, if that was asked for,
    without its last `prompt_cut` bytes."""

    id: int
    prompt_tokens: int
    cached_tokens: int = 0
    truncated_tokens: int = 0
    in_thought: bool = False  # the prompt itself opened a thought
    thinking: Thinking | None = None
    calls: CallFormat | None = None
    prompt: str | None = None
    prompt_cut: int = 0


class Alternative(msgspec.Struct, frozen=True, array_like=True):
    """A token that could stand at some place, as its bytes (markers of control tokens included)."""

    token: bytes
    logprob: float


class Logprob(msgspec.Struct, frozen=True, array_like=True):
    """How likely a token was where it stands. `offset` is where it begins, in characters of its choice's text.

    `logprob` is None for the first token of an echoed prompt, which follows nothing. With `is_end`, the token ended the
    choice and is no part of the text.
    """

    token: bytes
    logprob: float | None
    offset: int
    top: tuple[Alternative, ...] = ()  # best first
    is_end: bool = False


class Text(msgspec.Struct, frozen=True, tag="text"):
    """Whole characters that a choice has gained, with the number of tokens that they took.

    `logprobs`, when asked for, are of the tokens that begin in this text; they may come without any.
    """

    id: int
    text: str
    tokens: int
    choice: int = 0
    logprobs: tuple[Logprob, ...] = ()
    ids: tuple[int, ...] = ()  # all tokens drawn since the last Text of this choice, those of no text yet included


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a request cost, its choices together. Times are monotonic nanoseconds."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    truncated_tokens: int = 0
    completion_tokens: int = 0
    drafted_tokens: int = 0  # tried before they were chosen
    accepted_tokens: int = 0  # of these, those that then were
    queue_ns: int = 0  # in the worker, before the prefill
    prefill_ns: int = 0
    decode_ns: int = 0


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """One of several choices is complete, and others go on. `stop` is the stop string that ended it, if one did."""

    id: int
    reason: Reason
    choice: int
    stop: str | None = None


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The end of a generation, and of `choice`, the last to be complete. `stop` is the stop string that ended it."""

    id: int
    reason: Reason
    usage: Usage
    stop: str | None = None
    choice: int = 0


class Vectors(msgspec.Struct, frozen=True, tag="vectors"):
    """The end of an Embed or a Rank: `data` holds little-endian float32, shape (count, width), in the order of the
    inputs."""

    id: int
    data: bytes
    count: int
    width: int
    usage: Usage


class Told(msgspec.Struct, frozen=True, tag="told"):
    """The end of a question: tokens, the bytes of each, and their text as it was rendered or is read.

    Numbers below 0 stand for the embeddings of images; they have no bytes.
    """

    id: int
    tokens: tuple[int, ...]
    pieces: tuple[bytes, ...]
    text: str


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The end of a request (or of the load, id None). `code` is one of `runner.errors`."""

    id: int | None
    code: str
    message: str
    field: str | None = None
    tokens: int | None = None  # with context_length_exceeded: the prompt's tokens and the limit
    limit: int | None = None


class Stats(Totals, frozen=True, tag="stats", kw_only=True):
    """The engine's state, sent at most about once a second while it changes, and what it has done so far."""

    running: int
    waiting: int
    cells_used: int  # those that hold anything, idle prefixes included
    cells_busy: int = 0  # those that running sequences hold
    cells: int
    is_wide: bool = False  # the lane of short slots stands, and has taken its memory

    @classmethod
    def of(
        cls,
        totals: Totals,
        *,
        running: int,
        waiting: int,
        cells_used: int,
        cells_busy: int,
        cells: int,
        is_wide: bool = False,
    ) -> Stats:
        """The totals, and the state beside them."""
        return cls(
            **msgspec.structs.asdict(totals),
            running=running,
            waiting=waiting,
            cells_used=cells_used,
            cells_busy=cells_busy,
            cells=cells,
            is_wide=is_wide,
        )


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """A sign of life, about once a second. `step` is how long the present step has been going on, in seconds; 0 between
    steps. The next may be later by `silence` seconds: something is about to hold up all threads of the worker."""

    step: float = 0.0
    silence: float = 0.0


Outcome = Done | Vectors | Told
"""How work ends that didn't fail."""

Event = Loading | Ready | Started | Text | Ended | Outcome | Failed | Stats | Beat
