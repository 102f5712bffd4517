"""Ollama's JSON as it is answered, as structs, by endpoint.

Shapes only; knows no answer of ours. What is read is in `wire`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from runner.api.fields import Answers
from runner.api.provenance import LayerInfo, Recipe, Source


class CalledFunction(msgspec.Struct, kw_only=True):
    """`arguments` is an object."""

    index: int
    name: str
    arguments: Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})]


class Call(msgspec.Struct, kw_only=True):
    """A whole tool call."""

    id: str
    function: CalledFunction


class Turn(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A turn, or part of one, that the model gives. A call is told when it is whole."""

    role: str
    content: str
    thinking: str = ""
    tool_calls: list[Call] = []


class Alternative(msgspec.Struct, kw_only=True):
    """A token that could have stood somewhere. `bytes` may be a part of a character, which `token` can't show."""

    token: str
    logprob: float
    bytes: list[int]


class Logprob(Alternative, kw_only=True, omit_defaults=True):
    """A token of the answer or of its thought, and the likeliest in its place."""

    top_logprobs: list[Alternative] = []


class DebugInfo(msgspec.Struct, kw_only=True):
    """The prompt that a model would be given, and how many images go with it."""

    rendered_template: str
    image_count: int


class Generated(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line of /api/generate, or all of its answer. Counts, times (nanoseconds) and the `context` to go on from
    come with the end."""

    model: str
    created_at: str
    response: str
    thinking: str = ""
    logprobs: list[Logprob] = []
    done: bool
    done_reason: str = ""
    debug_info: DebugInfo | None = msgspec.field(default=None, name="_debug_info")
    context: list[int] = []
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    prompt_eval_cached_count: int = 0
    prompt_eval_duration: int | UnsetType = UNSET
    eval_count: int | UnsetType = UNSET
    eval_duration: int | UnsetType = UNSET
    draft_count: int = 0
    draft_accepted_count: int = 0
    truncated_tokens: int = 0
    queue_duration: int | UnsetType = UNSET


class Chatted(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line of /api/chat, or all of its answer. Counts and times (nanoseconds) come with the end."""

    model: str
    created_at: str
    message: Turn
    logprobs: list[Logprob] = []
    done: bool
    done_reason: str = ""
    debug_info: DebugInfo | None = msgspec.field(default=None, name="_debug_info")
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    prompt_eval_cached_count: int = 0
    prompt_eval_duration: int | UnsetType = UNSET
    eval_count: int | UnsetType = UNSET
    eval_duration: int | UnsetType = UNSET
    draft_count: int = 0
    draft_accepted_count: int = 0
    truncated_tokens: int = 0
    queue_duration: int | UnsetType = UNSET


class Embedded(msgspec.Struct, kw_only=True):
    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class Details(msgspec.Struct, kw_only=True):
    """The block that clients parse strictly: every key is always there."""

    parent_model: str
    format: str
    family: str
    families: tuple[str, ...]
    parameter_size: str
    quantization_level: str
    context_length: int
    embedding_length: int


class Listed(msgspec.Struct, kw_only=True):
    """One model of /api/tags."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: Details
    capabilities: tuple[str, ...]


class Engine(msgspec.Struct, kw_only=True):
    """What the model has done since the daemon began, over all its loads; cells are those of the present one.

    Durations are nanoseconds. A step is `fill`, `wait` (the decode), `sample` and `post`.
    """

    requests: dict[str, int]  # ended, by outcome
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    queue_duration: int  # of all requests that began, together
    queue_count: int
    steps: int
    step_tokens: int  # computed in all steps together
    ubatches: int
    fill_duration: int
    wait_duration: int
    sample_duration: int
    post_duration: int
    preemptions: int
    drafts: int
    draft_tokens: int
    accepted_tokens: int
    embed_steps: int
    embed_inputs: int
    embed_tokens: int
    embed_duration: int
    cells: int
    cells_used: int
    cells_busy: int


class MemoryHeld(msgspec.Struct, kw_only=True):
    """Bytes that a model holds with one device; `pool` is the memory they are taken from, `host` or a device's own."""

    device: str
    pool: str
    weights: int
    kv: int
    compute: int


class Lies(msgspec.Struct, kw_only=True):
    """Where a model's layers are: `gpu_layers` of `layers`, the output counted, on `devices`; `words` say it."""

    devices: tuple[str, ...]
    gpu_layers: int
    layers: int
    words: str


class Cells(msgspec.Struct, kw_only=True):
    """The KV cache, a token each: those that hold anything, and of these the ones of running requests."""

    total: int
    used: int
    busy: int


class Running(msgspec.Struct, kw_only=True):
    """One model of /api/ps; the keys from `state` on are Runner's own.

    `state` is queued (not loaded yet, requests wait for it), loading, ready, stopping, or paused (its worker kept
    dying); `status` says it for people. `waiting` requests are in the queue (`queued` of them) or wait for their turn
    in the worker; `estimate` is seconds until a request that came now would be taken, null if nobody knows. Rates are
    tokens in a second, over the last few. Models in `shared_with` have the same worker, whose memory, cells and rates
    are in each one's row, and count once. A `pinned` one isn't evicted, nor unloaded for being idle.
    """

    name: str
    model: str
    size: int
    digest: str
    details: Details | None
    expires_at: str
    size_vram: int
    context_length: int
    state: str
    sequences: int
    running: int
    waiting: int
    status: str
    queued: int
    estimate: float | None
    progress: float
    memory: list[MemoryHeld]
    placement: Lies
    context_source: str  # request, modelfile, config, default, model (its most) or memory; empty if unknown
    kv: Cells
    decode_rate: float
    prefill_rate: float
    loaded_at: str | None
    load_seconds: float
    pid: int | None
    shared_with: tuple[str, ...]
    pinned: bool
    engine: Engine | UnsetType = UNSET


class AdapterInfo(msgspec.Struct, kw_only=True):
    """A LoRA adapter that a request of this name is computed with: a stored model that has it, as `lora` names it."""

    name: str
    scale: float


class Shown(msgspec.Struct, kw_only=True, omit_defaults=True):
    """All of /api/show. `tensors` comes with `verbose` only. `template_source` (modelfile, gguf, family or none) and
    `template_reason` are Runner's own: where the template is from, and why that one is used. So are `digest` (the
    model's own), `source` (of a model that was pulled), `recipe` (of one that was created), `layers` and
    `adapters`.
    `projector_info` comes with a model that has a projector."""

    license: str = ""
    modelfile: str
    parameters: str = ""
    template: str
    template_source: str
    template_reason: str
    system: str = ""
    details: Details
    messages: list[Turn] = []
    model_info: dict[str, Any]
    projector_info: dict[str, Any] | UnsetType = UNSET
    tensors: list[dict[str, Any]] = []
    capabilities: tuple[str, ...]
    modified_at: str
    requires: str = ""
    digest: str
    source: Source | UnsetType = UNSET
    recipe: Recipe | UnsetType = UNSET
    layers: list[LayerInfo]
    adapters: list[AdapterInfo] = []


class Status(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line of a pull or a create."""

    status: str
    digest: str = ""
    total: int | None = None
    completed: int | None = None


class Error(msgspec.Struct, kw_only=True):
    """What went wrong: the text that clients show, and the code that Runner's own command goes by."""

    error: str
    code: str


class Broken(msgspec.Struct, kw_only=True):
    """A name whose manifest or files can't be used, and why."""

    name: str
    reason: str


class Listing(msgspec.Struct, kw_only=True):
    """All of /api/tags. `broken` is there if any is: names that are in the store and can't be used, which clients
    don't look for."""

    models: list[Listed]
    broken: list[Broken] | UnsetType = UNSET


class Removed(msgspec.Struct, kw_only=True):
    """What a delete tells with `report`: bytes that the disk has back, and bytes of files that other programs hold too;
    `from_hub` if the model came from Hugging Face, whose cache they are in then."""

    freed: int
    shared: int
    from_hub: bool


class Copied(msgspec.Struct, kw_only=True):
    """What a copy tells with `report`: whether another model had the name, and lost it."""

    replaced: bool


class PoolOf(msgspec.Struct, kw_only=True):
    """A memory that models are loaded into, in bytes."""

    name: str
    free: int
    total: int


class Whole(msgspec.Struct, kw_only=True):
    """The machine as a whole: its memories, and the requests in the queue of at most `queue_limit`. `held` is what
    models hold by pool, a shared worker's counted once."""

    memory: list[PoolOf]
    held: dict[str, int]
    queued: int
    queue_limit: int
    model_limit: int


class Loaded(msgspec.Struct, kw_only=True):
    """All of /api/ps; `totals` is Runner's own."""

    models: list[Running]
    totals: Whole


class Version(msgspec.Struct, kw_only=True):
    """`version` is that of the Ollama whose dialect this is."""

    version: str
    runner: str


class Vector(msgspec.Struct, kw_only=True):
    """All of /api/embeddings; empty where there was nothing to embed."""

    embedding: list[float]


ANSWERS: Mapping[str, Answers] = {
    "/api/generate": Answers(Generated, Generated),
    "/api/chat": Answers(Chatted, Chatted),
    "/api/embed": Answers(Embedded),
    "/api/embeddings": Answers(Vector),
    "/api/version": Answers(Version),
    "/api/tags": Answers(Listing),
    "/api/ps": Answers(Loaded),
    "/api/show": Answers(Shown),
    "/api/copy": Answers(),
    "/api/delete": Answers(),
    "/api/pull": Answers(Status, Status),
    "/api/push": Answers(Status, Status),
    "/api/create": Answers(Status, Status),
    "/api/blobs/{digest}": Answers(status=(200, 201)),
}
"""What comes back, endpoint by endpoint."""
