"""Put before everything else on PYTHONPATH, this watches the callbacks of the daemon's event loop.

Python imports it at its start, so the daemon runs as ever, with no hook in it. Every callback that takes more than
LIMIT of its thread's CPU time becomes a line of JSON in the file that CALLBACK_PROBE names. Time in which others had
the core doesn't count, garbage that is collected in its midst does. The first line says that somebody is watched.
Without that variable, and in processes other than the daemon, nothing happens.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

LIMIT = 0.1  # seconds
_LOOK = 0.05  # seconds after which it is looked what a callback is at


def watch(path: str) -> None:
    """Wrap what the event loop calls for each callback, in this process, for good."""
    import asyncio.events
    import json
    import threading
    import traceback

    run: Callable[[asyncio.events.Handle], None] = asyncio.events.Handle._run
    now: list[tuple[float, int, Any]] = []  # the callback that runs: since when, on which thread
    seen: list[str] = []  # where it was when it was looked at

    def tell(**what: object) -> None:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"pid": os.getpid()} | what) + "\n")

    def timed(handle: asyncio.events.Handle) -> None:
        seen.clear()
        now[:] = [(time.monotonic(), threading.get_ident(), handle)]
        what = name_of(handle._callback)  # type: ignore[attr-defined]  # gone after the call, if it was a task's
        began = time.thread_time()
        try:
            run(handle)
        finally:
            spent = time.thread_time() - began
            now.clear()
            if spent > LIMIT:
                tell(callback=what, ms=round(spent * 1000), stack=seen[:1])

    def look() -> None:
        while True:
            time.sleep(_LOOK)
            for since, thread, _ in now[:1]:
                if not seen and time.monotonic() - since > _LOOK:
                    frame = sys._current_frames().get(thread)
                    seen.append("".join(traceback.format_stack(frame, limit=12)))

    asyncio.events.Handle._run = timed  # type: ignore[method-assign,assignment]
    threading.Thread(target=look, name="callback probe", daemon=True).start()
    tell(watched=True)


def name_of(callback: Any) -> str:
    """What a person calls it: of a task's step, the name of its coroutine."""
    owner: Any = getattr(callback, "__self__", None)
    if hasattr(owner, "get_coro"):
        return f"task {getattr(owner.get_coro(), '__qualname__', owner)}"
    return str(getattr(callback, "__qualname__", callback))


if (_path := os.environ.get("CALLBACK_PROBE")) and "runner.daemon" in sys.orig_argv:
    watch(_path)
