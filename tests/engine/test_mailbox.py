"""From command to sequence, with a vocabulary in which each character is a token."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import numpy as np
import pytest

from runner.conversation import Message
from runner.engine.mailbox import Mailbox
from runner.engine.shown import Shown, shown
from runner.engine.voice import Voice, Voices
from runner.errors import ContextOverflow, InvalidRequest, TemplateFailed, Unsupported
from runner.formats import Thinking
from runner.llama.model import Model
from runner.prompt.choose import Templates
from runner.protocol import codec
from runner.protocol.commands import ChatPrompt, Embed, Generate, InfillPrompt, Preview, Prompt, TextPrompt, TokenPrompt
from runner.protocol.options import SampleOptions

BOS, EOS, PREFIX, SUFFIX, MIDDLE = range(5)
LETTERS = 5  # ids below are the special tokens'
STRICT = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{{ m.content }}|{% endfor %}"
)


class Alphabet:
    """A vocabulary of special tokens and characters. `closing` is put behind a text where a BOS is put before it."""

    n_vocab, n_pooled, ranks, bos, eos = 1000, 4, False, BOS, EOS

    def __init__(self, *, adds_bos: bool = True, infill: bool = True, closing: bool = False) -> None:
        self.adds_bos = adds_bos
        self._infill = infill
        self._closing = closing

    def tokenize(self, text: str, *, special: bool, bos: bool) -> list[int]:
        start = [BOS] if special and text.startswith("<s>") else []
        letters = [LETTERS + ord(c) % 900 for c in text.removeprefix("<s>" if special else "")]
        added = [BOS] if bos and self.adds_bos else []
        return [*added, *start, *letters, *([EOS] if bos and self._closing else [])]

    def text_of(self, token: int) -> str:
        return {BOS: "<s>", EOS: "</s>"}[token]

    def spelling(self, token: int) -> bytes:
        return self.text_of(token).encode() if token < LETTERS else chr(token - LETTERS).encode()

    def infill_tokens(self) -> tuple[int, int, int] | None:
        return (PREFIX, SUFFIX, MIDDLE) if self._infill else None


def mailbox(
    template: str | None = STRICT,
    *,
    model: Alphabet | None = None,
    generates: bool = True,
    length: int = 100,
) -> Mailbox:
    return Mailbox(
        cast(Model, model or Alphabet()),
        Voices(Voice(Templates(template), Thinking("<think>", "</think>")), lambda text: Voice(Templates(text))),
        context_length=length,
        input_limit=min(length, 20),
        generates=generates,
    )


def generate(prompt: Prompt, *, truncate: bool = False, context_length: int | None = None, **options: Any) -> Generate:
    sampling = msgspec.structs.replace(SampleOptions(temperature=0.0), **options)
    return Generate(7, prompt, sampling, context_length=context_length, truncate=truncate)


def letters(text: str) -> list[int]:
    return [LETTERS + ord(c) % 900 for c in text]


def chat(*contents: str) -> ChatPrompt:
    roles = ("user", "assistant")
    return ChatPrompt(tuple(Message(roles[index % 2], content) for index, content in enumerate(contents)))


# -- what a sequence holds


def test_a_conversation_is_rendered_and_tokenised() -> None:
    sequence = mailbox().sequence(generate(chat("hi")))
    assert sequence.tokens == [BOS, *letters("hi|")]
    assert (sequence.id, sequence.prompt_tokens, sequence.truncated_tokens) == (7, 4, 0)
    assert (sequence.context_length, sequence.computed, sequence.slot) == (100, 0, None)


@pytest.mark.parametrize(("adds_bos", "template"), [(True, "<s>x"), (True, "x"), (False, "<s>x")])
def test_there_is_one_bos(adds_bos: bool, template: str) -> None:
    sequence = mailbox(template, model=Alphabet(adds_bos=adds_bos)).sequence(generate(chat("hi")))
    assert sequence.tokens == [BOS, *letters("x")]


def test_no_bos_where_neither_model_nor_template_wants_one() -> None:
    assert mailbox("x", model=Alphabet(adds_bos=False)).sequence(generate(chat("hi"))).tokens == letters("x")


def test_texts_and_tokens_are_taken_as_they_are() -> None:
    assert mailbox().sequence(generate(TextPrompt("hi"))).tokens == [BOS, *letters("hi")]
    assert mailbox().sequence(generate(TokenPrompt((9, 8)))).tokens == [9, 8]


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (chat("hi"), "hi|"),
        (TextPrompt("hi"), "hi"),
        (TokenPrompt((LETTERS + 97, EOS)), "a</s>"),
        (chat("old" * 20, "older" * 10, "new"), "<s>new|"),  # what was left of it
    ],
)
def test_a_prompt_is_told_back_to_whoever_asks(prompt: Prompt, text: str) -> None:
    command = generate(prompt, truncate=True)
    assert mailbox().sequence(command).request.shown is None
    whole = mailbox().sequence(msgspec.structs.replace(command, show=100)).request.shown
    assert whole == Shown(text, 0)
    beginning = mailbox().sequence(msgspec.structs.replace(command, show=1)).request.shown
    assert beginning == Shown(text[:1], len(text) - 1)


def test_a_prompt_is_cut_between_characters() -> None:
    assert shown("aé", 2) == Shown("a", 2)
    assert shown("aé", 3) == Shown("aé")


def test_infill_is_framed() -> None:
    tokens = mailbox().sequence(generate(InfillPrompt("ab", "cd"))).tokens
    assert tokens == [BOS, PREFIX, *letters("ab"), SUFFIX, *letters("cd"), MIDDLE]


@pytest.mark.parametrize(("asked", "limit"), [(None, 100), (0, 100), (60, 60), (1000, 100)])
def test_a_request_may_use_less_than_the_context_but_not_more(asked: int | None, limit: int) -> None:
    assert mailbox().sequence(generate(TextPrompt("x"), context_length=asked)).context_length == limit


# -- choices, echoes and what sampling is refused


@pytest.mark.parametrize(("seed", "seeds"), [(5, [5, 6, 7]), (0, [0, 1, 2]), (-1, [-1, -1, -1])])
def test_each_choice_has_a_sampler_with_a_seed_of_its_own(seed: int, seeds: list[int]) -> None:
    command = msgspec.structs.replace(generate(TextPrompt("x"), seed=seed), choices=3)
    made = mailbox().sequence(command)
    assert made.request.incomplete == 3
    assert [sampler._options.seed for sampler in (made.sampler, *made.request.unforked)] == seeds


@pytest.mark.parametrize(
    ("prompt", "text"),
    [(TextPrompt("hi"), "hi"), (TextPrompt("<s>hi"), "<s>hi"), (TokenPrompt((BOS, *letters("hi"))), "<s>hi")],
)
def test_an_echo_is_the_prompt_as_it_was_given(prompt: Prompt, text: str) -> None:
    made = mailbox().sequence(msgspec.structs.replace(generate(prompt), echo=True, logprobs=0))
    echo = made.request.echo
    assert echo is not None
    assert (echo.text, echo.is_scoring) == (text, True)
    assert made.text.position == len(text)
    assert mailbox().sequence(generate(prompt)).request.echo is None


@pytest.mark.parametrize("prompt", [chat("hi"), InfillPrompt("a", "b")])
def test_only_a_plain_prompt_is_echoed(prompt: Prompt) -> None:
    with pytest.raises(InvalidRequest) as caught:
        mailbox().sequence(msgspec.structs.replace(generate(prompt), echo=True))
    assert caught.value.field == "echo"


def test_more_scores_than_a_frame_takes_are_refused() -> None:
    command = msgspec.structs.replace(generate(TextPrompt("x" * 30_000)), echo=True, logprobs=20)
    box = mailbox(length=40_000)
    with pytest.raises(InvalidRequest, match="too many") as caught:
        box.sequence(command)
    assert caught.value.field == "logprobs"
    assert box.sequence(msgspec.structs.replace(command, logprobs=5)).request.echo is not None
    assert box.sequence(msgspec.structs.replace(command, echo=False)).request.echo is None


def test_more_breakers_than_can_be_looked_up_are_refused() -> None:
    breakers = tuple(f"b{number}" for number in range(17))
    with pytest.raises(InvalidRequest, match="16 texts, not 17") as caught:
        mailbox().sequence(generate(TextPrompt("x"), dry_multiplier=1.0, dry_sequence_breakers=breakers))
    assert caught.value.field == "options.dry_sequence_breakers"
    assert mailbox().sequence(generate(TextPrompt("x"), dry_sequence_breakers=breakers))


# -- too long


@pytest.mark.parametrize(
    "prompt", [TextPrompt("x" * 99), TokenPrompt((9,) * 100), InfillPrompt("x" * 90, "y" * 6), chat("x" * 98)]
)
def test_a_prompt_without_room_for_an_answer_is_refused(prompt: Prompt) -> None:
    with pytest.raises(ContextOverflow) as caught:
        mailbox().sequence(generate(prompt))
    assert (caught.value.tokens, caught.value.limit) == (100, 100)


@pytest.mark.parametrize(
    "prompt", [TextPrompt("x" * 98), TokenPrompt((9,) * 99), InfillPrompt("x" * 95, ""), chat("x" * 97)]
)
def test_a_prompt_with_room_for_one_token_is_taken_whole(prompt: Prompt) -> None:
    for truncate in (False, True):
        sequence = mailbox().sequence(generate(prompt, truncate=truncate))
        assert (sequence.prompt_tokens, sequence.truncated_tokens) == (99, 0)


def test_a_shortened_text_leaves_a_quarter_for_the_answer_or_what_is_asked() -> None:
    def kept(**options: Any) -> int:
        return mailbox().sequence(generate(TextPrompt("x" * 500), truncate=True, **options)).prompt_tokens

    assert kept() == 75
    assert kept(num_predict=10) == 90
    assert kept(num_predict=50) == 75
    assert kept(num_predict=0) == 75


def test_a_shortened_text_keeps_its_first_tokens_and_its_end() -> None:
    sequence = mailbox().sequence(generate(TextPrompt("a" * 400 + "b" * 71), truncate=True, num_keep=4))
    assert sequence.tokens == [BOS, *letters("aaa" + "b" * 71)]
    assert sequence.truncated_tokens == 397


def test_a_shortened_infill_keeps_its_frame_and_the_text_around_the_gap() -> None:
    sequence = mailbox().sequence(generate(InfillPrompt("a" * 400 + "b" * 9, "c" * 9 + "d" * 400), truncate=True))
    tokens = sequence.tokens
    assert tokens[:2] == [BOS, PREFIX]
    assert tokens[-1] == MIDDLE
    assert tokens.count(SUFFIX) == 1
    border = tokens.index(SUFFIX)
    assert tokens[border - 9 : border] == letters("b" * 9)
    assert tokens[border + 1 : border + 10] == letters("c" * 9)
    assert len(tokens) == 75
    assert sequence.truncated_tokens == 818 - (75 - 4)


def test_a_shortened_conversation_keeps_to_its_templates_rules() -> None:
    """Dropping single messages would leave an answer at the beginning, which this template refuses."""
    old = [c * 20 for c in "abcdefgh"]
    sequence = mailbox().sequence(generate(chat(*old, "last"), truncate=True))
    assert sequence.tokens == [BOS, *letters(f"{'g' * 20}|{'h' * 20}|last|")]
    assert sequence.truncated_tokens == 6 * 21


@pytest.mark.parametrize("opens", [True, False])
def test_a_last_turn_that_is_too_long_is_cut_and_still_begins_the_thought(opens: bool) -> None:
    template = "{{ messages[-1].content }}" + ("<think>" if opens else "")
    sequence = mailbox(template).sequence(generate(chat("x" * 500), truncate=True))
    assert sequence.prompt_tokens == 75
    assert sequence.in_thought is opens


# -- what is wrong


def test_an_empty_prompt_is_refused() -> None:
    for prompt in (TokenPrompt(()), TextPrompt("")):
        with pytest.raises(InvalidRequest, match="empty"):
            mailbox(model=Alphabet(adds_bos=False)).sequence(generate(prompt))


@pytest.mark.parametrize("token", [-1, 1000, 2**31])
def test_what_is_no_token_is_refused(token: int) -> None:
    with pytest.raises(InvalidRequest, match=f"{token} is no token") as caught:
        mailbox().sequence(generate(TokenPrompt((5, token))))
    assert caught.value.field == "prompt"
    with pytest.raises(InvalidRequest, match=f"{token} is no token") as caught:
        mailbox().sequence(generate(TextPrompt("x"), logit_bias={token: 1.0}))
    assert caught.value.field == "logit_bias"
    with pytest.raises(InvalidRequest, match=f"{token} is no token") as caught:
        mailbox().inputs(Embed(7, ("x", (5, token))))
    assert caught.value.field == "input[1]"


def test_what_the_model_cannot_do_is_named() -> None:
    with pytest.raises(Unsupported) as caught:
        mailbox(model=Alphabet(infill=False)).sequence(generate(InfillPrompt("a", "b")))
    assert caught.value.field == "suffix"
    with pytest.raises(Unsupported) as caught:
        mailbox(generates=False).sequence(generate(TextPrompt("x")))
    assert caught.value.field == "model"


def test_a_broken_template_spoils_conversations_only() -> None:
    broken = mailbox("a\n\n{% if %}")
    with pytest.raises(TemplateFailed, match="line 3"):
        broken.sequence(generate(chat("hi")))
    assert broken.sequence(generate(TextPrompt("hi"))).prompt_tokens == 3


def test_a_template_frames_a_gap_where_no_tokens_do() -> None:
    go = "{{ if .Suffix }}({{ .Prompt }}_{{ .Suffix }}){{ else }}{{ .Prompt }}{{ end }}"
    plain = Alphabet(infill=False)
    told = mailbox(go, model=plain).sequence(generate(InfillPrompt("ab", "cd")))
    assert told.tokens == [BOS, *letters("(ab_cd)")]
    assert mailbox(go).sequence(generate(InfillPrompt("ab", "cd"))).tokens == [
        BOS, PREFIX, *letters("ab"), SUFFIX, *letters("cd"), MIDDLE
    ]  # fmt: skip
    brought = InfillPrompt("ab", "cd", "{{ .Suffix }}|{{ .Prompt }}")
    assert mailbox().sequence(generate(brought)).tokens == [BOS, *letters("cd|ab")]
    assert mailbox(go, model=plain).tell(Preview(7, InfillPrompt("ab", "cd"))).text == "(ab_cd)"


def test_a_gap_framed_by_a_template_is_shortened_around_it() -> None:
    go = "({{ .Prompt }}_{{ .Suffix }})"
    prompt = InfillPrompt("a" * 400 + "b" * 9, "c" * 9 + "d" * 400)
    sequence = mailbox(go, model=Alphabet(infill=False)).sequence(generate(prompt, truncate=True))
    after = (75 - 4) // 4
    before = 75 - 4 - after
    assert sequence.tokens == [
        BOS,
        *letters("(" + "a" * (before - 9) + "b" * 9 + "_" + "c" * 9 + "d" * (after - 9) + ")"),
    ]
    assert sequence.truncated_tokens == 818 - before - after


def test_a_request_may_bring_its_template() -> None:
    prompt = msgspec.structs.replace(chat("hi"), template="<{{ .Prompt }}>")
    assert mailbox().sequence(generate(prompt)).tokens == [BOS, *letters("<hi>")]


# -- inputs to embed


def test_no_more_inputs_are_taken_than_vectors_fit_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "LIMIT", 10_000)
    most = (10_000 - 1024) // 16
    inputs = mailbox().inputs(Embed(7, ("x",) * most))
    inputs.vectors = [np.zeros(4, np.float32) for _ in range(most)]
    assert len(codec.pack_events([inputs.finished()])) <= 10_000
    with pytest.raises(InvalidRequest, match=f"{most + 1} inputs are too many; a request may have {most}") as caught:
        mailbox().inputs(Embed(7, ("x",) * (most + 1)))
    assert caught.value.field == "input"


def test_inputs_are_tokenised_in_order() -> None:
    inputs = mailbox().inputs(Embed(7, ("ab", (9, 8), "c")))
    assert inputs.inputs == [[BOS, *letters("ab")], [9, 8], [BOS, *letters("c")]]
    assert (inputs.id, inputs.truncated_tokens, inputs.vectors) == (7, 0, [])


def test_a_long_input_keeps_its_closing_token() -> None:
    inputs = mailbox(model=Alphabet(closing=True)).inputs(Embed(7, ("a" * 50, "b")))
    assert inputs.inputs == [[BOS, *letters("a" * 18), EOS], [BOS, *letters("b"), EOS]]
    assert inputs.truncated_tokens == 32


def test_a_long_input_is_refused_where_nothing_may_be_cut() -> None:
    with pytest.raises(ContextOverflow) as caught:
        mailbox().inputs(Embed(7, ("a", "b" * 50), truncate=False))
    assert (caught.value.tokens, caught.value.limit, caught.value.field) == (51, 20, "input[1]")


def test_an_empty_input_is_refused_and_no_input_is_none() -> None:
    with pytest.raises(InvalidRequest) as caught:
        mailbox().inputs(Embed(7, ("a", ())))
    assert caught.value.field == "input[1]"
    assert mailbox().inputs(Embed(7, ())).inputs == []


def test_a_prompt_of_which_nothing_would_be_left_is_too_long_and_not_empty() -> None:
    with pytest.raises(ContextOverflow, match="too long"):
        mailbox().sequence(generate(TextPrompt("abc"), truncate=True, context_length=1))
