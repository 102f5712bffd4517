"""From command to sequence: render, tokenise, check, and hand over to the loop.

Runs on a thread of its own, so that a long conversation or a slow template delays nobody's next token. Everything that
can be wrong with a request is found here and answered with Failed; what reaches the loop can be computed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

import msgspec

from runner.conversation import Message
from runner.engine.constrain import Guide, State
from runner.engine.demand import Demand, Offer, written
from runner.engine.draft import Speculation
from runner.engine.echo import Echo
from runner.engine.embed import Inputs
from runner.engine.eye import Eye
from runner.engine.gap import Gap
from runner.engine.lookup import Lookup
from runner.engine.pairs import pairing
from runner.engine.pictures import Pictures
from runner.engine.resume import go_on, going_on, told_of
from runner.engine.sequence import Request, Sequence
from runner.engine.shown import Shown, shown
from runner.engine.sight import Sight, has_images
from runner.engine.text import TextStream
from runner.engine.voice import Voices
from runner.errors import ContextOverflow, InvalidRequest, Unsupported
from runner.formats import GENERIC, Thinking
from runner.llama.model import Model
from runner.llama.sampler import Sampler
from runner.prompt.fit import cut_middle, drop_oldest_turns
from runner.prompt.render import Rendered, render
from runner.protocol import codec
from runner.protocol.commands import (
    ChatPrompt,
    Constraint,
    Detokenize,
    Embed,
    Generate,
    InfillPrompt,
    Preview,
    Prompt,
    Question,
    Rank,
    TextPrompt,
    Tokenize,
    TokenPrompt,
)
from runner.protocol.events import Told
from runner.protocol.options import SampleOptions

if TYPE_CHECKING:
    from runner.engine.grammars import Grammars, Silence

_FRAMING = 1024  # bytes of a frame of vectors that are no vectors
_PREDICTED = 8  # tokens of an answer that the client predicts, tried in one step at most
_MOST_BREAKERS = 16  # llama.cpp looks each up in the whole vocabulary
_MOST_TOLD = 1 << 22  # tokens of the answer to a question, and four times as many characters: it is one frame
_MOST_SCORES = 1 << 19  # of an echoed prompt; they travel in one frame


class Mailbox:
    """Turns commands into work. `context_length` is the most that one request may use; `input_limit` the longest input
    of an embedding. Where the model's state can't be cut, nothing `speculates`. With an `eye` images are looked at;
    `step` tokens can be computed together. What will hold up all threads announces its `silence`."""

    def __init__(
        self,
        model: Model,
        voices: Voices,
        *,
        context_length: int,
        input_limit: int,
        generates: bool,
        speculates: bool = False,
        has_draft_model: bool = False,
        eye: Eye | None = None,
        step: int = 0,
        silence: Silence = nullcontext,
    ) -> None:
        self._model = model
        self._silence = silence
        self._voices = voices
        self._context_length = context_length
        self._input_limit = input_limit
        self._generates = generates
        self._drafts_from_text = speculates
        self._has_draft_model = has_draft_model
        self._bos = model.text_of(model.bos)
        self._eos = model.text_of(model.eos)
        self._sight: Sight | None = None
        if eye is not None:
            self._sight = Sight(eye, lambda p: voices.of(p).image_mark, self._render, self._tokenize, most=step)
        self._grammars: Grammars | None = None
        self._lock = threading.Lock()  # the grammars are made once

    def sequence(self, command: Generate, given_up: Callable[[], bool] = lambda: False) -> Sequence:
        """The work that a Generate asks for. Raises InvalidRequest and its kinds.

        While images are looked at, `given_up` is asked whether anybody waits; if not, Cancelled is raised. Requests
        with images belong to one thread.
        """
        if not self._generates:
            raise Unsupported("this model makes embeddings; it cannot generate text", field="model")
        arrived = time.monotonic_ns()
        limit = min(command.context_length or self._context_length, self._context_length)
        tokens, in_thought, lost, pictures = self._prompt(command, limit, given_up)
        if not tokens:
            if lost:  # all of it had to be cut away
                raise ContextOverflow(lost, limit, field="prompt")
            raise InvalidRequest("the prompt is empty", field="prompt")
        self._check_sampling(command.sampling)
        echo = self._echo(command, tokens)
        text = [token for token in tokens if token >= 0] if pictures else tokens
        choosers = self._choosers(command, text, in_thought=in_thought)
        new = Sequence(
            command=command,
            tokens=tokens,
            prompt_tokens=len(tokens),
            context_length=limit,
            truncated_tokens=lost,
            in_thought=in_thought,
            sampler=choosers[0],
            text=TextStream(command.sampling.stop, position=len(echo.text) if echo else 0),
            arrived_ns=arrived,
            request=Request(choosers[1:], echo, shown=self._shown(command, tokens, lost)),
            speculation=self._speculation(command, tokens) if not pictures else None,  # drafts know only text
            pictures=pictures,
            voice=self._voices.of(command.prompt),
        )
        return go_on(self._model, new, choosers) if command.resumed else new

    def close(self) -> None:
        """Give up what outlives a request. Nothing is prepared any more."""
        if self._grammars is not None:
            self._grammars.close()
        if self._sight is not None:
            self._sight.close()

    def inputs(self, command: Embed) -> Inputs:
        """The work that an Embed asks for. Raises InvalidRequest and its kinds."""
        if self._model.ranks:
            raise Unsupported("this model ranks documents; it makes no embeddings", field="model")
        arrived = time.monotonic_ns()
        most = (codec.LIMIT - _FRAMING) // (4 * self._model.n_pooled)
        if len(command.inputs) > most:
            raise InvalidRequest(f"{len(command.inputs)} inputs are too many; a request may have {most}", field="input")
        limit = min(command.context_length or self._input_limit, self._input_limit)
        ids: list[list[int]] = []
        lost = 0
        for index, given in enumerate(command.inputs):
            field = f"input[{index}]"
            if isinstance(given, str):
                tokens = self._model.tokenize(given, special=False, bos=True)
            else:
                tokens = list(given)
                self._check(tokens, field)
            if not tokens:
                raise InvalidRequest("an input is empty", field=field)
            if len(tokens) > limit:
                if not command.truncate:
                    raise ContextOverflow(len(tokens), limit, field=field)
                lost += len(tokens) - limit
                # What closes a text (SEP, EOS) must stay the last: some models read their vector from there.
                tokens = [*tokens[: limit - 1], tokens[-1]]
            ids.append(tokens)
        return Inputs(command.id, ids, lost, arrived, command.adapters)

    def pairs(self, command: Rank) -> Inputs:
        """The work that a Rank asks for: an input for each document. Raises InvalidRequest and its kinds."""
        if not self._model.ranks:
            raise Unsupported("this model does not rank documents", field="model")
        arrived = time.monotonic_ns()
        join = pairing(self._model, command.query)
        ids = [join(document) for document in command.documents]
        for index, tokens in enumerate(ids):
            field = f"documents[{index}]"
            if not tokens:
                raise InvalidRequest("query and document are empty", field=field)
            if len(tokens) > self._input_limit:
                raise ContextOverflow(len(tokens), self._input_limit, field=field)
        return Inputs(command.id, ids, 0, arrived, command.adapters)

    def tell(self, command: Question) -> Told:
        """The answer to a question. Raises InvalidRequest and its kinds."""
        text: str | None = None
        match command:
            case Tokenize():
                text = command.text
                tokens = self._model.tokenize(text, special=command.special, bos=command.bos)
            case Detokenize():
                tokens = list(command.tokens)
                self._check(tokens, "tokens")
            case Preview():
                text, tokens = self._preview(command.prompt)
        if len(tokens) > _MOST_TOLD:
            raise InvalidRequest(f"{len(tokens)} tokens are too many to tell; {_MOST_TOLD} are allowed", field="prompt")
        pieces = tuple(self._model.spelling(token) if token >= 0 else b"" for token in tokens)
        if text is None:
            text = b"".join(pieces).decode("utf-8", "replace")
        return Told(command.id, tuple(tokens), pieces, text)

    def _preview(self, prompt: Prompt) -> tuple[str | None, list[int]]:
        """A prompt as text, if it is one, and as tokens, however many."""
        match prompt:
            case ChatPrompt():
                if self._sight is not None and has_images(prompt):
                    seen = self._sight.measure(prompt)
                    return seen.text, seen.tokens
                rendered = self._render(prompt)
                return rendered.text, self._tokens_of(rendered)
            case TextPrompt():
                if len(prompt.text) > 4 * _MOST_TOLD:
                    raise InvalidRequest(f"{len(prompt.text)} characters are too many to look at", field="prompt")
                return prompt.text, self._model.tokenize(prompt.text, special=True, bos=True)
            case TokenPrompt():
                self._check([*prompt.tokens], "prompt")
                return None, [*prompt.tokens]
            case InfillPrompt():
                gap = self._gap(prompt)
                return gap.text, gap.tokens()

    def _shown(self, command: Generate, tokens: list[int], lost: int) -> Shown | None:
        """The prompt that is computed, for whoever asked to see it. One that was cut has only its tokens."""
        if not command.show:
            return None
        prompt, text = command.prompt, None
        if isinstance(prompt, ChatPrompt) and not lost:
            seen = self._sight is not None and has_images(prompt)
            text = self._sight.measure(prompt).text if seen and self._sight else self._render(prompt).text
        elif isinstance(prompt, TextPrompt) and not lost:
            text = prompt.text
        return shown(text if text is not None else self._spelt(tokens), command.show)

    def _spelt(self, tokens: list[int]) -> str:
        pieces = (self._model.spelling(token) for token in tokens if token >= 0)
        return b"".join(pieces).decode("utf-8", "replace")

    def _check_sampling(self, sampling: SampleOptions) -> None:
        for token in sampling.logit_bias:
            if not 0 <= token < self._model.n_vocab:
                raise InvalidRequest(f"{token} is no token of this model", field="logit_bias")
        if sampling.dry_multiplier > 0.0 and len(sampling.dry_sequence_breakers) > _MOST_BREAKERS:
            raise InvalidRequest(
                f"dry_sequence_breakers may hold {_MOST_BREAKERS} texts, not {len(sampling.dry_sequence_breakers)}",
                field="options.dry_sequence_breakers",
            )

    def _choosers(self, command: Generate, tokens: list[int], *, in_thought: bool) -> list[Sampler | Guide]:
        """A sampler for each choice, led by a guide of its own where the answer has to keep to a form."""
        prompt = command.prompt
        constraint = command.constraint
        if isinstance(prompt, ChatPrompt) and prompt.tool_choice.mode == "required":
            constraint = self._demanded(prompt)
        if constraint is None:
            return [*self._samplers(command, tokens, led=False)]
        thinking: Thinking | None = None
        state: State = "answer"
        if isinstance(prompt, ChatPrompt):  # elsewhere there can't be a thought
            may_think = prompt.think is not False and not prompt.open_ended
            thinking = self._voices.of(prompt).thinking
            state = "thought" if in_thought else "open" if may_think else "answer"
        form = self._compiler().form(constraint)
        # A token that nobody asks the model for would have no score.
        return [
            Guide(form, self._model, sampler, thinking, state, runs=command.logprobs is None)
            for sampler in self._samplers(command, tokens, led=True)
        ]

    def _demanded(self, prompt: ChatPrompt) -> Constraint:
        """The form of an answer that has to be a call: in the model's own format, of the tool that was named or any."""
        choice = prompt.tool_choice
        offers = tuple(
            Offer(place, tool) for place, tool in enumerate(prompt.tools) if choice.name in (None, tool.name)
        )
        if not offers:
            raise InvalidRequest("tool_choice demands a call of a tool that isn't there", field="tool_choice")
        form = self._voices.of(prompt).calls or GENERIC
        demand = Demand(form, offers, several=choice.parallel and choice.name is None)
        return Constraint("calls", written(demand), "tools")

    def _speculation(self, command: Generate, tokens: list[int]) -> Speculation | None:
        """What it drafts from. Reading the prompt for that takes about as long as tokenising it."""
        sampling, hint = command.sampling, command.prediction
        looked_up = max(sampling.prompt_lookup_num_tokens, _PREDICTED if hint else 0) if self._drafts_from_text else 0
        expected = self._model.tokenize(hint, special=False, bos=False) if hint and looked_up else []
        lookup = Lookup(tokens, expected) if looked_up else None
        modelled = sampling.draft_num_predict if self._has_draft_model else 0
        if lookup is None and not modelled:
            return None
        return Speculation(lookup, looked_up, modelled)

    def _compiler(self) -> Grammars:
        with self._lock:
            if self._grammars is None:
                from runner.engine.grammars import Grammars  # on use: most workers never need what it loads

                self._grammars = Grammars(self._model, self._silence)
            return self._grammars

    def _samplers(self, command: Generate, tokens: list[int], *, led: bool) -> list[Sampler]:
        """One for each choice that goes on, each with a seed of its own. They may be `led` through a form."""
        samplers: list[Sampler] = []
        for choice in going_on(command):
            options = command.sampling
            if choice and options.seed >= 0:
                options = msgspec.structs.replace(options, seed=options.seed + choice)
            drawn = len(told_of(command, choice).tokens)
            samplers.append(Sampler(self._model, options, drawn=drawn, led=led))
            samplers[-1].feed(tokens)
        return samplers

    def _echo(self, command: Generate, tokens: list[int]) -> Echo | None:
        if not command.echo:
            return None
        scores = len(tokens) * (command.logprobs + 1) * command.choices if command.logprobs is not None else 0
        if scores > _MOST_SCORES:
            raise InvalidRequest(
                f"{scores} log-probabilities of the prompt are too many; a request may have {_MOST_SCORES}",
                field="logprobs",
            )
        if isinstance(command.prompt, TextPrompt):
            return Echo(self._model, tokens, command.prompt.text, command.logprobs)
        if isinstance(command.prompt, TokenPrompt):
            return Echo(self._model, tokens, None, command.logprobs)
        raise InvalidRequest("only a plain prompt can be echoed", field="echo")

    def _prompt(
        self, command: Generate, limit: int, given_up: Callable[[], bool]
    ) -> tuple[list[int], bool, int, Pictures]:
        """Token ids, whether they end inside a thought, how many tokens were left out to make them fit, and which of
        them stand for images."""
        prompt = command.prompt
        if self._sight is not None and isinstance(prompt, ChatPrompt) and has_images(prompt):
            room = limit - _answer_room(command, limit) if command.truncate else None
            seen = self._sight.see(prompt, limit, room, given_up)
            return seen.tokens, seen.in_thought, seen.lost, seen.pictures
        return *self._text_prompt(command, limit), Pictures()

    def _text_prompt(self, command: Generate, limit: int) -> tuple[list[int], bool, int]:
        """The same without images."""
        prompt = command.prompt
        if isinstance(prompt, ChatPrompt):
            whole = self._render(prompt)
            tokens = self._tokens_of(whole)
            if len(tokens) < limit or not command.truncate:
                return self._fitting(tokens, limit), whole.in_thought, 0
            return self._fit_chat(prompt, command, whole, limit)
        if isinstance(prompt, InfillPrompt):
            return self._infill(prompt, command, limit)
        if isinstance(prompt, TextPrompt):
            tokens = self._model.tokenize(prompt.text, special=True, bos=True)
        else:
            tokens = list(prompt.tokens)
            self._check(tokens, "prompt")
        if len(tokens) < limit or not command.truncate:
            return self._fitting(tokens, limit), False, 0
        short = cut_middle(tokens, limit - _answer_room(command, limit), command.sampling.num_keep)
        return short, False, len(tokens) - len(short)

    def _fit_chat(
        self, prompt: ChatPrompt, command: Generate, whole: Rendered, limit: int
    ) -> tuple[list[int], bool, int]:
        tokens = self._tokens_of(whole)
        room = limit - _answer_room(command, limit)

        def rendered(messages: tuple[Message, ...]) -> Rendered:
            return self._render(msgspec.structs.replace(prompt, messages=messages))

        left = drop_oldest_turns(prompt.messages, lambda messages: len(self._tokens_of(rendered(messages))) <= room)
        if left is None:  # the last turn alone is too long
            short = cut_middle(tokens, room, command.sampling.num_keep)
            return short, whole.in_thought, len(tokens) - len(short)
        result = rendered(left)
        short = self._tokens_of(result)
        return short, result.in_thought, len(tokens) - len(short)

    def _render(self, prompt: ChatPrompt) -> Rendered:
        voice = self._voices.of(prompt)
        return render(
            prompt,
            voice.templates.of_chat(prompt),
            bos=self._bos,
            eos=self._eos,
            thinking=voice.thinking,
            calls=voice.calls,
            sees=self._sight is not None,
        )

    def _tokens_of(self, rendered: Rendered) -> list[int]:
        return self._tokenize(rendered.text, True)

    def _tokenize(self, text: str, is_beginning: bool) -> list[int]:
        # Many templates write the BOS themselves; two of them confuse a model.
        has_bos = bool(self._bos) and text.startswith(self._bos)
        return self._model.tokenize(text, special=True, bos=is_beginning and not has_bos)

    def _infill(self, prompt: InfillPrompt, command: Generate, limit: int) -> tuple[list[int], bool, int]:
        gap = self._gap(prompt)
        tokens, lost = gap.tokens(), 0
        if command.truncate and len(tokens) >= limit:
            tokens, lost = gap.cut(limit - _answer_room(command, limit))
        return self._fitting(tokens, limit), False, lost

    def _gap(self, prompt: InfillPrompt) -> Gap:
        by_template = prompt.template is not None or self._model.infill_tokens() is None
        return Gap(self._model, prompt, self._voices.of(prompt).templates.of_gap(prompt) if by_template else None)

    @staticmethod
    def _fitting(tokens: list[int], limit: int) -> list[int]:
        if len(tokens) >= limit:  # at least one token must be left for the answer
            raise ContextOverflow(len(tokens), limit, field="prompt")
        return tokens

    def _check(self, tokens: list[int], field: str) -> None:
        for token in tokens:
            if not 0 <= token < self._model.n_vocab:
                raise InvalidRequest(f"{token} is no token of this model", field=field)


def _answer_room(command: Generate, limit: int) -> int:
    """Tokens to leave for the answer when the prompt must be shortened: what was asked for, at most a quarter."""
    wanted = command.sampling.num_predict
    return max(1, min(wanted, limit // 4) if wanted > 0 else limit // 4)
