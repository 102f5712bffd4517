"""What happens to models, in words for people. Pure text, made from what the loop knows at that moment."""

from __future__ import annotations

from collections.abc import Sequence

from modelfiles.sizes import human_bytes
from runner.protocol.commands import Load
from runner.protocol.devices import HOST
from runner.protocol.events import Ready
from runner.scheduler.fleet import Member
from runner.scheduler.memory import Lack
from runner.scheduler.pools import by_pool, device_names, held
from runner.scheduler.ticket import Want

_MINUTE, _HOUR = 60, 3600


def seconds(count: float) -> str:
    """A span of time, short: 0.4 s, 12 s, 5 min, 2 h; and for ever."""
    if count == float("inf"):
        return "for ever"
    if count >= 2 * _HOUR:
        return f"{count / _HOUR:.0f} h"
    if count >= 2 * _MINUTE:
        return f"{count / _MINUTE:.0f} min"
    return f"{count:.0f} s" if count >= 10 or count == int(count) else f"{count:.1f} s"


def placed(devices: Sequence[str], gpu_layers: int, layers: int) -> str:
    """Where a model lies: all on the CPU, all on a device, or so many layers here and the rest there.

    `layers` are the model's own; llama.cpp counts its output as one more.
    """
    if gpu_layers <= 0 or not devices:
        return "all on the CPU"
    where = " and ".join(devices)
    if layers and gpu_layers < layers + 1:
        return f"{gpu_layers} of {layers + 1} layers on {where}, the rest on the CPU"
    return f"all on {where}"


def ordered(member: Member) -> str:
    """A load begins, placed as the plan has it; where that is left to llama.cpp, nothing is said of it."""
    options, placement = member.load.options, member.load.placement
    parts = [f"context {options.num_ctx}", f"about {human_bytes(member.need.total)}"]
    if placement is not None and placement.devices and placement.gpu_layers:
        parts.insert(0, f"{placement.gpu_layers} layers on {' and '.join(placement.devices)}")
    elif placement is not None:
        parts.insert(0, "all on the CPU")
    return ", ".join(parts)


def loaded(member: Member, ready: Ready, now: float) -> str:
    """A load has succeeded."""
    pools = by_pool(held(ready))
    sizes = " and ".join(
        f"{human_bytes(size)} of {'memory' if pool == 'host' else pool}" for pool, size in pools.items()
    )
    where = placed(device_names(ready.devices), ready.gpu_layers, ready.layers)
    return f"in {seconds(now - member.began)}, {where}" + (f", {sizes}" if sizes else "")


def evicted(member: Member, want: Want, now: float) -> str:
    """A model makes room for another: what was weighed against its neighbours."""
    idle = f"idle for {seconds(now - member.last_used)}" if member.idle_since is not None else "no longer waited for"
    cost = f", and its own load took {seconds(member.ready_at - member.began)}" if member.ready else ""
    return f'for "{want.model}": {idle}{cost}'


def replaced(want: Want, digest: str, loaded: Load) -> str:
    """Why a worker can't take a request, so that the model is loaded again."""
    mine, theirs = want.load.options, loaded.options
    if mine.num_ctx > theirs.num_ctx:
        return f"a request needs a context of {mine.num_ctx}, and it was loaded with {theirs.num_ctx}"
    for name in sorted(want.named):
        if name == "draft_model":
            if want.load.draft != loaded.draft:
                return "a request names another draft model"
        elif getattr(mine, name, None) != getattr(theirs, name, None):
            return f"a request asks for {name} {getattr(mine, name)}, and it was loaded with {getattr(theirs, name)}"
    return "the model itself was changed" if want.digest != digest else "a request needs it loaded in another way"


def needed(lack: Lack) -> str:
    """What a load takes of the pool that decides."""
    what = "memory" if lack.pool == HOST else f"{lack.pool}'s memory"
    beside = f" beside what {' and '.join(lack.beside)} can hold" if lack.beside else ""
    return f"it needs at least {human_bytes(lack.need)} of {what}{beside}"


def refused(lack: Lack, pinned: Sequence[str], limit: int = 0) -> str:
    """A request was sent away, since its model fits nowhere; with `limit`, since as many models as that are pinned."""
    names = ", ".join(pinned)
    if limit:
        return f"no more than {limit} may be loaded at once (max_loaded_models), and that is what is pinned ({names})"
    beside = f" beside what is pinned ({names})" if pinned else ""
    return f"{needed(lack)}, and there are {human_bytes(lack.have)} for models{beside}"


def beyond(limit: int) -> str:
    """A model goes since fewer may be loaded than there are."""
    return f"no more than {limit} may be loaded at once now (max_loaded_models)"


PINNED = "it stays in memory until it is unpinned"
UNPINNED = "it goes when its time is over, or others need its room"


def expired(member: Member) -> str:
    """Nobody has come."""
    if member.keep_alive <= 0:
        return "at once after its last request, as that asked (keep_alive 0)"
    return f"nobody asked for it for {seconds(member.keep_alive)} (keep_alive)"


def resumed(count: int) -> str:
    """Requests of a dead worker go on."""
    return "1 request goes on with the next worker" if count == 1 else f"{count} requests go on with the next worker"


def paused(pause: float) -> str:
    """It is left alone."""
    return f"its worker keeps dying, so it is not loaded for another {seconds(max(1.0, pause))}"
