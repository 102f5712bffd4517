"""What a worker tells the daemon. One frame carries a list of these: all that one decode step brought.

Every accepted Generate or Embed ends in exactly one Done, Vectors or Failed with its id. A Generate of several choices
is one request: its Text names the choice, each choice but the last to be complete ends in an Ended, that one in Done.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from runner.formats import Thinking

Reason = Literal["stop", "length", "cancelled"]


class Loading(msgspec.Struct, frozen=True, tag="loading"):
    """How much of the weights has been read, 0 to 1. Also a sign of life while a load takes long."""

    progress: float


class Ready(msgspec.Struct, frozen=True, tag="ready", kw_only=True):
    """The model is loaded. Byte figures are what llama.cpp reported while loading, by device."""

    context_length: int  # tokens that one request may use
    cells: int  # tokens that all sequences together may hold
    sequences: int
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
    has_template: bool
    thinking: Thinking | None = None


class Started(msgspec.Struct, frozen=True, tag="started", kw_only=True):
    """The request has a sequence and its prefill begins."""

    id: int
    prompt_tokens: int
    cached_tokens: int = 0
    truncated_tokens: int = 0
    in_thought: bool = False  # the prompt itself opened a thought


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


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a request cost, its choices together. Times are monotonic nanoseconds."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    truncated_tokens: int = 0
    completion_tokens: int = 0
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
    """The end of an Embed: `data` holds little-endian float32, shape (count, width), in the order of the inputs."""

    id: int
    data: bytes
    count: int
    width: int
    usage: Usage


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The end of a request (or of the load, id None). `code` is one of `runner.errors`."""

    id: int | None
    code: str
    message: str
    field: str | None = None
    tokens: int | None = None  # with context_length_exceeded: the prompt's tokens and the limit
    limit: int | None = None


class Stats(msgspec.Struct, frozen=True, tag="stats", kw_only=True):
    """The engine's state, sent at most about once a second while it changes."""

    running: int
    waiting: int
    cells_used: int
    cells: int
    steps: int
    prompt_tokens: int
    completion_tokens: int
    preemptions: int
    reused_cells: int = 0  # tokens that needed no computing, because they stood in cells,
    reused_ram: int = 0  # because their state was saved in RAM,
    reused_disk: int = 0  # or in a file
    demotions: int = 0  # prefixes saved when they lost their cells


Event = Loading | Ready | Started | Text | Ended | Done | Vectors | Failed | Stats
