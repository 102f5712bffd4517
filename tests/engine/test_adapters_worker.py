"""Requests with adapters and without, of several models, in one worker: each is answered as if it were alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from modelfiles.embedded import demo_gguf
from runner.conversation import Message
from runner.errors import LoadFailed
from runner.protocol.commands import Adapter, Adapters, ChatPrompt, Embed, Generate, PrefixStore, Prompt, TextPrompt
from runner.protocol.events import Done, Failed, Vectors
from runner.protocol.options import SampleOptions
from tests.engine.worker_process import Answer, WorkerProcess, agree
from tests.llama.test_adapters import write_adapter

QUESTION = ChatPrompt((Message("user", "How do I pull a model?"),))
CODE = TextPrompt("def add(a, b):\n    return a + b\n\ndef sub(a, b):\n    return")
GREEDY = SampleOptions(temperature=0.0, num_predict=24)
_ids = count(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the adapters lie: workers have to be let in there."""
    return tmp_path_factory.mktemp("adapters")


@pytest.fixture(scope="module")
def sets(folder: Path) -> dict[str, Adapters]:
    """Sets of adapters by name: none, two of one each, one at half strength, and both together."""
    one, two = (write_adapter(folder / f"{seed}.gguf", 0.8, seed=seed) for seed in (1, 2))
    return {
        "none": (),
        "one": (Adapter(one),),
        "two": (Adapter(two),),
        "half": (Adapter(one, 0.5),),
        "both": (Adapter(one), Adapter(two)),
    }


@pytest.fixture
def worker(folder: Path) -> Iterator[WorkerProcess]:
    process = WorkerProcess(demo_gguf(), num_parallel=8, readable=folder)
    yield process
    assert process.close() == 0


def ask(adapters: Adapters, prompt: Prompt = QUESTION, sampling: SampleOptions = GREEDY) -> Generate:
    return Generate(next(_ids), prompt, sampling, logprobs=2, adapters=adapters)


def alone(command: Generate, **options: object) -> Answer:
    """What a worker of its own answers."""
    adapters = [Path(each.path).parent for each in command.adapters]
    process = WorkerProcess(demo_gguf(), num_parallel=8, readable=next(iter(adapters), None), **options)  # type: ignore[arg-type]
    (answer,) = process.ask(command).values()
    assert process.close() == 0
    assert isinstance(answer.end, Done)
    return answer


def test_in_a_mix_everybody_says_what_he_would_alone(worker: WorkerProcess, sets: dict[str, Adapters]) -> None:
    wanted = {name: alone(ask(adapters)) for name, adapters in sets.items()}
    assert len({answer.text for answer in wanted.values()}) >= 4  # or the adapters change too little to tell
    commands = {command.id: (name, command) for name in [*sets, *sets, *sets] for command in [ask(sets[name])]}
    answers = worker.ask(*(command for _, command in commands.values()))
    for number, (name, _) in commands.items():
        assert isinstance(answers[number].end, Done)
        assert agree(answers[number].scores[0], wanted[name].scores[0]), name


def test_prefixes_are_those_of_the_same_set(worker: WorkerProcess, sets: dict[str, Adapters]) -> None:
    wanted = {name: alone(ask(adapters, CODE)) for name, adapters in sets.items()}
    cached: dict[str, list[int]] = {name: [] for name in sets}
    for name in [*sets, *sets]:
        (answer,) = worker.ask(ask(sets[name], CODE)).values()
        assert agree(answer.scores[0], wanted[name].scores[0]), name
        assert answer.started is not None
        cached[name].append(answer.started.cached_tokens)
    size = answer.started.prompt_tokens if answer.started else 0
    assert cached == {name: [0, size - 1] for name in sets}


def test_saved_states_are_those_of_the_same_set(tmp_path: Path, folder: Path, sets: dict[str, Adapters]) -> None:
    store = PrefixStore(ram=1 << 26, disk=1 << 26, root=str(tmp_path), model="demo")
    long = TextPrompt("def add(a, b):\n    return a + b\n" * 12)
    texts: dict[str, set[str]] = {name: set() for name in sets}
    for found in (0, 1):  # the second worker has files of the first one
        process = WorkerProcess(
            demo_gguf(), num_parallel=1, prefixes=store, readable=folder
        )  # one sequence: each drives out the other
        for name, adapters in sets.items():
            (answer,) = process.ask(ask(adapters, long)).values()
            assert answer.started is not None
            assert answer.started.cached_tokens == found * (answer.started.prompt_tokens - 1), (name, found)
            texts[name].add(answer.text)
        assert process.close() == 0
    assert all(len(said) == 1 for said in texts.values())


def test_vectors_too(worker: WorkerProcess, sets: dict[str, Adapters]) -> None:
    def read(end: object) -> npt.NDArray[np.float32]:
        assert isinstance(end, Vectors), end
        return np.frombuffer(end.data, "<f4").reshape(end.count, end.width)

    texts = ("pull a model", "list the models", "a short one")
    commands = [Embed(next(_ids), texts, adapters=sets[name]) for name in ("none", "one", "none", "two", "one")]
    none, one, again, two, one_again = (read(each.end) for each in worker.ask(*commands).values())
    assert np.allclose(none, again, atol=1e-3)
    assert np.allclose(one, one_again, atol=1e-3)
    assert not np.allclose(none, one, atol=1e-2)
    assert not np.allclose(two, one, atol=1e-2)


def test_a_file_that_is_none_fails_its_request_and_nobody_else(
    worker: WorkerProcess, sets: dict[str, Adapters], tmp_path: Path
) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF")
    wrong = write_adapter(tmp_path / "wrong.gguf", 1.0, width=64)
    wanted = alone(ask(()))
    bad = [ask((Adapter(str(path)),)) for path in (tmp_path / "bad.gguf", wrong, tmp_path / "absent.gguf")]
    embed = Embed(next(_ids), ("hi",), adapters=bad[0].adapters)
    good = ask(())
    answers = worker.ask(bad[0], good, *bad[1:], embed)
    for command in (*bad, embed):
        end = answers[command.id].end
        assert isinstance(end, Failed)
        assert end.code == LoadFailed.code
    assert agree(answers[good.id].scores[0], wanted.scores[0])
    (after,) = worker.ask(ask(())).values()
    assert agree(after.scores[0], wanted.scores[0])


def test_models_with_other_templates_share_a_worker(worker: WorkerProcess) -> None:
    plain = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
    go = "{{ .System }}Q: {{ .Prompt }}\nA:"
    broken = "{% for %}"
    usual = [None, plain, go, None, plain, go]
    prompts = [ChatPrompt(QUESTION.messages, usual=text) for text in usual]
    wanted = [alone(ask((), QUESTION), template=text) for text in usual[:3]]
    assert len({answer.text for answer in wanted}) == 3
    answers = worker.ask(*(ask((), prompt) for prompt in prompts), ask((), ChatPrompt(QUESTION.messages, usual=broken)))
    *whole, last = answers.values()
    for place, answer in enumerate(whole):
        assert agree(answer.scores[0], wanted[place % 3].scores[0])
    assert isinstance(last.end, Failed)
    assert last.end.code == "template_error"
    assert whole[0].started is not None
    assert whole[0].started.thinking is not None
    assert whole[1].started is not None
    assert whole[1].started.thinking is None
