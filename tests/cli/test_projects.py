"""lock, pull --locked, outdated, update and up: what is asked of the daemon, what people read, how it ends."""

import json
from hashlib import sha256
from typing import Any

import pytest

from modelfiles import lockfile
from tests.cli.command_line import CommandLine
from tests.cli.fake_daemon import DIGEST, LAYER, FakeDaemon

OTHER = "sha256:" + "ef56" * 16
COMMIT, NEWER = "0a" * 20, "0b" * 20
NAME = "hf.co/org/repo:Q8_0"


def held(digest: str = DIGEST, **more: Any) -> dict[str, Any]:
    layer = {"media_type": "application/vnd.runner.image.model", "digest": LAYER, "size": 7, "title": "a.gguf"}
    return {
        "digest": digest,
        "quantization": "Q8_0",
        "modified_at": "2020-01-02T03:04:05+00:00",
        "layers": [layer],
    } | more


def pulled(digest: str = DIGEST) -> dict[str, Any]:
    origin = f"https://hf.co/org/repo/tree/{COMMIT}"
    return held(digest, source={"reference": NAME, "origin": origin, "revision": COMMIT})


def standing(status: str, name: str = NAME, problem: str = "") -> dict[str, Any]:
    file = {"title": "a.gguf", "digest": OTHER, "size": 1_500_000}
    told = {"name": name, "reference": NAME, "status": status, "revision": COMMIT, "latest": NEWER}
    return {**told, "size": 1_500_000, "files": [file], "problem": problem}


@pytest.fixture
def locked(daemon: FakeDaemon, runner: CommandLine) -> str:
    """A store of one pulled model, and its lock's text."""
    daemon.held[NAME] = pulled()
    runner("lock")
    return (runner.folder / lockfile.FILE).read_text()


def test_lock_writes_what_was_pulled_and_names_the_rest(daemon: FakeDaemon, runner: CommandLine) -> None:
    assert "nothing to lock" in runner("lock", check=1).stderr
    daemon.held |= {
        NAME: pulled(),
        "mine:latest": held(recipe={"modelfile": OTHER, "base": NAME, "base_digest": DIGEST}),
    }
    done = runner("lock")
    assert done.stdout == "runner.lock.yaml: 1 model\n"
    assert done.stderr.startswith(f"left out: mine:latest was created here from {NAME}: declare it in runner.yaml")
    text = (runner.folder / lockfile.FILE).read_text()
    assert list(lockfile.read("it", text).models) == [NAME]
    assert "was created here" in runner("lock", "mine", check=1).stderr
    assert "isn't here; pull it first" in runner("lock", "nothing", check=1).stderr
    assert (runner.folder / lockfile.FILE).read_text() == text

    daemon.held[NAME] = pulled(OTHER)
    stale = runner("lock", "--check", check=1).stderr
    assert f"{NAME}: digest {DIGEST} became {OTHER}" in stale
    assert (runner.folder / lockfile.FILE).read_text() == text
    assert "is not there" in runner("lock", "--check", "-f", "other.yaml", check=1).stderr
    assert "cannot write" in runner("lock", "-f", "no/where.yaml", check=74).stderr


def test_a_locked_pull_sends_the_lock(daemon: FakeDaemon, runner: CommandLine, locked: str) -> None:
    assert f"{NAME} is as locked" in runner("pull", "--locked").stderr
    unchanged = {"name": NAME, "status": "unchanged", "digest": DIGEST}
    assert json.loads(runner("pull", "--locked", "--json").stdout) == unchanged
    assert daemon.asked("/api/pull") == []
    daemon.held.clear()
    runner("pull", "--locked", check=1)  # the fake has no such model to give
    assert daemon.asked("/api/pull")[0].body == {
        "model": NAME,
        "as": NAME,
        "revision": COMMIT,
        "digests": {"a.gguf": LAYER},
        "digest": DIGEST,
        "insecure": False,
        "stream": True,
    }
    runner("pull", "--locked", "--insecure", "--limit-rate", "5MB", check=1)
    asked = daemon.asked("/api/pull")[1].body
    assert (asked["insecure"], asked["limit_rate"]) == (True, "5MB")
    assert "--as and --dry-run" in runner("pull", "--locked", "--as", "x", check=2).stderr
    daemon.refusals["/api/pull"] = (200, b'{"status":"success"}\n')
    lines = runner("pull", "--locked", "--json").stdout.splitlines()
    assert json.loads(lines[-1]) == {"name": NAME, "status": "pulled", "digest": DIGEST}
    daemon.refusals["/api/pull"] = (409, {"error": "it isn't as locked", "code": "not_as_locked"})
    assert runner("pull", "--locked", check=1).stderr.endswith("Error: it isn't as locked\n")
    assert f"did you mean {NAME}?" in runner("pull", "--locked", "hf.co/org/rep:Q8_0", check=1).stderr
    assert "there is no none.yaml" in runner("pull", "--locked", "-f", "none.yaml", check=1).stderr
    assert "takes one MODEL" in runner("pull", check=2).stderr
    assert "takes one MODEL" in runner("pull", "a", "b", check=2).stderr


def test_a_broken_lock_is_named_with_line_and_field(runner: CommandLine, locked: str) -> None:
    (runner.folder / lockfile.FILE).write_text(locked.replace("revision:", "revison:"))
    for verb in (("pull", "--locked"), ("lock",), ("outdated",), ("update",)):
        error = runner(*verb, check=1).stderr
        assert error.startswith(f"Error: runner.lock.yaml, line 8: models.{NAME}.revison: there is no such field"), (
            error
        )


def test_show_says_where_a_model_came_from(daemon: FakeDaemon, runner: CommandLine) -> None:
    source = {"reference": NAME, "origin": "https://hf.co/org/repo", "revision": COMMIT}
    daemon.refusals["/api/show"] = (200, {"details": {"family": "llama"}, "source": source, "recipe": {"base": "b"}})
    rows = [line.split() for line in runner("show", NAME).stdout.split("  Source\n")[1].splitlines()]
    assert rows == [
        ["pulled", "as", NAME],
        ["from", "https://hf.co/org/repo"],
        ["revision", COMMIT],
        ["created", "from", "b"],
    ]


def test_outdated_is_a_table(daemon: FakeDaemon, runner: CommandLine, locked: str) -> None:
    rows = [standing("outdated"), standing("unreachable", "b:latest", "no\nroute"), standing("local", "c:latest")]
    daemon.refusals["/runner/outdated"] = (200, {"models": rows})
    done = runner("outdated")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["NAME", "STATUS", "REVISION", "LATEST", "FETCH", "LOCKED"],
        [NAME, "outdated", COMMIT[:12], NEWER[:12], "1.5", "MB", "yes"],
        ["b:latest", "unreachable", COMMIT[:12], NEWER[:12], "-", "no"],
    ]
    assert done.stderr == "b:latest: no route\n"
    told = json.loads(runner("outdated", "--json").stdout)
    assert [(each["locked"], each["locked_revision"]) for each in told] == [(True, COMMIT), (False, None)]
    runner("outdated", "--exit-code", check=1)
    assert runner("outdated", "c", "--insecure").stdout.count("\n") == 4, "a model that was named is told of anyway"
    assert daemon.asked("/runner/outdated")[-1].body == {"models": ["c"], "insecure": True}
    daemon.refusals["/runner/outdated"] = (200, {"models": [standing("current")]})
    runner("outdated", "--exit-code")


def test_update_takes_what_outdated_told(daemon: FakeDaemon, runner: CommandLine, locked: str) -> None:
    daemon.refusals["/runner/outdated"] = (
        200,
        {"models": [standing("outdated"), standing("gone", "b:latest", "gone")]},
    )
    daemon.refusals["/api/pull"] = (200, b'{"status":"success"}\n')
    daemon.held[NAME] = pulled(OTHER)
    daemon.held["mine:latest"] = held(recipe={"modelfile": OTHER, "base": NAME, "base_digest": DIGEST})
    done = runner("update", check=1)
    assert done.stdout == f"{NAME}: {COMMIT[:12]} -> {NEWER[:12]}\n"
    assert "mine:latest was created from" in done.stderr
    assert "runner.lock.yaml: 1 entry written" in done.stderr
    assert done.stderr.endswith("b:latest: gone\nError: 1 of 2 models could not be looked at\n")
    [request] = daemon.asked("/api/pull")
    assert (request.body["revision"], request.body["digests"]) == (NEWER, {"a.gguf": OTHER})
    assert (runner.folder / lockfile.FILE).read_text() == locked.replace(f"digest: {DIGEST}", f"digest: {OTHER}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models: [a, 'a:latest']", "runner.yaml, line 1: models[1]: a:latest is declared in line 1 already"),
        ("models: [a]\nmodles: 1", "line 2: modles: there is no such field; did you mean models?"),
        ("models:\n- {name: a, from: b}\n- {name: b, from: a}", "line 2: a:latest, b:latest are made from each other"),
        ("models:\n- {name: a, modelfile: none}", "line 2: there is no /"),
        ("models:\n- hf.co/org/repo\n- ALIAS", "line 3: hf.co/org/repo:latest is declared in line 2 already"),
    ],
)
def test_projects_that_make_no_sense(runner: CommandLine, text: str, said: str) -> None:
    (runner.folder / "runner.yaml").write_text(text)
    assert said in runner("up", check=1).stderr


def test_up_goes_on_past_a_failure_but_not_onto_it(daemon: FakeDaemon, runner: CommandLine) -> None:
    assert "there is no runner.yaml here" in runner("up", check=1).stderr
    (runner.folder / "runner.yaml").write_text(
        "models:\n- nothing\n- {name: on-it, from: nothing, system: x}\n- tiny\n- {name: on-tiny, from: tiny}\n"
    )
    checked = runner("up", "--check", "--json", check=1)
    assert {each["action"] for each in json.loads(checked.stdout)} == {"pull", "create"}
    assert daemon.asked("/api/pull") == []
    done = runner("up", check=1)
    assert done.stdout == "tiny:latest: pulled\non-tiny:latest: created\n"
    assert "Error: on-it:latest is made from nothing:latest, which isn't right\n" in done.stderr
    assert [each.body["model"] for each in daemon.asked("/api/create")] == ["on-tiny:latest"]
    assert daemon.asked("/api/create")[0].body["modelfile"] == "FROM tiny\n"


def test_up_uploads_what_the_daemon_cannot_read(daemon: FakeDaemon, runner: CommandLine) -> None:
    (model := runner.folder / "model.gguf").write_bytes(b"weights")
    daemon.hidden = str(model)
    (runner.folder / "runner.yaml").write_text("models:\n- {name: mine, from: ./model.gguf}\n")
    assert runner("up").stdout == "mine:latest: created\n"
    [digest] = daemon.asked("/api/create")[-1].body["files"].values()
    assert daemon.blobs[digest] == b"weights"


def test_what_up_finds_changed(daemon: FakeDaemon, runner: CommandLine) -> None:
    (runner.folder / "runner.yaml").write_text(
        f"models:\n- {{reference: {NAME}, name: coder}}\n- {{name: q, from: coder, quantize: Q4_0}}\n- demo\n"
    )
    digest = "sha256:" + "0" * 64
    daemon.held["demo:latest"] = held()
    daemon.held["coder:latest"] = held(source={"reference": "hf.co/org/other:latest", "origin": "x", "revision": "y"})
    daemon.held["q:latest"] = held(recipe={"modelfile": digest, "base": "coder:latest", "base_digest": DIGEST})

    def why() -> dict[str, str]:
        return {each["name"]: each["why"] for each in json.loads(runner("up", "--check", "--json", check=None).stdout)}

    assert why() == {
        "coder:latest": f"is hf.co/org/other:latest, not {NAME}",
        "q:latest": "declared otherwise",
        "demo:latest": "here",
    }
    daemon.held["coder:latest"] = pulled()
    recipe = {"base": "coder:latest", "base_digest": DIGEST}
    recipe["modelfile"] = "sha256:" + sha256(b"FROM coder\n").hexdigest()
    daemon.held["q:latest"] = held(recipe=recipe)
    assert why()["q:latest"] == "quantized as Q8_0"
    daemon.held["q:latest"] = held(recipe=recipe, quantization="Q4_0")
    assert why() == {"coder:latest": "here", "q:latest": "as declared", "demo:latest": "here"}
    runner("up", "--check")
    runner("lock")
    entry = lockfile.read("it", (runner.folder / lockfile.FILE).read_text()).models["q:latest"]
    assert entry == lockfile.LockedCreate(base="coder:latest", modelfile=recipe["modelfile"], quantize="Q4_0")
    (runner.folder / "runner.yaml").write_text(
        f"models:\n- {{reference: {NAME}, name: coder}}\n- {{name: q, from: coder, quantize: Q4_0}}\n"
        "- {name: r, from: q}\n- {name: s, from: coder}\n"
    )
    for name, base in (("r", "q"), ("s", "coder")):
        made = {"base": f"{base}:latest", "base_digest": DIGEST}
        made["modelfile"] = "sha256:" + sha256(f"FROM {base}\n".encode()).hexdigest()
        daemon.held[f"{name}:latest"] = held(recipe=made)
    runner("lock", "r", "s")
    models = lockfile.read("it", (runner.folder / lockfile.FILE).read_text()).models
    digests = [each.digest for name, each in models.items() if name in ("q:latest", "r:latest", "s:latest")]
    assert digests == ["", "", DIGEST], "what is made from quantized weights isn't the same everywhere"
    (runner.folder / "runner.yaml").write_text(
        f"models:\n- {{reference: {NAME}, name: coder}}\n- {{name: q, from: coder, quantize: Q4_0}}\n- demo\n"
    )
    daemon.held["coder:latest"] = pulled(OTHER)
    assert why() == {"coder:latest": "not as locked", "q:latest": "coder:latest has changed", "demo:latest": "here"}


def test_letter_case_makes_no_other_model(daemon: FakeDaemon, runner: CommandLine, locked: str) -> None:
    shouted = "hf.co/Org/Repo:q8_0"
    path = runner.folder / lockfile.FILE
    (runner.folder / "runner.yaml").write_text(f"models:\n- {{name: mine, reference: '{shouted}'}}\n")
    path.write_text(locked.replace(f"  {NAME}:", "  mine:latest:"))
    daemon.held["mine:latest"] = pulled()
    assert "nothing to do" in runner("up", "--locked").stderr
    runner("lock", "--check")
    (runner.folder / "runner.yaml").write_text(f"models:\n- {{name: mine, from: {shouted}, system: x}}\n- {NAME}\n")
    names = [each["name"] for each in json.loads(runner("up", "--check", "--json", check=1).stdout)]
    assert names == [NAME, "mine:latest"], "the base is the model that is declared"
