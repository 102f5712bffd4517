"""The dialect of Ollama's clients, byte by byte where they depend on it."""

from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from modelfiles.parse import parse
from registry.digests import Digest, digest_of
from registry.gguf.quantizations import quant_type
from registry.quantize import Quantization
from registry.resolve import Pin, Publication, Wanted
from runner.conversation import Message, ToolCall
from runner.inference.requests import Chat, Complete, Embed, Preview
from tests.api.fakes import HAVE, TEXT, THOUGHT, stored
from tests.api.serving import Served

HI = [{"role": "user", "content": "Hi"}]
COUNTS = {
    "total_duration": 5_000_000,
    "load_duration": 1_000_000,
    "prompt_eval_count": 7,
    "prompt_eval_cached_count": 3,
    "prompt_eval_duration": 2_000_000,
    "eval_count": len(TEXT),
    "eval_duration": 1_500_000,
    "queue_duration": 10_000,
}


def timed(value: dict[str, Any], key: str = "created_at") -> dict[str, Any]:
    """The value without its time, which must be one that strict and old parsers read."""
    text = value.pop(key)
    assert datetime.fromisoformat(text).utcoffset() is not None
    assert text.endswith("+00:00")
    assert len(text.partition(".")[2]) == len("123456+00:00")
    return value


def test_a_chat_at_once(server: Served) -> None:
    reply = server.post("/api/chat", {"model": "demo", "messages": HI, "stream": False})
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    assert timed(reply.json) == {
        "model": "demo",
        "message": {"role": "assistant", "content": "".join(TEXT)},
        "done": True,
        "done_reason": "stop",
        **COUNTS,
    }


def test_a_chat_streams_unless_told_otherwise(server: Served) -> None:
    lines = [timed(line) for line in server.post("/api/chat", {"model": "demo", "messages": HI}).lines]
    assert lines[:-1] == [
        {"model": "demo", "message": {"role": "assistant", "content": text}, "done": False} for text in TEXT
    ]
    assert lines[-1] == {
        "model": "demo",
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "stop",
        **COUNTS,
    }


def test_a_completion_at_once_and_streamed(server: Served) -> None:
    whole = server.post("/api/generate", {"model": "demo", "prompt": "Hi", "stream": False}).json
    context = whole["context"]
    assert timed(whole) == {
        "model": "demo", "response": "".join(TEXT), "done": True, "done_reason": "stop", "context": context, **COUNTS,
    }  # fmt: skip
    lines = [timed(line) for line in server.post("/api/generate", {"model": "demo", "prompt": "Hi"}).lines]
    assert lines[:-1] == [{"model": "demo", "response": text, "done": False} for text in TEXT]
    assert lines[-1] == {
        "model": "demo", "response": "", "done": True, "done_reason": "stop", "context": context, **COUNTS,
    }  # fmt: skip


@pytest.mark.parametrize("top", [None, 0, 2])
@pytest.mark.parametrize("path", ["generate", "chat"])
def test_log_probabilities(server: Served, path: str, top: int | None) -> None:
    """Of every token, the thought's as well; one without text is told with the text it is a part of."""
    asked = {"prompt": "Hi"} if path == "generate" else {"messages": HI}
    body = {"model": "demo", **asked, "think": True, "logprobs": True, "top_logprobs": top}
    whole = server.post(f"/api/{path}", {**body, "stream": False}).json["logprobs"]
    said = bytes(byte for each in whole for byte in each["bytes"]).decode()
    assert said == "".join(THOUGHT) + "".join(TEXT)
    assert whole[0] == {"token": THOUGHT[0], "logprob": -1.0, "bytes": list(THOUGHT[0].encode())}
    others = [{"token": f"<{n}>", "logprob": -0.5 * n, "bytes": list(b"<%d>" % n)} for n in range(1, (top or 0) + 1)]
    data = TEXT[0].encode()
    assert whole[len(THOUGHT)] == {
        "token": data[:2].decode("utf-8", "replace"),
        "logprob": -0.25,
        "bytes": list(data[:2]),
        **({"top_logprobs": others} if others else {}),
    }
    lines = server.post(f"/api/{path}", body).lines
    assert [each for line in lines for each in line.get("logprobs", ())] == whole
    assert "logprobs" not in lines[-1]
    assert len(lines) == len(THOUGHT) + len(TEXT) + 1


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs must be between 0 and 20"),
        ({"logprobs": True, "top_logprobs": -1}, "top_logprobs must be between 0 and 20"),
        ({"top_logprobs": 3}, "top_logprobs needs logprobs to be true"),
        ({"logprobs": "yes"}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 1.5}, "top_logprobs"),
    ],
)
@pytest.mark.parametrize("path", ["generate", "chat"])
def test_log_probabilities_that_cannot_be(server: Served, path: str, extra: dict[str, Any], words: str) -> None:
    reply = server.post(f"/api/{path}", {"model": "demo", "prompt": "Hi", "messages": HI, **extra})
    assert reply.status == 400
    assert words in reply.json["error"]
    assert server.service.seen == []


def test_nobody_gets_log_probabilities_unasked(server: Served) -> None:
    for extra in ({}, {"logprobs": False}, {"logprobs": None, "top_logprobs": 0}):
        reply = server.post("/api/chat", {"model": "demo", "messages": HI, "stream": False, **extra}).json
        assert "logprobs" not in reply
    assert server.service.seen == [Chat("demo", (Message("user", "Hi"),), truncate=True)] * 3


def test_thoughts_come_apart_from_the_answer(server: Served) -> None:
    body = {"model": "demo", "messages": HI, "think": True}
    whole = server.post("/api/chat", {**body, "stream": False}).json["message"]
    assert whole == {"role": "assistant", "content": "".join(TEXT), "thinking": "".join(THOUGHT)}
    lines = server.post("/api/chat", body).lines
    assert [line["message"].get("thinking") for line in lines[:3]] == [*THOUGHT, None]
    lines = server.post("/api/generate", {"model": "demo", "prompt": "Hi", "think": "low"}).lines
    assert [line.get("thinking") for line in lines[:3]] == [*THOUGHT, None]


def test_the_reason_and_what_was_left_out(server: Served) -> None:
    last = server.post("/api/chat", {"model": "cut", "messages": HI}).lines[-1]
    assert last["done_reason"] == "length"
    assert last["truncated_tokens"] == 40


def test_a_chat_as_the_service_sees_it(server: Served) -> None:
    server.post(
        "/api/chat",
        {
            "name": "demo",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "What is this?", "images": ["iVBORw0KGgo=", "data:image/png;base64,iVBO"]},
                {
                    "role": "assistant",
                    "content": None,
                    "thinking": "hm",
                    "tool_calls": [{"id": "1", "function": {"name": "look", "arguments": {"at": 1}}}],
                },
                {"role": "tool", "content": "a cat", "tool_name": "look", "tool_call_id": "1"},
            ],
            "think": "max",
            "options": {"temperature": 0, "num_ctx": 2048},
            "keep_alive": "1m30s",
            "truncate": False,
            "tools": None,
            "format": "",
            "shift": False,
            "unheard_of": {"a": [1]},
        },
    )
    assert server.service.seen == [
        Chat(
            "demo",
            (
                Message("system", "Be brief."),
                Message("user", "What is this?", images=(b"\x89PNG\r\n\x1a\n", b"\x89PN")),
                Message("assistant", "", thinking="hm", tool_calls=(ToolCall("look", {"at": 1}, "1"),)),
                Message("tool", "a cat", tool_name="look", tool_call_id="1"),
            ),
            think="high",
            options={"temperature": 0, "num_ctx": 2048},
            keep_alive=90.0,
            truncate=False,
        )
    ]


def test_a_completion_as_the_service_sees_it(server: Served) -> None:
    server.post("/api/generate", {"model": "demo", "prompt": "a", "suffix": "b", "raw": True, "keep_alive": -1})
    server.post("/api/generate", {"model": "demo", "prompt": "a", "system": "s", "context": [], "template": ""})
    assert server.service.seen == [
        Complete("demo", "a", raw=True, suffix="b", keep_alive=float("inf"), truncate=True),
        Complete("demo", "a", system="s", truncate=True),
    ]


def test_a_completion_may_bring_a_template(server: Served) -> None:
    server.post("/api/generate", {"model": "demo", "prompt": "a", "template": "{{ .Prompt }}"})
    assert server.service.seen == [Complete("demo", "a", template="{{ .Prompt }}", truncate=True)]
    wrong = server.post("/api/generate", {"model": "demo", "prompt": "a", "template": 1})
    assert wrong.status == 400
    assert "template" in wrong.json["error"]


def test_a_prompt_can_be_seen_without_an_answer(server: Served) -> None:
    asked = {"model": "demo", "prompt": "Hi", "_debug_render_only": True}
    assert timed(server.post("/api/generate", asked).json) == {
        "model": "demo",
        "response": "",
        "done": False,
        "_debug_info": {"rendered_template": "Hi", "image_count": 0},
    }
    image = [{"role": "user", "content": "Look", "images": ["iVBORw0KGgo="]}]
    reply = server.post("/api/chat", {"model": "demo", "messages": image, "_debug_render_only": True, "stream": True})
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    assert timed(reply.json) == {
        "model": "demo",
        "message": {"role": "assistant", "content": ""},
        "done": False,
        "_debug_info": {"rendered_template": "user: Look\n", "image_count": 1},
    }
    assert [question.of for question in server.service.seen if isinstance(question, Preview)] == [
        Complete("demo", "Hi", truncate=True),
        Chat("demo", (Message("user", "Look", images=(b"\x89PNG\r\n\x1a\n",)),), truncate=True),
    ]
    failed = server.post("/api/generate", {**asked, "model": "untemplated"})
    assert (failed.status, failed.json["code"]) == (400, "template_error")


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
def test_an_empty_prompt_loads_or_unloads(server: Served, path: str) -> None:
    loaded = server.post(path, {"model": "demo", "options": {"num_ctx": 512}, "keep_alive": 60})
    unloaded = server.post(path, {"model": "demo", "messages": [], "prompt": "", "keep_alive": "0s"})
    content = {"response": ""} if path == "/api/generate" else {"message": {"role": "assistant", "content": ""}}
    for reply, reason in ((loaded, "load"), (unloaded, "unload")):
        assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
        assert timed(reply.json) == {"model": "demo", "done": True, "done_reason": reason, **content}
    assert server.service.loaded == [("demo", {"num_ctx": 512}, 60.0)]
    assert server.service.unloaded == ["demo:latest"]
    assert server.service.seen == []


def test_unloading_an_unknown_model_is_an_error(server: Served) -> None:
    reply = server.post("/api/generate", {"model": "nothing", "keep_alive": 0})
    assert reply.status == 404
    assert "model 'nothing' not found" in reply.json["error"]
    assert server.service.unloaded == []


def test_embeddings(server: Served) -> None:
    reply = server.post("/api/embed", {"model": "embedder", "input": ["a", "b"], "dimensions": 2}).json
    assert reply == {
        "model": "embedder",
        "embeddings": [[0.0, 0.125], [1.0, 1.125]],
        "total_duration": 5_000_000,
        "load_duration": 1_000_000,
        "prompt_eval_count": 10,
    }
    assert server.post("/api/embed", {"model": "embedder", "input": "a", "truncate": False}).json["embeddings"] == [
        [0.0, 0.125, 0.25, 0.375]
    ]
    assert server.post("/api/embeddings", {"model": "embedder", "prompt": "a"}).json == {
        "embedding": [0.0, 0.125, 0.25, 0.375]
    }
    assert server.service.seen == [
        Embed("embedder", ("a", "b"), dimensions=2),
        Embed("embedder", ("a",), truncate=False),
        Embed("embedder", ("a",)),
    ]


@pytest.mark.parametrize("nothing", [None, "", []])
def test_embedding_nothing_loads(server: Served, nothing: object) -> None:
    assert server.post("/api/embed", {"model": "embedder", "input": nothing}).json["embeddings"] == []
    assert server.post("/api/embeddings", {"model": "embedder", "prompt": ""}).json == {"embedding": []}
    assert [name for name, _, _ in server.service.loaded] == ["embedder", "embedder"]


def test_tags(server: Served) -> None:
    models = server.get("/api/tags").json["models"]
    assert [model["name"] for model in models] == ["demo:latest", "embedder:latest", "hf.co/org/repo:Q4_K_M"]
    assert timed(models[0], "modified_at") == {
        "name": "demo:latest",
        "model": "demo:latest",
        "size": 7_654_321,
        "digest": sha256(b"demo:latest").hexdigest(),
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": "llama",
            "families": ["llama"],
            "parameter_size": "4.2M",
            "quantization_level": "Q8_0",
            "context_length": 4096,
            "embedding_length": 256,
        },
        "capabilities": ["completion", "thinking"],
    }


def test_ps_puts_the_longest_stay_first(server: Served) -> None:
    pinned, soon, *_ = server.get("/api/ps").json["models"]
    assert (pinned["name"], pinned["size_vram"]) == ("embedder:latest", 9_000_000)
    assert datetime.fromisoformat(pinned["expires_at"]).year > 2100
    assert soon["details"]["quantization_level"] == "Q8_0"
    del soon["details"]
    assert soon == {
        "name": "demo:latest",
        "model": "demo:latest",
        "size": 9_000_000,
        "digest": "ab" * 32,
        "expires_at": "2030-08-21T10:11:12.130000+00:00",
        "size_vram": 0,
        "context_length": 4096,
        "state": "ready",
        "sequences": 16,
        "running": 2,
        "waiting": 1,
        "status": "ready",
        "queued": 0,
        "estimate": 0.0,
        "progress": 1.0,
        "memory": [{"device": "CPU", "pool": "host", "weights": 8_000_000, "kv": 900_000, "compute": 100_000}],
        "placement": {"devices": [], "gpu_layers": 0, "layers": 5, "words": "all on the CPU"},
        "context_source": "config",
        "kv": {"total": 8192, "used": 700, "busy": 300},
        "decode_rate": 45.68,
        "prefill_rate": 12.0,
        "loaded_at": "2026-08-21T10:11:12.130000+00:00",
        "load_seconds": 0.25,
        "pid": 4711,
        "shared_with": ["pirate:latest"],
        "pinned": False,
    }


def test_ps_tells_of_those_that_are_not_loaded_too(server: Served) -> None:
    told = server.get("/api/ps").json
    rows = {each["name"]: each for each in told["models"]}
    assert rows["embedder:latest"]["placement"]["words"] == "all on CUDA0"
    assert (rows["big:latest"]["state"], rows["big:latest"]["queued"], rows["big:latest"]["pid"]) == ("queued", 3, None)
    assert rows["big:latest"]["details"] is None
    assert rows["bad:latest"]["status"] == "crash loop, again in 12 s"
    assert told["totals"] == {
        "memory": [{"name": "host", "free": 3 * 2**30, "total": 8 * 2**30}],
        "held": {"host": 9_000_000, "CUDA0": 9_000_000},  # what two models share is counted once
        "queued": 3,
        "queue_limit": 512,
        "model_limit": 2,
    }


@pytest.mark.parametrize("key", ["model", "name"])
def test_show(server: Served, key: str) -> None:
    shown = server.post("/api/show", {key: "demo"}).json
    assert timed(shown, "modified_at")["details"]["family"] == "llama"
    assert shown["license"] == "MIT\nand more"
    assert shown["template"] == "{{ messages }}{% if tools %}{% endif %}"
    assert (shown["template_source"], shown["template_reason"]) == ("gguf", "the GGUF's chat template (Jinja)")
    assert shown["system"] == "You are a demo."
    assert shown["messages"] == [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    assert shown["capabilities"] == ["completion", "thinking"]
    assert parse(shown["modelfile"]).system == "You are a demo."
    assert shown["parameters"].split("\n") == [
        "temperature                    0.0",
        "num_ctx                        4096",
        'stop                           "<|im_end|>"',
        'stop                           "\\n\\n"',
    ]
    assert "tensors" not in shown


def test_show_with_other_settings(server: Served) -> None:
    body = {"model": "demo", "system": "Be brief.", "options": {"temperature": 0.5, "stop": ["a", "b"], "seed": None}}
    shown = server.post("/api/show", body).json
    assert shown["system"] == "Be brief."
    assert shown["parameters"].split() == ["temperature", "0.5", "num_ctx", "4096", "stop", '"a"', "stop", '"b"']
    assert parse(shown["modelfile"]).parameters == {"temperature": 0.5, "num_ctx": 4096, "stop": ("a", "b")}
    assert server.post("/api/show", {"model": "demo"}).json["system"] == "You are a demo."
    for options, words in (({"nonsense": 1}, "options.nonsense"), ({"temperature": "hot"}, "options.temperature")):
        refused = server.post("/api/show", {"model": "demo", "options": options})
        assert refused.status == 400
        assert words in refused.json["error"]


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        (None, "{# takes .Suffix #}{{ messages }}{% if tools %}{% endif %}"),
        ("{% for m in messages %}{% endfor %}", "{# takes .Suffix and tools #}{% for m in messages %}{% endfor %}"),
        ("{{ .Prompt }}", "{{/* takes .Suffix and tools */}}{{ .Prompt }}"),
        ("{{ .Suffix }}{{ .Tools }}tools", "{{ .Suffix }}{{ .Tools }}tools"),
    ],
)
def test_a_template_shows_what_clients_look_for(server: Served, template: str | None, shown: str) -> None:
    model = stored("demo", ("completion", "tools", "insert"))
    server.models.stored["demo:latest"] = replace(model, template=template)
    assert server.post("/api/show", {"model": "demo"}).json["template"] == shown


def test_show_says_which_adapters_a_name_means(server: Served) -> None:
    assert "adapters" not in server.post("/api/show", {"model": "demo"}).json
    shown = server.post("/api/show", {"model": "demo+sql"}).json
    assert shown["adapters"] == [{"name": "sql", "scale": 0.5}]
    assert shown["details"]["family"] == "llama"


def test_show_of_a_projector(server: Served) -> None:
    assert "projector_info" not in server.post("/api/show", {"model": "demo"}).json
    server.models.stored["demo:latest"] = replace(stored("demo"), projector=Path("/store/blobs/sha256-projector"))
    assert server.post("/api/show", {"model": "demo"}).json["projector_info"] == {
        "general.architecture": "clip", "clip.has_vision_encoder": True, "clip.vision.image_size": 896,
    }  # fmt: skip


def test_show_gives_long_arrays_only_when_asked(server: Served) -> None:
    brief = server.post("/api/show", {"model": "demo"}).json["model_info"]
    assert brief["tokenizer.ggml.tokens"] == []
    assert brief["tokenizer.ggml.few"] == ["a", "b"]
    assert brief["general.parameter_count"] == 4_200_000
    assert next(key for key in brief if "context_length" in key) == "llama.context_length"
    assert "tokenizer.chat_template" not in brief
    full = server.post("/api/show", {"model": "demo", "verbose": True}).json
    assert full["model_info"]["tokenizer.ggml.tokens"] == list("abcdefg")
    assert full["tensors"] == [{"name": "token_embd.weight", "type": "Q8_0", "shape": [256, 4096]}]


def test_a_broken_model_stands_beside_the_others(server: Served) -> None:
    assert "broken" not in server.get("/api/tags").json
    server.models.spoilt["worn:1b"] = "blob sha256:x isn't there"
    told = server.get("/api/tags").json
    assert told["broken"] == [{"name": "worn:1b", "reason": "blob sha256:x isn't there"}]
    assert "worn:1b" not in [each["name"] for each in told["models"]]


def test_copy_and_delete_report_when_asked(server: Served) -> None:
    asked = {"source": "demo", "destination": "mine", "report": True}
    assert [server.post("/api/copy", asked).json for _ in range(2)] == [{"replaced": False}, {"replaced": True}]
    deleted = server.ask("DELETE", "/api/delete", {"name": "mine", "report": True})
    assert deleted.json == {"freed": 1, "shared": 65_000_000, "from_hub": True}


def test_copy_and_delete(server: Served) -> None:
    copied = server.post("/api/copy", {"source": "demo", "destination": "mine"})
    assert (copied.status, copied.body) == (200, b"")
    deleted = server.ask("DELETE", "/api/delete", {"name": "mine"})
    assert (deleted.status, deleted.body) == (200, b"")
    assert server.models.changes == ["copy demo mine", "remove mine"]
    again = server.ask("DELETE", "/api/delete", {"model": "mine"})
    assert again.status == 404
    assert again.json["error"].startswith("model 'mine' not found")
    assert server.post("/api/copy", {"source": "mine", "destination": "x"}).status == 404
    assert server.post("/api/copy", {"source": "demo", "destination": "a b"}).status == 400


def test_the_version_that_clients_ask_for(server: Served) -> None:
    version = server.get("/api/version").json
    assert version["version"] == "0.33.0"
    assert version["runner"]
    for path in ("/", "/api/version", "/api/tags"):
        head = server.ask("HEAD", path)
        assert (head.status, head.body) == (200, b"")


def test_push(server: Served) -> None:
    digest = "sha256:" + sha256(b"layer").hexdigest()
    assert server.post("/api/push", {"model": "demo", "to": "ghcr.io/a/b"}).lines == [
        {"status": "retrieving manifest"},
        {"status": f"pushing {digest[7:19]}", "digest": digest, "total": 100, "completed": 100},
        {"status": "success"},
    ]
    both = {"name": "hf.co/org/repo:Q4_K_M", "format": "both", "insecure": True, "stream": False}
    assert server.post("/api/push", both).json == {"status": "success"}
    assert server.jobs.pushed == [
        Publication(model="demo:latest", target="ghcr.io/a/b"),
        Publication(model="hf.co/org/repo:Q4_K_M", form="both", insecure=True),
    ]


def test_push_failures(server: Served) -> None:
    assert server.post("/api/push", {"model": "nothing", "to": "ghcr.io/a/b"}).status == 404
    for given, field in (
        ({"format": "tar"}, "format"),
        ({"insecure": "yes"}, "insecure"),
        ({"username": "x"}, "username"),
    ):
        answer = server.post("/api/push", {"model": "demo", **given})
        assert answer.status == 400
        assert field in answer.json["error"]
    assert server.jobs.pushed == []
    assert server.post("/api/push", {"model": "demo", "to": "demo"}).status == 400
    denied = server.post("/api/push", {"model": "demo", "to": "private.example/a/b"})
    assert denied.lines[-1]["code"] == "source_denied"
    assert "docker login" in denied.lines[-1]["error"]


def test_pull(server: Served) -> None:
    digest = "sha256:" + sha256(b"layer").hexdigest()
    step = {"status": f"pulling {digest[7:19]}", "digest": digest, "total": 100}
    assert server.post("/api/pull", {"model": "x", "insecure": False}).lines == [
        {"status": "pulling manifest"},
        {**step, "completed": 0},
        {**step, "completed": 50},
        {**step, "completed": 100},
        {"status": "success"},
    ]
    assert server.post("/api/pull", {"name": "y", "stream": False}).json == {"status": "success"}
    pinned = {"as": "z", "revision": "abc", "digests": {"m.gguf": digest}, "insecure": True, "limit_rate": "1MB"}
    pinned["digest"] = digest
    assert server.post("/api/pull", {"model": "y", "stream": False, **pinned}).json == {"status": "success"}
    pin = Pin("abc", (("m.gguf", digest_of(b"layer")),), digest_of(b"layer"))
    assert server.jobs.pulled == [
        Wanted(reference="x"),
        Wanted(reference="y"),
        Wanted(reference="y", name="z", pin=pin, insecure=True),
    ]
    assert server.jobs.pulled[2].rate == 2**20


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"digests": {"m.gguf": "sha256:" + "0" * 64}}, "revision"),
        ({"revision": "abc", "digests": {"m.gguf": "12"}}, "digests"),
        ({"revision": "abc", "digest": "12"}, "digest"),
        ({"digest": "sha256:" + "0" * 64}, "revision"),
        ({"limit_rate": "fast"}, "limit_rate"),
        ({"insecure": "yes"}, "insecure"),
    ],
)
def test_pulls_that_make_no_sense(server: Served, given: dict[str, Any], field: str) -> None:
    answer = server.post("/api/pull", {"model": "x", **given})
    assert answer.status == 400
    assert field in answer.json["error"]
    assert server.jobs.pulled == []


def test_pull_failures(server: Served) -> None:
    nowhere = server.post("/api/pull", {"model": "nowhere"})
    assert nowhere.status == 404
    assert nowhere.json["error"] == "model 'nowhere' not found"
    halfway = server.post("/api/pull", {"model": "halfway"})
    assert halfway.status == 200
    assert halfway.lines[-1] == {"error": "the connection to huggingface.co was lost", "code": "source_unreachable"}
    assert server.post("/api/pull", {"model": "halfway", "stream": False}).status == 502


def test_blobs(server: Served) -> None:
    known = "sha256:" + sha256(HAVE).hexdigest()
    new = b"x" * 3_000_000
    digest = "sha256:" + sha256(new).hexdigest()
    assert server.ask("HEAD", f"/api/blobs/{known}").status == 200
    assert server.ask("HEAD", f"/api/blobs/{digest}").status == 404
    assert server.post(f"/api/blobs/{digest}", new).status == 201
    assert server.post(f"/api/blobs/{digest}", new).status == 200
    assert server.ask("HEAD", f"/api/blobs/{digest}").status == 200
    wrong = server.post(f"/api/blobs/sha256:{'0' * 64}", b"abc")
    assert wrong.status == 400
    assert "hash mismatch" in wrong.json["error"]


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 65,
        "sha256:" + "A" * 64,
        "sha256-" + "a" * 64,
        "sha256:" + "a" * 64 + "%0A",
        "sha256:..%2F..%2Fetc%2Fpasswd",
        "md5:" + "a" * 32,
    ],
)
def test_a_digest_has_one_form(server: Served, digest: str) -> None:
    assert server.post(f"/api/blobs/{digest}", b"x").status == 400
    assert server.models.changes == []


def test_an_upload_may_be_larger_than_a_body() -> None:
    with Served(max_body=4096) as server:
        data = b"y" * 100_000
        assert server.post("/api/blobs/sha256:" + sha256(data).hexdigest(), data).status == 201


class TestCreate:
    """From a Modelfile's text, or from the fields that newer clients send."""

    def test_from_text(self, server: Served) -> None:
        text = "FROM ./m.gguf\nSYSTEM hi\n"
        lines = server.post("/api/create", {"model": "mine", "modelfile": text, "base": "/home/u"}).lines
        assert lines == [{"status": "writing manifest"}, {"status": "success"}]
        assert server.jobs.created == [("mine", parse(text), Path("/home/u"), {})]

    def test_from_fields(self, server: Served) -> None:
        reply = server.post(
            "/api/create",
            {
                "name": "mine",
                "from": "demo",
                "template": "{{ .Prompt }}",
                "system": "hi",
                "license": ["MIT", "more"],
                "parameters": {"temperature": 0.5, "stop": ["a", "b"], "num_ctx": None},
                "messages": [{"role": "user", "content": "yo"}],
                "stream": False,
                "info": {"context_length": 1},
            },
        )
        assert reply.json == {"status": "success"}
        ((name, modelfile, _, files),) = server.jobs.created
        assert (name, files) == ("mine", {})
        assert modelfile.sources == ("demo",)
        assert (modelfile.template, modelfile.system) == ("{{ .Prompt }}", "hi")
        assert modelfile.licenses == ("MIT", "more")
        assert modelfile.parameters == {"temperature": 0.5, "stop": ("a", "b")}
        assert [(message.role, message.content) for message in modelfile.messages] == [("user", "yo")]

    def test_from_uploaded_files(self, server: Served) -> None:
        digest = "sha256:" + sha256(HAVE).hexdigest()
        body = {
            "model": "m", "files": {"model.gguf": digest}, "adapters": {"lora.gguf": digest},
            "draft_files": {"draft.gguf": digest},
        }  # fmt: skip
        assert server.post("/api/create", body, Forwarded="for=10.0.0.1").status == 200
        ((_, modelfile, base, files),) = server.jobs.created
        assert base is None
        assert (modelfile.sources, modelfile.adapters) == (("model.gguf",), ("lora.gguf",))
        assert modelfile.drafts == ("draft.gguf",)
        assert {path: str(each) for path, each in files.items()} == dict.fromkeys(
            ("model.gguf", "lora.gguf", "draft.gguf"), digest
        )

    @pytest.mark.parametrize("field", ["quantize", "quantization"])
    def test_what_to_quantize_to(self, server: Served, field: str) -> None:
        digest = "sha256:" + "a" * 64
        body = {"model": "m", "from": "demo", field: "q4_K_M", "draft_quantize": "Q8_0", "imatrix": digest}
        assert server.post("/api/create", body).status == 200
        (asked,) = server.jobs.quantizations
        assert asked == Quantization(quant_type("Q4_K_M"), quant_type("Q8_0"), Digest("a" * 64))
        body["imatrix"] = "/home/u/imatrix.gguf"
        assert server.post("/api/create", body, Forwarded="for=10.0.0.1").status == 403
        assert server.post("/api/create", body).status == 200
        assert server.jobs.quantizations[1].imatrix == Path("/home/u/imatrix.gguf")

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ({"modelfile": "FROM demo\nPARAMETER nonsense 1\n"}, "line 2, column 11"),
            ({"modelfile": ""}, "FROM"),
            ({}, "from, files or modelfile is required"),
            ({"modelfile": "FROM demo", "system": "x"}, "system and modelfile exclude each other"),
            ({"from": "demo", "files": {"a": "sha256:" + "0" * 64}}, "from and files exclude each other"),
            ({"files": {"a": "sha256:0"}}, "files['a']"),
            (
                {"files": {"a": "sha256:" + "0" * 64}, "draft_files": {"a": "sha256:" + "1" * 64}},
                "draft_files['a'] has the name of another file",
            ),
            ({"from": "demo", "parameters": {"temperature": "hot"}}, "parameters.temperature: must be a number"),
            ({"from": "demo", "parameters": {"nonsense": 1}}, "parameters.nonsense"),
            ({"from": "demo", "messages": [{"role": "robot", "content": "x"}]}, "messages[0]"),
            ({"from": "demo", "requires": "soon"}, "REQUIRES"),
            ({"from": "demo", "quantize": "Q4_K_X"}, "quantize: unknown quantization 'Q4_K_X'; did you mean Q4_K_"),
            ({"from": "demo", "draft_quantize": "small"}, "draft_quantize: unknown quantization 'small'"),
            ({"from": "demo", "quantize": "q8_0", "quantization": "q4_0"}, "quantization are the same field"),
            ({"from": "demo", "quantize": "IQ2_xs"}, "quantize: IQ2_XS needs an importance matrix"),
            ({"from": "demo", "imatrix": "/m.gguf"}, "imatrix) is for quantizing"),
            ({"from": "demo", "quantize": "q8_0", "imatrix": "m.gguf"}, "imatrix must be an absolute path"),
            ({"from": "demo", "quantize": "q8_0", "imatrix": "sha256:1"}, "imatrix: invalid digest"),
            ({"from": "demo", "license": 1}, "license must be a string or a list of strings"),
            ({"from": "demo", "base": "here"}, "base must be an absolute path"),
            ({"from": "demo", "files": {"x": 1}}, "files[...] must be a string"),
        ],
    )
    def test_refusals(self, server: Served, body: dict[str, Any], words: str) -> None:
        reply = server.post("/api/create", {"model": "mine", **body})
        assert reply.status == 400
        assert words in reply.json["error"]
        assert server.jobs.created == []

    @pytest.mark.parametrize(
        "header",
        [
            {"Origin": "http://localhost:3000"},
            {"X-Forwarded-For": "10.0.0.1"},
            {"Forwarded": "for=10.0.0.1"},
            {"Sec-Fetch-Site": "same-origin"},
        ],
    )
    @pytest.mark.parametrize("source", ["/etc/passwd", "./m.gguf", "../m", "~/m.gguf", "C:\\m.gguf", "m.gguf"])
    def test_only_this_machines_programs_name_paths(self, server: Served, header: dict[str, str], source: str) -> None:
        headers = {"Content-Type": "application/json", **header}
        for body in ({"from": source}, {"modelfile": f"FROM {source}\n"}):
            reply = server.ask("POST", "/api/create", {"model": "mine", **body}, headers)
            assert reply.status == 400
            assert "upload it first" in reply.json["error"]
        assert server.ask("POST", "/api/create", {"model": "mine", "from": "demo"}, headers).status == 200
        assert [base for _, _, base, _ in server.jobs.created] == [None, None, None]
        with_base = server.ask("POST", "/api/create", {"model": "mine", "from": "x.gguf", "base": "/"}, headers)
        assert with_base.status == 403

    def test_a_name_is_never_taken_for_a_file(self, server: Served) -> None:
        server.post("/api/create", {"model": "mine", "from": "tmp"})
        server.post("/api/create", {"model": "mine", "from": "/models/m.gguf"})
        assert [base for _, _, base, _ in server.jobs.created] == [None, Path("/")]
        relative = server.post("/api/create", {"model": "mine", "from": "./m.gguf"})
        assert relative.status == 400
        assert "'m.gguf' is a relative path" in relative.json["error"]


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
@pytest.mark.parametrize("stream", [False, True])
def test_what_was_drafted_is_told_where_something_was(server: Served, path: str, stream: bool) -> None:
    asked = {"stream": stream, "messages": HI} if path == "/api/chat" else {"stream": stream, "prompt": "Hi"}
    for model, expected in (("drafts", (9, 6)), ("demo", (None, None))):
        reply = server.post(path, {"model": model, **asked})
        last = reply.lines[-1] if stream else reply.json
        assert (last.get("draft_count"), last.get("draft_accepted_count")) == expected
