"""Models on the same weights share one worker, whatever their Modelfiles say, and a request may name its adapters."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import openai
import pytest

from modelfiles.embedded import demo_gguf
from tests.benchmarks.daemon import Daemon
from tests.llama.test_adapters import write_adapter

HI = [{"role": "user", "content": "How do I pull a model?"}]
GREEDY: dict[str, Any] = {"temperature": 0, "num_predict": 16}
NEAR_TIE = 0.05  # of log-probability
PIRATE = "SYSTEM You are a pirate.\nPARAMETER temperature 0\nPARAMETER stop downloads\n"
PLAIN = 'TEMPLATE """{% for m in messages %}{{ m.content }}\n{% endfor %}"""\nPARAMETER stop "."\n'


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with the demo, two models with an adapter on it, and two that only say other things."""
    home = tmp_path_factory.mktemp("tuned")
    with Daemon(home / "home", log_level="info") as running:
        for seed, name in enumerate(("sql", "law"), start=1):
            path = write_adapter(home / f"{name}.gguf", 0.8, seed=seed)
            running.create(name, demo_gguf(), f"FROM {{path}}\nADAPTER {path}\n")
        running.create("pirate", demo_gguf(), f"FROM {{path}}\n{PIRATE}")
        running.create("plain", demo_gguf(), f"FROM {{path}}\n{PLAIN.replace('{', '{{').replace('}', '}}')}")
        yield running


def chat(daemon: Daemon, model: str, **more: Any) -> Any:
    answer = daemon.post("/api/chat", {"model": model, "messages": HI, "stream": False, "options": GREEDY, **more})
    return answer["message"]["content"] if isinstance(answer, dict) else answer


MODELS = ("demo", "sql", "law", "pirate", "plain", "demo:sql")


Scored = list[tuple[str, float]]


def scored(daemon: Daemon, model: str) -> Scored:
    """The tokens of a greedy answer, each with how much likelier it was than the next best."""
    body = {"model": model, "messages": HI, "temperature": 0, "max_tokens": 16, "logprobs": True, "top_logprobs": 2}
    tokens = daemon.post("/v1/chat/completions", body)["choices"][0]["logprobs"]["content"]
    tops = [[each["logprob"] for each in token["top_logprobs"]] for token in tokens]
    return [(token["token"], top[0] - top[1]) for token, top in zip(tokens, tops, strict=True)]


def agree(one: Scored, other: Scored) -> bool:
    """Whether two answers are the same, up to the first near tie: the company in a batch changes the last digits."""
    for (mine, gap), (theirs, _) in zip(one, other, strict=False):
        if mine != theirs:
            return gap < NEAR_TIE
    return len(one) == len(other)


def test_they_share_a_worker_and_answer_as_from_one_of_their_own(tuned: Daemon) -> None:
    alone: dict[str, Scored] = {}
    for model in MODELS:
        alone[model] = scored(tuned, model)
        gone = tuned.workers()
        for resident in tuned.get("/api/ps")["models"]:
            tuned.post("/api/generate", {"model": resident["name"], "keep_alive": 0, "stream": False})
        for worker in gone:
            worker.wait(timeout=30)
    said = {model: "".join(token for token, _ in tokens) for model, tokens in alone.items()}
    assert len(set(said.values())) == len(MODELS) - 1
    assert said["demo:sql"] == said["sql"]
    loads = tuned.log.read_text().count("loading ")
    mixed = [model for _ in range(4) for model in MODELS]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda model: (model, scored(tuned, model)), mixed))
    for model, answer in answers:
        assert agree(answer, alone[model]), model
    assert len(tuned.workers()) == 1
    assert tuned.log.read_text().count("loading ") == loads + 1


def test_a_model_and_an_adapter_are_asked_for_like_any_other(tuned: Daemon) -> None:
    thinking = {"type": "adaptive"}
    body = {"model": "demo:sql", "messages": HI, "max_tokens": 8, "thinking": thinking}
    assert tuned.post("/v1/messages", body)["model"] == "demo:sql"
    assert tuned.post("/tokenize", {"model": "demo:sql", "prompt": "Hi"})["count"] > 0
    assert tuned.get("/v1/models/demo:sql")["id"] == "demo:sql"
    assert tuned.post("/api/generate", {"model": "demo:sql", "stream": False})["done_reason"] == "load"
    sql = [{"name": "sql:latest", "scale": 1.0}]
    assert tuned.post("/api/show", {"model": "demo:sql"})["adapters"] == sql
    assert tuned.post("/runner/why", {"model": "demo:sql"})["adapters"] == sql
    status, _ = tuned.post("/api/chat", {"model": "demo:gone", "messages": HI})
    assert status == 404


def test_a_request_names_its_adapters(tuned: Daemon) -> None:
    names = ("demo", "sql", "law")
    demo, sql, law = (chat(tuned, name) for name in names)
    assert len({demo, sql, law}) == 3
    assert chat(tuned, "demo", lora=[{"name": "sql"}]) == sql
    assert chat(tuned, "sql", lora=[{"name": "law", "scale": 1.0}]) == law
    assert chat(tuned, "sql", lora=[]) == chat(tuned, "sql", lora=[{"id": 0, "scale": 0}]) == demo
    assert chat(tuned, "pirate", lora=[{"name": "sql"}]) != chat(tuned, "pirate")
    assert len(tuned.workers()) == 1


def test_by_openais_client_as_with_vllm(tuned: Daemon) -> None:
    with openai.OpenAI(base_url=f"{tuned.url}/v1", api_key="none") as client:

        def said(model: str, **extra: Any) -> str | None:
            answer = client.chat.completions.create(
                model=model,
                messages=HI,
                temperature=0,
                max_tokens=16,
                extra_body=extra,  # type: ignore[arg-type]
            )
            assert answer.model == model
            return answer.choices[0].message.content

        assert said("sql") == said("demo:sql") == said("demo", lora=[{"name": "sql"}]) == chat(tuned, "sql")
        assert said("demo") == chat(tuned, "demo")
        parents = {each.id: getattr(each, "parent", None) for each in client.models.list()}
        assert parents["law:latest"] in ("demo:latest", "pirate:latest", "plain:latest")
        assert parents["demo:latest"] is None
        one, two = (
            client.embeddings.create(model=name, input="pull a model", encoding_format="float").data[0].embedding
            for name in ("demo", "demo:sql")
        )
        assert not np.allclose(one, two, atol=1e-3)


@pytest.mark.parametrize(
    ("lora", "field"),
    [
        ([{"name": "gone"}], "lora[0].name"),
        ([{"name": "demo"}], "lora[0].name"),
        ([{"name": "sql", "scale": 1e9}], "lora[0].scale"),
        ([{"name": "sql"}, {"name": "sql"}], "lora[1]"),
        ([{"id": 0}], "lora[0].id"),
        ([{"name": "sql"}] * 9, "lora"),
    ],
)
def test_what_cannot_be_is_the_requests_mistake(tuned: Daemon, lora: Any, field: str) -> None:
    chat(tuned, "demo")
    (worker,) = tuned.workers()
    status, body = tuned.post("/v1/chat/completions", {"model": "demo", "messages": HI, "lora": lora})
    assert (status, body["error"]["param"]) == (400, field)
    assert tuned.workers() == [worker]


def test_an_adapter_of_other_weights_does_not_go_with_it(tuned: Daemon, tmp_path: Path) -> None:
    small = smaller_demo(tmp_path / "small.gguf")
    tuned.create("small", small)
    status, body = tuned.post("/v1/chat/completions", {"model": "small", "messages": HI, "lora": [{"name": "sql"}]})
    assert (status, body["error"]["param"]) == (400, "lora[0].name")
    assert "blk.3.attn_q.weight" in body["error"]["message"]
    status, body = tuned.post("/v1/chat/completions", {"model": "small:sql", "messages": HI})
    assert (status, body["error"]["param"]) == (400, "model")


def smaller_demo(path: Path) -> Path:
    """The demo without its last layer."""
    reader = gguf.GGUFReader(demo_gguf())
    writer = gguf.GGUFWriter(path, "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        value = field.contents()
        if field.name == "llama.block_count":
            value -= 1
        kind = field.types[0]
        writer.add_key_value(field.name, value, kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    for tensor in reader.tensors:
        if not tensor.name.startswith("blk.3."):
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
