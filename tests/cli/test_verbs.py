"""What each verb sends, prints and returns, as a real process against a fake daemon."""

import json
import os
import signal
import subprocess
import sys

import pytest

from runner import __version__
from runner.cli import ending
from runner.cli.verbs import ALIASES, MEANT, VERBS, dispatch
from runner.config import SETTINGS
from tests.cli.command_line import CommandLine, environment
from tests.cli.fake_daemon import DIGEST, FOREVER, FakeDaemon


def test_list(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.models = {"demo:latest": ["completion"], "hf.co/org/Embedder:Q8_0": ["embedding"]}
    result = runner("list")
    lines = result.stdout.splitlines()
    assert lines[0] == "NAME                       ID              SIZE      MODIFIED"
    assert lines[1].startswith("demo:latest                ab12ab12ab12    4.7 MB    ")
    assert lines[1].endswith(" years ago")
    assert lines[2].startswith("hf.co/org/Embedder:Q8_0    ab12ab12ab12    4.7 MB    ")
    assert len(lines) == 3
    assert result.stderr == ""


def test_list_by_prefix_and_by_alias(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.models = {"Qwen3:4b": ["completion"], "demo:latest": ["completion"]}
    assert [line.split()[0] for line in runner("ls", "qwen").stdout.splitlines()] == ["NAME", "Qwen3:4b"]
    assert runner("list", "none").stdout.split() == ["NAME", "ID", "SIZE", "MODIFIED"]


def test_list_as_json(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.models = {"demo:latest": ["completion"]}
    [model] = json.loads(runner("list", "--json").stdout)
    assert model == {
        "name": "demo:latest",
        "digest": DIGEST,
        "size": 4_665_344,
        "modified_at": "2020-01-02T03:04:05.123456+00:00",
        "family": "llama",
        "parameter_size": "4.3M",
        "quantization": "Q8_0",
        "context_length": None,
        "capabilities": ["completion"],
    }


def test_ps(daemon: FakeDaemon, runner: CommandLine) -> None:
    model = {"name": "demo:latest", "digest": DIGEST, "size": 10**9, "context_length": 4096, "state": "ready"}
    daemon.loaded = [{**model, "size_vram": 48 * 10**7, "expires_at": FOREVER}]
    assert runner("ps").stdout == (
        "NAME           ID              SIZE      PROCESSOR          CONTEXT    UNTIL\n"
        "demo:latest    ab12ab12ab12    1.0 GB    52%/48% CPU/GPU    4096       Forever\n"
    )
    [row] = json.loads(runner("ps", "--json").stdout)
    assert row["expires_at"] == FOREVER
    assert row["size_vram"] == 48 * 10**7
    daemon.loaded[0]["state"] = "loading"
    assert runner("ps").stdout.endswith("    4096       Loading...\n")


def test_show(runner: CommandLine) -> None:
    assert runner("show", "demo").stdout == (
        "  Model\n"
        "    architecture        llama\n"
        "    parameters          4.3M\n"
        "    context length      1024\n"
        "    embedding length    256\n"
        "    quantization        Q8_0\n"
        "\n"
        "  Note\n"
        "    A demo; it knows Runner's commands[2J and nothing else.\n"
        "\n"
        "  Capabilities\n"
        "    completion\n"
        "    tools\n"
        "    thinking\n"
        "\n"
        "  Parameters\n"
        "    temperature    0\n"
        '    stop           "<|im_end|>"\n'
        "\n"
        "  License\n"
        "    line one\n"
        "    line two\n"
        "    ...\n"
    )


def test_show_more(runner: CommandLine) -> None:
    everything = runner("show", "demo", "--verbose").stdout
    assert "  Tensors\n    token_embd.weight    Q8_0    [256, 4096]\n" in everything
    assert "    llama.context_length      1024\n" in everything
    assert json.loads(runner("show", "demo", "--json").stdout)["capabilities"] == ["completion", "tools", "thinking"]


@pytest.mark.parametrize(
    ("flag", "content"),
    [
        ("--modelfile", "FROM demo\n"),
        ("--license", "line one\nline two\nline three\n"),
        ("--template", "{{ .Prompt }}\n"),
    ],
)
def test_show_a_part(runner: CommandLine, flag: str, content: str) -> None:
    assert runner("show", "demo", flag).stdout == content


def test_show_says_where_the_template_is_from(runner: CommandLine) -> None:
    assert runner("show", "demo", "--template").stderr == "from: the Modelfile's TEMPLATE (Go's, as in Ollama)\n"
    assert runner("show", "demo", "--modelfile").stderr == ""


def test_show_what_cannot_be_shown(runner: CommandLine) -> None:
    assert runner("show", "demo", "--system", check=1).stderr == "Error: 'demo' has no system\n"
    assert "only one of" in runner("show", "demo", "--license", "--system", check=2).stderr
    missing = runner("show", "denmo", check=1)
    assert missing.stderr == 'Error: model "denmo" not found, try pulling it first; did you mean demo:latest?\n'
    assert missing.stdout == ""


def test_help_is_a_word_too(runner: CommandLine) -> None:
    assert runner("help").stdout == runner("--help").stdout
    assert runner("help", "rm").stdout == runner("rm", "--help").stdout
    assert runner("-v").stdout == runner("--version").stdout


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (("chat", "demo"), "runner run MODEL"),
        (("help", "status"), "runner ps"),
        (("completion", "bash"), "runner generate completion SHELL"),
        (("bench", "demo"), "runner bench --model demo"),
    ],
)
def test_guessed_verbs_lead_somewhere(runner: CommandLine, typed: tuple[str, ...], meant: str) -> None:
    assert f"`{meant}`" in runner(*typed, check=2).stderr


def test_what_is_meant_is_there() -> None:
    assert {words.split()[0] for words in MEANT.values()} - {"--version"} <= set(VERBS)
    assert not set(MEANT) & {*VERBS, *ALIASES}


def test_stop(daemon: FakeDaemon, runner: CommandLine) -> None:
    assert runner("stop", "demo").stdout == ""
    [request] = daemon.asked("/api/generate")
    assert request.body == {"model": "demo", "keep_alive": 0, "stream": False}
    assert 'model "none" not found' in runner("stop", "none", check=1).stderr
    daemon.loaded = [{"name": "demo:latest", "pinned": True}, {"name": "echo:latest", "pinned": False}]
    said = runner("stop", "demo", "echo").stderr
    assert said == 'demo is still pinned: its next request loads it, to stay; "runner unpin demo" ends that\n'


def test_cp(daemon: FakeDaemon, runner: CommandLine) -> None:
    first = runner("cp", "demo", "mine")
    assert (first.stdout, first.stderr) == ("copied 'demo' to 'mine'\n", "")
    again = runner("cp", "demo", "mine")
    assert (again.stdout, again.stderr) == (first.stdout, "replaced the model that was 'mine' before\n")
    assert daemon.models["mine:latest"] == daemon.models["demo:latest"]


def test_rm_goes_on_after_one_that_fails(daemon: FakeDaemon, runner: CommandLine) -> None:
    result = runner("rm", "none", "demo", "nothing", "demo", check=1)
    assert result.stdout == "deleted 'demo'\n"
    assert [line.split('"')[1] for line in result.stderr.splitlines()] == ["none", "nothing"]
    assert "demo:latest" not in daemon.models


def test_rm_says_what_stays_on_the_disk(daemon: FakeDaemon, runner: CommandLine) -> None:
    assert runner("rm", "embedder").stderr == ""
    daemon.kept = {"shared": 64_700_000, "from_hub": True}
    result = runner("rm", "demo")
    assert result.stdout == "deleted 'demo'\n"
    assert result.stderr == (
        "65 MB remain in Hugging Face's cache, which other programs use; `hf cache rm` removes them\n"
    )
    daemon.kept = {"shared": 64_700_000, "from_hub": False}
    assert runner("rm", "slow").stderr == "65 MB remain on the disk, as other programs have these files too\n"


def test_list_shows_what_is_broken(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.models = {"demo:latest": ["completion"]}
    daemon.broken = {"worn:1b": "blob x\x1b[2J isn't there"}
    result = runner("list")
    assert result.stdout.splitlines()[2].split() == ["worn:1b", "broken", "-", "-"]
    assert result.stderr.splitlines()[0] == "worn:1b is broken: blob x[2J isn't there"
    assert runner("list", "demo").stderr == ""
    whole, worn = json.loads(runner("list", "--json").stdout)
    assert "broken" not in whole
    assert (worn["name"], worn["digest"], worn["broken"]) == ("worn:1b", None, "blob x\x1b[2J isn't there")


def test_prune(daemon: FakeDaemon, runner: CommandLine) -> None:
    result = runner("prune")
    assert result.stdout == "removed 3 files, 1.2 GB freed\n"
    assert result.stderr.splitlines() == [
        "2.0 MB more stay on the disk, as other programs have these files too",
        "2 files of other tools are not referred to any more, and stay",
    ]
    dry = runner("prune", "--dry-run", "--grace", "2h").stdout
    assert dry == "blob: /store/blobs/sha256-x[2J (5.0 KB)\nwould remove 3 files, 1.2 GB to be freed\n"
    assert [each.body for each in daemon.asked("/runner/prune")] == [
        {"dry_run": False},
        {"dry_run": True, "grace": "2h"},
    ]
    for grace in ("xx", "-1", "nan"):
        assert "--grace takes" in runner("prune", f"--grace={grace}", check=2).stderr
    told = json.loads(runner("prune", "--json").stdout)
    assert (told["count"], told["bytes"], told["shared"]) == (3, 1_234_567_890, 2_000_000)
    assert told["references"] == 2


def test_verify(daemon: FakeDaemon, runner: CommandLine) -> None:
    sound = runner("verify", "--sample", "5%")
    assert sound.stdout == "checked 2 of 40 files of 2 models, 1.2 GB, a sample with seed 7\n"
    assert "1 unfinished download, 10 B: the same pull goes on with it" in sound.stderr
    assert "1 file in quarantine, 9 B" in sound.stderr
    assert daemon.asked("/runner/verify")[-1].body == {"models": [], "repair": False, "sample": "5%", "seed": None}


@pytest.mark.parametrize(
    ("verb", "path", "status", "said"),
    [
        (("verify", "--sample", "foo"), "/runner/verify", 400, "sample must be a share such as 5%, or a number"),
        (("verify", "nothing"), "/runner/verify", 404, 'model "nothing" not found'),
        (("create", "mine", "-q", "Q9"), "/api/create", 400, "quantize: 'Q9' is no quantization"),
        (("rm", "a b"), "/api/delete", 400, "invalid model name 'a b': the model may hold letters"),
        (("pull", "a b"), "/api/pull", 400, "invalid model name 'a b': the model may hold letters"),
    ],
)
def test_what_was_mistyped_exits_as_usage(
    daemon: FakeDaemon, runner: CommandLine, verb: tuple[str, ...], path: str, status: int, said: str
) -> None:
    (runner.folder / "Modelfile").write_text("FROM demo\n")
    daemon.refusals[path] = (status, {"error": said, "code": "invalid_request_error"})
    assert said in runner(*verb, check=2).stderr
    daemon.refusals[path] = (500, {"error": "the disk is odd", "code": "internal_error"})
    runner(*verb, check=1)


def test_a_seed_without_a_sample_asks_nobody(daemon: FakeDaemon, runner: CommandLine) -> None:
    assert "--seed needs" in runner("verify", "--seed", "1", check=2).stderr
    assert daemon.requests == []


def test_verify_names_what_is_bad_in_full_and_says_so_by_its_exit_code(runner: CommandLine) -> None:
    bad = runner("verify", "bad", check=1)
    assert bad.stdout.splitlines() == [
        f"broken: {DIGEST} has other bytes",
        "    file: /store/blobs/x",
        "    needed by: bad",
        "    what to do: redo",
        "checked 40 files of 2 models, 1.2 GB",
    ]
    assert bad.stderr.endswith("Error: 1 bad file\n")
    told = json.loads(runner("verify", "bad", "--json", check=1).stdout)
    assert told["bad"][0]["digest"] == DIGEST
    assert f"repaired: {DIGEST}" in runner("verify", "mended", "--repair").stdout


def test_shutdown_waits_until_nobody_listens(daemon: FakeDaemon, runner: CommandLine) -> None:
    result = runner("shutdown")
    assert result.stdout == ""
    assert result.stderr == f"The daemon at http://{daemon.address} has ended\n"
    assert "no Runner daemon answers" in runner("shutdown", check=69).stderr


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="this system has no waitid")
def test_a_daemon_that_nobody_has_waited_for_is_gone_all_the_same() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert ending.is_alive(process.pid)
    assert process.stdin is not None
    process.stdin.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # until it has ended; it stays a zombie
    assert not ending.is_alive(process.pid)
    process.wait()
    assert not ending.is_alive(process.pid)


def test_config_says_where_a_value_comes_from(runner: CommandLine) -> None:
    result = runner("config", RUNNER_KEEP_ALIVE="90s", RUNNER_API_KEY="hush", RUNNER_ALIASES="claude-*=demo, x=y")
    lines = [line.split(maxsplit=2) for line in result.stdout.splitlines()]
    assert lines[0] == ["NAME", "VALUE", "FROM"]
    assert [line[0] for line in lines[1:]] == [row.name for row in SETTINGS]
    assert ["keep_alive", "1m30s", "environment RUNNER_KEEP_ALIVE"] in lines
    assert ["max_queue", "512", "default"] in lines
    assert ["aliases", "claude-*=demo,x=y", "environment RUNNER_ALIASES"] in lines
    assert "hush" not in result.stdout
    assert "config.yaml (not there)" in result.stderr


def test_config_as_json(runner: CommandLine) -> None:
    rows = {row["name"]: row for row in json.loads(runner("config", "--json", "--host", "127.0.0.1:1").stdout)}
    assert rows["host"] == {"name": "host", "value": "127.0.0.1:1", "source": "flag --host"}
    assert rows["num_parallel"]["value"] == "auto"
    assert rows["autostart"]["value"] is False


def test_version_names_the_daemons_when_it_is_another(daemon: FakeDaemon, runner: CommandLine) -> None:
    result = runner("--version")
    assert result.stdout == f"runner {__version__}\n"
    assert "the daemon is runner 0.0.1" in result.stderr
    daemon.refusals["/api/version"] = (200, {"version": "0.33.0", "runner": __version__})
    assert runner("--version").stderr == ""
    daemon.stop()
    assert runner("--version").stderr == ""


def test_help_lists_every_verb(runner: CommandLine) -> None:
    overview = runner().stdout
    assert overview == runner("--help").stdout
    assert [line.split()[0] for line in overview.split("Commands:\n")[1].split("\n\n")[0].splitlines()] == list(VERBS)
    assert "..." not in overview.split("Commands:\n")[1], "a summary is cut off"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch([verb, "-h"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: runner {verb} ")
    assert "[[" not in shown
    assert "\n\nExamples:\n  " in shown


def test_usage_errors_are_one_line(runner: CommandLine) -> None:
    assert runner("lst", check=2).stderr == "Error: No such command 'lst'. Did you mean 'list'? (see runner --help)\n"
    assert runner("show", check=2).stderr == "Error: Missing argument 'MODEL'. (see runner show --help)\n"
    assert runner("list", "--nope", check=2).stderr == "Error: No such option: --nope (see runner list --help)\n"


def test_serve_has_a_flag_for_every_setting_of_the_daemon(runner: CommandLine) -> None:
    shown = runner("serve", "--help").stdout
    for row in SETTINGS:
        assert (f"--{row.name.replace('_', '-')} " in shown) == (row.name != "autostart")


def test_serve_refuses_a_bad_setting_before_it_becomes_the_daemon(runner: CommandLine) -> None:
    assert "max_queue (flag --max-queue) takes a whole number" in runner("serve", "--max-queue", "no", check=2).stderr


SERVE = """
import sys
from runner.cli import autostart
real = autostart.command
def command(flags):
    report = "import os, sys; print(os.getpid(), os.environ['RUNNER_API_KEY'], *sys.argv[1:])"
    return [sys.executable, "-c", report, *real(flags)[1:]]
autostart.command = command
from runner.cli.main import main
main()
"""


def test_serve_becomes_the_daemon_and_keeps_the_key_out_of_sight(runner: CommandLine) -> None:
    script = [sys.executable, "-c", SERVE, "serve", "--max-queue", "7", "--api-key", "hush"]
    process = subprocess.Popen(script, stdout=subprocess.PIPE, env=environment(runner.host), cwd=runner.folder)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out.decode().split() == [str(process.pid), "hush", "-m", "runner.daemon", "--max-queue=7"]


def test_the_api_key_is_sent(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.key = "hush"
    assert runner("list", check=77).stderr == "Error: a key is needed\n"
    runner("list", RUNNER_API_KEY="hush")
    assert daemon.requests[-1].headers["Authorization"] == "Bearer hush"


def test_list_imports_nothing_that_it_does_not_need(runner: CommandLine) -> None:
    script = [sys.executable, "-X", "importtime", "-m", "runner", "list"]
    done = subprocess.run(
        script, capture_output=True, text=True, env=environment(runner.host), cwd=runner.folder, check=True
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "runner.cli.connect" in loaded
    heavy = {"rich", "prompt_toolkit", "yaml", "asyncio", "msgspec", "aiohttp", "runner.cli.commands.run"}
    assert not heavy & loaded


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="this system has no SIGPIPE")
def test_a_reader_that_leaves_early_is_no_error(runner: CommandLine) -> None:
    process = runner.start("run", "long", "talk")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"line 0 of a long answer\n"
    process.stdout.close()
    assert process.wait(timeout=30) == -signal.SIGPIPE
    assert process.stderr.read() == b""
    process.stderr.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_output_that_cannot_be_written_is_an_io_error(runner: CommandLine) -> None:
    with open("/dev/full", "wb") as full:
        script = [sys.executable, "-m", "runner", "list"]
        done = subprocess.run(
            script, stdout=full, stderr=subprocess.PIPE, env=environment(runner.host), cwd=runner.folder, check=False
        )
    assert done.returncode == 74
    assert done.stderr == b"Error: No space left on device\n"


def test_closed_streams_are_no_error(runner: CommandLine) -> None:
    shell = f"{sys.executable} -m runner run demo hi <&- >&- 2>&-"
    done = subprocess.run(["sh", "-c", shell], env=environment(runner.host), cwd=runner.folder, check=False, timeout=30)
    assert done.returncode == 0
