"""What the daemon tells a worker. First comes Load; after Ready, work, Cancel and Share in any order."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from runner.conversation import Message, ThinkLevel, ToolChoice, ToolSpec
from runner.protocol.devices import Placement
from runner.protocol.options import LoadOptions, SampleOptions
from runner.protocol.sandbox import Sandbox


class ChatPrompt(msgspec.Struct, frozen=True, tag="chat"):
    """A conversation, rendered in the worker by the model's chat template, or by the request's own `template`.

    `usual` is the model's where it isn't the GGUF's own: models that share a worker differ in it. With `open_ended`, a
    last message of the assistant is continued instead of answered. `image_fields` are the client's names of all images,
    in order.
    """

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    think: bool | ThinkLevel | None = None
    open_ended: bool = False
    variables: dict[str, Any] = {}
    template: str | None = None
    image_fields: tuple[str, ...] = ()
    usual: str | None = None


class TextPrompt(msgspec.Struct, frozen=True, tag="text"):
    """Text as it stands; markers of special tokens count as such tokens. A BOS is added if the model wants one."""

    text: str


class TokenPrompt(msgspec.Struct, frozen=True, tag="tokens"):
    """Token ids as they stand."""

    tokens: tuple[int, ...]


class InfillPrompt(msgspec.Struct, frozen=True, tag="infill"):
    """The text before and after a gap, framed by the vocabulary's fill-in-the-middle tokens. Without such tokens, or
    with a `template` of the request's own, a Go template's `.Suffix` frames it. `usual` is the model's, as in chats."""

    prefix: str
    suffix: str
    template: str | None = None
    usual: str | None = None


Prompt = ChatPrompt | TextPrompt | TokenPrompt | InfillPrompt


class PrefixStore(msgspec.Struct, frozen=True):
    """Where prefixes go that lose their cells: into RAM and then into files, of so many bytes at most, 0 for none.

    Files lie in the folder `model` below `root`; the limit is for all models together.
    """

    ram: int = 0
    disk: int = 0
    root: str = ""
    model: str = ""


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Bring a model into memory. `weights` are the shards in order, `draft` those of the model that drafts for it;
    `projector` shows it images. Templates and adapters come with each request."""

    weights: tuple[str, ...]
    options: LoadOptions
    draft: tuple[str, ...] = ()
    projector: str | None = None
    embedding: bool = False  # a model for embeddings: no generation, pooled vectors
    warm_up: bool = True
    prefixes: PrefixStore = PrefixStore()
    placement: Placement | None = None  # as planned; None leaves it to llama.cpp
    sandbox: Sandbox = Sandbox()


CONSTRAINT_LIMIT = 64 * 1024  # bytes of a constraint's text

ConstraintKind = Literal["json", "schema", "regex", "choice", "lark", "gbnf", "calls"]


class Constraint(msgspec.Struct, frozen=True):
    """What the answer must look like.

    `text` is nothing for `json` (any object), a JSON Schema, a regular expression, a JSON list of strings of which the
    answer is one, a grammar in one of two notations, or the calls that are demanded (made in the worker). `field` is
    the request's field that asked for it.
    """

    kind: ConstraintKind
    text: str = ""
    field: str = "format"


class Resumed(msgspec.Struct, frozen=True):
    """How far one choice had come in a worker that died: all tokens that were drawn, and how many characters of its
    text have left. With `reason` it was complete."""

    tokens: tuple[int, ...] = ()
    sent: int = 0
    reason: Literal["stop", "length"] | None = None


class Adapter(msgspec.Struct, frozen=True):
    """A LoRA adapter that a request is computed with, and its strength, which isn't 0."""

    path: str
    scale: float = 1.0


Adapters = tuple[Adapter, ...]
"""All that a request is computed with, in the order of their paths: what is computed with the same is the same."""


class Generate(msgspec.Struct, frozen=True, tag="generate"):
    """Continue a prompt. `context_length` bounds prompt and answer together, at most the loaded `num_ctx`.

    With `truncate` an over-long prompt is shortened and the loss reported (a conversation loses its oldest turns);
    without, it fails. Of several `choices`, each draws by itself, with the seed plus its index. `logprobs` asks for the
    log-probability of every token and of that many alternatives. With `echo` the text begins with the prompt's. A
    `constraint` holds for the answer, not for the thought before it. `prediction` is what the client expects the answer
    to be much like: drafts are taken from it. `resumed` holds, for each choice, what an earlier worker told of it: the
    answer goes on behind that, and no character of it is told again. `adapters` are this request's. `show` is how many
    bytes of the rendered prompt are to be told back.
    """

    id: int
    prompt: Prompt
    sampling: SampleOptions
    context_length: int | None = None
    truncate: bool = False
    choices: int = 1
    logprobs: int | None = None
    echo: bool = False
    constraint: Constraint | None = None
    prediction: str | None = None
    resumed: tuple[Resumed, ...] = ()
    adapters: Adapters = ()
    show: int = 0


class Embed(msgspec.Struct, frozen=True, tag="embed"):
    """Pooled, unnormalised vectors of the inputs, each a text or token ids."""

    id: int
    inputs: tuple[str | tuple[int, ...], ...]
    truncate: bool = True
    context_length: int | None = None
    adapters: Adapters = ()


class Rank(msgspec.Struct, frozen=True, tag="rank"):
    """How well each document answers the query, by a model that ranks: a vector of its head's outputs for each pair."""

    id: int
    query: str
    documents: tuple[str, ...]
    adapters: Adapters = ()


class Tokenize(msgspec.Struct, frozen=True, tag="tokenize"):
    """The tokens of a text. With `special`, markers in it count as the special tokens they name; with `bos`, a BOS (and
    what else the model wants around a text) is added."""

    id: int
    text: str
    special: bool = False
    bos: bool = False


class Detokenize(msgspec.Struct, frozen=True, tag="detokenize"):
    """The text of tokens, special ones included."""

    id: int
    tokens: tuple[int, ...]


class Preview(msgspec.Struct, frozen=True, tag="preview"):
    """What a Generate with this prompt would put before the model, as text and as tokens; nothing is computed."""

    id: int
    prompt: Prompt


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Forget a request; a Done with reason `cancelled` follows unless another ending was already on its way."""

    id: int


Why = Literal["wanted", "idle", "shutdown"]
"""What a worker ends for: somebody waits for its memory, nobody has asked for it, or everything ends."""


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """End the process in an orderly way. Requests under way end as cancelled. `why` says how much time there is."""

    why: Why = "idle"


class Share(msgspec.Struct, frozen=True, tag="share"):
    """So many workers, this one included, compute on the machine's processor now."""

    workers: int


Question = Tokenize | Detokenize | Preview
"""What is answered from the vocabulary and the template alone, by a Told."""

Work = Generate | Embed | Rank | Question
"""What a request may ask of a worker."""

Command = Load | Work | Cancel | Share | Stop
