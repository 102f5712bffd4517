"""/runner/adopt on the wire: who may ask, what is asked for, and what the answers look like."""

import pytest

from tests.api.fakes import FOUND
from tests.api.serving import Served


def test_without_models_it_lists(server: Served) -> None:
    reply = server.post("/runner/adopt", {})
    assert reply.status == 200
    assert reply.json["left_out"] == [{"what": "library/cloud/latest", "reason": "no weights"}]
    assert reply.json["looked_at"] == ["/theirs"]
    [model] = reply.json["models"]
    assert (model["name"], model["owner"], model["known_as"]) == (
        "ollama.com/library/tiny:latest", "Ollama", ["tiny:latest"],
    )  # fmt: skip
    assert (model["state"], model["total"], model["completed"]) == ("adopting", 100, 43)
    assert model["files"] == [
        {"title": "tiny.gguf", "path": "/theirs/blobs/sha256-x", "size": 100, "digest": str(FOUND.files[0].digest)}
    ]
    server.post("/runner/adopt", {"from": "/models"})
    assert server.adoptions.looked == [None, "/models"]


def test_adopting_streams_its_progress(server: Served) -> None:
    reply = server.post("/runner/adopt", {"from": "ollama", "models": ["tiny"]})
    assert reply.lines == [
        {"status": "hashing tiny.gguf", "total": 100, "completed": 0},
        {"status": "hashing tiny.gguf", "total": 100, "completed": 100},
        {"status": "success", "models": ["ollama.com/library/tiny:latest"]},
    ]
    whole = server.post("/runner/adopt", {"from": "/models", "all": True, "stream": False}).json
    assert (whole["status"], whole["models"][0]["state"]) == ("success", "here")
    assert server.adoptions.chosen == [("ollama", ("tiny",), False), ("/models", (), True)]


def test_detached_it_goes_on_behind_the_answer(server: Served) -> None:
    reply = server.post("/runner/adopt", {"from": "ollama", "models": ["tiny"], "detach": True})
    assert (reply.status, reply.json["status"]) == (200, "adopting")
    assert server.adoptions.started == [(FOUND,)]


def test_under_another_name(server: Served) -> None:
    reply = server.post("/runner/adopt", {"from": "ollama", "models": ["tiny"], "as": "small", "detach": True})
    assert [each["name"] for each in reply.json["models"]] == ["small:latest"]
    [[started]] = server.adoptions.started
    assert (str(started.name), started.files) == ("small:latest", FOUND.files)
    several = server.post("/runner/adopt", {"from": "/models", "models": ["nowhere"], "as": "small"})
    assert (several.status, "2 are meant" in several.json["error"]) == (400, True)
    bad = server.post("/runner/adopt", {"from": "ollama", "models": ["tiny"], "as": "../x"})
    assert (bad.status, "as: " in bad.json["error"]) == (400, True)


def test_failures(server: Served) -> None:
    assert server.post("/runner/adopt", {"from": "ollama", "models": ["missing"]}).status == 404
    lines = server.post("/runner/adopt", {"from": "ollama", "models": ["nowhere"]}).lines
    assert "it changed while it was being read" in lines[-1]["error"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"models": ["tiny"]}, "from"),
        ({"all": True}, "from"),
        ({"from": "gpt4all"}, "from"),
        ({"from": "./models"}, "from"),
        ({"from": "/mod\0els"}, "from"),
        ({"from": ""}, "from"),
        ({"from": "ollama", "all": True, "models": ["x"]}, "all"),
        ({"from": "ollama", "models": [""]}, "models"),
        ({"from": "ollama", "all": True, "as": "x"}, "as"),
        ({"from": "ollama", "models": "tiny"}, "models"),
    ],
)
def test_bad_input_names_its_field(server: Served, body: dict[str, object], field: str) -> None:
    reply = server.post("/runner/adopt", body)
    assert reply.status == 400
    assert field in reply.json["error"]
    assert server.adoptions.chosen == server.adoptions.looked == []


@pytest.mark.parametrize("header", ["Origin", "Sec-Fetch-Site", "X-Forwarded-For", "Forwarded"])
def test_only_programs_on_this_machine_may_ask(server: Served, header: str) -> None:
    values = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    headers = {header: values.get(header, "for=10.0.0.1"), "Content-Type": "application/json"}
    for body in (b"{}", b'{"from": "/etc"}', b'{"from": "ollama", "all": true}'):
        assert server.ask("POST", "/runner/adopt", body, headers).status == 403
    assert server.adoptions.chosen == server.adoptions.looked == []
