"""/runner/verify and /runner/prune: their wire shapes, their streams, and what they refuse."""

import http.client
import json

import pytest

from registry.digests import digest_of
from tests.api.serving import WAIT, Served


def test_a_verification_streams_how_far_it_is_and_ends_with_what_it_found(server: Served) -> None:
    lines = server.post("/runner/verify", {"models": ["demo"], "sample": "5%", "seed": 7, "repair": True}).lines
    assert lines[0] == {"status": "verifying blobs", "total": 100, "completed": 50}
    assert lines[-1]["status"] == "success"
    result = lines[-1]["result"]
    assert result["sound"] is False
    assert (result["models"], result["files"], result["checked"], result["bytes"], result["seed"]) == (1, 3, 2, 100, 7)
    [bad] = result["bad"]
    assert bad["digest"] == str(digest_of(b"x"))
    assert (bad["outcome"], bad["models"], bad["advice"]) == ("broken", ["demo:latest"], "create it again")
    assert server.models.changes == ["let go demo:latest"]
    assert result["quarantine"] == [
        {"path": "/store/quarantine/y", "size": 5, "expected": "sha256:1", "actual": "sha256:2"}
    ]
    [(models, sample, repair)] = server.jobs.verified
    assert (models, repair) == (("demo",), True)
    assert sample is not None
    assert (sample.share, sample.count, sample.seed) == (0.05, None, 7)


def test_a_verification_answers_whole_where_that_is_wanted_and_needs_no_body(server: Served) -> None:
    assert server.post("/runner/verify", {"stream": False}).json["checked"] == 2
    assert server.post("/runner/verify", b"").lines[-1]["result"]["checked"] == 2
    assert server.jobs.verified[-1] == ((), None, False)
    assert server.post("/runner/verify", {"models": ["nowhere"], "stream": False}).status == 404
    assert server.post("/runner/verify", {"models": ["nowhere"]}).lines[-1]["code"] == "model_not_found"


def test_a_verification_ends_with_its_caller(server: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT)
    connection.request("POST", "/runner/verify", json.dumps({"models": ["forever"]}))
    assert b"verifying" in connection.getresponse().readline()
    connection.close()
    assert server.jobs.ended.wait(WAIT)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/runner/verify", {"sample": "101%"}, "sample"),
        ("/runner/verify", {"sample": "0"}, "sample"),
        ("/runner/verify", {"sample": "some"}, "sample"),
        ("/runner/verify", {"seed": 5}, "seed"),
        ("/runner/verify", {"models": "demo"}, "models"),
        ("/runner/verify", {"repair": "yes"}, "repair"),
        ("/runner/prune", {"grace": "soon"}, "grace"),
        ("/runner/prune", {"grace": -1}, "grace"),
        ("/runner/prune", {"dry_run": 1}, "dry_run"),
    ],
)
def test_bad_fields_are_named(server: Served, path: str, body: dict[str, object], field: str) -> None:
    reply = server.post(path, body)
    assert reply.status == 400
    assert field in reply.json["error"]
    assert server.jobs.verified == []
    assert server.models.changes == []


def test_prune(server: Served) -> None:
    freed = server.post("/runner/prune", {"grace": "30m", "dry_run": True}).json
    assert (freed["count"], freed["bytes"], freed["shared"], freed["references"]) == (1, 4096, 0, 0)
    assert freed["removed"] == [{"kind": "blob", "path": "/store/blobs/sha256-x", "size": 4096}]
    assert server.post("/runner/prune", b"").status == 200
    assert server.models.changes == ["prune 1800.0 True", "prune None False"]
