"""Requests and answers as every dialect means them.

A dialect reads its JSON into one of these requests and writes what comes back in its own words. `options` are the
caller's, by the names of `modelfiles.parameters`, still unchecked; `inference.resolve` merges and checks them. Of
several `choices`, each is an answer of its own to one prompt. `logprobs` asks for the log-probability of each token and
of that many alternatives, None for none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from runner.conversation import Message, ThinkLevel, ToolChoice, ToolSpec
from runner.protocol.commands import Constraint
from runner.protocol.events import Logprob, Reason
from runner.scheduler.ticket import Priority

Outcome: TypeAlias = Reason | Literal["tool_calls"]
"""Why a choice ended; `tool_calls` is a stop of one that called tools."""

MOST_CHOICES = 8  # of one request
MOST_ALTERNATIVES = 20  # to one token
MOST_LORAS = 8  # adapters of one request
STRONGEST_LORA = 16.0


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA adapter that a request wants: that of the stored model `name`, or else the asked model's own of this
    number; and how strong."""

    name: str | None = None
    id: int | None = None
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Chat:
    """Answer a conversation. `keep_alive` in seconds (inf for ever), None for the configured one. `priority` is what
    the request's body says of it.

    A `constraint` is for an answer: it can't be demanded together with a call, and where the model may choose, it
    answers in that form and calls nothing. `lora` takes the place of the model's own adapters, None leaves them.
    """

    model: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice = field(default_factory=ToolChoice)
    think: bool | ThinkLevel | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    keep_alive: float | None = None
    priority: Priority | None = None
    truncate: bool = False
    variables: Mapping[str, Any] = field(default_factory=dict)  # extra template variables, allow-listed by the dialect
    choices: int = 1
    logprobs: int | None = None
    constraint: Constraint | None = None
    prediction: str | None = None  # what the answer is expected to be much like; it changes none
    lora: tuple[Lora, ...] | None = None


@dataclass(frozen=True, slots=True)
class Complete:
    """Continue a text.

    Not `raw`: the prompt becomes a user turn in the chat template, with `system` replacing the Modelfile's. `raw`: the
    text goes to the model as it stands. With `suffix` the gap between the two is filled. `template` replaces the
    model's chat template (Jinja or Go). With `echo` the answer begins with the raw prompt, whose tokens are scored as
    well if `logprobs` are asked for.
    """

    model: str
    prompt: str | tuple[int, ...]
    raw: bool = False
    suffix: str | None = None
    system: str | None = None
    images: tuple[bytes, ...] = ()
    think: bool | ThinkLevel | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    keep_alive: float | None = None
    priority: Priority | None = None
    truncate: bool = False
    choices: int = 1
    logprobs: int | None = None
    echo: bool = False
    constraint: Constraint | None = None
    template: str | None = None
    lora: tuple[Lora, ...] | None = None


@dataclass(frozen=True, slots=True)
class Embed:
    """Turn each input (text or token ids) into one L2-normalised vector, cut to `dimensions` if given."""

    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    keep_alive: float | None = None
    priority: Priority | None = None
    truncate: bool = True
    lora: tuple[Lora, ...] | None = None


@dataclass(frozen=True, slots=True)
class Rerank:
    """Score each document by how well it answers the query. None is cut: a pair that is too long is an error."""

    model: str
    query: str
    documents: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    keep_alive: float | None = None


@dataclass(frozen=True, slots=True)
class CallPart:
    """Some of a tool call: the parts of one `index` come in order, and no other call's between them.

    `id` and `name` come with the first. The `arguments` of all, put together, are the text of a JSON object. With
    `complete` nothing of this call follows.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Begun:
    """How long the prompt is, and how much of that was computed before."""

    prompt_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a choice, in order: text of the answer or of the thought before it, part of a tool call, or none of
    these.

    `logprobs` are of the tokens that begin here; those of a thought, its markers included, are marked `in_thought`.
    `begun` comes with the first piece of an answer.
    """

    text: str = ""
    thinking: str = ""
    call: CallPart | None = None
    tokens: int = 0
    choice: int = 0
    logprobs: tuple[Logprob, ...] = ()
    in_thought: bool = False
    begun: Begun | None = None


@dataclass(frozen=True, slots=True)
class Timings:
    """Monotonic nanoseconds. `total` counts from the request's arrival; `load` is what it waited for its model."""

    total: int = 0
    load: int = 0
    queue: int = 0
    prefill: int = 0
    decode: int = 0


@dataclass(frozen=True, slots=True)
class ChoiceEnded:
    """One of several choices is complete. The last one to be is told by Finished."""

    choice: int
    reason: Outcome
    stop: str | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The last part of an answer, with what all its choices cost. Exactly one, unless the answer ends in an exception.

    `reason` and `stop` are those of `choice`.
    """

    reason: Outcome
    prompt_tokens: int
    completion_tokens: int
    timings: Timings
    cached_tokens: int = 0
    truncated_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    stop: str | None = None  # the stop string that ended it, if one did
    choice: int = 0


AnswerPart: TypeAlias = Piece | ChoiceEnded | Finished


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors in the order of the inputs, each of `width` float32 values packed little-endian in `data`."""

    data: bytes
    count: int
    width: int
    prompt_tokens: int
    timings: Timings


@dataclass(frozen=True, slots=True)
class Ranked:
    """A score for each document, in their order: more is better."""

    scores: tuple[float, ...]
    prompt_tokens: int
    timings: Timings


@dataclass(frozen=True, slots=True)
class Tokenize:
    """The tokens of a text. With `special`, markers in it count as the tokens they name; `bos` adds those that the
    model wants around a text."""

    model: str
    text: str
    special: bool = False
    bos: bool = False


@dataclass(frozen=True, slots=True)
class Detokenize:
    """The text of tokens."""

    model: str
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """What the model would be given for this request, without computing anything."""

    of: Chat | Complete


@dataclass(frozen=True, slots=True)
class Told:
    """Tokens, the bytes of each, and their text (of a Preview: the rendered prompt)."""

    tokens: tuple[int, ...]
    pieces: tuple[bytes, ...]
    text: str
