"""From a wanted embedding to unit vectors.

Plain Python over packed floats: the daemon has no other use for an array library that is larger than itself.
"""

from __future__ import annotations

import asyncio
import math
import sys
from array import array
from collections.abc import Callable

from runner.errors import InvalidRequest, RunnerError
from runner.inference.entry import Leg
from runner.inference.passage import submit
from runner.inference.requests import Embedded, Timings
from runner.protocol.events import Vectors
from runner.scheduler.loop import Scheduler
from runner.scheduler.ticket import Admission, Want

_AT_ONCE = 50_000  # values normalised on the event loop; more would hold it up


async def embedded(
    scheduler: Scheduler, want: Want, dimensions: int | None, arrived_ns: int, clock_ns: Callable[[], int]
) -> Embedded:
    """Submit an Embed and normalise its vectors. Raises what the scheduler or the worker fails it with."""
    vectors, admission, leg = await pooled(scheduler, want)
    data, width = await _normalised(vectors, dimensions)
    timings = timings_of(vectors, admission, clock_ns() - arrived_ns)
    made = Embedded(data, vectors.count, width, vectors.usage.prompt_tokens, timings)
    leg.take(made)
    return made


async def pooled(scheduler: Scheduler, want: Want) -> tuple[Vectors, Admission | None, Leg]:
    """Submit what ends in Vectors, and wait for them; with them comes who hears what becomes of them. Raises what the
    scheduler or the worker fails it with."""
    submitted = submit(scheduler, want)
    admission: Admission | None = None
    try:
        while items := await submitted.stream.take():
            for item in items:
                if isinstance(item, Admission):
                    admission = item
                elif isinstance(item, Vectors):
                    return item, admission, submitted.leg
    finally:
        scheduler.cancel(submitted.id)
    raise RunnerError("the worker ended without vectors")


def unit_vectors(data: bytes, count: int, width: int, dimensions: int) -> bytes:
    """Cut each of `count` little-endian float32 vectors to `dimensions` values and scale it to length 1.

    A vector of zeros stays one.
    """
    values = array("f", data)
    if sys.byteorder == "big":
        values.byteswap()
    result = array("f")
    for start in range(0, count * width, width):
        vector = values[start : start + dimensions]
        length = math.hypot(*vector)
        result.extend(vector if length == 0 else array("f", [value / length for value in vector]))
    if sys.byteorder == "big":
        result.byteswap()
    return result.tobytes()


async def _normalised(vectors: Vectors, dimensions: int | None) -> tuple[bytes, int]:
    width = vectors.width if dimensions is None else dimensions
    if not 1 <= width <= vectors.width:
        raise InvalidRequest(f"dimensions must be from 1 to {vectors.width}, not {width}", field="dimensions")
    call = (vectors.data, vectors.count, vectors.width, width)
    if vectors.count * width <= _AT_ONCE:
        return unit_vectors(*call), width
    return await asyncio.to_thread(unit_vectors, *call), width


def timings_of(vectors: Vectors, admission: Admission | None, total: int) -> Timings:
    """What the vectors took, of `total` nanoseconds since the request came."""
    waited, load = (admission.waited_ns, admission.load_ns) if admission else (0, 0)
    usage = vectors.usage
    return Timings(
        total=total, load=load, queue=max(0, waited - load) + usage.queue_ns, prefill=usage.prefill_ns, decode=0
    )
