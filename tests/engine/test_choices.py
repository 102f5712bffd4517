"""Sampling in the real worker with the real demo model: scores, choices, echoes, and what each sampler does.

A greedy answer is the same in any company except where two tokens lie within 0.05 of log-probability, since llama.cpp
sums in another order when the batch has another shape. An answer drawn by lot has such borders everywhere. So what is
held here is each draw by itself: the token is the one that the seed's random numbers point at, give or take as much.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count

import msgspec
import numpy as np
import pytest

from modelfiles.embedded import demo_gguf
from runner.conversation import Message
from runner.protocol.commands import Cancel, ChatPrompt, Generate, Prompt, TextPrompt, TokenPrompt
from runner.protocol.events import Done, Failed, Logprob, Started, Stats, Text
from runner.protocol.options import SampleOptions
from tests.engine.worker_process import Answer, WorkerProcess

NEAR_TIE = 0.05  # of log-probability
TOP = 5
ENDS = frozenset({b"<|im_end|>", b"<|endoftext|>", b"<|fim_pad|>"})
GREEDY = SampleOptions(temperature=0.0, num_predict=40)
DRAWN = SampleOptions(temperature=1.0, seed=11, num_predict=40, top_k=TOP, top_p=1.0)
QUESTION = ChatPrompt((Message("user", "How do I pull a model?"),))
ASKED = TextPrompt("<|im_start|>user\nHow do I pull a model?<|im_end|>\n<|im_start|>assistant\n")
CODE = TextPrompt("def add(a, b):\n    ")
_ids = count(1)


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerProcess]:
    process = WorkerProcess(demo_gguf(), num_ctx=1024, num_parallel=8)
    yield process
    assert process.close() == 0


def ask(worker: WorkerProcess, prompt: Prompt, sampling: SampleOptions = GREEDY, **fields: object) -> Answer:
    command = msgspec.structs.replace(Generate(next(_ids), prompt, sampling), **fields)
    return worker.ask(command)[command.id]


def end_of(answer: Answer) -> Done:
    assert isinstance(answer.end, Done), answer.end
    return answer.end


def lots(seed: int, number: int) -> list[float]:
    """The random numbers from 0 to 1 that llama.cpp draws with a seed: a Mersenne twister, 64 bits for each."""
    raw = np.random.RandomState(seed).randint(0, 1 << 32, 2 * number, np.uint64).astype(float)
    return [(low + high * 2**32) / 2**64 for low, high in zip(raw[::2], raw[1::2], strict=True)]


def drawn_with(scores: list[Logprob], seed: int, banned: frozenset[bytes] = frozenset()) -> bool:
    """Whether each token is the one among the likeliest that the seed's number for it points at."""
    for score, lot in zip(scores, lots(seed, len(scores)), strict=True):
        allowed = [other for other in score.top if other.token not in banned][:TOP]
        weights = [math.exp(other.logprob) for other in allowed]
        place = [other.token for other in allowed].index(score.token)
        start, end = sum(weights[:place]) / sum(weights), sum(weights[: place + 1]) / sum(weights)
        if not start - NEAR_TIE <= lot <= end + NEAR_TIE:
            return False
    return True


# -- scores


@pytest.mark.parametrize("prompt", [QUESTION, CODE])
def test_a_greedy_token_is_the_likeliest(worker: WorkerProcess, prompt: Prompt) -> None:
    answer = ask(worker, prompt, logprobs=20)
    scores = answer.scores[0]
    assert b"".join(score.token for score in scores if not score.is_end).decode() == answer.text
    assert len([score for score in scores if not score.is_end]) == end_of(answer).usage.completion_tokens
    for score in scores:
        assert score.logprob is not None
        assert score.logprob == score.top[0].logprob == max(other.logprob for other in score.top)
        assert score.token == score.top[0].token
        assert [other.logprob for other in score.top] == sorted((o.logprob for o in score.top), reverse=True)
        assert 0 < sum(math.exp(other.logprob) for other in score.top) <= 1.0 + 1e-6


def test_offsets_are_where_tokens_begin(worker: WorkerProcess) -> None:
    answer = ask(worker, QUESTION, logprobs=0)
    for score in answer.scores[0]:
        token = "" if score.is_end else score.token.decode()
        assert answer.text[score.offset : score.offset + len(token)] == token
        assert score.top == ()


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN])
def test_being_scored_changes_no_token(worker: WorkerProcess, sampling: SampleOptions) -> None:
    assert ask(worker, CODE, sampling).texts == ask(worker, CODE, sampling, logprobs=5).texts


def test_scores_are_of_the_raw_logits(worker: WorkerProcess) -> None:
    """What samplers do to the row is not seen: an end that is forbidden still has its probability."""
    plain = ask(worker, QUESTION, logprobs=1).scores[0]
    assert plain[-1].is_end
    biased = ask(worker, QUESTION, msgspec.structs.replace(GREEDY, min_tokens=40), logprobs=1).scores[0]
    assert biased[: len(plain) - 1] == plain[:-1]
    forced = biased[len(plain) - 1]
    assert forced.top[0].token == plain[-1].token
    assert forced.token != forced.top[0].token


# -- choices


def test_choices_draw_each_with_its_own_seed(worker: WorkerProcess) -> None:
    answer = ask(worker, CODE, DRAWN, choices=4, logprobs=TOP)
    assert set(answer.texts) == set(answer.reasons) == {0, 1, 2, 3}
    assert len(set(answer.texts.values())) == 4
    for choice, scores in answer.scores.items():
        assert [drawn_with(scores, DRAWN.seed + index) for index in range(4)] == [index == choice for index in range(4)]
    usage = end_of(answer).usage
    assert usage.prompt_tokens == end_of(ask(worker, CODE, GREEDY)).usage.prompt_tokens
    told = [score for scores in answer.scores.values() for score in scores if not score.is_end]
    assert usage.completion_tokens == len(told)


def test_a_request_of_one_choice_draws_as_the_first_of_many(worker: WorkerProcess) -> None:
    assert drawn_with(ask(worker, CODE, DRAWN, logprobs=TOP).scores[0], DRAWN.seed)


def test_the_same_server_and_load_give_the_same_choices() -> None:
    texts = []
    for _ in range(2):
        process = WorkerProcess(demo_gguf(), num_ctx=512, num_parallel=4)
        texts.append(ask(process, CODE, DRAWN, choices=4).texts)
        assert process.close() == 0
    assert texts[0] == texts[1]


def test_without_a_seed_choices_differ_too(worker: WorkerProcess) -> None:
    texts = ask(worker, CODE, msgspec.structs.replace(DRAWN, seed=-1, temperature=2.0), choices=4).texts
    assert len(set(texts.values())) > 1


def test_greedy_choices_are_alike(worker: WorkerProcess) -> None:
    texts = ask(worker, QUESTION, choices=3).texts
    assert set(texts.values()) == {ask(worker, QUESTION).text}


@pytest.mark.parametrize("choices", [1, 4])
def test_a_cancel_ends_all_choices_at_once(worker: WorkerProcess, choices: int) -> None:
    endless = msgspec.structs.replace(DRAWN, ignore_eos=True, num_predict=-1)
    command = msgspec.structs.replace(Generate(next(_ids), CODE, endless), choices=choices)
    worker.send(command)
    seen: set[int] = set()
    while len(seen) < choices:
        event = next(worker.events())
        if isinstance(event, Text):
            seen.add(event.choice)
    worker.send(Cancel(command.id))
    end = end_of(worker.answers([command.id])[command.id])
    assert end.reason == "cancelled"
    assert end.usage.completion_tokens >= choices
    assert end_of(ask(worker, QUESTION)).reason == "stop"


@pytest.mark.parametrize(("sequences", "cells"), [(2, 512), (8, 192)])
def test_choices_short_of_sequences_or_cells_lose_no_token(sequences: int, cells: int) -> None:
    """Two at a time, or preempted while they share their prompt: each goes on where it was."""
    wanted = msgspec.structs.replace(DRAWN, ignore_eos=True, num_predict=60)
    process = WorkerProcess(demo_gguf(), num_ctx=cells, num_parallel=sequences, cells=cells)
    answer = ask(process, CODE, wanted, choices=6, logprobs=TOP + len(ENDS))
    stats = next(event for event in process.events() if isinstance(event, Stats))
    assert process.close() == 0
    assert (stats.preemptions > 0) == (cells < 512)
    assert end_of(answer).usage.completion_tokens == 6 * 60
    for choice, scores in answer.scores.items():
        assert drawn_with(scores, wanted.seed + choice, banned=ENDS)


def test_the_first_choice_leaves_a_prefix_like_any_answer(worker: WorkerProcess) -> None:
    turns = (Message("user", "What is Runner?"), Message("assistant", "A runner."), Message("user", "Which port?"))
    ask(worker, ChatPrompt(turns), DRAWN, choices=3)
    again = ask(worker, ChatPrompt(turns))
    end = end_of(again)
    assert end.usage.cached_tokens == end.usage.prompt_tokens - 1


# -- echoes


def test_the_scores_of_a_prompt_are_those_of_generating_it(worker: WorkerProcess) -> None:
    said = ask(worker, ASKED, GREEDY, logprobs=5)
    opening = ask(worker, ASKED, msgspec.structs.replace(GREEDY, num_predict=0), echo=True, logprobs=5)
    whole = TextPrompt(ASKED.text + said.text)
    echoed = ask(worker, whole, msgspec.structs.replace(GREEDY, num_predict=0), echo=True, logprobs=5)
    assert (opening.text, echoed.text) == (ASKED.text, whole.text)
    scores = echoed.scores[0]
    assert scores[0].logprob is None
    generated = [score for score in said.scores[0] if not score.is_end]
    again = scores[len(opening.scores[0]) :]
    assert [score.token for score in again] == [score.token for score in generated]
    for mine, theirs in zip(again, generated, strict=True):
        assert mine.logprob == pytest.approx(theirs.logprob, abs=NEAR_TIE)
        assert mine.offset == theirs.offset + len(ASKED.text)


def test_an_evaluation_finds_every_token_of_its_prompt(worker: WorkerProcess) -> None:
    """As lm-eval asks: token ids, echo, one token more. Its sums leave the last entry aside."""
    tokens = tuple(range(300, 400))
    answer = ask(worker, TokenPrompt(tokens), msgspec.structs.replace(GREEDY, num_predict=1), echo=True, logprobs=1)
    scores = answer.scores[0]
    assert len(scores) == len(tokens) + 1
    assert scores[0].logprob is None
    for score in scores[1:]:
        assert score.logprob is not None
        assert score.logprob <= score.top[0].logprob <= 0.0


def test_each_choice_repeats_the_prompt(worker: WorkerProcess) -> None:
    answer = ask(worker, CODE, DRAWN, choices=3, echo=True)
    assert all(text.startswith(CODE.text) for text in answer.texts.values())
    assert answer.scores == {0: [], 1: [], 2: []}


def test_what_cannot_be_echoed_is_refused(worker: WorkerProcess) -> None:
    end = ask(worker, QUESTION, echo=True).end
    assert isinstance(end, Failed)
    assert end.field == "echo"


# -- samplers


def options(**given: object) -> SampleOptions:
    return msgspec.structs.replace(SampleOptions(temperature=0.0, num_predict=24), **given)


REPEAT = TextPrompt("one two three four five\n" * 6 + "one two three")


def test_dry_sees_the_prompt_and_breaks_its_repetition(worker: WorkerProcess) -> None:
    plain = ask(worker, REPEAT, options()).text
    assert plain.startswith(" four five")
    dry = options(dry_multiplier=5.0, dry_allowed_length=2, dry_sequence_breakers=("\0never",))
    assert not ask(worker, REPEAT, dry).text.startswith(" four")
    blind = msgspec.structs.replace(dry, dry_penalty_last_n=1)
    assert ask(worker, REPEAT, blind).text.startswith(" four")


def test_penalties_see_the_prompt(worker: WorkerProcess) -> None:
    assert not ask(worker, REPEAT, options(repeat_penalty=5.0, repeat_last_n=-1)).text.startswith(" four")
    assert not ask(worker, REPEAT, options(presence_penalty=20.0, repeat_last_n=-1)).text.startswith(" four")
    assert ask(worker, REPEAT, options(repeat_penalty=5.0, repeat_last_n=1)).text.startswith(" four")


def test_a_bias_forbids_and_forces(worker: WorkerProcess) -> None:
    first = ask(worker, CODE, options(num_predict=1), logprobs=2).scores[0][0]
    vocabulary = {
        token: ask(worker, TokenPrompt((token,)), options(num_predict=0), echo=True).text for token in (300, 301)
    }
    assert ask(worker, CODE, options(num_predict=3, logit_bias={300: 100.0})).text == vocabulary[300] * 3
    assert first.logprob is not None


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ({"top_n_sigma": 0.01}, {"top_n_sigma": 50.0}),
        ({"mirostat": 2, "mirostat_tau": 0.01, "mirostat_eta": 1.0}, {"mirostat": 2, "mirostat_tau": 9.0}),
        ({"mirostat": 1, "mirostat_tau": 0.01, "mirostat_eta": 1.0}, {"mirostat": 1, "mirostat_tau": 9.0}),
        ({"min_p": 1.0}, {"min_p": 0.0001}),
    ],
)
def test_a_sampler_narrows_what_is_drawn_from(
    worker: WorkerProcess, narrow: dict[str, object], wide: dict[str, object]
) -> None:
    """Surprise of what was drawn: near that of the likeliest tokens, or well above it."""

    def surprise(given: dict[str, object]) -> float:
        drawn = options(temperature=1.5, top_k=0, top_p=1.0, seed=3, ignore_eos=True, **given)
        scores = [score for each in ask(worker, CODE, drawn, choices=4, logprobs=1).scores.values() for score in each]
        return sum(score.top[0].logprob - (score.logprob or 0.0) for score in scores) / len(scores)

    assert surprise(narrow) < surprise(wide) - 0.5


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 0.0}, {"min_p": 1.0}, {"top_n_sigma": 0.01}])
def test_a_sampler_that_leaves_one_token_leaves_it_to_all(worker: WorkerProcess, narrow: dict[str, object]) -> None:
    wide = {"temperature": 1.5, "top_k": 0, "top_p": 1.0, "seed": 3, "num_predict": 1, "ignore_eos": True}
    assert len(set(ask(worker, CODE, options(**wide), choices=8).texts.values())) > 2
    assert len(set(ask(worker, CODE, options(**wide | narrow), choices=8).texts.values())) == 1


def test_xtc_leaves_out_the_top_choices(worker: WorkerProcess) -> None:
    drawn = options(temperature=1.0, top_k=0, top_p=1.0, xtc_probability=1.0, xtc_threshold=0.05, seed=5)
    for scores in ask(worker, CODE, drawn, choices=4, logprobs=20).scores.values():
        for score in scores:
            above = [other for other in score.top if math.exp(other.logprob) >= 0.05]
            if len(above) > 1:  # only the least likely of them may stand
                assert score.token not in {other.token for other in above[:-1]}


def test_started_comes_once_for_all_choices(worker: WorkerProcess) -> None:
    command = msgspec.structs.replace(Generate(next(_ids), CODE, DRAWN), choices=4)
    worker.send(command)
    started = 0
    while not isinstance(event := next(worker.events()), Done):
        started += isinstance(event, Started)
    assert started == 1
