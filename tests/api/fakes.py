"""What the API calls, with answers known in advance: a service, a store and its jobs.

How the service behaves depends on the model's name alone, so a test chooses by the model that it asks for. Events are
threading events: the server runs in a thread of its own, and tests wait for what happened there instead of sleeping.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

from modelfiles.catalog import CatalogEntry
from modelfiles.instructions import Modelfile
from registry.adopt.found import Found, FoundFile, PassedOver
from registry.collect import Garbage, Pruned
from registry.digests import Digest, digest_of
from registry.errors import BadSource, Denied, HashMismatch, NotFound, Unreachable
from registry.fits import Fit
from registry.gguf.arrays import Array
from registry.gguf.format import STRING, TensorType
from registry.gguf.reader import Header, TensorInfo
from registry.look import BuildLook, FileLook, Look
from registry.manifest import CONFIG_TYPE, MODEL, Layer, Manifest, ModelConfig
from registry.names import Name
from registry.progress import Progress
from registry.quantize import Quantization
from registry.quarantine import Quarantined
from registry.repair import Bad
from registry.resolve import Publication, Wanted
from registry.search import EntryFound, RepositoryFound, TagFound
from registry.search import Found as SearchFound
from registry.sources.hub_search import HubModel
from registry.sources.local import looks_like_path
from registry.sources.source import RemoteFile
from registry.standing import Known, Standing
from registry.stored import BrokenModel, StoredModel
from registry.verify import Sample, Verified
from runner import errors
from runner.inference.adapters import Worn
from runner.inference.adoptions import Adoptable, Shelf
from runner.inference.caller import CALLER, Caller
from runner.inference.entry import ENTRY, Leg
from runner.inference.models import Removed
from runner.inference.origins import Chosen
from runner.inference.passage import PASSAGE
from runner.inference.plans import Plan, Row
from runner.inference.plans import Pool as PlannedPool
from runner.inference.requests import (
    AnswerPart,
    Begun,
    CallPart,
    Chat,
    ChoiceEnded,
    Complete,
    Detokenize,
    Embed,
    Embedded,
    Finished,
    Piece,
    Preview,
    Ranked,
    Rerank,
    Timings,
    Tokenize,
    Told,
)
from runner.inference.residents import Overview, Pool, Resident
from runner.inference.templates import Choice
from runner.inference.why import Context, Explained, Flag, Next, Place
from runner.protocol.checkup import Finding
from runner.protocol.devices import Placement
from runner.protocol.events import Alternative, Logprob, Started
from runner.protocol.options import LoadOptions
from runner.scheduler.history import Happening
from runner.scheduler.memory import Parts
from runner.scheduler.meters import Measured
from runner.scheduler.pools import Held
from runner.scheduler.rates import Rate
from runner.scheduler.ticket import Admission
from tests.fakes.scheduling import ready

TEXT = (
    "Hé",
    "llo, wör",
    "ld ",
    "👋🏽",
    "\u2028",
    "<|x|>",
    " שלום",
    "\r\n",
    '"done"',
    "\x00.",
    "\u2029\x85\x0b\x0c\x1c",
)
"""An answer, in pieces: several bytes a character, separators that break naive readers, quotes and NUL."""
THOUGHT = ("Let me ", "see…")
CALLS = (
    CallPart(0, "call_0a1b2c3d4", "look_up"),
    CallPart(0, arguments='{"place": "Zü'),
    CallPart(0, arguments='rich 👋\u2028", "days": 2}', complete=True),
    CallPart(1, "call_5e6f7a8b9", "now", "{}", complete=True),
)
"""Two tool calls, in parts: one whose arguments are cut within a text, and one that comes at once."""
TIMINGS = Timings(total=5_000_000, load=1_000_000, queue=10_000, prefill=2_000_000, decode=1_500_000)
MODIFIED = datetime(2026, 8, 21, 10, 11, 12, 130000, tzinfo=UTC)
HAVE = b"bytes that are in the store"


ECHO = "Once"


def scored(text: str, offset: int, top: int | None) -> tuple[Logprob, ...]:
    """Two tokens for each text of more than one byte, which may cut a character; alternatives as many as wanted."""
    if top is None:
        return ()
    data = text.encode()
    others = tuple(Alternative(b"<%d>" % place, -0.5 * place) for place in range(1, top + 1))
    cuts = [data[:2], data[2:]] if len(data) > 2 else [data]
    return tuple(Logprob(token, -0.25, offset + min(place, 1), others) for place, token in enumerate(cuts))


def echoed(top: int | None) -> tuple[Logprob, ...]:
    """The scores of `ECHO`, a prompt of two tokens."""
    return () if top is None else (Logprob(b"On", None, 0), *scored("ce", 2, top))


def answer_of(prompt_tokens: int = 7) -> Finished:
    """The end of every whole answer."""
    return Finished("stop", prompt_tokens, len(TEXT), TIMINGS, cached_tokens=3)


@dataclass
class FakeService:
    """`runner.inference.service.Service`, by model name:

    demo, embedder and others answer at once; drafts says that it drafted; cut ends for length and reports truncated
    tokens; caller says its text and then makes `CALLS`, callonly only makes them, callcut ends for length within the
    first of them, calllate fails there; late fails after two pieces, the rest of `FAILURES` before the first; silent
    says nothing until it is cancelled; endless says the same for ever; loads waits for `release`.
    """

    seen: list[Chat | Complete | Embed | Rerank | Tokenize | Detokenize | Preview] = field(default_factory=list)
    loaded: list[tuple[str, Mapping[str, Any], float | None]] = field(default_factory=list)
    unloaded: list[str] = field(default_factory=list)
    started: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    pins: set[str] = field(default_factory=set)
    callers: list[Caller] = field(default_factory=list)  # of those who had something answered
    pieces: int = 0
    under_way: int = 0

    def measured(self) -> tuple[Measured, ...]:
        return ()

    FAILURES: ClassVar[dict[str, Exception]] = {
        "missing": errors.UnknownModel("missing", ("demo:latest",)),
        "busy": errors.ServerBusy("server busy, please try again; 512 requests are waiting", retry_after=7),
        "closing": errors.ShuttingDown("Runner is shutting down", retry_after=2),
        "crash": errors.WorkerCrashed("the model's worker ended with signal 11"),
        "huge": errors.InsufficientMemory("huge needs 40.0 GB of memory, and 8.0 GB are free"),
        "broken": errors.LoadFailed("llama.cpp cannot load broken"),
        "overflow": errors.ContextOverflow(9000, 4096),
        "blind": errors.Unsupported('"blind" does not support vision', field="messages[0].images"),
        "untemplated": errors.TemplateFailed("the chat template fails: roles must alternate"),
        "odd": errors.InvalidRequest("temperature must be between 0.0 and 100.0, not -1", field="temperature"),
        "bug": KeyError("a secret of the program"),
    }

    def _queue(self, model: str) -> Leg:
        """Two were ahead; a worker takes it after 30 ms."""
        admission = Admission(ready(), LoadOptions(num_ctx=1, num_parallel=1), 30_000_000, 0)
        if (passage := PASSAGE.get()) is not None:
            passage.arrives(is_loaded=model != "embedder")
            passage.stands(2, 1.5)
            passage.admitted(admission)
        leg = self._ride(model)
        leg.admitted(admission)
        return leg

    def _ride(self, model: str) -> Leg:
        entry = ENTRY.get()
        return entry.ride(f"{model}:latest", CALLER.get().priority or "interactive") if entry is not None else Leg()

    def _render(self, request: Chat | Complete, leg: Leg) -> None:
        """What a worker tells back where texts are kept."""
        entry = ENTRY.get()
        if entry is not None and entry.texts is not None:
            text = request.messages[-1].content if isinstance(request, Chat) else str(request.prompt)
            leg.started(Started(id=1, prompt_tokens=7, prompt=f"<user>{text}"))

    async def generate(self, request: Chat | Complete) -> AsyncIterator[AnswerPart]:
        self.seen.append(request)
        self.callers.append(CALLER.get())
        if request.model in ("silent", "busy"):
            if (passage := PASSAGE.get()) is not None:
                passage.arrives(is_loaded=False)
                passage.stands(2, None)
            leg = self._ride(request.model)
        else:
            leg = self._queue(request.model)
            self._render(request, leg)
        self.under_way += 1
        self.started.set()
        try:
            if request.model in self.FAILURES:
                raise self.FAILURES[request.model]
            if request.model == "silent":
                await asyncio.Event().wait()
            if request.model == "loads":
                await asyncio.to_thread(self.release.wait, 60)
            begun: Begun | None = Begun(7, 3)
            async for part in self._say(request):
                self.pieces += 1
                leg.take(part)
                yield replace(part, begun=begun) if isinstance(part, Piece) else part
                begun = None
        finally:
            self.under_way -= 1
            self.ended.set()

    async def _say(self, request: Chat | Complete) -> AsyncIterator[AnswerPart]:
        if request.think:
            for each in THOUGHT:
                scores = () if request.logprobs is None else (Logprob(each.encode(), -1.0, 0),)
                yield Piece(thinking=each, tokens=1, logprobs=scores, in_thought=True)
        if request.model in self.CALLERS:
            async for part in self._call(request):
                yield part
            return
        offset = 0
        if isinstance(request, Complete) and request.echo:
            yield Piece(text=ECHO, logprobs=echoed(request.logprobs))
            offset = len(ECHO)
        for index, each in enumerate(TEXT):
            if request.model == "late" and index == 2:
                raise errors.WorkerCrashed("the model's worker ended with signal 9")
            if request.model == "latebug" and index == 2:
                raise KeyError("a secret of the program")
            for choice in range(request.choices):
                yield Piece(text=each, tokens=1, choice=choice, logprobs=scored(each, offset, request.logprobs))
            offset += len(each)
            if request.model in ("paused", "hangs") and index == 1:
                await asyncio.Event().wait()
        while request.model == "endless":
            yield Piece(text="x" * 10_000, tokens=1)
        if request.model == "unended":
            return
        if request.logprobs is not None:
            yield Piece(logprobs=(Logprob(b"<|im_end|>", -0.125, offset, is_end=True),))
        for choice in range(1, request.choices):
            yield ChoiceEnded(choice, "length" if choice % 2 else "stop")
        if request.model == "dropped":
            yield replace(answer_of(), reason="cancelled")
        elif request.model == "cut":
            yield replace(answer_of(), reason="length", truncated_tokens=40)
        elif request.model == "drafts":
            yield replace(answer_of(), drafted_tokens=9, accepted_tokens=6)
        else:
            yield answer_of()

    CALLERS: ClassVar[tuple[str, ...]] = ("caller", "callonly", "callcut", "calllate")

    async def _call(self, request: Chat | Complete) -> AsyncIterator[AnswerPart]:
        for each in TEXT if request.model == "caller" else ():
            for choice in range(request.choices):
                yield Piece(text=each, tokens=1, choice=choice)
        for call in CALLS[:2] if request.model in ("callcut", "calllate") else CALLS:
            for choice in range(request.choices):
                scores = () if request.logprobs is None else (Logprob(b"<call>", -0.5, 0),)
                yield Piece(call=call, tokens=1, choice=choice, logprobs=scores)
        if request.model == "calllate":
            raise errors.WorkerCrashed("the model's worker ended with signal 9")
        for choice in range(1, request.choices):
            yield ChoiceEnded(choice, "tool_calls")
        yield replace(answer_of(), reason="length" if request.model == "callcut" else "tool_calls")

    async def embed(self, request: Embed) -> Embedded:
        self.seen.append(request)
        leg = self._queue(request.model)
        if request.model in self.FAILURES:
            raise self.FAILURES[request.model]
        width = request.dimensions or 4
        rows = [[index + place / 8 for place in range(width)] for index in range(len(request.inputs))]
        data = b"".join(struct.pack(f"<{width}f", *row) for row in rows)
        made = Embedded(data, len(rows), width, 5 * len(rows), TIMINGS)
        leg.take(made)
        return made

    async def rerank(self, request: Rerank) -> Ranked:
        self.seen.append(request)
        if request.model in self.FAILURES:
            raise self.FAILURES[request.model]
        scores = [len(document) / 64 for document in request.documents]
        return Ranked(tuple(scores), 5 * len(scores), TIMINGS)

    async def tell(self, question: Tokenize | Detokenize | Preview) -> Told:
        """A byte is a token; a conversation is its turns, `role: content` each on a line, and its tools' names."""
        self.seen.append(question)
        model = question.of.model if isinstance(question, Preview) else question.model
        if model in self.FAILURES:
            raise self.FAILURES[model]
        match question:
            case Tokenize():
                data = question.text.encode()
            case Detokenize():
                data = bytes(token % 256 for token in question.tokens)
            case Preview(Chat() as chat):
                said = [f"{turn.role}: {turn.content}\n" for turn in chat.messages]
                data = "".join((*said, *(f"{tool.name}\n" for tool in chat.tools))).encode()
            case Preview(Complete() as text):
                data = str(text.prompt).encode()
        return Told(tuple(data), tuple(bytes([byte]) for byte in data), data.decode("utf-8", "replace"))

    async def load(self, model: str, *, options: Mapping[str, Any], keep_alive: float | None) -> None:
        if model in self.FAILURES:
            raise self.FAILURES[model]
        self.loaded.append((model, options, keep_alive))

    async def pin(self, model: str) -> str:
        self.pins.add(f"{model}:latest")
        if model in self.FAILURES:
            raise self.FAILURES[model]
        return f"{model}:latest"

    def unpin(self, model: str) -> bool:
        was = f"{model}:latest" in self.pins
        self.pins.discard(f"{model}:latest")
        return was

    def pinned(self) -> frozenset[str]:
        return frozenset(self.pins)

    async def unload(self, model: str) -> bool:
        self.unloaded.append(model)
        return True

    def residents(self) -> tuple[Resident, ...]:
        soon = Resident(
            "demo:latest", "sha256:" + "ab" * 32, "ready", 9_000_000, 0, 4096, 16, 2, 1, MODIFIED.replace(year=2030),
            estimate=0.0, progress=1.0, memory=(Held("CPU", "host", 8_000_000, 900_000, 100_000),), layers=4,
            context_from="config", cells=8192, cells_used=700, cells_busy=300, rate=Rate(45.678, 12.0),
            loaded_at=MODIFIED, load_seconds=0.25, pid=4711, shared_with=("pirate:latest",),
        )  # fmt: skip
        pinned = replace(
            soon, name="embedder:latest", expires_at=None, size_gpu=9_000_000, running=0, waiting=0, pid=4712,
            memory=(Held("CUDA0", "CUDA0", 9_000_000),), devices=("CUDA0",), gpu_layers=5, shared_with=(),
            is_pinned=True,
        )  # fmt: skip
        return (soon, pinned)

    def overview(self) -> Overview:
        """The residents, one that shares a worker with the first, one that is waited for, and one that keeps dying."""
        soon, pinned = self.residents()
        shared = replace(soon, name="pirate:latest", running=0, waiting=0, shared_with=("demo:latest",))
        gone = replace(soon, memory=(), pid=None, loaded_at=None, size=0, layers=0, progress=0.0, expires_at=MODIFIED)
        queued = replace(gone, name="big:latest", state="queued", queued=3, waiting=3, running=0, estimate=4.0)
        paused = replace(gone, name="bad:latest", state="paused", pause=11.2, running=0, waiting=0)
        return Overview((soon, shared, pinned, queued, paused), (Pool("host", 3 * 2**30, 8 * 2**30),), 3, 512, 2)

    async def why(self, model: str, options: Mapping[str, Any]) -> Explained:
        if model in self.FAILURES:
            raise self.FAILURES[model]
        died = Happening("died", "killed by SIGKILL", 7.0, 1_800_000_000.0, model, model, "ggml: out of memory")
        return Explained(
            model, "sha256:" + "ab" * 32, model, "It is loaded for 5 s.", self.residents()[0],
            Place("all on the CPU", "It runs on the CPU because this machine has no GPU that llama.cpp can use.",
                  {"host": 4 * 2**30}),
            Context(4096, "config", "4096 tokens, by the configuration", 8192),
            tuple(Chosen(name, value, "request", "load") for name, value in options.items()),
            Choice("gguf", "the GGUF's chat template (Jinja)", "{{ messages }}", "jinja"),
            (Flag("threads", "2", "as many as physical cores"),), (died,), died,
            Next("serve", "It would be computed at once.", 2**20, 2**30), "/logs/demo_latest.log",
        )  # fmt: skip


def stored(name: str, capabilities: tuple[str, ...] = ("completion", "thinking")) -> StoredModel:
    """A model of the store, with everything that can be shown."""
    weights = Layer(MODEL, digest_of(b"weights"), 7_654_321)
    return StoredModel(
        name=Name.parse(name),
        digest=digest_of(name.encode()),
        size=7_654_321,
        modified_at=MODIFIED,
        config=ModelConfig(
            family="llama",
            families=("llama",),
            architecture="llama",
            parameter_count=4_200_000,
            parameter_size="4.2M",
            quantization="Q8_0",
            context_length=4096,
            embedding_length=256,
            capabilities=capabilities,
        ),
        manifest=Manifest(Layer(CONFIG_TYPE, digest_of(b"config"), 6), (weights,)),
        weights=(Path("/store/blobs/sha256-weights"),),
        adapters=(),
        projector=None,
        draft=(),
        template=None,
        system="You are a demo.",
        parameters={"temperature": 0.0, "num_ctx": 4096, "stop": ("<|im_end|>", "\n\n")},
        messages=(("user", "Hi"), ("assistant", "Hello")),
        licenses=("MIT", "and more"),
    )


def header() -> Header:
    """A GGUF header with a short array, a long one, and the keys that clients look for, not in a helpful order."""
    texts = b"".join(len(text).to_bytes(8, "little") + text for text in (b"a", b"b", b"c", b"d", b"e", b"f", b"g"))
    return Header(
        version=3,
        alignment=32,
        metadata={
            "general.architecture": "llama",
            "general.basename": "demo",
            "llama.rope.scaling.original_context_length": 2048,
            "llama.context_length": 4096,
            "llama.block_count": 2,
            "llama.embedding_length": 256,
            "tokenizer.ggml.tokens": Array(STRING, 7, texts, 0, len(texts), 1),
            "tokenizer.ggml.few": Array(STRING, 2, texts, 0, 18, 1),
            "tokenizer.chat_template": "{{ messages }}{% if tools %}{% endif %}",
            "general.odd": float("nan"),
        },
        types={},
        tensors=(TensorInfo("token_embd.weight", (256, 4096), TensorType("Q8_0", 32, 34), 0, 1_114_112),),
        data_offset=4096,
        file_size=7_654_321,
    )


PROJECTOR = Header(
    version=3,
    alignment=32,
    metadata={"general.architecture": "clip", "clip.has_vision_encoder": True, "clip.vision.image_size": 896},
    types={},
    tensors=(),
    data_offset=4096,
    file_size=4096,
)


@dataclass
class FakeModels:
    """`runner.inference.models.Models`, in memory. `changes` names every call that would have changed the store."""

    stored: dict[str, StoredModel] = field(
        default_factory=lambda: {
            name: stored(name, ("embedding",) if "embedder" in name else ("completion", "thinking"))
            for name in ("demo:latest", "embedder:latest", "hf.co/org/repo:Q4_K_M")
        }
    )
    blobs: dict[Digest, bytes] = field(default_factory=lambda: {digest_of(HAVE): HAVE})
    changes: list[str] = field(default_factory=list)
    aliased: dict[str, str] = field(default_factory=dict)
    spoilt: dict[str, str] = field(default_factory=dict)

    async def aliases(self) -> tuple[tuple[str, StoredModel], ...]:
        return tuple([(name, await self.show(model)) for name, model in self.aliased.items()])

    async def list(self) -> tuple[StoredModel, ...]:
        return tuple(self.stored.values())

    async def asked(self, name: str) -> StoredModel:
        return await self.show(name)

    async def worn(self, name: str) -> tuple[StoredModel, tuple[Worn, ...]]:
        model, _, adapter = name.partition("+")
        return await self.show(model), (Worn(adapter, 0.5),) if adapter else ()

    async def show(self, name: str) -> StoredModel:
        full = str(Name.parse(self.aliased.get(name, name)))
        if full not in self.stored:
            raise NotFound(name, ("demo:latest",))
        return self.stored[full]

    async def header(self, name: str) -> Header:
        await self.show(name)
        return header()

    async def projector(self, name: str) -> Header | None:
        model = await self.show(name)
        return PROJECTOR if model.projector else None

    async def broken(self) -> tuple[BrokenModel, ...]:
        return tuple(BrokenModel(Name.parse(name), Path("/store"), reason) for name, reason in self.spoilt.items())

    async def copy(self, source: str, destination: str) -> bool:
        replaced = str(Name.parse(destination)) in self.stored
        self.stored[str(Name.parse(destination))] = await self.show(source)
        self.changes.append(f"copy {source} {destination}")
        return replaced

    async def remove(self, name: str) -> Removed:
        await self.show(name)
        del self.stored[str(Name.parse(name))]
        self.changes.append(f"remove {name}")
        return Removed(freed=1, shared=65_000_000, from_hub=True)

    async def prune(self, grace: float | None = None, dry_run: bool = False) -> Pruned:
        self.changes.append(f"prune {grace} {dry_run}")
        return Pruned(1, 4096, 0, 0, (Garbage("blob", Path("/store/blobs/sha256-x"), 4096),))

    async def let_go(self, name: str) -> bool:
        self.changes.append(f"let go {name}")
        return True

    async def has_blob(self, digest: Digest) -> bool:
        return digest in self.blobs

    async def write_blob(self, digest: Digest, chunks: AsyncIterator[bytes]) -> bool:
        taken = b"".join([chunk async for chunk in chunks])
        if digest in self.blobs:
            return False
        if sha256(taken).hexdigest() != digest.hex:
            raise HashMismatch(str(digest), str(digest_of(taken)), None)
        self.blobs[digest] = taken
        self.changes.append(f"blob {digest}")
        return True


VERIFIED = Verified(
    models=1,
    blobs=2,
    there=3,
    size=100,
    seed=7,
    bad=(
        Bad(
            kind="blob",
            path=Path("/store/blobs/sha256-x"),
            digest=digest_of(b"x"),
            reason="is missing",
            models=("demo:latest",),
            advice="create it again",
        ),
    ),
    unfinished=0,
    unfinished_size=0,
    quarantined=(Quarantined(Path("/store/quarantine/y"), 5, "sha256:1", "sha256:2", 3),),
)
"""What a verification of the fake store finds."""


@dataclass
class FakeUpdates:
    """`runner.inference.updates.Updates` over `models`; what has a host is outdated, the rest has no source."""

    models: FakeModels
    insecure: list[bool] = field(default_factory=list)

    async def known(self, texts: Sequence[str]) -> tuple[Known, ...]:
        names = [Name.parse(each) for each in texts]
        found = [self.models.stored.get(str(each)) for each in names]
        return tuple(
            Known(asked=text, name=name, reference=str(name), stored=model)
            for text, name, model in zip(texts, names, found, strict=True)
        )

    async def stored(self) -> tuple[StoredModel, ...]:
        return await self.models.list()

    async def standing(self, names: Sequence[str] | None, insecure: bool) -> tuple[Standing, ...]:
        self.insecure.append(insecure)
        models = await self.models.list() if names is None else [await self.models.show(each) for each in names]
        file = RemoteFile("weights.gguf", 100, digest_of(b"newer"))
        return tuple(
            Standing(model=each, state="outdated", latest="fedcba", files=(file,), size=100)
            if "/" in str(each.name)
            else Standing(model=each, state="local")
            for each in models
        )


@dataclass
class FakeJobs:
    """`runner.inference.jobs.Jobs`: `nowhere` fails at once, `halfway` in the middle, everything else succeeds."""

    created: list[tuple[str, Modelfile, Path | None, Mapping[str, Digest]]] = field(default_factory=list)
    quantizations: list[Quantization] = field(default_factory=list)
    pulled: list[Wanted] = field(default_factory=list)
    pushed: list[Publication] = field(default_factory=list)
    verified: list[tuple[tuple[str, ...], Sample | None, bool]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    async def pull(self, wanted: Wanted) -> AsyncIterator[Progress]:
        name = wanted.reference
        self.pulled.append(wanted)
        try:
            if name == "nowhere":
                raise NotFound(name)
            yield Progress("pulling manifest")
            digest = digest_of(b"layer")
            for completed in (0, 50, 100):
                yield Progress(f"pulling {digest.short}", digest, 100, completed)
                if name == "halfway":
                    raise Unreachable("the connection to huggingface.co was lost")
                if name == "forever":
                    await asyncio.Event().wait()
            yield Progress("success")
        finally:
            self.ended.set()

    async def push(self, wanted: Publication) -> AsyncIterator[Progress]:
        self.pushed.append(wanted)
        if wanted.target == "demo":
            raise BadSource("demo names no container registry to push to")
        yield Progress("retrieving manifest")
        if wanted.target is not None and wanted.target.startswith("private.example"):
            raise Denied("private.example refuses a/b: `docker login private.example`")
        digest = digest_of(b"layer")
        yield Progress(f"pushing {digest.short}", digest, 100, 100)
        yield Progress("success")

    async def verify(
        self, models: Sequence[str], *, sample: Sample | None, repair: bool
    ) -> AsyncIterator[Progress | Verified]:
        self.verified.append((tuple(models), sample, repair))
        try:
            yield Progress("verifying blobs", None, 100, 50)
            if "nowhere" in models:
                raise NotFound("nowhere")
            if "forever" in models:
                await asyncio.Event().wait()
            yield VERIFIED
        finally:
            self.ended.set()

    async def create(
        self,
        name: str,
        modelfile: Modelfile,
        *,
        base: Path | None,
        files: Mapping[str, Digest],
        quantization: Quantization,
    ) -> AsyncIterator[Progress]:
        self.created.append((name, modelfile, base, files))
        self.quantizations.append(quantization)
        for source in modelfile.sources:
            if base is None and source not in files and looks_like_path(source):
                raise BadSource(f"FROM {source}: files can't be read from here; upload it first")
        yield Progress("writing manifest")


FOUND = Found(
    name=Name.parse("ollama.com/library/tiny"),
    owner="Ollama",
    files=(FoundFile(Path("/theirs/blobs/sha256-x"), "tiny.gguf", 100, digest_of(b"x")),),
    known_as=("tiny:latest",),
)
"""The one model that another tool has."""


@dataclass
class FakeAdoptions:
    """`runner.inference.adoptions.Adoptions`: Ollama has `tiny`; whoever asks for `nowhere` fails in the middle."""

    looked: list[str | None] = field(default_factory=list)
    started: list[tuple[Found, ...]] = field(default_factory=list)
    chosen: list[tuple[str, tuple[str, ...], bool]] = field(default_factory=list)

    async def look(self, where: str | None) -> Shelf:
        self.looked.append(where)
        step = Progress("hashing tiny.gguf", None, 100, 43)
        return Shelf(
            (Adoptable(FOUND, "adopting", step),),
            (PassedOver("library/cloud/latest", "no weights"),),
            (Path("/theirs"),),
        )

    async def choose(self, where: str, names: tuple[str, ...], everything: bool) -> tuple[Found, ...]:
        self.chosen.append((where, names, everything))
        if "missing" in names:
            raise NotFound("missing", ("ollama.com/library/tiny:latest",))
        return (FOUND, FOUND) if "nowhere" in names else (FOUND,)

    async def adopt(self, models: tuple[Found, ...]) -> AsyncIterator[Progress]:
        for completed in (0, 100):
            yield Progress("hashing tiny.gguf", None, 100, completed)
        if len(models) > 1:
            raise BadSource("it changed while it was being read; try again")

    def start(self, models: tuple[Found, ...]) -> None:
        self.started.append(models)


@dataclass
class FakePlans:
    """`runner.inference.plans.Plans`: `missing` isn't known, `huge` fits nowhere, everything else is split."""

    asked: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    async def plan(self, model: str, options: Mapping[str, Any]) -> Plan:
        self.asked.append((model, options))
        if model == "missing":
            raise errors.UnknownModel("missing", ("demo:latest",))
        fits = model != "huge"
        return Plan(
            model=f"{model}:latest",
            verdict="evicts" if fits else "no",
            words=("20 of 33 layers on CUDA0",) if fits else ("needs 40 GB of 8.0 GB memory",),
            context=8192,
            trained=131072,
            automatic="num_ctx" not in options,
            sequences=4 if fits else 0,
            cells=16384 if fits else 0,
            layers=33,
            placement=Placement(devices=("CUDA0",), gpu_layers=20, split=(1.0,), mode="none") if fits else None,
            pools=(
                PlannedPool("host", 150, Parts(100, 20, 10, 15, 5), 8000, 9000),
                PlannedPool("CUDA0", 60, Parts(60), 70, 80),
            ),
            evicts=("other:latest",) if fits else (),
            table=(Row(8192, "q8_0", "auto", {"host": 150, "CUDA0": 60}, 20, fits),),
        )


@dataclass
class FakeDiscovery:
    """`runner.inference.discovery.Discovery`: `nowhere` isn't found, `quux` can't run, everything else is as good as
    it gets; searching for `offline` finds no hub."""

    looked: list[Wanted] = field(default_factory=list)
    searched: list[tuple[str, int, bool]] = field(default_factory=list)

    async def look(self, wanted: Wanted) -> Look:
        self.looked.append(wanted)
        if wanted.reference == "nowhere":
            raise NotFound(wanted.reference)
        unknown = wanted.reference == "quux"
        return Look(
            name=wanted.name or f"{wanted.reference}:latest",
            reference=wanted.reference,
            origin="https://hf.co/org/repo/tree/abc",
            revision="abc",
            quantization="Q4_K_M",
            why="it is the only build there",
            licence="mit",
            architecture="quux9" if unknown else "llama",
            supported=not unknown,
            problem="architecture 'quux9' isn't known" if unknown else "",
            title="Demo",
            parameters=4_200_000,
            size_label="4M",
            context_length=4096,
            chat_template=True,
            capabilities=("completion", "tools"),
            sampling={"temperature": 0.6, "stop": ("a", "b")},
            builds=(
                BuildLook("Q4_K_M", "Q4_K_M", 100, 1, True, False, Fit("tight", 150, 4096, "takes 150 B")),
                BuildLook("Q8_0", "Q8_0", 200, 2, False, True, None),
            ),
            files=(FileLook("demo-Q4_K_M.gguf", "weights", 100, "partial", 60),),
            size=100,
            fetch=60,
            free=10**9,
            stored=False,
            read=40,
        )

    async def search(self, text: str, limit: int, hub: bool) -> SearchFound:
        self.searched.append((text, limit, hub))
        tag = TagFound("4m", True, "org/Demo-GGUF", "Q8_0", 5_000_000, True, Fit("yes", 6_000_000, 4096, ""))
        entry = CatalogEntry("demo", "chat", "A demo", "MIT", "4M", 4096, (), ("wee",))
        model = HubModel(
            repository="org/Demo-GGUF", downloads=7, likes=3, gated=True, licence="mit", modified=MODIFIED,
            architecture="llama", parameters=4_200_000, context_length=4096,
        )  # fmt: skip
        offline = text == "offline" or not hub
        found = () if offline else (RepositoryFound(model, False, True),)
        return SearchFound((EntryFound(entry, (tag,)),), found, "nobody answers" if text == "offline" else "")


class FakeCheckup:
    """Finds what it is told to find."""

    def __init__(self) -> None:
        self.found: tuple[Finding, ...] = (Finding("store", "ok", "1 model is in /models, 100 GiB are free"),)

    async def findings(self) -> tuple[Finding, ...]:
        return self.found
