"""Runner's own endpoints that look at models before they are here."""

from __future__ import annotations

import pytest

from registry.resolve import Pin, Wanted
from tests.api.serving import Served


def test_look(server: Served) -> None:
    reply = server.post("/runner/look", {"model": "hf.co/org/repo", "as": "mine", "revision": "abc", "insecure": True})
    assert server.discovery.looked == [Wanted(reference="hf.co/org/repo", name="mine", pin=Pin("abc"), insecure=True)]
    found = reply.json
    assert (found["name"], found["supported"], found["fetch"], found["free"]) == ("mine", True, 60, 10**9)
    assert found["sampling"] == {"temperature": 0.6, "stop": ["a", "b"]}
    assert found["builds"][0]["fits"] == {"verdict": "tight", "needs": 150, "context": 4096, "why": "takes 150 B"}
    assert found["builds"][1]["fits"] is None
    assert found["files"] == [
        {"title": "demo-Q4_K_M.gguf", "role": "weights", "size": 100, "place": "partial", "missing": 60}
    ]


def test_a_model_that_cannot_run_is_an_answer(server: Served) -> None:
    found = server.post("/runner/look", {"model": "quux"}).json
    assert (found["supported"], found["architecture"]) == (False, "quux9")
    assert "quux9" in found["problem"]


def test_what_is_not_there_is_an_error(server: Served) -> None:
    reply = server.post("/runner/look", {"model": "nowhere"})
    assert (reply.status, reply.json["code"]) == (404, "model_not_found")
    reply = server.post("/runner/look", {})
    assert reply.status == 400
    assert "model" in reply.json["error"]


def test_search(server: Served) -> None:
    reply = server.post("/runner/search", {"text": "demo", "limit": 5})
    assert server.discovery.searched == [("demo", 5, True)]
    (entry,), (repository,) = reply.json["catalog"], reply.json["hub"]
    assert (entry["name"], entry["aliases"], entry["tags"][0]["stored"]) == ("demo", ["wee"], True)
    assert entry["tags"][0]["fits"]["verdict"] == "yes"
    assert (repository["model"], repository["gated"], repository["supported"]) == ("hf.co/org/Demo-GGUF", True, True)
    assert repository["modified"].startswith("2026-08-21T10:11:12")
    assert server.post("/runner/search", {"text": "x", "hub": False}).json["hub"] == []
    assert server.post("/runner/search", {"text": "offline"}).json["note"] == "nobody answers"
    assert server.post("/runner/search", {}).status == 200
    assert server.discovery.searched[-1] == ("", 20, True)


@pytest.mark.parametrize(
    ("body", "field"), [({"limit": 0}, "limit"), ({"limit": 101}, "limit"), ({"text": "x" * 201}, "text")]
)
def test_bounds_of_a_search(server: Served, body: dict[str, object], field: str) -> None:
    reply = server.post("/runner/search", body)
    assert reply.status == 400
    assert field in reply.json["error"]
    assert server.discovery.searched == []
