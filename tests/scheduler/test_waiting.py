"""How long anybody waits, whatever others do: bounds, turns and estimates, in a world where time passes by itself."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.scheduler.ticket import Priority
from tests.fakes.scheduling import Bench, Heard, want
from tests.fakes.world import World

HOLD = 4.0  # seconds: the longest that a swap lets others go first, and that a fresh worker is left to its own
WORST: dict[str, float] = {}


@dataclass(frozen=True)
class Crowd:
    """Clients who ask as fast as they may for the models of a machine that holds `room` of them."""

    clients: int
    each: int  # requests that a client sends at once, and as many again whenever one of them is answered
    models: int
    room: int
    sequences: int
    load: float
    answer: float

    @property
    def cycle(self) -> float:
        """The longest that one swap can take: others go first, the worker drains, ends, and the next one loads."""
        drain = 2 * self.answer + self.answer
        return HOLD + HOLD + drain + 0.1 + self.load

    @property
    def bound(self) -> float:
        """A load for each of the others, then one's own, and then one turn of each of the others."""
        turn = (self.clients + 1 + 2 * self.sequences) / self.sequences * self.answer
        return (self.clients + self.room + 1) * self.cycle + turn


_CROWDS = st.builds(
    Crowd,
    clients=st.integers(1, 4),
    each=st.sampled_from([1, 5, 40]),
    models=st.integers(2, 5),
    room=st.integers(1, 3),
    sequences=st.integers(1, 4),
    load=st.sampled_from([0.2, 2.0, 10.0]),
    answer=st.sampled_from([0.1, 1.0]),
)


def _besiege(crowd: Crowd, world: World, until: float, priority: Priority = "interactive") -> None:
    """Each client keeps that many requests waiting, for one model after the other."""

    def send(client: int, number: int) -> None:
        heard = _Again(want(f"m{(client + number) % crowd.models}", client=f"c{client}", priority=priority))
        heard.again = lambda: world.bench.now < until and world.at(world.bench.now, lambda: send(client, number + 1))
        heard.id = world.bench.scheduler.submit(heard.want, heard)

    for client in range(crowd.clients):
        for number in range(crowd.each):
            world.at(0.0, lambda client=client, number=number: send(client, number))


class _Again(Heard):
    """Asks once more when it is answered."""

    def finish(self, event: object) -> None:
        super().finish(event)  # type: ignore[arg-type]
        self.again()


def _world(crowd: Crowd) -> World:
    bench = Bench(models=crowd.room, queue=10_000)
    return World(bench, load=crowd.load, answer=crowd.answer, sequences=crowd.sequences)


@given(_CROWDS, st.integers(0, 4), st.floats(0.0, 30.0))
@settings(max_examples=25, deadline=None)
def test_nobody_starves(crowd: Crowd, model: int, when: float) -> None:
    """One request among clients who never stop asking is taken within the bound."""
    world = _world(crowd)
    _besiege(crowd, world, until=when + crowd.bound + 60)
    heard = world.ask(when, want(f"m{model % crowd.models}", client="somebody"))
    world.run(until=when + crowd.bound + 1)
    assert heard.admissions, f"not taken within {crowd.bound:.1f} s"
    waited = heard.admissions[0].waited_ns / 1e9
    assert waited <= crowd.bound
    WORST["of the bound, a request waited at most"] = max(
        WORST.get("of the bound, a request waited at most", 0), waited / crowd.bound
    )


@given(_CROWDS, st.integers(0, 4))
@settings(max_examples=10, deadline=None)
def test_the_batch_does_not_starve_either(crowd: Crowd, model: int) -> None:
    world = _world(crowd)
    _besiege(crowd, world, until=crowd.bound + 100)
    heard = world.ask(1.0, want(f"m{model % crowd.models}", client="somebody", priority="batch"))
    world.run(until=crowd.bound + 32)
    assert heard.admissions
    assert heard.admissions[0].waited_ns / 1e9 <= crowd.bound + 30


def test_interactive_goes_before_batch() -> None:
    crowd = Crowd(clients=1, each=100, models=1, room=1, sequences=1, load=1.0, answer=0.2)
    world = _world(crowd)
    _besiege(crowd, world, until=20, priority="batch")
    heard = world.ask(5.0, want("m0", client="c0"))
    world.run(until=25)
    assert heard.admissions[0].waited_ns <= 0.2 * 2 * 1e9


def test_a_thousand_requests_of_one_are_one_turn_to_another() -> None:
    world = _world(Crowd(clients=1, each=1000, models=1, room=1, sequences=4, load=1.0, answer=0.1))
    _besiege(Crowd(1, 1000, 1, 1, 4, 1.0, 0.1), world, until=10)
    heard = world.ask(2.0, want("m0", client="somebody"))
    world.run(until=12)
    before = [request for request, when in world.admitted.items() if 2.0 <= when < world.admitted[heard.id]]
    assert len(before) <= 2


def test_alternating_models_swap_seldom(capsys: pytest.CaptureFixture[str]) -> None:
    """A, B, A, B, with room for one: loads are counted, and are few."""
    bench = Bench(models=1, queue=10_000)
    world = World(bench, load=1.0, answer=0.2, sequences=4)
    asked = [world.ask(number * 0.05, want("ab"[number % 2], client="me")) for number in range(400)]
    world.run()
    assert all(heard.outcome is not None for heard in asked)
    with capsys.disabled():
        print(f"\n400 requests for two models in turns, room for one: {world.loads} loads")
    assert world.loads <= 20


def test_one_client_alone_is_first_come_first_served() -> None:
    world = World(Bench(queue=10_000), load=1.0, answer=0.3, sequences=2)
    asked = [world.ask(0.0, want("a", client="me")) for _ in range(200)]
    world.run()
    taken = sorted(world.admitted, key=lambda request: (world.admitted[request], request))
    assert taken == [heard.id for heard in asked]


def test_estimates_come_true_where_things_go_on_as_they_did() -> None:
    """After a first round by which the pace is known, off by a fifth at most."""
    world = World(Bench(models=1, queue=10_000), load=2.0, answer=0.5, sequences=4)
    for number in range(20):
        world.ask(0.0, want("a", client=f"c{number}"))
    world.run()
    asked = [world.ask(100.0, want("a", client=f"c{number}")) for number in range(200)]
    world.run(until=600.0)
    for heard in asked[50:]:
        (admission,) = heard.admissions
        assert admission.estimate == pytest.approx(admission.waited_ns / 1e9, rel=0.2)
        assert admission.position > 40


def test_where_a_request_stands() -> None:
    bench = Bench()
    first, second, third = (bench.submit(want("a", client=client)) for client in "xxy")
    bench.load("a", sequences=1)
    fourth = bench.submit(want("a", client="y"))
    told = [bench.scheduler.view.standing(heard.id) for heard in (first, second, third, fourth)]
    assert [(each.position, each.ahead) if each else None for each in told] == [(0, 0), (1, 2), (0, 0), (2, 3)]
    bench.done(first)
    assert bench.scheduler.view.standing(first.id) is None


def test_counts(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print("".join(f"\n{what}: {share:.0%}" for what, share in WORST.items()))
    assert WORST
