"""Commands on their way to the loop: cancels pass at once, requests are prepared first, on threads of their own.

So neither a long conversation nor a slow template stands between a Cancel and the sequence it ends, and one slow
request does not hold up all others. Images take longest to prepare: they have a thread of their own, and so one is
looked at at a time, and text never waits for any.
"""

from __future__ import annotations

import queue
import threading
import traceback

from runner.engine.embed import Inputs
from runner.engine.loop import Item
from runner.engine.mailbox import Mailbox
from runner.engine.outbox import Outbox
from runner.engine.sequence import Sequence
from runner.engine.sight import has_images
from runner.errors import Cancelled, ContextOverflow, RunnerError
from runner.protocol.commands import Cancel, Embed, Generate, Preview, Rank, Work
from runner.protocol.events import Done, Failed, Told, Usage

_THREADS = 2


class Intake:
    """`take` comes from the reading thread only. A request is pending until it is handed to the loop or has failed."""

    def __init__(self, mailbox: Mailbox, inbox: queue.SimpleQueue[Item], outbox: Outbox) -> None:
        self._mailbox = mailbox
        self._inbox = inbox
        self._outbox = outbox
        self._lock = threading.Lock()
        self._pending: dict[int, bool] = {}  # request to whether it was cancelled
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._images: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        places = [self._queue] * _THREADS + [self._images]
        self._threads = [
            threading.Thread(target=self._work, args=(place,), name=f"prepare-{n}", daemon=True)
            for n, place in enumerate(places)
        ]
        for thread in self._threads:
            thread.start()

    def take(self, command: Work | Cancel) -> None:
        """Pass the command on; nothing here waits for it."""
        with self._lock:
            if not isinstance(command, Cancel):
                self._pending[command.id] = False
                shows = isinstance(command, Generate | Preview) and has_images(command.prompt)
                (self._images if shows else self._queue).put(command)
            elif command.id in self._pending:
                self._pending[command.id] = True
            else:
                self._inbox.put(command)

    def close(self, timeout: float) -> bool:
        """Stop preparing; what is still pending ends as cancelled. False if a thread is still inside native code."""
        with self._lock:
            self._pending = dict.fromkeys(self._pending, True)
        for place in [self._queue] * _THREADS + [self._images]:
            place.put(None)
        for thread in self._threads:
            thread.join(timeout)
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, place: queue.SimpleQueue[Work | None]) -> None:
        while (command := place.get()) is not None:
            self._settle(command, None if self._pending[command.id] else self._prepare(command))

    def _prepare(self, command: Work) -> Sequence | Inputs | Told | Failed | None:
        try:
            match command:
                case Generate():
                    return self._mailbox.sequence(command, lambda: self._pending[command.id])
                case Rank():
                    return self._mailbox.pairs(command)
                case Embed():
                    return self._mailbox.inputs(command)
                case _:
                    return self._mailbox.tell(command)
        except Cancelled:
            return None
        except ContextOverflow as error:
            return Failed(command.id, error.code, error.message, error.field, tokens=error.tokens, limit=error.limit)
        except RunnerError as error:
            return Failed(command.id, error.code, error.message, error.field)
        except Exception:  # noqa: BLE001 -- a fault of ours with one request: the others go on
            traceback.print_exc()
            return Failed(command.id, RunnerError.code, "the worker failed to prepare this request")

    def _settle(self, command: Work, work: Sequence | Inputs | Told | Failed | None) -> None:
        """Hand over, under the lock: a Cancel that comes later finds the work in the inbox before it."""
        with self._lock:
            cancelled = self._pending.pop(command.id)
            if not cancelled and isinstance(work, Sequence | Inputs):
                self._inbox.put(work)
                return
        if isinstance(work, Sequence):
            for each in (work, *work.others):
                each.close()
        if isinstance(work, Failed) or (isinstance(work, Told) and not cancelled):
            self._outbox.put(work)
        else:
            self._outbox.put(Done(command.id, "cancelled", Usage()))
