"""One request in the engine: a count of computed tokens and a count wanted, for each of its choices.

Prefill, decode and recomputing after a preemption are the same thing at different counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from runner.engine.constrain import Guide
from runner.engine.draft import Speculation
from runner.engine.echo import Echo
from runner.engine.pictures import Pictures
from runner.engine.shelf import Awaited
from runner.engine.shown import Shown
from runner.engine.text import TextStream
from runner.engine.voice import Voice
from runner.llama.model import Model
from runner.llama.sampler import Sampler
from runner.protocol.commands import Adapters, Generate
from runner.protocol.events import Logprob, Reason, Usage

_next_key: Callable[[], int] = count(1).__next__


@dataclass(slots=True, eq=False)
class Request:
    """How far a request has come, all its choices together. Changed by the engine's loop only.

    The first choice computes the prompt; `unforked` holds the samplers of the others until they can go on from there,
    and `numbers` which choices they are.
    """

    unforked: list[Sampler | Guide] = field(default_factory=list)
    echo: Echo | None = None
    echoed: frozenset[int] = frozenset()  # choices that an earlier worker told the echo of
    numbers: list[int] = field(default_factory=list)
    shown: Shown | None = None  # the prompt, where it is to be told back; until then
    incomplete: int = field(init=False)  # choices that have not ended
    completion_tokens: int = 0  # of those that have
    cached_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    admitted_ns: int = 0
    first_token_ns: int = 0

    def __post_init__(self) -> None:
        self.incomplete = 1 + len(self.unforked)
        self.numbers = self.numbers or list(range(1, self.incomplete))


@dataclass(slots=True, eq=False)
class Sequence:
    """A request, or one of its choices, from its acceptance to its end. Changed by the engine's loop only.

    `tokens` holds the prompt, then what was generated; `computed` of them stand in the KV cache of `slot`. `pictures`
    says which of the prompt's stand for images.
    """

    command: Generate
    tokens: list[int]
    prompt_tokens: int
    context_length: int  # prompt and answer together
    truncated_tokens: int
    in_thought: bool
    sampler: Sampler | Guide
    text: TextStream
    arrived_ns: int
    request: Request = field(default_factory=Request)
    speculation: Speculation | None = None
    pictures: Pictures = Pictures()  # noqa: RUF009 -- frozen
    voice: Voice | None = None  # None where it doesn't matter
    choice: int = 0
    slot: int | None = None
    computed: int = 0
    is_long: bool = False  # it has outgrown a short slot
    awaited: Awaited | None = None  # a state that is read from a file for it
    found: int = 0  # tokens that will not have to be computed, as far as can be seen while it waits,
    is_lent: bool = False  # and whether a running one holds their cells
    leader: Sequence | None = None  # one that computes the same beginning, of so many tokens,
    shared: int = 0  # and lends it then
    borders: list[int] = field(default_factory=list)  # where a step has to end, since others may want to go on there
    unsent: list[int] = field(default_factory=list)  # tokens that were drawn since the last Text
    unsent_logprobs: list[Logprob] = field(default_factory=list)
    unscored: list[int] = field(default_factory=list)  # where in the text those of the last tokens begin whose score
    # was not told by the worker that drew them
    others: list[Sequence] = field(default_factory=list)  # choices of the request that have begun already
    owed: str = ""  # text of those that was not told
    over: Reason | None = None  # nothing is left to compute
    key: int = field(default_factory=_next_key)  # names it in the plan

    def fork(self, choice: int, sampler: Sampler | Guide) -> Sequence:
        """Another choice of the request, with the prompt's tokens and nothing computed or said."""
        return Sequence(
            command=self.command,
            tokens=self.tokens.copy(),
            prompt_tokens=self.prompt_tokens,
            context_length=self.context_length,
            truncated_tokens=self.truncated_tokens,
            in_thought=self.in_thought,
            sampler=sampler,
            text=TextStream(self.command.sampling.stop, position=self.text.position),
            arrived_ns=self.arrived_ns,
            request=self.request,
            speculation=self.speculation.fork() if self.speculation else None,
            pictures=self.pictures,
            voice=self.voice,
            choice=choice,
        )

    @property
    def id(self) -> int:
        return self.command.id

    @property
    def adapters(self) -> Adapters:
        """With what it is computed. It shares steps, cells and saved states only with those of the same."""
        return self.command.adapters

    def piece(self, model: Model, token: int) -> bytes:
        """The bytes of a token as this request is told them."""
        is_shown = self.voice is not None and token in self.voice.shown
        return model.spelling(token) if is_shown else model.piece(token)

    @property
    def remaining(self) -> int:
        """Tokens still to compute before the next one can be chosen."""
        return len(self.tokens) - self.computed

    @property
    def generated(self) -> int:
        return len(self.tokens) - self.prompt_tokens

    @property
    def is_decoding(self) -> bool:
        return self.generated > 0 and self.remaining == 1

    @property
    def unforked(self) -> tuple[Sampler | Guide, ...]:
        """What other choices draw with that go on from the row that this one's first token is drawn from."""
        return () if self.generated else tuple(self.request.unforked)

    @property
    def draft(self) -> list[int]:
        """Tokens to try behind the latest one in the next step."""
        return self.speculation.draft if self.speculation else []

    @property
    def most_drafted(self) -> int:
        """How many tokens behind the latest could be of use: one more is always chosen after them."""
        room = self.context_length - len(self.tokens)
        wanted = self.command.sampling.num_predict
        return max(0, (min(room, wanted - self.generated) if wanted > 0 else room) - 1)

    @property
    def reusable(self) -> int | None:
        """How many tokens may be found computed, None for any: to be scored, their rows must be computed anew."""
        if self.unscored:
            return len(self.tokens) - len(self.unscored) - 1
        echo = self.request.echo if not self.generated else None
        return echo.scored if echo is not None and echo.is_scoring else None

    def outputs(self, count: int, most: int) -> tuple[int, int]:
        """Of the next `count` tokens, how many to compute when at most `most` of their rows may give logits.

        And how many rows do, counted from the last: the one that the next token is chosen from, and where tokens are to
        be scored those before it.
        """
        scored = self.reusable
        if scored is None:
            return count, 1 if count == self.remaining else 0
        scored -= self.computed
        count = min(count, scored + most)
        return count, max(0, count - scored)

    def waited(self, now_ns: int) -> float:
        """Seconds since it came; inf once its request has run, since nobody goes before what is to be resumed."""
        return math.inf if self.request.admitted_ns else (now_ns - self.arrived_ns) / 1e9

    def take_logprobs(self, *, is_last: bool) -> tuple[Logprob, ...]:
        """Those of the tokens that begin in the text sent so far, or all at the end of the answer."""
        unsent = self.unsent_logprobs
        if not unsent:
            return ()
        sent = self.text.sent
        count = len(unsent) if is_last else sum(logprob.offset < sent for logprob in unsent)
        self.unsent_logprobs = unsent[count:]
        return tuple(unsent[:count])

    def close(self) -> None:
        """Free what the choice draws with, and what those would have drawn with that were never forked from it."""
        self.sampler.close()
        for sampler in self.unforked:
            sampler.close()
        if not self.generated:
            self.request.unforked.clear()

    def usage(self, now_ns: int) -> Usage:
        """What the request has cost up to now. Tokens are counted when their choice has left the engine."""
        request = self.request
        admitted = request.admitted_ns or now_ns
        first = request.first_token_ns or now_ns
        return Usage(
            prompt_tokens=self.prompt_tokens,
            cached_tokens=request.cached_tokens,
            truncated_tokens=self.truncated_tokens,
            completion_tokens=request.completion_tokens,
            drafted_tokens=request.drafted_tokens,
            accepted_tokens=request.accepted_tokens,
            queue_ns=admitted - self.arrived_ns,
            prefill_ns=first - admitted,
            decode_ns=now_ns - first,
        )
