"""Drafts with the real demo model: they change how many steps an answer takes, and never what it says.

The loop runs in this process with a pace that finds another row as cheap as asked for, so that what is drafted depends
on no clock. A greedy answer may differ where two tokens lie within 0.05 of log-probability, and only there: llama.cpp
sums in another order when a batch has another shape.
"""

from __future__ import annotations

import json
import queue
import shutil
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, cast

import gguf
import msgspec
import numpy as np
import pytest

from modelfiles.embedded import demo_gguf
from runner.conversation import Message
from runner.engine.crew import Crew
from runner.engine.draft import DraftModel, Drafts
from runner.engine.embed import Embedder
from runner.engine.lanes import Lane, Lanes
from runner.engine.loop import Item, Loop
from runner.engine.mailbox import Mailbox
from runner.engine.outbox import Outbox
from runner.engine.pace import Pace
from runner.engine.second import SecondModel, check_pair
from runner.engine.voice import voices
from runner.errors import LoadFailed
from runner.llama import library
from runner.llama.context import Context
from runner.llama.model import Model
from runner.protocol.commands import Cancel, ChatPrompt, Constraint, Generate, Prompt, TextPrompt
from runner.protocol.events import Done, Failed, Logprob, Ready, Text
from runner.protocol.options import LoadOptions, SampleOptions
from tests.engine.test_loop import Inbox, NoEmbedder, Record
from tests.engine.worker_process import WorkerProcess

NEAR_TIE = 0.05  # of log-probability
GREEDY = SampleOptions(temperature=0.0, num_predict=48)
LINE = "The red fox runs over the hill. "
REPETITIVE = TextPrompt(f"<|im_start|>user\nSay it again: {LINE * 4}<|im_end|>\n<|im_start|>assistant\n{LINE * 4}")
CODE = TextPrompt("def add(a, b):\n    return a + b\n\ndef sub(a, b):\n    return a - b\n\ndef mul(a, b):\n")
QUESTION = ChatPrompt((Message("user", "How do I pull a model?"),))
EXTRACT = ChatPrompt((Message("user", "Extract name and age as JSON: Maria is 34 years old."),))
PROMPTS: dict[str, Prompt] = {"repetitive": REPETITIVE, "code": CODE, "question": QUESTION, "extract": EXTRACT}
_ids = count(1)


class Priced(Pace):
    """Steps of any size take a second, and another row costs what it is told to."""

    def __init__(self, budget: int, price: float) -> None:
        super().__init__(budget)
        self.price = price

    def step(self, rows: int) -> float:
        return 1.0

    def row(self, rows: int, more: int) -> float:
        return self.price

    def chunk(self, decodes: int) -> int:
        return 256


class Machine:
    """The demo model in this process."""

    def __init__(self) -> None:
        self.log = library.start()
        self.options = LoadOptions(num_ctx=512, num_parallel=6, cells=2048)
        self.model = Model([str(demo_gguf())], self.options, self.log)

    def run(
        self,
        arrivals: Sequence[Sequence[Generate | Cancel]],
        *,
        price: float = 0.0,
        cells: int = 2048,
        draft_model: DraftModel | None = None,
    ) -> Record:
        """What came of these commands; each group arrives a step after the one before it."""
        context = Context(self.model, self.options, self.log, cells=cells, sequences=6, batch=256)
        mailbox = Mailbox(
            self.model,
            voices(self.model),
            context_length=512,
            input_limit=512,
            generates=True,
            speculates=True,
            has_draft_model=draft_model is not None,
        )
        lane = Lane(context)
        lane.pace = Priced(context.batch, price)
        script = [[mailbox.sequence(each) if isinstance(each, Generate) else each for each in now] for now in arrivals]
        outbox = Record()
        loop = Loop(
            self.model,
            Lanes(lane),
            cast(Embedder, NoEmbedder()),
            cast("queue.SimpleQueue[Item]", Inbox(script)),
            cast(Outbox, outbox),
            Crew(1),
            Drafts(self.model.ends, draft_model),
        )
        try:
            loop.run()
            assert lane.slots.free == 6
            assert lane.slots.cells_busy == 0
        finally:
            mailbox.close()
            context.close()
        return outbox

    def second(self, path: Path) -> SecondModel:
        """A draft model of this file."""
        model = Model([str(path)], self.options, self.log)
        check_pair(self.model, model)
        context = Context(model, self.options, self.log, cells=1024, sequences=4, batch=256)
        return SecondModel(model, context, self.model.n_vocab)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.model.close()


@pytest.fixture(scope="module")
def nonsense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's vocabulary and shape with weights in any order: it guesses, and hardly ever right."""
    path = tmp_path_factory.mktemp("draft") / "nonsense.gguf"
    shutil.copyfile(demo_gguf(), path)
    path.chmod(0o600)
    rng = np.random.default_rng(1)
    for tensor in gguf.GGUFReader(path, "r+").tensors:
        if tensor.data.ndim > 1:
            blocks = tensor.data.reshape(-1, 34 if tensor.tensor_type == gguf.GGMLQuantizationType.Q8_0 else 1)
            blocks[:] = blocks[rng.permutation(len(blocks))]
    return path


def ask(prompt: Prompt, *, look: int = 8, sampling: SampleOptions = GREEDY, **fields: Any) -> Generate:
    options = {key: fields.pop(key) for key in list(fields) if key in SampleOptions.__struct_fields__}
    sampling = msgspec.structs.replace(sampling, prompt_lookup_num_tokens=look, **options)
    return msgspec.structs.replace(Generate(next(_ids), prompt, sampling), **fields)


def done(outbox: Record, command: Generate) -> Done:
    end = outbox.end(command.id)
    assert isinstance(end, Done), end
    return end


def scores(outbox: Record, command: Generate, choice: int = 0) -> list[Logprob]:
    found = outbox.said(command.id, choice)
    return [each for event in found if isinstance(event, Text) for each in event.logprobs]


def same_but_for_near_ties(plain: list[Logprob], other: list[Logprob]) -> bool:
    for ours, theirs in zip(plain, other, strict=False):
        if ours.token != theirs.token:
            first, second = ours.top[:2]
            return first.logprob - second.logprob < NEAR_TIE and theirs.token in (first.token, second.token)
        assert ours.logprob == pytest.approx(theirs.logprob, abs=0.1)
        assert ours.offset == theirs.offset
    return len(plain) == len(other)


@pytest.mark.parametrize("name", PROMPTS)
def test_greedy_text_is_the_same_with_drafts_and_without(machine: Machine, name: str) -> None:
    plain, drafting = ask(PROMPTS[name], look=0, logprobs=2), ask(PROMPTS[name], logprobs=2)
    first, second = machine.run([[plain]]), machine.run([[drafting]])
    assert same_but_for_near_ties(scores(first, plain), scores(second, drafting))
    assert "".join(
        score.token.decode("utf-8", "replace") for score in scores(second, drafting) if not score.is_end
    ) == (second.text(drafting.id))


def test_text_that_repeats_takes_fewer_steps(machine: Machine) -> None:
    plain, drafting = (ask(REPETITIVE, look=look, num_predict=64, ignore_eos=True, logprobs=2) for look in (0, 8))
    first, second = machine.run([[plain]]), machine.run([[drafting]])
    assert same_but_for_near_ties(scores(first, plain), scores(second, drafting))
    usage = done(second, drafting).usage
    assert usage.completion_tokens == 64
    assert 32 < usage.accepted_tokens <= usage.drafted_tokens
    assert second.stats.steps < first.stats.steps / 2
    assert (second.stats.drafted_tokens, second.stats.accepted_tokens) == (usage.drafted_tokens, usage.accepted_tokens)
    assert done(first, plain).usage.drafted_tokens == first.stats.drafted_tokens == 0


def test_greedy_text_is_the_same_in_a_crowd_that_drafts(machine: Machine) -> None:
    alone = {name: ask(prompt, look=0, logprobs=2) for name, prompt in PROMPTS.items()}
    crowd = {name: ask(prompt, logprobs=2) for name, prompt in PROMPTS.items()}
    expected = {name: scores(machine.run([[command]]), command) for name, command in alone.items()}
    together = machine.run([[*crowd.values(), ask(REPETITIVE), ask(QUESTION, look=0)]])
    for name, command in crowd.items():
        assert same_but_for_near_ties(expected[name], scores(together, command))


def test_a_row_that_costs_as_much_as_a_token_is_not_spent_on_drafts(machine: Machine) -> None:
    command = ask(REPETITIVE)
    dear = machine.run([[command]], price=5.0)
    assert done(dear, command).usage.drafted_tokens == 0


def test_stop_strings_and_limits_hold_within_a_draft(machine: Machine) -> None:
    for options in ({"stop": ("over the",)}, {"num_predict": 5}, {"num_predict": 1}, {"stop": ("s ov", "hill")}):
        plain, drafting = ask(REPETITIVE, look=0, **options), ask(REPETITIVE, **options)
        first, second = machine.run([[plain]]), machine.run([[drafting]])
        assert second.text(drafting.id) == first.text(plain.id)
        ends = [done(*each) for each in ((first, plain), (second, drafting))]
        assert ends[0].reason == ends[1].reason
        assert ends[0].stop == ends[1].stop
        assert ends[0].usage.completion_tokens == ends[1].usage.completion_tokens


def test_the_context_ends_an_answer_that_drafts(machine: Machine) -> None:
    for length in range(113, 124, 2):
        plain, drafting = (
            ask(REPETITIVE, look=look, num_predict=-1, ignore_eos=True, context_length=length) for look in (0, 8)
        )
        first, second = machine.run([[plain]]), machine.run([[drafting]])
        ends = [done(*each) for each in ((first, plain), (second, drafting))]
        assert ends[0].usage.completion_tokens == ends[1].usage.completion_tokens
        assert {end.reason for end in ends} == {"length"}


SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}


@pytest.mark.parametrize("logprobs", [None, 1])
def test_an_answer_keeps_to_its_form(machine: Machine, logprobs: int | None) -> None:
    """Forced tokens and drafts come together; without scores the form's runs are taken at once."""
    text = 'Maria is 34 years old. {"name": "Maria", "age": 34} Extract name and age as JSON: Maria is 34 years old.'
    prompt = ChatPrompt((Message("user", text),))
    form = Constraint("schema", json.dumps(SCHEMA))
    plain, drafting = (ask(prompt, look=look, constraint=form, logprobs=logprobs) for look in (0, 8))
    first, second = machine.run([[plain]]), machine.run([[drafting]])
    assert second.text(drafting.id) == first.text(plain.id)
    assert json.loads(second.text(drafting.id)).keys() == {"name", "age"}
    assert done(second, drafting).usage.drafted_tokens > 0
    assert done(second, drafting).reason == "stop"


def test_each_choice_drafts_by_itself(machine: Machine) -> None:
    options = {"temperature": 0.4, "seed": 5, "choices": 4, "num_predict": 48, "ignore_eos": True}
    plain, drafting = ask(REPETITIVE, look=0, **options), ask(REPETITIVE, **options)
    first, second = machine.run([[plain]]), machine.run([[drafting]])
    assert done(second, drafting).usage.accepted_tokens > 0
    # Drawn by lot, a border between two tokens may be crossed; that choice then goes on otherwise.
    same = [first.text(plain.id, choice) == second.text(drafting.id, choice) for choice in range(4)]
    assert sum(same) >= 3


def test_what_is_drawn_is_what_would_have_been_drawn(machine: Machine) -> None:
    """One random number for each token, whether it was drafted or not, and penalties that know the same past."""
    options = {"temperature": 0.8, "repeat_penalty": 1.1, "num_predict": 24, "min_tokens": 24}
    for chain in ({}, {"mirostat": 2}, {"dry_multiplier": 0.5}):
        same = 0
        for seed in range(5):
            plain, drafting = (ask(REPETITIVE, look=look, seed=seed, **options, **chain) for look in (0, 8))
            first, second = machine.run([[plain]]), machine.run([[drafting]])
            assert done(second, drafting).usage.completion_tokens == 24
            same += first.text(plain.id) == second.text(drafting.id)
        assert same >= 4


@pytest.mark.parametrize("when", [1, 2, 3, 5, 8])
def test_a_cancel_in_the_middle_of_drafts_frees_everything(machine: Machine, when: int) -> None:
    one, other = ask(REPETITIVE, num_predict=200, ignore_eos=True), ask(QUESTION, look=0)
    alone = machine.run([[other]]).text(other.id)
    other = msgspec.structs.replace(other, id=next(_ids))
    outbox = machine.run([[one, other], *[[] for _ in range(when)], [Cancel(one.id)]])
    assert done(outbox, one).reason == "cancelled"
    assert outbox.text(other.id) == alone


def test_drafts_survive_preemptions(machine: Machine) -> None:
    """Six answers don't fit; the preempted come back, draft again and say the same."""
    plain = ask(CODE, look=0, num_predict=120, ignore_eos=True, logprobs=2)
    expected = scores(machine.run([[plain]]), plain)
    crowd = [ask(CODE, num_predict=120, ignore_eos=True, logprobs=2) for _ in range(6)]
    outbox = machine.run([crowd], cells=512)
    assert outbox.stats.preemptions > 0
    assert outbox.stats.accepted_tokens > 0
    for command in crowd:
        assert same_but_for_near_ties(expected, scores(outbox, command))


def test_a_state_that_cannot_be_cut_after_all_is_computed_anew(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, drafting = ask(CODE, look=0, ignore_eos=True), ask(CODE, ignore_eos=True)
    expected = machine.run([[plain]]).text(plain.id)
    forget = Context.forget
    monkeypatch.setattr(Context, "forget", lambda self, seq, start=0: start == 0 and forget(self, seq, 0))
    outbox = machine.run([[drafting]])
    assert outbox.text(drafting.id) == expected
    usage = done(outbox, drafting).usage
    assert usage.drafted_tokens > usage.accepted_tokens


def test_a_predicted_answer_is_drafted_from_and_changes_nothing(machine: Machine) -> None:
    """Nothing of it stands in the prompt, and looking up there is off."""
    plain = ask(QUESTION, look=0, logprobs=2)
    first = machine.run([[plain]])
    for prediction, share in ((first.text(plain.id), 0.6), ("Something else is said here, I guess.", 0.0)):
        predicted = ask(QUESTION, look=0, logprobs=2, prediction=prediction)
        second = machine.run([[predicted]])
        assert same_but_for_near_ties(scores(first, plain), scores(second, predicted))
        usage = done(second, predicted).usage
        assert usage.accepted_tokens >= share * usage.completion_tokens


# -- a draft model


@pytest.mark.parametrize("name", PROMPTS)
def test_greedy_text_is_the_same_with_a_draft_model(machine: Machine, nonsense: Path, name: str) -> None:
    plain = ask(PROMPTS[name], look=0, logprobs=2)
    expected = scores(machine.run([[plain]]), plain)
    for path in (demo_gguf(), nonsense):
        drafting = ask(PROMPTS[name], look=0, logprobs=2)
        outbox = machine.run([[drafting]], draft_model=machine.second(path))
        assert same_but_for_near_ties(expected, scores(outbox, drafting))
        assert done(outbox, drafting).usage.drafted_tokens > 0


def test_a_model_that_drafts_for_itself_is_nearly_always_right(machine: Machine) -> None:
    command = ask(QUESTION, look=0, num_predict=64, ignore_eos=True)
    outbox = machine.run([[command]], draft_model=machine.second(demo_gguf()))
    usage = done(outbox, command).usage
    assert usage.accepted_tokens > 0.9 * usage.drafted_tokens
    assert outbox.stats.steps < 64 / 3


def test_a_model_that_drafts_nonsense_is_hardly_ever_right_and_soon_left_alone(
    machine: Machine, nonsense: Path
) -> None:
    command = ask(QUESTION, look=0, num_predict=100, ignore_eos=True)
    outbox = machine.run([[command]], price=0.3, draft_model=machine.second(nonsense))
    usage = done(outbox, command).usage
    assert usage.completion_tokens == 100
    assert usage.accepted_tokens < usage.drafted_tokens / 4
    assert usage.drafted_tokens < 30


def test_a_crowd_with_a_draft_model_says_what_each_would_alone(machine: Machine) -> None:
    """More sequences than the draft model has places for, some of which look their drafts up."""
    names = [*PROMPTS, "code", "question"]
    alone = {name: ask(prompt, look=0, logprobs=2) for name, prompt in PROMPTS.items()}
    expected = {name: scores(machine.run([[command]]), command) for name, command in alone.items()}
    crowd = [ask(PROMPTS[name], look=8 * (place % 2), logprobs=2) for place, name in enumerate(names)]
    outbox = machine.run([crowd], draft_model=machine.second(demo_gguf()))
    assert outbox.stats.accepted_tokens > 0
    for name, command in zip(names, crowd, strict=True):
        assert same_but_for_near_ties(expected[name], scores(outbox, command))


def test_choices_cancels_and_forms_with_a_draft_model(machine: Machine) -> None:
    form = Constraint("schema", json.dumps(SCHEMA))
    formed = ask(EXTRACT, look=0, constraint=form)
    several = ask(CODE, look=0, choices=3, temperature=0.5, seed=3)
    given_up = ask(CODE, look=0, num_predict=200, ignore_eos=True)
    outbox = machine.run(
        [[formed, several, given_up], *[[] for _ in range(6)], [Cancel(given_up.id)]],
        draft_model=machine.second(demo_gguf()),
    )
    assert json.loads(outbox.text(formed.id)) == {"name": "Maria", "age": 34}
    assert done(outbox, several).usage.completion_tokens > 3
    assert done(outbox, given_up).reason == "cancelled"


def test_the_request_says_how_many_tokens_the_draft_model_guesses(machine: Machine) -> None:
    without = ask(QUESTION, look=0, draft_num_predict=0)
    outbox = machine.run([[without]], draft_model=machine.second(demo_gguf()))
    assert done(outbox, without).usage.drafted_tokens == 0


def test_a_text_longer_than_a_piece_is_read_before_it_is_guessed(machine: Machine) -> None:
    long = TextPrompt("def add(a, b):\n    return a + b\n\n" * 20)
    plain, drafting = (ask(long, look=0, num_predict=24, ignore_eos=True, logprobs=2) for _ in range(2))
    expected = scores(machine.run([[plain]]), plain)
    outbox = machine.run([[drafting]], draft_model=machine.second(demo_gguf()))
    assert done(outbox, drafting).usage.prompt_tokens > 128
    assert done(outbox, drafting).usage.accepted_tokens > 0
    assert same_but_for_near_ties(expected, scores(outbox, drafting))


@pytest.mark.parametrize("between", [0, 40])
def test_texts_that_the_draft_model_has_no_room_for_take_turns(machine: Machine, between: int) -> None:
    """Two of five texts of 400 tokens fit, whether they come together or one after the other."""
    texts = [TextPrompt(f"# {number}\n" + "def add(a, b):\n    return a + b\n\n" * 25) for number in range(5)]
    commands = [ask(text, look=0, num_predict=20, ignore_eos=True) for text in texts]
    arrivals: list[list[Generate | Cancel]] = []
    for command in commands:
        arrivals += [[command], *[[] for _ in range(between)]]
    outbox = machine.run(arrivals, draft_model=machine.second(demo_gguf()))
    accepted = [done(outbox, command).usage.accepted_tokens for command in commands]
    assert sum(count > 0 for count in accepted) >= (5 if between else 2)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model with some of its words exchanged."""
    path = tmp_path_factory.mktemp("draft") / "stranger.gguf"
    shutil.copyfile(demo_gguf(), path)
    path.chmod(0o600)
    words = gguf.GGUFReader(path, "r+").fields["tokenizer.ggml.tokens"]
    five = [index for index in words.data[300:] if len(words.parts[index]) == 5]
    texts = [words.parts[index].copy() for index in five]
    for index, text in zip(five, reversed(texts), strict=True):
        words.parts[index][:] = text
    return path


def test_models_of_different_words_are_no_pair(machine: Machine, stranger: Path) -> None:
    other = Model([str(stranger)], machine.options, machine.log)
    with pytest.raises(LoadFailed, match="another vocabulary"):
        check_pair(machine.model, other)
    other.close()


def test_a_worker_drafts_with_the_model_that_it_was_given_or_says_why_not(nonsense: Path, stranger: Path) -> None:
    worker = WorkerProcess(demo_gguf(), draft=nonsense)
    assert isinstance(worker.ready, Ready)
    command = Generate(1, QUESTION, GREEDY)
    assert "runner pull" in worker.ask(command)[1].text
    assert worker.close() == 0
    for path, why in ((stranger, "another vocabulary"), (stranger.with_name("missing.gguf"), "could not load")):
        refused = WorkerProcess(demo_gguf(), draft=path)
        assert isinstance(refused.ready, Failed)
        assert why in refused.ready.message
        assert refused.close() == 1
