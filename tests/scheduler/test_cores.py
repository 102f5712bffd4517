"""Workers share the processor: who computes beside others hears how many there are."""

from __future__ import annotations

from runner.protocol.commands import Share
from tests.fakes.scheduling import Bench, Heard, want


class Machine(Bench):
    """A bench that gives what each worker was told since it was asked last."""

    def told(self, model: str) -> list[int]:
        run = self.run(model)
        found = [command.workers for to, command in self.effects.sent if to == run and isinstance(command, Share)]
        self.effects.sent = [(to, it) for to, it in self.effects.sent if not (to == run and isinstance(it, Share))]
        return found

    def begin(self, model: str) -> Heard:
        heard = self.submit(want(model))
        if self.state(model) == "loading":
            self.load(model, sequences=4)
        return heard


def test_a_worker_hears_of_others_while_it_computes() -> None:
    at = Machine(models=3)
    first = at.begin("a")
    assert at.told("a") == []  # alone, as it takes itself to be
    second = at.begin("b")
    assert (at.told("a"), at.told("b")) == ([2], [2])
    third = at.begin("b")  # as many workers as before
    assert (at.told("a"), at.told("b")) == ([], [])
    at.done(first)
    assert (at.told("a"), at.told("b")) == ([], [1])  # who has nothing to compute needn't know
    at.done(second)
    at.done(third)
    assert at.told("b") == []
    again = at.begin("a")
    assert at.told("a") == [1]
    at.done(again)


def test_its_successor_takes_itself_to_be_alone() -> None:
    at = Machine(models=2)
    at.begin("a")
    at.begin("b")
    assert at.told("a") == [2]
    at.exit("a")
    assert at.told("b") == [2, 1]
    at.load("a", sequences=4)
    assert (at.told("a"), at.told("b")) == ([2], [2])
