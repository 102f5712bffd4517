"""/runner/provenance and /runner/outdated, and what /api/show says of where a model came from."""

from __future__ import annotations

from dataclasses import replace

from registry.digests import digest_of
from registry.manifest import BASE, RECIPE, REFERENCE, REVISION, SOURCE
from tests.api.serving import Served

NOTES = {REFERENCE: "hf.co/org/repo:Q4_K_M", SOURCE: "https://hf.co/org/repo/tree/abc", REVISION: "abc"}
CAME = {"reference": "hf.co/org/repo:Q4_K_M", "origin": "https://hf.co/org/repo/tree/abc", "revision": "abc"}
LAYER = {
    "media_type": "application/vnd.runner.image.model",
    "digest": str(digest_of(b"weights")),
    "size": 7_654_321,
    "title": "",
}


def annotate(server: Served, name: str, notes: dict[str, str], parent: str | None = None) -> None:
    model = server.models.stored[name]
    manifest = replace(model.manifest, annotations=notes)
    server.models.stored[name] = replace(model, manifest=manifest, config=replace(model.config, parent=parent))


def test_show_says_where_a_model_came_from(server: Served) -> None:
    annotate(server, "hf.co/org/repo:Q4_K_M", NOTES)
    annotate(server, "demo:latest", {RECIPE: "sha256:1", BASE: "sha256:2"}, parent="base:latest")
    pulled = server.post("/api/show", {"model": "hf.co/org/repo:Q4_K_M"}).json
    assert (pulled["source"], pulled["layers"], pulled["digest"]) == (
        CAME,
        [LAYER],
        str(digest_of(b"hf.co/org/repo:Q4_K_M")),
    )
    assert "recipe" not in pulled
    created = server.post("/api/show", {"model": "demo"}).json
    assert created["recipe"] == {"modelfile": "sha256:1", "base": "base:latest", "base_digest": "sha256:2"}
    assert "source" not in created


def test_provenance_of_texts_and_of_everything(server: Served) -> None:
    annotate(server, "hf.co/org/repo:Q4_K_M", NOTES)
    [there, missing] = server.post("/runner/provenance", {"models": ["hf.co/org/repo:Q4_K_M", "x"]}).json["models"]
    assert (there["asked"], there["name"], there["problem"]) == ("hf.co/org/repo:Q4_K_M", "hf.co/org/repo:Q4_K_M", "")
    assert (there["stored"]["source"], there["stored"]["layers"]) == (CAME, [LAYER])
    assert missing == {"asked": "x", "name": "x:latest", "reference": "x:latest", "problem": ""}
    every = server.post("/runner/provenance", {}).json["models"]
    assert [each["name"] for each in every] == list(server.models.stored)
    assert all("stored" in each for each in every)
    wrong = server.post("/runner/provenance", {"models": ["a b"]})
    assert (wrong.status, "a b" in wrong.json["error"]) == (400, True)


def test_outdated(server: Served) -> None:
    annotate(server, "hf.co/org/repo:Q4_K_M", NOTES)
    found = {each["name"]: each for each in server.post("/runner/outdated", {"insecure": True}).json["models"]}
    assert found["demo:latest"]["status"] == "local"
    assert found["hf.co/org/repo:Q4_K_M"] == {
        "name": "hf.co/org/repo:Q4_K_M",
        "reference": "hf.co/org/repo:Q4_K_M",
        "status": "outdated",
        "revision": "abc",
        "latest": "fedcba",
        "size": 100,
        "files": [{"title": "weights.gguf", "digest": str(digest_of(b"newer")), "size": 100}],
        "problem": "",
    }
    assert server.updates.insecure == [True]
    assert server.post("/runner/outdated", {"models": ["nothing"]}).status == 404
    wrong = server.post("/runner/outdated", {"models": "demo"})
    assert (wrong.status, wrong.json["error"]) == (400, "models must be a list")
