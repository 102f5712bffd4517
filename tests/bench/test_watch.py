"""The load generator's eye on itself."""

import time

from runner.bench.spread import Spread
from runner.bench.watch import Strain, Watch


def flat(seconds: float) -> Spread:
    return Spread(*[seconds] * 5)


def test_a_loop_that_is_held_up_is_seen() -> None:
    import asyncio

    async def held_up() -> Strain:
        async with Watch() as watch:
            await asyncio.sleep(0.05)
            time.sleep(0.1)  # noqa: ASYNC251 - the fault to be noticed
            await asyncio.sleep(0.05)
        return watch.strain([0.5])

    strain = asyncio.run(held_up())
    assert strain.lag is not None
    # It looks every 20 ms, so at least 80 of the 100 ms are in one look.
    assert strain.lag.max >= 0.079
    assert strain.delay == flat(0.5)
    assert strain.cpu > 0


def test_like_is_set_against_like() -> None:
    gaps = Spread(mean=0.1, p50=0.1, p95=0.1, p99=1.0, max=1.0)
    quiet = Strain(Spread(mean=0.001, p50=0.001, p95=0.001, p99=0.09, max=0.1), flat(0.001), 0.2)
    assert quiet.complaints(flat(0.5), gaps) == []
    late = Strain(Spread(mean=0.001, p50=0.001, p95=0.02, p99=0.02, max=0.1), flat(0.001), 0.2)
    [complaint] = late.complaints(flat(0.5), gaps)
    assert complaint == "its event loop was late by 20.0 ms at the p95, where gaps are 100.0 ms"


def test_each_weakness_has_its_word() -> None:
    weak = Strain(flat(0.05), flat(0.05), 0.9)
    assert len(weak.complaints(flat(0.1), flat(0.1))) == 3
    assert "90% of a CPU core" in weak.complaints(None, None)[0]


def test_what_no_timer_can_tell_is_no_complaint() -> None:
    assert Strain(flat(0.0019), flat(0.0019), 0.1).complaints(flat(0.0001), flat(0.0001)) == []
