"""Pooled vectors, or the scores of a model that ranks: many inputs in one decode, on a context of their own.

Inputs of different requests share a batch, so a crowd of small requests costs as little as one large one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from runner.errors import LoadFailed, RunnerError
from runner.llama.batch import Batch
from runner.llama.context import Context, Outcome
from runner.protocol.commands import Adapters
from runner.protocol.events import Done, Event, Failed, Usage, Vectors


@dataclass(slots=True, eq=False)
class Inputs:
    """One Embed or Rank request: its inputs as token ids, and the vectors made so far."""

    id: int
    inputs: list[list[int]]
    truncated_tokens: int
    arrived_ns: int
    adapters: Adapters = ()
    started_ns: int = 0
    vectors: list[npt.NDArray[np.float32]] = field(default_factory=list)

    @property
    def remaining(self) -> list[list[int]]:
        return self.inputs[len(self.vectors) :]

    def cancelled(self) -> Done:
        return Done(self.id, "cancelled", self._usage())

    def finished(self) -> Vectors:
        data = np.stack(self.vectors).astype("<f4") if self.vectors else np.zeros((0, 0), "<f4")
        return Vectors(self.id, data.tobytes(), data.shape[0], data.shape[1], self._usage())

    def _usage(self) -> Usage:
        now = time.monotonic_ns()
        started = self.started_ns or now
        return Usage(
            prompt_tokens=sum(map(len, self.inputs)),
            truncated_tokens=self.truncated_tokens,
            queue_ns=started - self.arrived_ns,
            prefill_ns=now - started,
        )


class Embedder:
    """Makes its context on first use: a model that only chats never pays for it. `apply` lets it compute with other
    adapters; a step is of those who have the same as the oldest."""

    def __init__(
        self,
        make_context: Callable[[], Context],
        width: int,
        apply: Callable[[Context, Adapters], None] = lambda context, adapters: None,
    ) -> None:
        self._make_context = make_context
        self._width = width
        self._apply = apply
        self._context: Context | None = None
        self._batch: Batch | None = None
        self.inputs = self.tokens = 0  # of the latest step

    def prepare(self) -> Context:
        """The context, made now if it isn't there. Raises LoadFailed."""
        if self._context is None:
            self._context = self._make_context()
            self._batch = Batch(self._context.batch)
        return self._context

    def close(self) -> None:
        if self._context is not None:
            self._context.close()
            self._context = None

    def step(self, waiting: deque[Inputs], most: int | None = None) -> list[Event]:
        """One decode with as many waiting inputs as fit, oldest first. Finished requests leave the queue.

        With `most`, no more than so many tokens, but for one input that is longer by itself: a model that sees the
        whole text at once can't compute it in parts. Each input fits the batch: the mailbox sees to that.
        """
        try:
            context = self.prepare()
        except RunnerError as error:
            self.inputs = self.tokens = 0
            return self._fail(waiting, set(waiting), error)
        assert self._batch is not None
        adapters = waiting[0].adapters
        try:
            self._apply(context, adapters)
        except RunnerError as error:
            self.inputs = self.tokens = 0
            return self._fail(waiting, {each for each in waiting if each.adapters == adapters}, error)
        owners = self._fill(context, self._batch, waiting, most or self._batch.capacity)
        self.inputs, self.tokens = len(owners), self._batch.size
        events: list[Event] = []
        if owners and (fault := self._compute(context, self._batch, owners)):
            events += self._fail(waiting, set(owners), fault)
        for done in [each for each in waiting if not each.remaining]:
            waiting.remove(done)
            events.append(done.finished())
        return events

    def _compute(self, context: Context, batch: Batch, owners: list[Inputs]) -> RunnerError | None:
        """Decode the batch and hand its vectors out; what went wrong, if it did."""
        try:
            if context.decode(batch) is not Outcome.DONE:
                return RunnerError("llama.cpp failed to compute the embeddings")
            for sequence, owner in enumerate(owners):
                owner.vectors.append(context.pooled(sequence, self._width))
        except LoadFailed as error:
            return error
        finally:
            context.clear()
        return None

    @staticmethod
    def _fill(context: Context, batch: Batch, waiting: deque[Inputs], most: int) -> list[Inputs]:
        """Put inputs into the batch, one sequence each; say whose each sequence is."""
        batch.clear()
        owners: list[Inputs] = []
        now = time.monotonic_ns()
        for request in waiting:
            if request.adapters != waiting[0].adapters:
                continue
            for tokens in request.remaining:
                if len(owners) == context.sequences or (owners and batch.size + len(tokens) > most):
                    batch.want_all()
                    return owners
                request.started_ns = request.started_ns or now
                batch.add(len(owners), 0, tokens, outputs=1)
                owners.append(request)
        batch.want_all()
        return owners

    @staticmethod
    def _fail(waiting: deque[Inputs], those: set[Inputs], error: RunnerError) -> list[Event]:
        failed = [inputs for inputs in waiting if inputs in those]
        for inputs in failed:
            waiting.remove(inputs)
        return [Failed(inputs.id, error.code, error.message) for inputs in failed]
