"""The worker process from its first command to its exit.

Threads: the main one reads commands, two prepare requests (the intake), one runs the loop, one writes events, and one
shows that the process lives. When the
daemon's end of the command pipe closes, the daemon is gone, and then so is this process.
"""

from __future__ import annotations

import gc
import os
import queue
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import BinaryIO

import psutil

from runner.engine.adapters import Loaded
from runner.engine.archive import Archive
from runner.engine.beat import Heart
from runner.engine.clerk import Clerk, News
from runner.engine.cost import idle_cells
from runner.engine.crew import Crew
from runner.engine.draft import Drafts
from runner.engine.embed import Embedder
from runner.engine.eye import Eye
from runner.engine.intake import Intake
from runner.engine.lanes import Lane, Lanes, Wide
from runner.engine.loop import Item, Loop, Widened
from runner.engine.mailbox import Mailbox
from runner.engine.neighbours import Neighbours
from runner.engine.outbox import Outbox
from runner.engine.parent import die_with_parent
from runner.engine.reuse import Reuse
from runner.engine.sandbox import places
from runner.engine.sandbox.enter import Work as Needs
from runner.engine.sandbox.enter import enter
from runner.engine.second import TEXTS, SecondModel, check_pair
from runner.engine.shelf import Shelf
from runner.engine.spare import taken
from runner.engine.voice import voices
from runner.errors import InsufficientMemory, LoadFailed, RunnerError
from runner.formats import THINKING, markers_in
from runner.llama import library
from runner.llama.context import Context
from runner.llama.cores import Cores, threads
from runner.llama.model import Model
from runner.llama.placement import for_draft
from runner.llama.state import States
from runner.llama.vision import Vision
from runner.protocol.codec import FrameReader, unpack_command
from runner.protocol.commands import Cancel, Command, Load, Share, Stop, Work
from runner.protocol.events import Failed, Loading, Ready
from runner.protocol.options import cache_types, pooled
from runner.protocol.sandbox import WORDS, Promise

_NO_MEMORY = re.compile(
    r"out of memory|(?:failed|unable) to allocate|cannot allocate memory|bad_alloc|allocation failed", re.IGNORECASE
)
_PROGRESS_S = 0.25
_TOKENISE_S = 1.0  # how long an orderly end waits for a text that is just being tokenised
# An encoder computes an input in one piece, and its buffers grow with the square of that piece.
_EMBED_BATCH = 2048


def main() -> int:
    """Serve one model over stdin and stdout. Returns the exit status.

    A spare worker does the same; it only waits longer for its Load.
    """
    die_with_parent()
    # Whatever native code prints belongs into the log, not between frames.
    events = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the daemon, which then says Stop
    sys.setswitchinterval(0.0005)
    commands = read_commands(sys.stdin.buffer)
    first = next(commands, None)
    if not isinstance(first, Load):
        return 2
    taken()
    cores = Cores(first.options)
    neighbours = Neighbours(cores)
    promises = _shut_in(first)  # while there is no other thread, and before llama.cpp sees a file
    outbox = Outbox(events)
    try:
        if isinstance(promises, RunnerError):
            raise promises
        worker = Worker(first, outbox, promises, Heart(outbox, neighbours.look), cores)
    except (RunnerError, MemoryError) as caught:
        error = _of_memory(caught)
        outbox.put(Failed(None, error.code, error.message, error.field))
        outbox.close()
        return 1
    try:
        worker.serve(commands)
    finally:
        outbox.close()
    return 0


def _shut_in(load: Load) -> tuple[Promise, ...] | RunnerError:
    """Keep this process to the files of its load. What holds, or why the load is refused."""
    files = [*load.weights, *load.draft, *([load.projector] if load.projector else [])]
    writes = []
    if load.prefixes.disk:
        writes.append(load.prefixes.root)
        with suppress(OSError):  # then nothing can be kept, as the archive will say
            os.makedirs(load.prefixes.root, 0o700, exist_ok=True)
    options = load.options
    gpu = options.num_gpu != 0 and options.device != "cpu" and places.has_gpu(library.folder())
    try:
        promises = enter(load.sandbox, Needs(files, writes, load.prefixes.disk, gpu))
    except RunnerError as error:
        return error
    for promise in promises:
        if not promise.holds and load.sandbox.mode != "off":
            sys.stderr.write(f"the sandbox doesn't hold that {WORDS[promise.what]}: {promise.why}\n")
    return promises


def _of_memory(error: RunnerError | MemoryError) -> RunnerError:
    """A load that failed for want of memory says so: a smaller one may do."""
    if isinstance(error, MemoryError):
        return InsufficientMemory("the worker had no memory left")
    is_it = isinstance(error, LoadFailed) and _NO_MEMORY.search(error.message)
    return InsufficientMemory(error.message) if is_it else error


def read_commands(pipe: BinaryIO) -> Iterator[Command]:
    """Commands until the pipe ends."""
    frames = FrameReader()
    descriptor = pipe.fileno()
    while data := os.read(descriptor, 1 << 16):
        for body in frames.feed(data):
            yield unpack_command(body)


class Worker:
    """A loaded model and the threads that serve it. Raises LoadFailed (or what the options are refused with)."""

    def __init__(
        self,
        load: Load,
        outbox: Outbox,
        promises: tuple[Promise, ...] = (),
        heart: Heart | None = None,
        cores: Cores | None = None,
    ) -> None:
        started = time.monotonic_ns()
        self._outbox = outbox
        self._log = library.start()
        self._load = load
        self._promises = promises
        options = load.options
        self._model = Model(load.weights, options, self._log, _throttled(outbox), load.placement)
        # A request can never use more than the model was made for.
        self._length = min(options.num_ctx, self._model.n_ctx_train or options.num_ctx)
        adapters = Loaded(lambda path: self._model.load_adapter(path, self._log), self._model.free_adapter)
        self._inbox: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._cores = cores or Cores(options)
        vision = self._projector()
        self._eye = Eye(vision) if vision is not None else None
        self._at_once = vision.at_once if vision is not None else 0
        self._lanes = self._make_lanes()
        self._second = self._second_model()
        self._embedder = Embedder(self._embedding_context, self._model.n_pooled, adapters.apply)
        if load.embedding:
            self._embedder.prepare()
        thoughts = [marker for row in THINKING for marker in (row.opening, row.closing)]
        self._model.show([*thoughts, *(each for marker in thoughts for each in markers_in(marker))])
        self._mailbox = Mailbox(
            self._model,
            voices(self._model, sees=self._eye is not None),
            context_length=self._length,
            input_limit=min(self._length, _EMBED_BATCH),
            generates=self._lanes.pool is not None,
            speculates=self._model.is_cuttable,
            has_draft_model=self._second is not None,
            eye=self._eye,
            step=self._lanes.pool.context.batch if self._lanes.pool is not None else 0,
            silence=heart.silence if heart is not None else nullcontext,
        )
        self._stopping = threading.Event()
        crew = Crew(threads(options))
        pool = self._lanes.pool
        drafts = Drafts(self._model.ends, self._second) if pool is not None and self._model.is_cuttable else None
        reuse = _reuse(load, self._model, pool.context, self._inbox.put) if pool is not None else None
        self._loop = Loop(
            self._model,
            self._lanes,
            self._embedder,
            self._inbox,
            outbox,
            crew,
            drafts,
            reuse,
            apply=adapters.apply,
            heart=heart,
        )
        outbox.put(self._ready(started, has_template=self._model.chat_template() is not None))

    def serve(self, commands: Iterator[Command]) -> None:
        """Work until Stop or until the daemon is gone. Raises BadFrame when the daemon sends what is no command."""
        gc.freeze()  # the long-lived objects need not be looked at again and again
        intake = Intake(self._mailbox, self._inbox, self._outbox)
        thread = threading.Thread(target=self._run, name="loop")
        thread.start()
        stop = Stop("shutdown")  # as when the daemon is gone
        try:
            for command in commands:
                if isinstance(command, Stop):
                    stop = command
                    break
                if isinstance(command, Share):
                    self._cores.share(command.workers)
                elif isinstance(command, Work | Cancel):
                    intake.take(command)
        finally:  # however it ends, nobody reads commands any more, so nothing may go on
            self._stopping.set()
            all_out = intake.close(_TOKENISE_S)
            self._inbox.put(stop)
            thread.join()
        if not all_out:  # the process ends under them; what they use must stay until then
            return
        self._mailbox.close()
        self._embedder.close()
        self._lanes.close()
        self._model.close()

    def _run(self) -> None:
        try:
            self._loop.run()
        finally:
            if not self._stopping.is_set():
                # A loop that is gone would leave every request without an answer. The daemon answers a dead worker.
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
                sys.stderr.flush()
                os._exit(os.EX_SOFTWARE)

    def _make_lanes(self) -> Lanes:
        """The pool, and the way to make the wide lane if the daemon planned for one."""
        options = self._load.options
        if self._load.embedding:
            return Lanes(None)
        cells = max(options.cells or self._length * options.num_parallel, self._length)
        wide = options.wide_sequences if self._model.is_cuttable else 0  # a state that can't be cut is never split
        if not wide:
            cells += options.wide_sequences * options.wide_cells
        context = self._generation_context(cells, pooled(options), split=False)
        model = self._model
        idle = idle_cells(model.n_weights, model.n_head * model.n_layer) if model.is_cuttable else None
        pool = Lane(context, self._states(context), cuttable=model.is_cuttable, idle_cells=idle)
        if not wide:
            return Lanes(pool)
        each = self._log.sizes.kv.get("CPU", 0) / pool.context.cells

        def make() -> Context:
            # The daemon has planned for it, but others may have come meanwhile, and the system would end whom it likes.
            bytes_needed = round(each * wide * options.wide_cells)
            if bytes_needed > psutil.virtual_memory().available:
                raise LoadFailed(f"{bytes_needed >> 20} MiB of memory for {wide} short slots are not there any more")
            return self._generation_context(wide * options.wide_cells, wide, split=True)

        return Lanes(pool, Wide(make, wide, options.wide_cells, self._states), tell=lambda: self._inbox.put(Widened()))

    def _states(self, context: Context) -> States:
        return States(context, cuttable=self._model.is_cuttable)

    def _generation_context(self, cells: int, sequences: int, *, split: bool) -> Context:
        options = self._load.options
        batch = max(options.num_batch, sequences, min(self._at_once, cells))
        return Context(
            self._model,
            options,
            self._log,
            cells=cells,
            sequences=sequences,
            batch=batch,
            split=split,
            cores=self._cores,
        )

    def _second_model(self) -> SecondModel | None:
        """The draft model, where there is one and drafts can be taken back."""
        if not self._load.draft or self._lanes.pool is None:
            return None
        if not self._model.is_cuttable:
            sys.stderr.write("the draft model is not used: this model's state cannot be cut back to a token\n")
            return None
        options = self._load.options
        model = Model(self._load.draft, options, self._log, placement=for_draft(self._load.placement))
        check_pair(self._model, model)
        sequences = min(options.num_parallel, TEXTS)
        batch = max(options.num_batch, sequences)
        cells = self._lanes.pool.context.cells
        context = Context(model, options, self._log, cells=cells, sequences=sequences, batch=batch, cores=self._cores)
        return SecondModel(model, context, self._model.n_vocab)

    def _projector(self) -> Vision | None:
        """What images are embedded with, where the model has it and generates."""
        path = self._load.projector
        if path is None or self._load.embedding:
            return None
        vision = Vision(path, self._model, self._load.options, self._log)
        weights = self._log.sizes.weights
        device = "CPU" if self._model.laid.is_cpu else next(iter(self._log.devices), "CPU")
        weights[device] = weights.get(device, 0) + os.stat(path).st_size
        return vision

    def _embedding_context(self) -> Context:
        # llama.cpp reserves for a whole number of tokens per sequence and, with pooling, aborts when that is not the
        # size of the batch: so the batch is a multiple of the sequences.
        sequences = 1 << min(self._load.options.num_parallel, 64).bit_length() - 1
        batch = -(-min(self._length, _EMBED_BATCH) // sequences) * sequences
        return Context(
            self._model,
            self._load.options,
            self._log,
            cells=batch,
            sequences=sequences,
            batch=batch,
            embedding=True,
            cores=self._cores,
        )

    def _ready(self, started: int, *, has_template: bool) -> Ready:
        sizes = self._log.sizes
        generates = self._lanes.pool is not None
        have = self._lanes if generates else self._embedder.prepare()
        return Ready(
            context_length=self._length if generates else min(self._length, _EMBED_BATCH),
            cells=have.cells,
            sequences=have.sequences,
            vocabulary=self._model.n_vocab,
            embedding_length=self._model.n_embd,
            devices=tuple(self._log.devices) or ("CPU",),
            gpu_layers=self._model.gpu_layers,
            layers=self._model.n_layer,
            weights_bytes=sizes.weights,
            packed_bytes=sizes.packed,
            kv_bytes=sizes.kv,
            compute_bytes=sizes.compute,
            load_ns=time.monotonic_ns() - started,
            engine=library.version(),
            has_template=has_template,
            vision=self._eye is not None,
            sandbox=self._promises,
            flash_attn=have.flash_attn,
        )


def _reuse(load: Load, model: Model, context: Context, tell: Callable[[News], None]) -> Reuse:
    """What loses its cells is kept in RAM and in files, as far as the load allows."""
    store, cuttable = load.prefixes, model.is_cuttable
    clerk = None
    if store.disk:
        kind = _kind_of_state(load, model, context)
        root = Path(store.root)
        clerk = Clerk(Archive(root, root / store.model / kind, f"{store.model}/{kind}", store.disk), tell)
    shelf = Shelf(store.ram, clerk.write if clerk else lambda _saved: None, cuttable=cuttable)
    return Reuse(shelf if store.ram or store.disk else None, clerk, cuttable=cuttable)


def _kind_of_state(load: Load, model: Model, context: Context) -> str:
    """Names what a saved state depends on beside the weights, fit for a folder."""
    flash = {True: "on", False: "off", None: load.options.flash_attn}[context.flash_attn]  # it decides how values lie
    parts = ["-".join(dict.fromkeys(cache_types(load.options))), f"flash-{flash}", library.version()]
    if model.metadata(f"{model.metadata('general.architecture')}.rope.scaling.type") == "longrope":
        parts.append(f"{context.cells}-cells")  # llama.cpp chooses the factors by it
    if not model.is_cuttable:
        parts.append("unified")
    return re.sub(r"[^\w.]+", "-", "_".join(parts)).strip("-")


def _throttled(outbox: Outbox) -> Callable[[float], None]:
    """Tell the daemon how far the load is, a few times a second."""
    last = 0.0

    def tell(fraction: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _PROGRESS_S or fraction >= 1.0:
            last = now
            outbox.put(Loading(fraction))

    return tell
