"""Why a model is as it is: where it lies and for what reason, what happened to it, what the next request would find.

Puts what others know into one account, with words for people. Decides nothing and measures nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from modelfiles.parameters import Value
from modelfiles.sizes import human_bytes
from runner.inference.adapters import Worn
from runner.inference.origins import WORDS, Chosen, Origin
from runner.inference.residents import Resident, Surroundings
from runner.inference.resolve import Account
from runner.inference.templates import Choice
from runner.protocol.devices import HOST, Device
from runner.protocol.events import Ready
from runner.protocol.options import LoadOptions, cache_types
from runner.scheduler import plan
from runner.scheduler.fleet import Member
from runner.scheduler.history import ASIDE, TROUBLE, Happening, Order
from runner.scheduler.loop import Scheduler
from runner.scheduler.machine import physical_cores
from runner.scheduler.telling import needed, refused, seconds
from runner.scheduler.ticket import Want


@dataclass(frozen=True, slots=True)
class Flag:
    """How the worker runs, one thing at a time; `words` say what that means."""

    name: str
    value: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where it lies, or lay when it was loaded last. `free` is what was free before the load, by pool."""

    words: str
    reason: str
    free: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Context:
    """`trained` is what the model allows at most, 0 if it doesn't say."""

    length: int
    origin: str
    words: str
    trained: int


@dataclass(frozen=True, slots=True)
class Next:
    """What a request that came now would find; bytes where they decide something."""

    would: str  # serve, wait, load, evict, reload, refuse or pause
    words: str
    need: int
    have: int | None
    evicts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explained:
    """The whole account. `resident` is None for a model that nobody asked for; `error` is the last thing that went
    wrong."""

    model: str
    digest: str
    key: str
    words: str
    resident: Resident | None
    place: Place
    context: Context
    options: tuple[Chosen, ...]
    template: Choice
    flags: tuple[Flag, ...]
    history: tuple[Happening, ...]
    error: Happening | None
    next: Next
    log: str
    adapters: tuple[Worn, ...] = ()


def explain(
    account: Account,
    residents: Sequence[Resident],
    scheduler: Scheduler,
    around: Surroundings,
    now: float,
    today: datetime,
) -> Explained:
    """All that can be said of the model of this account."""
    want = account.want
    member = next((each for each in scheduler.view.residents() if each.key == want.key), None)
    order = scheduler.view.history.order(want.key)
    options = _as_loaded(account.options, member, order)
    mine = next((each for each in residents if each.name == want.model), None)
    if mine is None and member is not None:  # its worker is there, for another name
        theirs = next(each for each in residents if each.name == member.model)
        mine = replace(
            theirs,
            name=want.model,
            shared_with=member.models,
            running=0,
            waiting=0,
            queued=0,
            is_pinned=want.model in scheduler.view.pinned(),
        )
    happened = scheduler.view.history.of(want.model, want.key)
    return Explained(
        model=want.model,
        digest=want.digest,
        key=want.key,
        words=_summary(mine, happened, now, today) + _waits_to_stay(scheduler, want, mine),
        resident=mine,
        place=_place(member, order, options, around, mine),
        context=_context(member, order, account),
        options=options,
        template=account.template,
        flags=_flags(member.load.options if member else want.load.options, member.ready if member else None),
        history=happened,
        error=next((each for each in reversed(happened) if each.what in TROUBLE), None),
        next=_behind(scheduler, _next(scheduler, want, member)),
        log=str(around.log_of(member.loaded_for if member else want.model)),
        adapters=account.adapters,
    )


def _summary(mine: Resident | None, happened: Sequence[Happening], now: float, today: datetime) -> str:
    if mine is None:
        last = next((each for each in reversed(happened) if each.what not in ASIDE), None)
        if last is None:
            return "It is not loaded: nobody has asked for it since Runner started."
        return f"It is not loaded: {_ENDS.get(last.what, last.what)} {seconds(now - last.at)} ago, {last.words}."
    if mine.state == "queued":
        return f"It is not loaded yet: {_requests(mine.queued)} for it in the queue."
    if mine.state == "loading":
        return f"It is being loaded{f', {mine.progress:.0%} so far' if mine.progress else ''}."
    if mine.state == "stopping":
        return "It is on its way out, and ends what it is answering first."
    if mine.state == "paused":
        return f"It is left alone for another {seconds(mine.pause)}, because its worker keeps dying."
    since = f" for {seconds((today - mine.loaded_at).total_seconds())}" if mine.loaded_at else ""
    shared = f", in one worker with {' and '.join(mine.shared_with)}" if mine.shared_with else ""
    pinned = ", and pinned" if mine.is_pinned else ""
    return f"It is loaded{since}{shared}{pinned}."


def _waits_to_stay(scheduler: Scheduler, want: Want, mine: Resident | None) -> str:
    """What to add of a model that is pinned and isn't loaded."""
    is_there = mine is not None and mine.state in ("ready", "loading")
    return (
        " It is pinned, and stays once it is loaded." if want.model in scheduler.view.pinned() and not is_there else ""
    )


_ENDS = {
    "loaded": "it was loaded",
    "failed": "its load failed",
    "evicted": "it was evicted",
    "replaced": "it was to be loaded anew",
    "expired": "it left",
    "unloaded": "it was unloaded",
    "died": "its worker died",
    "resumed": "its worker died",
    "paused": "its worker died once too often",
    "stepped_down": "it ran out of memory",
}


def _requests(count: int) -> str:
    return "1 request waits" if count == 1 else f"{count} requests wait"


def _as_loaded(options: Sequence[Chosen], member: Member | None, order: Order | None) -> tuple[Chosen, ...]:
    """The options with the values that the worker was loaded with, where it is there."""
    if member is None:
        return tuple(options)
    loaded, found = member.load.options, []
    main: Origin = next((each.origin for each in options if each.name == "main_gpu"), "default")
    for each in options:
        value: Value | None = getattr(loaded, each.name, each.value) if each.when == "load" else each.value
        origin: Origin = each.origin
        if order is not None and each.name == "num_ctx" and order.context_from:
            origin = order.context_from  # type: ignore[assignment]
        elif each.when == "load" and value != each.value:
            origin = "request" if order is not None and each.name in order.named else "memory"
            if each.name == "split_mode" and loaded.main_gpu:  # which says that as well, where nobody else does
                origin = "request" if order is not None and "main_gpu" in order.named else main
        found.append(replace(each, value=value, origin=origin))
    return tuple(found)


def _place(
    member: Member | None,
    order: Order | None,
    options: Sequence[Chosen],
    around: Surroundings,
    mine: Resident | None,
) -> Place:
    free, devices = order.room if order else {}, around.devices()
    if member is None or member.ready is None or mine is None:
        reason = _no_gpu(devices, options).replace("It runs", "It would run", 1)
        where = ""
    else:
        reason, where = _reason(member, options, devices, free), mine.placement
    if reason.endswith(_NO_GPU):
        reason = " ".join((reason, *(f"{each[0].upper()}{each[1:]}." for each in around.problems() if each)))
    return Place(where, reason, free)


_NO_GPU = "this machine has no GPU that llama.cpp can use."


def _reason(member: Member, options: Sequence[Chosen], devices: Sequence[Device], free: Mapping[str, int]) -> str:
    """Why the layers of a loaded model are where they are."""
    ready = member.ready
    assert ready is not None
    if not ready.gpu_layers:
        gpus = [each for each in ready.devices if not each.startswith("CPU")]
        return _no_gpu(devices, options) or _too_little(gpus, free)
    named = next((each for each in options if each.name == "num_gpu" and each.origin != "default"), None)
    if ready.gpu_layers > ready.layers:
        return "All of its layers fit there."
    if named is not None and named.value == ready.gpu_layers:
        return f"num_gpu is {named.value}, which {WORDS[named.origin]} says."
    return f"Not all of its layers fit there: {_room(free) or 'the rest of the memory was taken'}."


def _no_gpu(devices: Sequence[Device], options: Sequence[Chosen]) -> str:
    """Why it runs on the CPU, where that isn't a matter of room; empty otherwise."""
    values = {each.name: each for each in options}
    number, device = values.get("num_gpu"), values.get("device")
    if number is not None and number.value == 0:
        return f"It runs on the CPU because num_gpu is 0, which {WORDS[number.origin]} says."
    if device is not None and device.value == "cpu":
        return f"It runs on the CPU because device is cpu, which {WORDS[device.origin]} says."
    if not any(each.kind in ("gpu", "igpu") for each in devices):
        return f"It runs on the CPU because {_NO_GPU}"
    return ""


def _too_little(gpus: Sequence[str], free: Mapping[str, int]) -> str:
    names = " and ".join(each.partition(":")[0] for each in gpus) or "the GPU"
    return f"It runs on the CPU because no layer of it fitted on {names}{f': {_room(free)}' if _room(free) else ''}."


def _room(free: Mapping[str, int]) -> str:
    """What was free on devices."""
    parts = [f"{human_bytes(size)} on {pool}" for pool, size in free.items() if pool != HOST]
    return f"{' and '.join(parts)} were free when it was loaded" if parts else ""


def _context(member: Member | None, order: Order | None, account: Account) -> Context:
    trained = account.facts.context_length
    if member is not None:
        ready = member.ready
        length = ready.context_length if ready else member.load.options.num_ctx
        origin = order.context_from if order and order.context_from else account.want.context_from
    else:
        length, origin = account.want.load.options.num_ctx, account.want.context_from
    words = f"{length} tokens{_FROM.get(origin, '')}"
    if trained > length:
        words += f"; the model takes up to {trained}"
    return Context(length, origin, words, trained)


_FROM: Mapping[str, str] = {
    "request": ", as the request asks",
    "modelfile": ", as the Modelfile says (num_ctx)",
    "config": ", as the configuration says (context_length)",
    "default": ", which is Runner's default",
    "model": ", the most that the model takes",
    "memory": ", as many as fit into memory",
}


def _flags(options: LoadOptions, ready: Ready | None) -> tuple[Flag, ...]:
    keys, values = cache_types(options)
    return (
        _flash(options, ready),
        Flag("KV cache types", keys if keys == values else f"{keys} for keys, {values} for values"),
        Flag(
            "threads",
            str(options.num_thread or physical_cores()),
            "" if options.num_thread else "as many as physical cores, fewer while others compute",
        ),
        Flag("mmap", "on" if options.use_mmap else "off", "weights stay in the page cache" if options.use_mmap else ""),
        Flag("sequences", str(options.num_parallel or "auto"), "decoded together at most"),
        Flag("step", str(options.num_batch), "tokens computed at once"),
        *((_sandbox(ready),) if ready is not None else ()),
    )


def _flash(options: LoadOptions, ready: Ready | None) -> Flag:
    if options.flash_attn != "auto":
        return Flag("flash attention", str(options.flash_attn))
    if ready is None or ready.flash_attn is None:
        return Flag("flash attention", "auto", "where llama.cpp finds it faster")
    return Flag("flash attention", "on" if ready.flash_attn else "off", "as llama.cpp found faster")


def _sandbox(ready: Ready) -> Flag:
    """How far its worker is shut in."""
    if not ready.sandbox:
        return Flag("sandbox", "off", "its worker may do what you may (setting sandbox)")
    missing = [f"{each.what}: {each.why}" for each in ready.sandbox if not each.holds]
    if missing:
        return Flag("sandbox", "in part", f"not {'; not '.join(missing)}")
    return Flag("sandbox", "on", ", ".join(each.what for each in ready.sandbox))


def _behind(scheduler: Scheduler, ahead: Next) -> Next:
    """The plan was asked as if nobody waited; say so where somebody does."""
    count = sum(count for _, count in scheduler.view.queued())
    if not count or ahead.would in ("pause", "refuse"):
        return ahead
    who = "1 request waits" if count == 1 else f"{count} requests wait"
    return replace(ahead, words=f"{ahead.words} But {who} in the queue already, and may go first.")


def _next(scheduler: Scheduler, want: Want, member: Member | None) -> Next:
    """What the plan would decide, in words."""
    if pause := scheduler.view.pause(want.key):
        return Next("pause", f"It would be turned away: the model is left alone for another {seconds(pause)}.", 0, None)
    foreseen = scheduler.view.foresee(want)
    lack = foreseen.lack
    need, have = lack.need, lack.have if foreseen.capacity else None
    sizes = needed(lack) + (f", and {human_bytes(have)} is free" if have is not None else "")
    if foreseen.is_full:  # so it isn't memory that lacks
        sizes = f"no more than {foreseen.limit} may be loaded at once (max_loaded_models)"
    first, goes = foreseen.decisions[0] if foreseen.decisions else None, foreseen.goes
    match first:
        case plan.Serve():
            return Next("serve", "It would be computed at once.", need, have)
        case plan.Load():
            return Next("load", f"The model would be loaded first: {sizes}.", need, have)
        case plan.Refuse():
            words = refused(lack, first.pinned, foreseen.limit if first.is_full else 0)
            return Next("refuse", f"It would be turned away: {words}.", need, have)
        case plan.Evict(key) if key == want.key:
            also = f", in place of {' and '.join(goes)}" if goes else ""
            return Next("reload", f"The model would be loaded anew{also}, as the request asks.", need, have, goes)
        case plan.Evict():
            return Next(
                "evict", f"The model would be loaded in place of {' and '.join(goes)}: {sizes}.", need, have, goes
            )
    if member is not None and member.state == "loading":
        return Next("wait", "It would wait until the model is loaded.", need, have)
    if foreseen.busy == (member.model if member else "",):
        return Next("wait", "It would wait for the requests inside, and then the model is loaded anew.", need, have)
    if member is not None and member.state == "ready" and not foreseen.busy:
        return Next("wait", "It would wait: the worker holds as many requests as it takes.", need, have)
    if not foreseen.busy:
        return Next("wait", "It would wait until a worker that is on its way out has gone.", need, have, goes)
    names = " and ".join(foreseen.busy)
    return Next("wait", f"It would wait for {names} to be done: {sizes}.", need, have, goes)
