"""Ollama's JSON as it is asked, as structs, and what becomes of each field.

Shapes only; knows no request of ours. Every field of a request may be null, as clients send it. What is written is in
`answers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from runner.api import adapters
from runner.api.fields import Fields


class Named(msgspec.Struct, kw_only=True):
    """A body that names a model, by either key."""

    model: str | None = None
    name: str | None = None


class Function(msgspec.Struct):
    """A call of a function. `arguments` is an object; JSON text of one is taken as well."""

    name: str
    arguments: dict[str, Any] | str | None = None


class ToolCall(msgspec.Struct):
    function: Function
    id: str | None = None


class OfferedFunction(msgspec.Struct, kw_only=True):
    """A function that the model may call."""

    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(msgspec.Struct, kw_only=True):
    """A tool, by its `type`: function is the one there is."""

    type: str | None = None
    function: OfferedFunction | None = None


class Message(msgspec.Struct, kw_only=True):
    """One turn that the client sends."""

    role: str
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[ToolCall] | None = None
    name: str | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class Asking(Named, kw_only=True):
    """What generate and chat have in common."""

    stream: bool | None = None
    options: dict[str, Any] | None = None
    keep_alive: Any = None
    think: Any = None
    truncate: bool | None = None
    format: Any = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    lora: list[adapters.Adapter] | None = None
    debug_render_only: bool | None = msgspec.field(default=None, name="_debug_render_only")


class GenerateRequest(Asking, kw_only=True):
    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    raw: bool | None = None
    images: list[str] | None = None
    template: str | None = None
    context: list[int] | None = None


class ChatRequest(Asking, kw_only=True):
    """`tool_choice`, which Ollama doesn't have, takes what OpenAI's takes: a word, or the tool to be called."""

    messages: list[Message] | None = None
    tools: list[Tool] | None = None
    tool_choice: str | Tool | None = None


class EmbedRequest(Named, kw_only=True):
    input: Any = None
    truncate: bool | None = None
    dimensions: int | None = None
    options: dict[str, Any] | None = None
    keep_alive: Any = None
    lora: list[adapters.Adapter] | None = None


class EmbeddingsRequest(Named, kw_only=True):
    """The older form: one text, one vector."""

    prompt: str | None = None
    options: dict[str, Any] | None = None
    keep_alive: Any = None
    lora: list[adapters.Adapter] | None = None


class ShowRequest(Named, kw_only=True):
    """`system` and `options` are shown in the place of the model's own."""

    verbose: bool | None = None
    system: str | None = None
    options: dict[str, Any] | None = None


class DeleteRequest(Named, kw_only=True):
    """`report`, which Ollama doesn't have, asks for an answer that tells what became of the files."""

    report: bool | None = None


class CopyRequest(msgspec.Struct, kw_only=True):
    """`report`, which Ollama doesn't have, asks for an answer that tells what became of the name."""

    source: str | None = None
    destination: str | None = None
    report: bool | None = None


class PullRequest(Named, kw_only=True):
    """`model` is a name with its source, or a URL; `as` is what to call the model instead of that.

    `revision` and `digests` (of the files, by their names) are those of an earlier pull, and nothing else will do.
    `digest` is the model's own, which must come out. `limit_rate` is bytes a second.
    """

    stream: bool | None = None
    insecure: bool | None = None
    called: str | None = msgspec.field(default=None, name="as")
    revision: str | None = None
    digests: dict[str, str] | None = None
    digest: str | None = None
    limit_rate: int | str | None = None
    username: Any = None
    password: Any = None


class PushRequest(Named, kw_only=True):
    """`model` is one of the store, and `to` what to call it in a container registry, if not so.

    `format` is how it lies there: `docker` (if nothing is said), `cncf` for ModelPack's, or `both`.
    """

    stream: bool | None = None
    insecure: bool | None = None
    target: str | None = msgspec.field(default=None, name="to")
    form: str | None = msgspec.field(default=None, name="format")
    username: Any = None
    password: Any = None


class CreateRequest(Named, kw_only=True):
    """`modelfile` is the text of a Modelfile, with `base` the folder that its relative paths start from.

    `quantize` (`quantization` is its older name) and `draft_quantize` are types that the weights are brought to;
    `imatrix` is an importance matrix for that, as an uploaded blob's digest or a path.
    """

    stream: bool | None = None
    modelfile: str | None = None
    base: str | None = None
    source: str | None = msgspec.field(default=None, name="from")
    files: dict[str, str] | None = None
    adapters: dict[str, str] | None = None
    draft_files: dict[str, str] | None = None
    template: str | None = None
    system: str | None = None
    license: str | list[str] | None = None
    parameters: dict[str, Any] | None = None
    messages: list[Message] | None = None
    renderer: str | None = None
    parser: str | None = None
    requires: str | None = None
    quantize: str | None = None
    quantization: str | None = None
    draft_quantize: str | None = None
    imatrix: str | None = None
    remote_host: Any = None
    path: Any = None


_SHIFT = "Runner never shifts the context: an answer that fills it ends with done_reason `length`"
FIELDS: Mapping[str, Fields] = {
    "/api/generate": Fields(
        GenerateRequest,
        {},
        {"shift": _SHIFT},
    ),
    "/api/chat": Fields(ChatRequest, {}, {"shift": _SHIFT}),
    "/api/embed": Fields(EmbedRequest),
    "/api/embeddings": Fields(EmbeddingsRequest),
    "/api/show": Fields(ShowRequest),
    "/api/copy": Fields(CopyRequest, notes={"report": '`true`: the answer is `{"replaced": …}` and not empty'}),
    "/api/delete": Fields(
        DeleteRequest,
        notes={"report": '`true`: the answer is `{"freed": …, "shared": …, "from_hub": …}` and not empty'},
    ),
    "/api/pull": Fields(PullRequest, {"username": (), "password": ()}),
    "/api/push": Fields(
        PushRequest,
        {"username": (), "password": ()},
        notes={"format": "`docker` (the default), `cncf`, or `both` under two tags"},
    ),
    "/api/create": Fields(
        CreateRequest,
        dict.fromkeys(("remote_host", "path"), ()),
        {
            "info": "the facts of a model are read from its GGUF",
            **{
                f"messages[].{name}": "a MESSAGE of a Modelfile is a role and a text"
                for name in ("thinking", "images", "tool_calls", "tool_name", "tool_call_id")
            },
        },
    ),
}
"""What becomes of each field, endpoint by endpoint."""
