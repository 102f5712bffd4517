"""Where a step's time goes, with a clock that the test moves."""

from __future__ import annotations

from runner.engine.meter import Meter
from runner.engine.reuse import Counts
from runner.protocol.totals import STEP_SECONDS, STEP_TOKENS


class Clock:
    def __init__(self) -> None:
        self.now = 1_000

    def __call__(self) -> int:
        return self.now

    def step(self, meter: Meter, *lengths: int, tokens: int = 1, ubatches: int = 1) -> None:
        """One whole step whose phases take so many nanoseconds."""
        meter.begin()
        for length, end in zip(
            lengths,
            (lambda: meter.filled(tokens), lambda: meter.waited(ubatches), meter.sampled, meter.ended),
            strict=True,
        ):
            self.now += length
            end()
        self.now += 999  # between steps nobody's time passes


def test_phases_add_up_to_the_steps() -> None:
    clock = Clock()
    meter = Meter(clock)
    clock.step(meter, 10, 2_000_000, 30, 40, tokens=3)
    clock.step(meter, 1, 2, 3, 4, tokens=64, ubatches=2)
    totals = meter.totals(Counts())
    assert (totals.fill_ns, totals.wait_ns, totals.sample_ns, totals.post_ns) == (11, 2_000_002, 33, 44)
    assert (totals.steps, totals.ubatches) == (2, 3)
    assert totals.step_tokens.sum == 67
    assert totals.step_tokens.counts[STEP_TOKENS.index(4)] == totals.step_tokens.counts[STEP_TOKENS.index(64)] == 1
    assert totals.step_seconds.counts[STEP_SECONDS.index(0.0025)] == 1
    assert round(totals.step_seconds.sum * 1e9) == 2_000_090


def test_a_decode_that_failed_has_no_samples() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.begin()
    clock.now += 5
    meter.filled(2)
    clock.now += 7
    meter.waited()
    clock.now += 9
    meter.ended()
    totals = meter.totals(Counts())
    assert (totals.fill_ns, totals.wait_ns, totals.sample_ns, totals.post_ns) == (5, 7, 0, 9)


def test_inputs_to_embed_are_no_steps() -> None:
    clock = Clock()
    meter = Meter(clock)
    assert not meter.did_anything
    meter.begin()
    clock.now += 50
    meter.embedded(inputs=3, tokens=20)
    totals = meter.totals(Counts())
    assert meter.did_anything
    assert (totals.steps, totals.embed_steps, totals.embed_inputs, totals.embed_tokens) == (0, 1, 3, 20)
    assert totals.embed_ns == 50
