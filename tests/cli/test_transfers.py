"""Pull and create: what is sent, and how the progress looks to a terminal, a log and a program."""

import json
import signal
from hashlib import sha256
from pathlib import Path

import pytest

from runner.cli import recipe
from runner.cli.client import Client
from runner.cli.commands import create
from runner.cli.connect import is_local
from runner.cli.failures import Failure
from runner.config import Address, parse_address
from tests.cli.command_line import CommandLine
from tests.cli.fake_daemon import LAYER, FakeDaemon


def test_pull_without_a_terminal_is_a_line_per_step(runner: CommandLine) -> None:
    result = runner("pull", "tiny")
    assert result.stdout == ""
    assert result.stderr == (
        "pulling manifest\npulling cd34cd34cd34: 100 MB\nverifying sha256 digest\nwriting manifest\nsuccess\n"
    )


def test_digests_are_cut_to_what_people_compare(daemon: FakeDaemon, runner: CommandLine) -> None:
    lines = [{"status": f"creating new layer {LAYER}", "total": 15, "completed": 15}, {"status": "success"}]
    daemon.refusals["/api/pull"] = (200, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    assert runner("pull", "tiny").stderr == "creating new layer cd34cd34cd34: 15 B\nsuccess\n"


def test_pull_as_json_is_a_line_per_update(runner: CommandLine) -> None:
    result = runner("pull", "tiny", "--json")
    updates = [json.loads(line) for line in result.stdout.splitlines()]
    assert [update.get("completed") for update in updates if "total" in update] == [
        0,
        40_000_000,
        80_000_000,
        100_000_000,
    ]
    assert updates[-1] == {"status": "success"}
    assert result.stderr == ""


def test_what_pull_is_told_goes_with_the_request(daemon: FakeDaemon, runner: CommandLine) -> None:
    assert runner("pull", "tiny", "--as", "mine", "--limit-rate", "5MB", "--insecure").returncode == 0
    assert runner("pull", "tiny").returncode == 0
    first, second = (seen.body for seen in daemon.asked("/api/pull"))
    assert first == {"model": "tiny", "stream": True, "as": "mine", "limit_rate": "5MB", "insecure": True}
    assert second == {"model": "tiny", "stream": True}
    refused = runner("pull", "tiny", "--limit-rate", "fast", check=2)
    assert "--limit-rate takes a size" in refused.stderr


def test_pull_on_a_terminal_shows_bars(runner: CommandLine) -> None:
    with runner.terminal("pull", "tiny") as terminal:
        assert terminal.ends() == 0
    last = [line for line in terminal.shown.splitlines() if "100%" in line][-1]
    assert last.startswith("pulling cd34cd34cd34 ━")
    assert "100.0/100.0 MB" in last
    assert "\x1b[?25h" in terminal.raw, "the cursor stays hidden"
    assert terminal.shown.splitlines()[-1] == "success"


def lines(*updates: object) -> bytes:
    return b"".join(json.dumps(update).encode() + b"\n" for update in updates)


@pytest.mark.parametrize("completed", [100, 40])
def test_the_result_is_the_last_line_whatever_the_bars_say(
    daemon: FakeDaemon, runner: CommandLine, completed: int
) -> None:
    bar = {"status": f"using {LAYER}", "total": 100, "completed": completed}
    daemon.refusals["/api/pull"] = (200, lines(bar, {"status": "writing manifest"}, {"status": "success"}))
    with runner.terminal("pull", "tiny") as terminal:
        assert terminal.ends() == 0
    assert terminal.shown.splitlines()[-1] == "success"
    if completed == 100:
        assert [line for line in terminal.shown.splitlines() if line][-2:] == ["writing manifest", "success"]
        assert "-:--" not in terminal.shown.rpartition("100%")[2], "a full bar waits for nothing"


def test_ctrl_c_says_what_becomes_of_it(daemon: FakeDaemon, runner: CommandLine) -> None:
    (runner.folder / "Modelfile").write_text("FROM demo\n")
    for verb, words in (
        ("pull", "the same command goes on where it was"),
        ("create", "no model was made; the same command begins anew"),
        ("verify", "not everything was looked at; what was found bad by then is put aside"),
        ("push", "what the registry has by now isn't sent again"),
    ):
        process = runner.start(verb, "endless")
        assert process.stderr is not None
        assert process.stderr.readline() == b"waiting\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert (process.returncode, said.decode()) == (130, f"interrupted: {words}\n")


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_pull_on_a_terminal_that_takes_no_sequences(runner: CommandLine, env: dict[str, str]) -> None:
    with runner.terminal("pull", "tiny", **env) as terminal:
        assert terminal.ends() == 0
    assert "\x1b" not in terminal.raw
    assert "pulling cd34cd34cd34: 100 MB\n" in terminal.shown


def test_a_pull_that_fails(daemon: FakeDaemon, runner: CommandLine) -> None:
    missing = runner("pull", "nothing", check=1).stderr
    assert missing.splitlines()[0] == "Error: model 'nothing:latest' not found"
    daemon.refusals["/api/pull"] = (200, b'{"status":"pulling manifest"}\n{"error":"no space left"}\n')
    result = runner("pull", "tiny", "--json", check=1)
    assert result.stdout == '{"status": "pulling manifest"}\n'
    assert result.stderr == "Error: no space left\n"
    daemon.refusals["/api/pull"] = (200, b'{"status":"pulling manifest"}\n')
    assert "closed the connection" in runner("pull", "tiny", check=69).stderr


def test_push_asks_for_what_was_typed(daemon: FakeDaemon, runner: CommandLine) -> None:
    result = runner("push", "demo", "ghcr.io/a/demo:v1", "--format", "both", "--insecure")
    assert result.stderr.splitlines()[0] == "pushing cd34cd34cd34: 100 MB"
    assert result.stderr.splitlines()[-1] == "success"
    updates = [json.loads(line) for line in runner("push", "demo", "--json").stdout.splitlines()]
    assert updates[-1] == {"status": "success"}
    assert [each.body for each in daemon.asked("/api/push")] == [
        {"model": "demo", "to": "ghcr.io/a/demo:v1", "format": "both", "insecure": True, "stream": True},
        {"model": "demo", "format": "docker", "stream": True},
    ]
    assert "not 'tar'" in runner("push", "demo", "--format", "tar", check=2).stderr
    assert "not found" in runner("push", "nothing", check=1).stderr


def test_create_sends_the_text_and_the_folder(daemon: FakeDaemon, runner: CommandLine) -> None:
    folder = runner.folder / "deeper"
    folder.mkdir()
    (folder / "Modelfile").write_text("# mine\nfrom ./model.gguf\nPARAMETER top_k 3\n")
    result = runner("create", "mine", "-f", "deeper/Modelfile")
    assert result.stderr == "reading model\nwriting manifest\nsuccess\n"
    [request] = daemon.asked("/api/create")
    assert request.body == {
        "model": "mine",
        "modelfile": "FROM ./model.gguf\nPARAMETER top_k 3\n",
        "base": str(folder),
        "stream": True,
    }


def test_create_uploads_what_the_daemon_cannot_read(daemon: FakeDaemon, runner: CommandLine) -> None:
    """As with `service install --system`: a daemon on this machine that isn't of this user."""
    model = runner.folder / "model.gguf"
    daemon.hidden = str(model)
    (runner.folder / "Modelfile").write_text("FROM ./model.gguf\n")
    assert f"there is no file {model}" in runner("create", "mine", check=1).stderr, "it isn't here either"
    model.write_bytes(b"weights")
    runner("create", "mine")
    _, by_path, uploaded = daemon.asked("/api/create")
    assert by_path.body["base"] == str(runner.folder)
    assert "base" not in uploaded.body
    [digest] = uploaded.body["files"].values()
    assert daemon.blobs[digest] == b"weights"
    daemon.hidden = str(runner.folder / "demo")
    (runner.folder / "Modelfile").write_text("FROM demo\n")
    runner("create", "mine")
    last = daemon.asked("/api/create")[-1]
    assert ("base" in last.body, last.body["files"]) == (False, {}), "a folder that it can't look into holds no names"


def test_create_passes_on_what_to_quantize_to(daemon: FakeDaemon, runner: CommandLine) -> None:
    (runner.folder / "Modelfile").write_text("FROM ./model.gguf\n")
    (runner.folder / "imatrix.dat").write_bytes(b"measured")
    runner("create", "mine", "--quantize", "q4_K_M", "--imatrix", "imatrix.dat", "--draft-quantize", "Q8_0")
    [request] = daemon.asked("/api/create")
    assert (request.body["quantize"], request.body["draft_quantize"]) == ("q4_K_M", "Q8_0")
    assert request.body["imatrix"] == str(runner.folder / "imatrix.dat")
    assert "no file absent.dat" in runner("create", "mine", "-q", "Q8_0", "--imatrix", "absent.dat", check=1).stderr
    assert len(daemon.asked("/api/create")) == 1


def test_create_reads_the_modelfile_here_or_standard_input(daemon: FakeDaemon, runner: CommandLine) -> None:
    assert "there is no Modelfile here" in runner("create", "mine", check=1).stderr
    (runner.folder / "Modelfile").write_bytes("FROM demo\nSYSTEM Grüße\n".encode("utf-16"))
    runner("create", "mine")
    runner("create", "mine", "-f", "-", "--json", stdin="FROM demo")
    first, second = daemon.asked("/api/create")
    assert first.body["modelfile"] == "FROM demo\nSYSTEM Grüße\n"
    assert (second.body["modelfile"], second.body["base"]) == ("FROM demo\n", str(runner.folder))


def test_a_malformed_modelfile_is_shown_at_the_place(daemon: FakeDaemon, runner: CommandLine) -> None:
    result = runner("create", "mine", "-f", "-", stdin="FROM demo\nPARAMETER temprature 1\n", check=1)
    assert result.stderr == (
        "Error: standard input: line 2, column 11: unknown parameter 'temprature'; did you mean temperature?\n"
        "  PARAMETER temprature 1\n"
        "            ^\n"
    )
    long = runner("create", "mine", "-f", "-", stdin="FROM demo\n" + "\u00e9" * 500_000, check=1)
    assert len(long.stderr) < 500
    assert daemon.requests == []


def test_a_file_that_cannot_be_read_is_an_io_error(runner: CommandLine) -> None:
    assert runner("create", "mine", "-f", ".", check=74).stderr == "Error: cannot read .: Is a directory\n"


def test_home_is_the_users_own(runner: CommandLine, daemon: FakeDaemon) -> None:
    runner("create", "mine", "-f", "-", stdin="FROM ~/m.gguf\nADAPTER ~/a.gguf\n", HOME="/somewhere")
    assert daemon.asked("/api/create")[0].body["modelfile"] == "FROM /somewhere/m.gguf\nADAPTER /somewhere/a.gguf\n"


def test_files_are_uploaded_to_a_daemon_elsewhere(
    daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # This machine's own daemon under the name of another: only the question "is it here?" is answered otherwise.
    monkeypatch.setenv("RUNNER_HOST", daemon.address)
    monkeypatch.setattr(recipe, "is_local", lambda client: False)
    weights = b"GGUF" + bytes(3_000_000)
    (tmp_path / "model.gguf").write_bytes(weights)
    (tmp_path / "Modelfile").write_text("FROM model.gguf\nADAPTER ./model.gguf\n")
    create.command("mine", str(tmp_path / "Modelfile"), quantize="Q4_K_M", imatrix=str(tmp_path / "model.gguf"))
    digest = f"sha256:{sha256(weights).hexdigest()}"
    assert daemon.blobs == {digest: weights}
    body = daemon.asked("/api/create")[0].body
    assert body["files"] == {"model.gguf": digest, "./model.gguf": digest}
    assert "base" not in body
    assert body["imatrix"] == digest
    posts = [seen for seen in daemon.asked(f"/api/blobs/{digest}") if seen.method == "POST"]
    assert len(posts) == 1, "the same content was sent twice"
    assert f"uploading {digest[7:19]}: 3.0 MB" in capsys.readouterr().err
    (tmp_path / "Modelfile").write_text("FROM ./nothing.gguf\n")
    with pytest.raises(Failure, match=r"there is no file .*nothing\.gguf"):
        create.command("mine", str(tmp_path / "Modelfile"))


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("[::1]:1", True),
        ("0.0.0.0", True),
        ("[::]", True),
        ("10.0.0.7", False),
    ],
)
def test_which_daemon_opens_files_here(host: str, local: bool) -> None:
    address = Client(parse_address(host), None).address
    assert is_local(Client(address, None)) is local
    assert isinstance(address, Address)
