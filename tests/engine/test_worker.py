"""The worker process with the real demo model: what the daemon relies on.

What llama.cpp promises about repeatability: the same batch gives the same logits, but a sum is taken in another order
when the batch has another shape. So greedy text is the same alone and in a crowd except where the two best tokens are
within 0.05 of log-probability; the prompts used here have no such near tie on this model.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from itertools import count, pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest

from modelfiles.embedded import demo_gguf
from runner.conversation import Message
from runner.protocol.commands import (
    Cancel,
    ChatPrompt,
    Embed,
    Generate,
    InfillPrompt,
    Prompt,
    TextPrompt,
    TokenPrompt,
)
from runner.protocol.events import Done, Failed, Ready, Started, Stats, Text, Vectors
from runner.protocol.options import SampleOptions
from tests.engine.worker_process import WorkerProcess

GREEDY = SampleOptions(temperature=0.0)
QUESTIONS = [
    "How do I pull a model?",
    "How do I list my models?",
    "How do I remove a model?",
    "Which address does the server use?",
    "How do I stop a model?",
    "What is Runner?",
]
_ids = count(1)


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerProcess]:
    process = WorkerProcess(demo_gguf(), num_ctx=1024, num_parallel=17)
    yield process
    assert process.close() == 0


def chat(text: str) -> ChatPrompt:
    return ChatPrompt((Message("user", text),))


def generate(prompt: Prompt, sampling: SampleOptions = GREEDY, **fields: object) -> Generate:
    return msgspec.structs.replace(Generate(next(_ids), prompt, sampling), **fields)


def sampling(**options: object) -> SampleOptions:
    return msgspec.structs.replace(GREEDY, **options)


def one(worker: WorkerProcess, command: Generate) -> tuple[str, Done]:
    answer = worker.ask(command)[command.id]
    assert isinstance(answer.end, Done), answer.end
    return answer.text, answer.end


def failure(worker: WorkerProcess, command: Generate | Embed) -> Failed:
    end = worker.ask(command)[command.id].end
    assert isinstance(end, Failed), end
    return end


def test_ready_says_what_was_loaded(worker: WorkerProcess) -> None:
    ready = worker.ready
    assert isinstance(ready, Ready)
    assert ready.context_length == 1024
    assert ready.sequences == 17
    assert ready.has_template
    assert sum(ready.weights_bytes.values()) > 1_000_000
    assert sum(ready.kv_bytes.values()) > 1_000_000
    assert sum(ready.compute_bytes.values()) > 0


def test_answers_a_question(worker: WorkerProcess) -> None:
    text, done = one(worker, generate(chat("How do I pull a model?")))
    assert "runner pull" in text
    assert done.reason == "stop"
    assert done.usage.prompt_tokens > 5
    assert done.usage.completion_tokens > 5


def test_greedy_text_is_the_same_alone_and_among_sixteen_others(worker: WorkerProcess) -> None:
    alone = [one(worker, generate(chat(question)))[0] for question in QUESTIONS]
    crowd = [generate(chat(QUESTIONS[index % len(QUESTIONS)])) for index in range(17)]
    answers = worker.ask(*crowd)
    for index, command in enumerate(crowd):
        assert answers[command.id].text == alone[index % len(QUESTIONS)]


def test_many_sequences_are_decoded_together(worker: WorkerProcess) -> None:
    """Two long answers interleave: neither waits for the other to end."""
    first, second = (generate(chat(q), sampling(num_predict=200, ignore_eos=True)) for q in QUESTIONS[:2])
    worker.send(first, second)
    order: list[int] = []
    ended: set[int] = set()
    while len(ended) < 2:
        event = next(worker.events())
        if isinstance(event, Text):
            order.append(event.id)
        elif isinstance(event, Done):
            ended.add(event.id)
    switches = sum(one != other for one, other in pairwise(order))
    assert switches > 50


def test_streamed_tokens_add_up_to_usage(worker: WorkerProcess) -> None:
    command = generate(chat(QUESTIONS[0]))
    worker.send(command)
    tokens = 0
    while not isinstance(event := next(worker.events()), Done):
        if isinstance(event, Text):
            tokens += event.tokens
    assert tokens == event.usage.completion_tokens


def test_the_next_turn_reuses_the_prefix_and_says_the_same(worker: WorkerProcess) -> None:
    turns = (Message("user", QUESTIONS[0]), Message("assistant", "With `runner pull`."), Message("user", QUESTIONS[1]))
    first = worker.ask(cold := generate(ChatPrompt(turns)))[cold.id]
    again = worker.ask(warm := generate(ChatPrompt(turns)))[warm.id]
    assert isinstance(again.end, Done)
    assert again.end.usage.cached_tokens == again.end.usage.prompt_tokens - 1
    assert again.text == first.text


@pytest.mark.parametrize("stop", ["runner pull", "er p", "`", "runner pull qwen"])
def test_stop_strings_end_the_answer_before_them(worker: WorkerProcess, stop: str) -> None:
    whole, _ = one(worker, generate(chat(QUESTIONS[0])))
    text, done = one(worker, generate(chat(QUESTIONS[0]), sampling(stop=("never said", stop))))
    if stop in whole:
        assert (text, done.reason, done.stop) == (whole[: whole.index(stop)], "stop", stop)
    else:
        assert (text, done.stop) == (whole, None)


@pytest.mark.parametrize("wanted", [0, 1, 7])
def test_num_predict_bounds_the_answer(worker: WorkerProcess, wanted: int) -> None:
    _, done = one(worker, generate(chat(QUESTIONS[0]), sampling(num_predict=wanted)))
    assert (done.reason, done.usage.completion_tokens) == ("length", wanted)


def test_min_tokens_and_ignore_eos_outlast_the_end(worker: WorkerProcess) -> None:
    _, short = one(worker, generate(chat(QUESTIONS[0])))
    least = short.usage.completion_tokens + 10
    _, done = one(worker, generate(chat(QUESTIONS[0]), sampling(min_tokens=least)))
    assert done.usage.completion_tokens >= least
    _, done = one(worker, generate(chat(QUESTIONS[0]), sampling(ignore_eos=True, num_predict=least)))
    assert (done.reason, done.usage.completion_tokens) == ("length", least)


def test_the_context_ends_the_answer(worker: WorkerProcess) -> None:
    command = generate(chat(QUESTIONS[0]), sampling(ignore_eos=True), context_length=64)
    _, done = one(worker, command)
    assert done.reason == "length"
    assert done.usage.prompt_tokens + done.usage.completion_tokens == 64


def test_an_overlong_prompt_is_refused_with_both_numbers(worker: WorkerProcess) -> None:
    end = failure(worker, generate(TextPrompt("a b c d e " * 2000)))
    assert end.code == "context_length_exceeded"
    assert end.tokens is not None
    assert end.tokens > 1024 == end.limit
    assert str(end.tokens) in end.message


def test_truncation_keeps_the_last_turn_and_reports_the_loss(worker: WorkerProcess) -> None:
    old = [Message("user" if index % 2 == 0 else "assistant", "many words " * 40) for index in range(20)]
    messages = (Message("system", "You are Runner."), *old, Message("user", QUESTIONS[0]))
    text, done = one(worker, generate(ChatPrompt(messages), sampling(num_predict=40), truncate=True))
    assert text
    assert done.usage.truncated_tokens > 0
    assert done.usage.prompt_tokens < 1024
    _, done = one(worker, generate(TextPrompt("a b c d e " * 2000), sampling(num_predict=4), truncate=True))
    assert done.usage.truncated_tokens > 0
    assert done.usage.completion_tokens == 4


def test_the_same_seed_gives_the_same_text(worker: WorkerProcess) -> None:
    def drawn(seed: int) -> str:
        return one(worker, generate(TextPrompt("def "), sampling(temperature=1.5, seed=seed, num_predict=40)))[0]

    assert drawn(1) == drawn(1)
    assert len({drawn(seed) for seed in range(4)}) > 1


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 1},
        {"top_k": 40, "top_p": 0.5, "min_p": 0.1},
        {"typical_p": 0.5},
        {"top_n_sigma": 1.0},
        {"xtc_probability": 1.0, "xtc_threshold": 0.05},
        {"mirostat": 1},
        {"mirostat": 2, "mirostat_tau": 2.0},
        {"dry_multiplier": 0.8},
        {"repeat_penalty": 1.3, "repeat_last_n": -1, "presence_penalty": 0.5, "frequency_penalty": 0.5},
        {"logit_bias": {5: 2.0}},
    ],
)
def test_every_sampler_works_and_is_reproducible(worker: WorkerProcess, options: dict[str, object]) -> None:
    given = sampling(temperature=0.9, seed=7, num_predict=24, **options)
    texts = {one(worker, generate(TextPrompt("def main("), given))[0] for _ in range(2)}
    assert len(texts) == 1


def test_samplers_change_the_choice(worker: WorkerProcess) -> None:
    plain, _ = one(worker, generate(chat(QUESTIONS[0]), sampling(num_predict=30)))
    greedy, _ = one(worker, generate(chat(QUESTIONS[0]), sampling(num_predict=30, temperature=1.0, top_k=1)))
    assert greedy == plain
    penalised, _ = one(worker, generate(chat(QUESTIONS[0]), sampling(num_predict=30, repeat_penalty=50.0)))
    assert penalised != plain
    _, banned = one(worker, generate(TokenPrompt((5, 6)), sampling(num_predict=8, logit_bias={9: 1e9})))
    assert banned.usage.completion_tokens == 8


def test_infill_continues_between_prefix_and_suffix(worker: WorkerProcess) -> None:
    text, done = one(worker, generate(InfillPrompt("def add(a, b):\n    ", "\n"), sampling(num_predict=20)))
    assert done.reason in {"stop", "length"}
    assert text


def test_bad_requests_are_named_and_leave_the_worker_alone(worker: WorkerProcess) -> None:
    pid = worker.process.pid
    assert failure(worker, generate(TokenPrompt((10**9,)))).field == "prompt"
    assert failure(worker, generate(TokenPrompt(()))).code == "invalid_request_error"
    assert failure(worker, generate(chat("x"), sampling(logit_bias={-1: 1.0}))).field == "logit_bias"
    picture = ChatPrompt((Message("user", "what is it?", images=(b"png",)),))
    assert failure(worker, generate(picture)).code == "unsupported_feature"
    assert failure(worker, Embed(next(_ids), ("fine", ()))).field == "input[1]"
    assert worker.process.pid == pid
    assert one(worker, generate(chat(QUESTIONS[0])))[0]


def test_a_template_that_cannot_be_rendered_fails_the_chat_only() -> None:
    broken = WorkerProcess(demo_gguf(), template="{% if %}")
    try:
        end = failure(broken, generate(chat("hello")))
        assert end.code == "template_error"
        assert "line 1" in end.message
        assert one(broken, generate(TextPrompt("hello"), sampling(num_predict=4)))[1].usage.completion_tokens == 4
    finally:
        assert broken.close() == 0


def test_cancel_ends_a_request_at_any_stage(worker: WorkerProcess) -> None:
    endless = sampling(ignore_eos=True)
    running = generate(chat("one"), endless)
    worker.send(running)
    while not isinstance(next(worker.events()), Text):
        pass
    waiting = generate(chat("two"), endless)
    worker.send(waiting, Cancel(waiting.id), Cancel(running.id), Cancel(running.id), Cancel(10**6))
    answers = worker.answers([running.id, waiting.id])
    for command in (running, waiting):
        end = answers[command.id].end
        assert isinstance(end, Done)
        assert end.reason == "cancelled"
    assert one(worker, generate(chat(QUESTIONS[0])))[1].reason == "stop"


def test_a_crowd_larger_than_the_cells_loses_nobody() -> None:
    """Eight answers of some 85 tokens share 256 cells: the newest are preempted, come back, and say the same."""
    questions = ["Which commands are there?", "List all commands", "What commands does runner have?"]
    texts: list[list[str]] = []
    preemptions = []
    for cells in (0, 256):
        process = WorkerProcess(demo_gguf(), num_ctx=256, num_parallel=8, cells=cells)
        prompts = [ChatPrompt((Message("user", questions[index % 3]),), think=True) for index in range(8)]
        commands = [generate(prompt) for prompt in prompts]
        answers = process.ask(*commands)
        texts.append([answers[command.id].text for command in commands])
        preemptions.append(next(e for e in process.events() if isinstance(e, Stats)).preemptions)
        assert process.close() == 0
        assert all(isinstance(answer.end, Done) for answer in answers.values())
    assert preemptions[0] == 0 < preemptions[1]
    assert texts[0] == texts[1]


def test_embeddings_come_in_order_and_alike_in_any_company(worker: WorkerProcess) -> None:
    words = [f"input number {index}" for index in range(50)]
    together = worker.ask(command := Embed(next(_ids), tuple(words)))[command.id].end
    assert isinstance(together, Vectors)
    assert (together.count, together.width) == (50, 256)
    alone = worker.ask(command := Embed(next(_ids), (words[7],)))[command.id].end
    assert isinstance(alone, Vectors)
    crowd = np.frombuffer(together.data, "<f4").reshape(50, 256)
    single = np.frombuffer(alone.data, "<f4")
    likeness = crowd @ single / (np.linalg.norm(crowd, axis=1) * np.linalg.norm(single))
    assert likeness[7] > 0.999
    assert int(np.argmax(likeness)) == 7


@pytest.mark.parametrize(("context", "sequences"), [(100, 17), (512, 3), (7, 64)])
def test_embeddings_with_any_number_of_sequences(context: int, sequences: int) -> None:
    process = WorkerProcess(demo_gguf(), num_ctx=context, num_parallel=sequences)
    end = process.ask(command := Embed(next(_ids), ("one", "two", "three")))[command.id].end
    assert isinstance(end, Vectors)
    assert end.count == 3
    assert process.close() == 0


def test_a_refused_load_says_why(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(demo_gguf().read_bytes()[:100_000])
    worker = WorkerProcess(path)
    assert isinstance(worker.ready, Failed)
    assert (worker.ready.id, worker.ready.code) == (None, "load_failed")
    assert "load" in worker.ready.message
    assert worker.close() == 1


def test_the_worker_ends_with_the_daemon() -> None:
    worker = WorkerProcess(demo_gguf())
    worker.send(generate(chat("endless"), sampling(ignore_eos=True)))
    while not isinstance(next(worker.events()), Started):
        pass
    assert worker.process.stdin is not None
    worker.process.stdin.close()
    assert worker.process.wait(timeout=30) == 0
    worker.process.stdin = None
    worker.close()


def test_the_worker_ends_when_it_is_sent_nonsense() -> None:
    worker = WorkerProcess(demo_gguf())
    worker.send(generate(chat("endless"), sampling(ignore_eos=True)))
    assert worker.process.stdin is not None
    worker.process.stdin.write(b"\x00\x00\x00\x04nope")
    assert worker.process.wait(timeout=30) == 1
    worker.close()


def test_ctrl_c_is_left_to_the_daemon(worker: WorkerProcess) -> None:
    worker.process.send_signal(signal.SIGINT)
    assert one(worker, generate(chat(QUESTIONS[0])))[1].reason == "stop"
