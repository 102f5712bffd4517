"""From a request to what the scheduler is to do: name to model, capabilities, options, prompt.

Reads the store and headers, so it is called off the event loop. Knows no worker and no wire.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from registry import manifest as media
from registry.gguf.facts import Facts
from registry.store import Store
from registry.stored import StoredModel
from runner.errors import InvalidRequest, RunnerError, Unsupported
from runner.inference import options as merge
from runner.inference import placing, prompts
from runner.inference.adapters import Worn, described
from runner.inference.aliases import Aliases
from runner.inference.contexts import Contexts, unbounded
from runner.inference.defaults import Defaults
from runner.inference.finding import Finder, Source
from runner.inference.footprints import footprint_of
from runner.inference.origins import Chosen, Origin, all_chosen
from runner.inference.prefixes import PrefixFolders
from runner.inference.requests import Chat, Complete, Detokenize, Embed, Lora, Preview, Rerank, Tokenize
from runner.inference.sharing import worker_key
from runner.inference.templates import Choice, choose
from runner.protocol import commands, image_file
from runner.protocol.codec import BadFrame, pack_command
from runner.protocol.commands import Load, PrefixStore, Prompt
from runner.protocol.devices import DeviceSurvey
from runner.protocol.options import LoadOptions
from runner.scheduler import machine
from runner.scheduler.devices import UNNAMED
from runner.scheduler.lessons import Lessons
from runner.scheduler.memory import Footprint
from runner.scheduler.offer import Offer
from runner.scheduler.ticket import Want


@dataclass(frozen=True, slots=True)
class Account:
    """All that decides how a model is loaded and prompted, and where each option's value came from."""

    want: Want
    facts: Facts
    template: Choice
    options: tuple[Chosen, ...]
    adapters: tuple[Worn, ...] = ()


@dataclass(frozen=True, slots=True)
class _Fixed:
    """How to load a model for a request, and what that takes. `automatic`: nobody asked for its context."""

    load: Load
    footprint: Footprint
    automatic: bool
    words: tuple[str, ...]
    context_from: Origin

    @property
    def limit(self) -> int | None:
        """Tokens that the request may use; None for as many as the context has."""
        return None if self.automatic else self.load.options.num_ctx


class Resolver:
    """Without `prefixes`, nothing of a prompt outlives its worker. `aliases` are names that stand for other models.
    `survey` tells the devices that options may name. `defaults` is what the settings say where neither request nor
    Modelfile does, and may be replaced at any time. `lessons` is what earlier loads taught about memory, `look` tells
    what the machine offers.

    Safe to call from several threads.
    """

    def __init__(
        self,
        store: Store,
        *,
        context_length: int = 0,
        num_parallel: int = 0,
        prefixes: PrefixFolders | None = None,
        aliases: Aliases | None = None,
        survey: Callable[[], DeviceSurvey] = lambda: UNNAMED,
        defaults: Defaults | None = None,
        lessons: Lessons | None = None,
        look: Callable[[], Offer] = unbounded,
    ) -> None:
        self._store = store
        self._survey = survey
        self._aliases = aliases or Aliases()
        self._prefixes = prefixes
        self._finder = Finder(store, self._aliases)
        self.defaults = defaults or Defaults(context_length, num_parallel)
        self._lessons = lessons or Lessons()
        self._contexts = Contexts(self._lessons, look)
        self._packs = machine.packed_types()

    def chat(self, request: Chat) -> Want:
        """What a Chat wants. Raises UnknownModel, InvalidRequest and its kinds, LoadFailed."""
        source = self._find(request.model, request.options, request.lora)
        source.need("completion", "chat")
        _check_extras(source, request.think)
        _check_pictures(source, request, "messages")
        _check_tools(source, request)
        prompt = prompts.of_chat(request, source.model.system, source.model.messages)
        return self._generation(source, request, prompt)

    def complete(self, request: Complete) -> Want:
        """What a Complete wants. Raises as `chat` does."""
        source = self._find(request.model, request.options, request.lora)
        source.need("completion", "generate")
        _check_extras(source, request.think)
        _check_pictures(source, request, "images")
        if request.suffix is not None and request.template is None:
            source.need("insert", "insert", field="suffix")
        prompt = prompts.of_completion(request, source.model.system, source.model.messages)
        return self._generation(source, request, prompt)

    def embed(self, request: Embed) -> Want:
        """What an Embed wants: any model gives embeddings, except one that only ranks. Raises as `chat` does."""
        source = self._find(request.model, request.options, request.lora)
        if not source.has("embedding"):
            source.need("completion", "embedding")
        fixed = self._load(source)
        work = commands.Embed(
            0, request.inputs, truncate=request.truncate, context_length=fixed.limit, adapters=source.adapters
        )
        return self._want(source, fixed, work, request.keep_alive)

    def rerank(self, request: Rerank) -> Want:
        """What a Rerank wants. Raises as `chat` does."""
        source = self._find(request.model, request.options)
        source.need("rerank", "rerank: it is no model that ranks documents")
        work = commands.Rank(0, request.query, request.documents, source.adapters)
        return self._want(source, self._load(source), work, request.keep_alive)

    def question(self, question: Tokenize | Detokenize | Preview) -> Want:
        """What a question wants. Raises as `chat` does."""
        if isinstance(question, Preview):
            want = self.chat(question.of) if isinstance(question.of, Chat) else self.complete(question.of)
            assert isinstance(want.work, commands.Generate)  # what both of them want
            return replace(want, work=commands.Preview(0, want.work.prompt))
        source = self._find(question.model, {})
        work: commands.Question
        if isinstance(question, Tokenize):
            work = commands.Tokenize(0, question.text, question.special, question.bos)
        else:
            work = commands.Detokenize(0, question.tokens)
        return self._want(source, self._load(source), work, None)

    def load(self, model: str, options: Mapping[str, Any], keep_alive: float | None) -> Want:
        """What it takes to have the model loaded, with nothing to do yet. Raises as `chat` does."""
        source = self._find(model, options)
        return self._want(source, self._load(source), None, keep_alive)

    def alias(self, asked: str) -> str | None:
        """The name that an alias stands for; None if this is none."""
        return self._aliases.meant(asked)

    def account(self, model: str, options: Mapping[str, Any]) -> Account:
        """What a request with these options would have, which changes nothing. Raises as `load` does."""
        source = self._find(model, options)
        want = self._want(source, self._load(source, keeps=False), None, None)
        author = merge.recommended(source.facts.sampling)
        chosen = all_chosen(
            source.own,
            source.model.parameters,
            source.configured,
            author,
            num_ctx=want.load.options.num_ctx,
            context=want.context_from,
        )
        worn = described(source.adapters, self._store.list()) if source.adapters else ()
        return Account(want, source.facts, choose(source.model.template, source.facts), chosen, worn)

    def _find(self, asked: str, options: Mapping[str, Any], lora: tuple[Lora, ...] | None = None) -> Source:
        return self._finder.find(asked, options, self.defaults, lora)

    def _generation(self, source: Source, request: Chat | Complete, prompt: Prompt) -> Want:
        fixed = self._load(source)
        work = commands.Generate(
            0,
            _voiced(source, prompt),
            merge.sample_options(source.merged, merge.logit_bias(request.options)),
            context_length=fixed.limit,
            truncate=request.truncate,
            choices=request.choices,
            logprobs=request.logprobs,
            echo=isinstance(request, Complete) and request.echo,
            constraint=request.constraint,
            prediction=request.prediction if isinstance(request, Chat) else None,
            adapters=source.adapters,
        )
        return self._want(source, fixed, work, request.keep_alive)

    def _want(self, source: Source, fixed: _Fixed, work: commands.Work | None, keep_alive: float | None) -> Want:
        if work is not None:
            _check_sendable(work)
        return Want(
            model=str(source.model.name),
            digest=str(source.model.digest),
            key=worker_key(source.model, fixed.load, {**source.configured, **source.model.parameters}),
            load=fixed.load,
            footprint=fixed.footprint,
            work=work,
            named=merge.named_for_loading(source.own),
            keep_alive=source.defaults.keep_alive_of(source.model.name) if keep_alive is None else keep_alive,
            context_from=fixed.context_from,
            automatic=fixed.automatic,
            words=fixed.words,
            generation=source.defaults.generation,
        )

    def _load(self, source: Source, *, keeps: bool = True) -> _Fixed:
        """With `keeps`, a context that is chosen is remembered."""
        model, defaults = source.model, source.defaults
        wanted, origin, words = _named_context(source)
        options = self._settled(source, wanted)
        footprint = self._lessons.applied(str(model.digest), self._footprint(source))
        if not wanted:
            configured = defaults.context_length
            own = None if source.is_plain else lambda: self._own(model)
            chosen, why = self._contexts.choose(str(model.digest), footprint, options, configured, own=own, keeps=keeps)
            options, words = msgspec.structs.replace(options, num_ctx=chosen), (*words, *why)
            origin = (
                "config" if chosen == configured else "model" if chosen == source.facts.context_length else "default"
            )
        load = Load(
            weights=tuple(str(path) for path in model.weights),
            options=options,
            draft=tuple(str(path) for path in source.draft),
            projector=str(model.projector) if model.projector and source.has("vision") else None,
            embedding=not source.has("completion"),
            prefixes=self._prefixes.of(model) if self._prefixes else PrefixStore(),
            sandbox=defaults.sandbox,
        )
        return _Fixed(load, footprint, automatic=not wanted, words=words, context_from=origin)

    def _settled(self, source: Source, num_ctx: int) -> LoadOptions:
        options = merge.load_options(source.merged, num_ctx=num_ctx or 1, num_parallel=source.defaults.num_parallel)
        return placing.settled(options, source.facts, self._survey())

    def _own(self, model: StoredModel) -> tuple[Footprint, LoadOptions] | None:
        """What the model takes and how it is loaded, as far as no request says otherwise; None if that can't be."""
        try:
            plain = self._find(str(model.name), {})
            options = self._settled(plain, 0)
            corrections = self._lessons.of(str(model.digest)).corrections
            return replace(self._footprint(plain), corrections=corrections), options
        except RunnerError:
            return None

    def _footprint(self, source: Source) -> Footprint:
        """What the model takes, as its header tells it."""
        model = source.model
        draft = None
        if source.draft_facts is not None:
            size = sum(path.stat().st_size for path in source.draft)
            draft = footprint_of(source.draft_facts, weights=size, packs=self._packs)
        beside = sum(path.stat().st_size for path in model.draft)  # a file of the model, used or not
        shows = model.projector.stat().st_size if model.projector else 0
        replaced = sum(layer.size for layer in model.manifest.of(media.ADAPTER))
        adapters = sum(os.stat(each.path).st_size for each in source.adapters)
        return footprint_of(
            source.facts,
            weights=model.size - shows - beside - replaced + adapters,
            adapters=adapters,
            packs=self._packs,
            projector=shows if source.has("vision") else 0,
            prefixes=self._prefixes.ram if self._prefixes and source.has("completion") else 0,
            embeds=not source.has("completion"),
            draft=draft,
        )


def _voiced(source: Source, prompt: Prompt) -> Prompt:
    """The prompt with the model's template, unless the worker finds that in the GGUF by itself."""
    if not isinstance(prompt, commands.ChatPrompt | commands.InfillPrompt):
        return prompt
    template = choose(source.model.template, source.facts)
    return prompt if template.is_own else msgspec.structs.replace(prompt, usual=template.text)


def _named_context(source: Source) -> tuple[int, Origin, tuple[str, ...]]:
    """The context that the request, the Modelfile or the settings' options ask for (0: none of them), where it is
    from, and what there is to say about it.

    Raises InvalidRequest where the request asks for more than the model was made for: it would get something else than
    it asked for. A Modelfile is only cut short, since whoever sends a request didn't write it.
    """
    own, asked = source.facts.context_length, source.own.get("num_ctx")
    if asked is not None and own and asked > own:
        raise InvalidRequest(
            f'num_ctx {asked} is beyond the {own} tokens that "{source.asked}" was made for', field="options.num_ctx"
        )
    named = source.merged.get("num_ctx")
    if not isinstance(named, int):
        return 0, "default", ()
    is_in_modelfile = "num_ctx" in dict(source.model.parameters)
    if own and named > own:
        whose = "its Modelfile" if is_in_modelfile else "the settings"
        return own, "model", (f"context {own}: the {named} of {whose} are more than the model was made for",)
    return named, "request" if asked is not None else "modelfile" if is_in_modelfile else "config", ()


def _check_sendable(work: commands.Work) -> None:
    """Tool calls, tools and template variables hold any JSON, and not all of that fits into a frame.

    Found here, where it is one request's failure, and not in the scheduler, where it would be everybody's.
    """
    try:
        pack_command(work)
    except BadFrame as error:
        raise InvalidRequest(f"this request cannot be passed on to the model: {error}") from error


def _check_extras(source: Source, think: object) -> None:
    if think:
        source.need("thinking", "thinking", field="think")


def _check_pictures(source: Source, request: Chat | Complete, field: str) -> None:
    """Whether the model sees, and whether what it is shown are images that may be decoded."""
    pictures = prompts.pictures_of(request)
    if not pictures:
        return
    source.need("vision", "vision", field=field)
    if source.model.projector is None:
        raise Unsupported(f'"{source.asked}" has no projector, so it cannot be shown images', field=field)
    if isinstance(request, Complete) and (request.raw or request.suffix is not None):
        raise InvalidRequest("images belong to a conversation: not with raw, nor with a suffix", field=field)
    if len(pictures) > image_file.MOST:
        raise InvalidRequest(f"{len(pictures)} images are too many; a request may have {image_file.MOST}", field=field)
    for image, name in pictures:
        image_file.check(image, name)


def _check_tools(source: Source, request: Chat) -> None:
    """Whether the choice among the tools can be made. Raises Unsupported, InvalidRequest."""
    choice = request.tool_choice
    if request.tools and choice.mode != "none":
        source.need("tools", "tools", field="tools")
    if choice.mode != "required":
        return
    if not request.tools:
        raise InvalidRequest("tool_choice demands a call, but there are no tools", field="tool_choice")
    if choice.name is not None and all(tool.name != choice.name for tool in request.tools):
        raise InvalidRequest(f'tool_choice names "{choice.name}", which is none of the tools', field="tool_choice")
    if request.constraint is not None:
        raise InvalidRequest(
            "an answer cannot keep to a form and be a call of a tool: leave out one of them, or let the model choose",
            field="tool_choice",
        )
