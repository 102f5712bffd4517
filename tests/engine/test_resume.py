"""An answer that is cut off anywhere goes on in another worker as if nothing had happened.

Each answer is recorded event by event; then it is resumed behind each of these events, and what was told before and
after must make up the same answer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import msgspec
import pytest

from modelfiles.embedded import demo_gguf
from runner.conversation import Message, ToolChoice, ToolSpec
from runner.llama import library
from runner.llama.model import Model
from runner.protocol.commands import ChatPrompt, Constraint, Generate, Prompt, TextPrompt
from runner.protocol.events import Done, Ended, Failed, Logprob, Started, Text
from runner.protocol.options import LoadOptions, SampleOptions
from runner.scheduler.told import Account
from tests.engine.test_choices import TOP, drawn_with
from tests.engine.worker_process import NEAR_TIE, WorkerProcess

QUESTION = ChatPrompt((Message("user", "How do I pull a model?"),))
CODE = TextPrompt("def add(a, b):\n    ")
SCHEMA = Constraint(
    "schema",
    '{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"}},"required":["name","age"]}',
)
TYPES, CONTROL = b"tokenizer.ggml.token_type", 3  # in a GGUF file: the kind of each token
_ids = count(1)


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerProcess]:
    process = WorkerProcess(demo_gguf(), num_ctx=1024, num_parallel=8)
    yield process
    assert process.close() == 0


@dataclass
class Whole:
    """An answer, put together from what one or two workers told."""

    texts: dict[int, str] = field(default_factory=dict)
    tokens: dict[int, list[int]] = field(default_factory=dict)
    scores: dict[int, list[Logprob]] = field(default_factory=dict)
    ends: dict[int, tuple[str, str | None]] = field(default_factory=dict)
    done: Done | None = None

    def take(self, event: Text | Ended | Done) -> None:
        if isinstance(event, Text):
            self.texts[event.choice] = self.texts.get(event.choice, "") + event.text
            self.tokens.setdefault(event.choice, []).extend(event.ids)
            self.scores.setdefault(event.choice, []).extend(event.logprobs)
            assert len(event.ids) == event.tokens
            return
        assert event.choice not in self.ends, "ended twice"
        self.ends[event.choice] = (event.reason, event.stop)
        if isinstance(event, Done):
            self.done = event


def run(worker: WorkerProcess, command: Generate) -> list[Text | Ended | Done]:
    command = msgspec.structs.replace(command, id=next(_ids))
    worker.send(command)
    heard: list[Text | Ended | Done] = []
    for event in worker.events():
        assert not isinstance(event, Failed), event
        if isinstance(event, Text | Ended | Done) and event.id == command.id:
            heard.append(event)
            if isinstance(event, Done):
                return heard
        if isinstance(event, Started):
            assert event.prompt_tokens > 1
    raise AssertionError("the worker ended")


def frames(told: Sequence[Text | Ended | Done]) -> list[int]:
    """Where a worker can break off: an end comes in one frame with the score of the token that it is."""
    return [place for place, event in enumerate(told) if isinstance(event, Text)]


def whole(events: Sequence[Text | Ended | Done]) -> Whole:
    made = Whole()
    for event in events:
        made.take(event)
    return made


def resumed(worker: WorkerProcess, command: Generate, before: Sequence[Text | Ended | Done]) -> Whole:
    """The answer when a worker dies behind these events."""
    told = Account.of(event for event in before if not isinstance(event, Done))
    return whole([*before, *run(worker, msgspec.structs.replace(command, resumed=told.resumed(command.choices)))])


def generate(prompt: Prompt, **fields: object) -> Generate:
    options = {"temperature": 0.0, "num_predict": 40} | {k: v for k, v in fields.items() if k in SAMPLING}
    rest = {name: value for name, value in fields.items() if name not in SAMPLING}
    return msgspec.structs.replace(Generate(0, prompt, SampleOptions(**options)), **rest)  # type: ignore[arg-type]


SAMPLING = set(SampleOptions.__struct_fields__)
STRICT = {
    "a chat": generate(QUESTION),
    "code": generate(CODE),
    "a stop string across tokens": generate(QUESTION, stop=("`runner pull demo`", "nothing of this kind")),
    "a long text that is held back": generate(QUESTION, stop=("`runner pull NAME` and more of this that never comes",)),
    "penalties": generate(QUESTION, repeat_penalty=1.4, presence_penalty=0.5),
    "an end that may not come yet": generate(QUESTION, min_tokens=30),
    "beyond the end": generate(CODE, ignore_eos=True, num_predict=60),
    "a bias": generate(CODE, logit_bias={100: 2.0}),
    "JSON": generate(QUESTION, constraint=SCHEMA),
    "a regular expression": generate(CODE, constraint=Constraint("regex", "(ab|cd){3,9}é+x{20}")),
    "a length": generate(QUESTION, num_predict=7),
    "one token": generate(QUESTION, num_predict=1),
    "an echo": generate(CODE, echo=True, num_predict=8),
    "an echo of several choices": generate(CODE, echo=True, num_predict=8, choices=3),
    "choices": generate(QUESTION, choices=3),
    "drafts": generate(TextPrompt("a b c d e f g h a b c d e f g h a b c"), prompt_lookup_num_tokens=6),
}

NOTE = {"type": "object", "properties": {"text": {"type": "string", "maxLength": 60}}, "required": ["text"]}
CALL = generate(
    ChatPrompt(
        (Message("user", "Write a long note on how to pull a model."),),
        tools=(ToolSpec("write_note", "Writes a note", NOTE),),
        tool_choice=ToolChoice("required"),
        think=False,
    )
)


@pytest.mark.parametrize("name", STRICT)
def test_cut_off_anywhere(worker: WorkerProcess, name: str) -> None:
    is_the_same_behind_every_cut(worker, STRICT[name])


def test_cut_off_behind_a_marker_that_is_no_text(tmp_path: Path) -> None:
    """In some vocabularies calls are marked by control tokens, which come out as text only for those who call."""
    process = WorkerProcess(with_control_tokens(tmp_path, "<tool_call>", "</tool_call>"), num_ctx=1024, num_parallel=8)
    told = is_the_same_behind_every_cut(process, CALL)
    assert told.texts[0].startswith("<tool_call>")
    assert len(run(process, CALL)) > 4, "there are places to cut it behind the marker"
    assert process.close() == 0


def with_control_tokens(folder: Path, *markers: str) -> Path:
    """The demo, in whose vocabulary these are control tokens."""
    data = bytearray(demo_gguf().read_bytes())
    model = Model([str(demo_gguf())], LoadOptions(num_ctx=8, num_parallel=1), library.start())
    types = data.index(TYPES) + len(TYPES) + 16  # behind the kind of the value, that of its elements and their number
    for token in model.marked(markers):
        struct.pack_into("<i", data, types + 4 * token, CONTROL)
    model.close()
    made = folder / "control.gguf"
    made.write_bytes(data)
    return made


def is_the_same_behind_every_cut(worker: WorkerProcess, command: Generate) -> Whole:
    """The undisturbed answer, which each that is cut off and resumed makes up as well."""
    run(worker, command)  # so that the prompt stands there, and rows are computed in the same batches
    told = run(worker, command)
    undisturbed = whole(told)
    assert undisturbed.done is not None
    for cut in range(len(told)):
        again = resumed(worker, command, told[:cut])
        assert again.done is not None
        assert (again.tokens, again.texts, again.ends) == (undisturbed.tokens, undisturbed.texts, undisturbed.ends), cut
        usage, expected = again.done.usage, undisturbed.done.usage
        assert usage.completion_tokens == expected.completion_tokens
        assert usage.prompt_tokens == expected.prompt_tokens
        assert usage.cached_tokens <= usage.prompt_tokens
    return undisturbed


def test_what_was_told_to_its_end_but_for_the_end(worker: WorkerProcess) -> None:
    command = STRICT["a length"]
    told = run(worker, command)
    *before, end = told
    assert isinstance(end, Done)
    held = run(worker, msgspec.structs.replace(command, resumed=Account.of(before).resumed(1)))
    assert [type(event) for event in held] == [Done]


@pytest.mark.parametrize("fields", [{}, {"stop": ("`runner pull NAME` and more",)}, {"echo": True}, {"choices": 2}])
def test_scores_are_told_once(worker: WorkerProcess, fields: dict[str, object]) -> None:
    command = generate(CODE if "echo" in fields else QUESTION, logprobs=2, num_predict=24, **fields)
    run(worker, command)
    told = run(worker, command)
    undisturbed = whole(told)
    for cut in frames(told):
        again = resumed(worker, command, told[:cut])
        for choice, scores in undisturbed.scores.items():
            assert [(s.token, s.offset, s.is_end) for s in scores] == [
                (s.token, s.offset, s.is_end) for s in again.scores[choice]
            ], cut
            for one, other in zip(scores, again.scores[choice], strict=True):
                if one.logprob is not None and other.logprob is not None:
                    assert abs(one.logprob - other.logprob) < NEAR_TIE


@pytest.mark.parametrize("choices", [1, 4])
def test_lots_are_drawn_on(worker: WorkerProcess, choices: int) -> None:
    """Another batch may change a score by as much as moves a border between two tokens, so each draw is checked."""
    command = generate(
        CODE, temperature=1.0, seed=5, top_k=TOP, top_p=1.0, num_predict=24, choices=choices, logprobs=20
    )
    told = run(worker, command)
    for cut in frames(told)[::choices]:
        again = resumed(worker, command, told[:cut])
        assert sorted(again.scores) == list(range(choices))
        for choice, scores in again.scores.items():
            assert drawn_with(scores, 5 + choice), (cut, choice)


def test_lots_that_cannot_be_drawn_again_go_on_with_others(worker: WorkerProcess) -> None:
    command = generate(CODE, temperature=2.0, seed=9, mirostat=2, num_predict=30)
    told = run(worker, command)
    texts = {whole(told).texts[0]}
    for cut in (5, 10, 15):
        again = resumed(worker, command, told[:cut])
        assert again.tokens[0][: len(whole(told[:cut]).tokens[0])] == whole(told[:cut]).tokens[0]
        texts.add(again.texts[0])
        assert again.texts[0] == resumed(worker, command, told[:cut]).texts[0], "the same cut, the same text"
    assert len(texts) > 1
