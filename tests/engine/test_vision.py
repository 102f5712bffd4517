"""Images in a real worker, with models of random weights: one pair for each way in which llama.cpp places an image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.conversation import Message
from runner.protocol.commands import Cancel, ChatPrompt, Generate, Preview, TextPrompt
from runner.protocol.events import Done, Failed, Logprob, Ready, Started, Stats, Text, Told
from runner.protocol.options import SampleOptions
from runner.scheduler.told import Account
from tests.engine import vision_models
from tests.engine.vision_models import KINDS, TEMPLATE, TOKENS, png
from tests.engine.worker_process import Answer, WorkerProcess, agree

_ids = count(1)
ANSWER = 12  # tokens
RED, BLUE = png(1), png(2)
Kind = tuple[str, WorkerProcess]


@pytest.fixture(scope="module", params=list(KINDS))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    return request.param, *vision_models.write_pair(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def kind(pair: tuple[str, Path, Path]) -> Iterator[Kind]:
    name, model, projector = pair
    with started(model, projector) as process:
        yield name, process


@contextmanager
def started(model: Path, projector: Path, template: str = TEMPLATE, **options: Any) -> Iterator[WorkerProcess]:
    process = WorkerProcess(model, projector=projector, template=template, **options)
    try:
        assert isinstance(process.ready, Ready)
        assert process.ready.vision
        yield process
    finally:
        assert process.close() == 0


def ask(*images: bytes, text: str = "what is it?", before: str = "", **command: Any) -> Generate:
    turns = [Message("user", before), Message("assistant", "I see")] if before else []
    prompt = ChatPrompt((*turns, Message("user", text, images=images)))
    sampling = SampleOptions(temperature=0.0, num_predict=ANSWER, ignore_eos=True, seed=1)
    return Generate(next(_ids), prompt, command.pop("sampling", sampling), **({"logprobs": 5} | command))


def one(worker: WorkerProcess, command: Generate) -> Answer:
    return worker.ask(command)[command.id]


def scores(answer: Answer) -> list[Logprob]:
    assert isinstance(answer.end, Done), answer.end
    assert len(answer.scores[0]) == ANSWER
    return answer.scores[0]


def start(answer: Answer) -> Started:
    assert answer.started is not None
    return answer.started


def is_far(one: list[Logprob], other: list[Logprob]) -> bool:
    """Whether the answers aren't the same, or their tokens not as likely: they have read something else."""
    pairs = list(zip(one, other, strict=True))
    return any(mine.token != theirs.token for mine, theirs in pairs) or any(
        abs((mine.logprob or 0.0) - (theirs.logprob or 0.0)) > 0.01 for mine, theirs in pairs
    )


def test_the_same_image_is_found_again_and_another_is_not(kind: Kind) -> None:
    name, worker = kind
    first, again, other = (one(worker, ask(image, before="the same beginning " * 12)) for image in (RED, RED, BLUE))
    assert again.text == first.text
    assert agree(scores(first), scores(again))
    assert is_far(scores(first), scores(other))
    prompt = start(first).prompt_tokens
    assert start(again).cached_tokens == prompt - 1
    # Of the other image nothing is found but what comes before it, and not a part of it.
    before = start(other).cached_tokens
    assert before < prompt - (9 if name == "grid" else TOKENS)
    assert before >= 16 or name == "window"  # which is gone on from at saved points only


def test_every_image_of_several_counts_and_so_does_their_order(kind: Kind) -> None:
    _, worker = kind
    both, turned, twice = (one(worker, ask(*images)) for images in ((RED, BLUE), (BLUE, RED), (RED, RED)))
    assert is_far(scores(both), scores(turned))
    assert is_far(scores(both), scores(twice))
    assert start(both).prompt_tokens == start(turned).prompt_tokens == start(twice).prompt_tokens


def test_an_image_is_more_than_its_tokens(kind: Kind) -> None:
    """What the model reads behind an image depends on it, and what it reads without it doesn't."""
    _, worker = kind
    assert is_far(scores(one(worker, ask(RED))), scores(one(worker, ask())))


def test_in_a_crowd_as_alone(pair: tuple[str, Path, Path], kind: Kind) -> None:
    _, worker = kind
    _, model, projector = pair
    texts = [ask(text=f"question {n} about something long enough to be read") for n in range(4)]
    shown = [ask(png(n + 10), png(n + 20), text=f"and {n}?") for n in range(4)]
    commands = [command for pair in zip(shown, texts, strict=True) for command in pair]
    with started(model, projector) as other:  # where nothing of them is found computed
        crowd = other.ask(*commands)
    for command in commands:
        assert agree(scores(one(worker, command)), scores(crowd[command.id]))


def test_computed_again_after_a_preemption_it_is_the_same(pair: tuple[str, Path, Path], kind: Kind) -> None:
    _, worker = kind
    _, model, projector = pair
    commands = [ask(png(n + 30), text=f"which one is it, {n}?", context_length=200) for n in range(6)]
    long = SampleOptions(temperature=0.0, num_predict=100, ignore_eos=True)
    commands = [msgspec.structs.replace(command, sampling=long) for command in commands]
    with started(model, projector, num_ctx=256, cells=512, num_parallel=6) as narrow:
        crowd = narrow.ask(*commands)
        while not isinstance(event := next(narrow.events()), Stats) or event.running:
            pass
        assert event.preemptions > 0
    for command in commands:
        alone, answer = one(worker, command), crowd[command.id]
        assert agree(alone.scores[0], answer.scores[0])
        assert len(alone.scores[0]) == 100


def test_in_another_worker_it_goes_on_behind_what_was_told(pair: tuple[str, Path, Path], kind: Kind) -> None:
    _, worker = kind
    _, model, projector = pair
    command = ask(RED, BLUE)
    worker.send(command)
    told: list[Text] = []
    for event in worker.events():
        if isinstance(event, Text) and event.id == command.id:
            told.append(event)
        elif isinstance(event, Done) and event.id == command.id:
            break
    before = told[: len(told) // 2]
    assert before
    with started(model, projector) as other:
        again = one(other, msgspec.structs.replace(command, resumed=Account.of(before).resumed(1)))
    assert isinstance(again.end, Done)
    assert again.end.usage.completion_tokens == ANSWER
    whole = [score for event in told for score in event.logprobs]
    assert agree(whole, [*(score for event in before for score in event.logprobs), *again.scores[0]])


@pytest.mark.parametrize("users", [3, 24])
def test_in_a_slot_of_its_own_as_alone(pair: tuple[str, Path, Path], kind: Kind, users: int) -> None:
    _, worker = kind
    _, model, projector = pair
    commands = [ask(png(n + 40), text=f"what about {n}?") for n in range(users)]
    with started(model, projector, num_parallel=32, cells=1024, wide_sequences=32, wide_cells=256) as wide:
        wide.ask(*(ask(text=f"a crowd of {n}") for n in range(64)))  # so that the wide lane is made
        crowd = wide.ask(*commands)
        assert any(stats.is_wide for stats in wide.stats) or pair[0] == "window"  # which has no such lane
    for command in commands[:6]:
        assert agree(scores(one(worker, command)), scores(crowd[command.id]))


def test_several_choices_go_on_from_one_image(kind: Kind) -> None:
    _, worker = kind
    answer = one(worker, ask(BLUE, choices=3))
    assert isinstance(answer.end, Done)
    assert len({answer.texts[choice] for choice in range(3)}) == 1


def test_a_cancel_among_images_leaves_nothing(kind: Kind) -> None:
    _, worker = kind
    endless = SampleOptions(num_predict=-1, ignore_eos=True)
    running = ask(RED, sampling=endless)
    worker.send(running)
    while not isinstance(event := next(worker.events()), Started):
        pass
    assert event.id == running.id
    waiting = [ask(*(png(100 + n * 8 + m) for m in range(8))) for n in range(3)]
    worker.send(*waiting, *(Cancel(command.id) for command in (running, *waiting)))
    for answer in worker.answers(command.id for command in (running, *waiting)).values():
        assert isinstance(answer.end, Done)
        assert answer.end.reason == "cancelled"
    assert isinstance(one(worker, ask(RED)).end, Done)
    assert worker.stats[-1].running <= 1
    assert worker.stats[-1].waiting == 0


def test_a_bad_image_is_named_and_leaves_the_worker_alone(kind: Kind) -> None:
    _, worker = kind
    pid = worker.process.pid
    for bad, said in [
        (b"GIF89a\x20\0\x20\0, but not really", "damaged"),
        (RED[:200], "damaged"),
        (b"hello", "no image"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
    ]:
        answer = one(worker, ask(RED, bad))
        assert isinstance(answer.end, Failed), bad
        assert said in answer.end.message
        assert answer.end.field == "messages[0].images[1]"
    assert worker.process.poll() is None
    assert worker.process.pid == pid
    assert isinstance(one(worker, ask(RED)).end, Done)


def test_a_preview_counts_an_image_without_embedding_it(kind: Kind) -> None:
    _, worker = kind
    command = ask(png(77), png(78))
    preview = Preview(next(_ids), command.prompt)
    told = worker.ask(preview)[preview.id].end
    assert isinstance(told, Told)
    assert told.text.count("<image>") == 2
    assert len(told.tokens) == start(one(worker, command)).prompt_tokens
    assert all(token >= 0 or piece == b"" for token, piece in zip(told.tokens, told.pieces, strict=True))


def test_a_conversation_too_long_loses_turns_but_never_half_an_image(kind: Kind) -> None:
    _, worker = kind
    turns: list[Message] = []
    for n in range(30):
        turns += [Message("user", f"turn {n}", images=(png(n),)), Message("assistant", "yes")]
    prompt = ChatPrompt((*turns, Message("user", "and this?", images=(RED,))))
    sampling = SampleOptions(temperature=0.0, num_predict=ANSWER, ignore_eos=True)
    refused = one(worker, Generate(next(_ids), prompt, sampling))
    assert isinstance(refused.end, Failed)
    assert refused.end.code == "context_length_exceeded"
    assert refused.end.tokens is not None
    answer = one(worker, Generate(next(_ids), prompt, sampling, truncate=True))
    assert isinstance(answer.end, Done)
    assert start(answer).truncated_tokens == refused.end.tokens - start(answer).prompt_tokens


def test_text_alone_is_as_ever(kind: Kind) -> None:
    _, worker = kind
    sampling = SampleOptions(temperature=0.0, num_predict=4, ignore_eos=True)
    answer = one(worker, Generate(next(_ids), TextPrompt("<image> is only a word here"), sampling))
    assert isinstance(answer.end, Done)


def test_a_template_that_knows_no_images_is_shown_them_before_the_text(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    model, projector = vision_models.write_pair(tmp_path_factory.mktemp("plain"), "text-like")
    plain = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"
    with started(model, projector, plain) as worker:
        red, blue, none = (one(worker, ask(*images)) for images in ((RED,), (BLUE,), ()))
        assert is_far(scores(red), scores(blue))
        more = start(red).prompt_tokens - start(none).prompt_tokens
        assert TOKENS <= more <= TOKENS + 2  # and a new line


def test_a_projector_of_another_model_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("wrong")
    model, _ = vision_models.write_pair(folder, "text-like")
    (folder / "broken.gguf").write_bytes(b"GGUF")
    worker = WorkerProcess(model, projector=folder / "broken.gguf")
    try:
        assert isinstance(worker.ready, Failed)
        assert worker.ready.code == "load_failed"
        assert "projector" in worker.ready.message
    finally:
        assert worker.close() == 1
