"""How long a context a model gets where nobody names one: the longest sensible one that fits this machine.

Chosen once for each model, for the machine with nothing else loaded, and remembered, so that it doesn't change with
what happens to be loaded. When memory has become short meanwhile, less is taken until it is there again.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from modelfiles.sizes import human_bytes
from runner.protocol.options import LoadOptions
from runner.scheduler.lessons import Lessons
from runner.scheduler.memory import CPU_DEVICE, HOST, Footprint, smallest
from runner.scheduler.offer import Offer

DEFAULT_CONTEXT = 8192  # tokens, where nobody asks for another length and the model allows as much
ON_A_GPU = 32768  # where all of the model and its context stand on one
_STEPS = (32768, 16384, 8192, 4096, 2048)
_PLENTY = 1 << 60

Look = Callable[[], Offer]
Own = Callable[[], tuple[Footprint, LoadOptions] | None]


def unbounded() -> Offer:
    """A machine that has memory for everything, and no GPU."""
    return Offer((CPU_DEVICE,), {HOST: _PLENTY}, {HOST: _PLENTY})


class Contexts:
    """What is chosen is remembered in `lessons`; `look` tells what the machine offers."""

    def __init__(self, lessons: Lessons, look: Look) -> None:
        self._lessons = lessons
        self._look = look

    def choose(
        self,
        model: str,
        footprint: Footprint,
        options: LoadOptions,
        configured: int = 0,
        *,
        own: Own | None = None,
        keeps: bool = True,
    ) -> tuple[int, tuple[str, ...]]:
        """The context for a model (by its manifest's digest) with these options, and what there is to say about it.

        `configured` is the setting, in tokens (0: none): as long as that where it fits. What is remembered (if it
        `keeps` anything) is chosen with the model's `own` options, where the request has others: these can shorten what
        the request gets, and nobody else's. A model whose own options can't be (None) is given nothing to remember.
        """
        seen = self._look()
        trained = footprint.trained or DEFAULT_CONTEXT
        has_gpu = any(device.kind in ("gpu", "igpu") for device in seen.devices)
        usual = configured or (ON_A_GPU if has_gpu else DEFAULT_CONTEXT)
        ceiling = min(usual, trained)
        known = self._lessons.of(model)
        is_known = known.context > 0 and known.ceiling == ceiling
        first = known.context if is_known else ceiling
        if not is_known and (plain := own() if own else (footprint, options)) is not None:
            first = self._longest(*plain, seen, ceiling, configured)
            if keeps:
                self._lessons.choose(model, first, ceiling)
        chosen = self._longest(footprint, options, seen, first, configured)
        return chosen, (self._why(chosen, ceiling, trained, footprint, seen, configured),)

    def _longest(self, footprint: Footprint, options: LoadOptions, seen: Offer, first: int, configured: int) -> int:
        lengths = [first, *(step for step in _STEPS if step < first)]
        shorter = 0
        for length in lengths:
            found = smallest(footprint, msgspec.structs.replace(options, num_ctx=length), seen.devices, seen.whole)
            if found is None:
                continue
            placement, _ = found
            whole = not placement.devices or (placement.gpu_layers >= footprint.layers and not placement.cpu_moe)
            if placement.devices and whole:
                return length
            if length > DEFAULT_CONTEXT and not configured:
                continue  # more than is usual is for those who have a GPU to hold it
            if not shorter:
                shorter = length
            if whole or length <= _STEPS[-2]:
                break  # a shorter one is of no use any more
        return shorter or lengths[-1]

    def _why(self, chosen: int, ceiling: int, trained: int, footprint: Footprint, seen: Offer, configured: int) -> str:
        if chosen == DEFAULT_CONTEXT < ceiling and not configured:
            return f"context {chosen}, chosen by Runner: {ceiling} is for a GPU that holds all of the model"
        if chosen < ceiling:
            have = ", ".join(f"{human_bytes(size)} of {pool} memory" for pool, size in seen.whole.items())
            return f"context {chosen}, chosen by Runner: {ceiling} does not fit in {have}"
        if chosen == footprint.trained:
            return f"context {chosen}, all that the model was made for"
        if chosen == configured:
            return f"context {chosen}, as configured; the model was made for {trained}"
        return f"context {chosen}, chosen by Runner; a request may ask for more with num_ctx, up to {trained}"
