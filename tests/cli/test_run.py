"""One answer from the command line: what is asked, what is printed where, and how it ends."""

import json
import signal
import subprocess

import pytest

from runner.cli import arguments
from runner.cli.failures import Failure
from tests.cli.command_line import CommandLine
from tests.cli.fake_daemon import NASTY, TIMINGS, FakeDaemon

ANSWER = "Type runner pull.\n"


def said(result: subprocess.CompletedProcess[str]) -> str:
    """The prompt that the `echo` model was given."""
    prompt = json.loads(result.stdout)["prompt"]
    assert isinstance(prompt, str)
    return prompt


def test_the_answer_is_all_that_standard_output_gets(runner: CommandLine) -> None:
    result = runner("run", "demo", "How", "do I pull?")
    assert (result.stdout, result.stderr) == (ANSWER, "")


def test_what_is_asked(daemon: FakeDaemon, runner: CommandLine) -> None:
    flags = ("--system", "Be brief", "-o", "temperature=0", "-o", "stop=a", "-o", "stop=b ", "--keepalive", "5m")
    runner("run", "demo", "two", "words", *flags, "--format", '{"type": "object"}', "--think=high")
    [request] = daemon.asked("/api/generate")
    assert request.body == {
        "model": "demo",
        "prompt": "two words",
        "system": "Be brief",
        "options": {"temperature": 0.0, "stop": ["a", "b "]},
        "keep_alive": 300.0,
        "format": {"type": "object"},
        "think": "high",
        "stream": True,
    }


@pytest.mark.parametrize(
    ("flags", "sent"),
    [
        ((), None),
        (("--think",), True),
        (("--think=false",), False),
        (("--no-think",), False),
        (("--think=low",), "low"),
    ],
)
def test_think_is_sent_when_asked_for(
    daemon: FakeDaemon, runner: CommandLine, flags: tuple[str, ...], sent: bool | str | None
) -> None:
    runner("run", *flags, "demo", "hi")
    assert daemon.asked("/api/generate")[0].body.get("think") == sent


def test_words_after_two_dashes_are_words(runner: CommandLine) -> None:
    assert said(runner("run", "echo", "--", "--think", "-o")) == "--think -o"


def test_standard_input_goes_before_the_prompt(runner: CommandLine) -> None:
    assert said(runner("run", "echo", "explain", "this", stdin="def f(): ...\n\n")) == "def f(): ...\nexplain this"
    assert said(runner("run", "echo", stdin="\ufeffonly\nthis\r\n")) == "only\nthis"
    assert said(runner("run", "echo", "explain", stdin=b"\xff\xfe bytes")) == "\ufffd\ufffd bytes\nexplain"
    assert said(runner("run", "--no-stdin", "echo", "explain", stdin="not this")) == "explain"


def test_nothing_to_say_loads_the_model(runner: CommandLine) -> None:
    result = runner("run", "demo", stdin="")
    assert result.stdout == ""
    assert "'demo' is loaded" in result.stderr


def test_thoughts_are_no_data(runner: CommandLine) -> None:
    result = runner("run", "demo", "--think", "hi")
    assert result.stdout == ANSWER
    assert result.stderr == "Thinking...\nLet me see.\n...done thinking.\n\n"
    assert runner("run", "demo", "--think", "--hidethinking", "hi").stderr == ""


def test_a_thought_that_ends_its_line_gets_no_empty_one(daemon: FakeDaemon, runner: CommandLine) -> None:
    lines = [{"thinking": "Hm.\n"}, {"response": "Yes."}, {"done": True}]
    daemon.refusals["/api/generate"] = (200, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    assert runner("run", "demo", "hi").stderr == "Thinking...\nHm.\n...done thinking.\n\n"


def test_verbose_prints_timings_as_ollama_does(runner: CommandLine) -> None:
    result = runner("run", "demo", "hi", "--verbose")
    assert result.stdout == ANSWER
    assert result.stderr == (
        "\n"
        "total duration:       1.234s\n"
        "load duration:        20.500ms\n"
        "prompt eval count:    26 token(s)\n"
        "prompt eval duration: 130.000ms\n"
        "prompt eval rate:     200.00 tokens/s\n"
        "eval count:           5 token(s)\n"
        "eval duration:        250.000ms\n"
        "eval rate:            20.00 tokens/s\n"
    )


def test_json_is_the_whole_answer_as_one_object(runner: CommandLine) -> None:
    answer = json.loads(runner("run", "demo", "hi", "--think", "--json").stdout)
    assert answer == {
        "response": ANSWER.strip(),
        "thinking": "Let me see.",
        "done": True,
        "done_reason": "stop",
        **TIMINGS,
    }


def test_a_truncated_prompt_is_said_so(daemon: FakeDaemon, runner: CommandLine) -> None:
    last = {"response": "ok", "done": True, "truncated_tokens": 40}
    daemon.refusals["/api/generate"] = (200, json.dumps(last).encode() + b"\n")
    result = runner("run", "demo", "hi")
    assert result.stdout == "ok\n"
    assert "40 tokens of it were left out" in result.stderr


def test_a_vector_is_one_json_array(daemon: FakeDaemon, runner: CommandLine) -> None:
    assert json.loads(runner("run", "embedder", "a", "text").stdout) == [0.5, -0.25, 1e-07]
    assert json.loads(runner("run", "embedder", "text", "--dimensions", "2").stdout) == [0.5, -0.25]
    assert daemon.asked("/api/embed")[0].body == {"model": "embedder", "input": "a text"}
    assert "give it one" in runner("run", "embedder", check=2).stderr


def test_a_model_that_is_absent_is_pulled_first(daemon: FakeDaemon, runner: CommandLine) -> None:
    result = runner("run", "tiny", "hi")
    assert result.stdout == ANSWER
    assert result.stderr.splitlines()[0] == "pulling manifest"
    assert [seen.path for seen in daemon.requests] == ["/api/show", "/api/pull", "/api/show", "/api/generate"]


def test_a_model_that_is_nowhere_is_named_with_its_neighbours(runner: CommandLine) -> None:
    result = runner("run", "denmo", "hi", check=1)
    assert result.stderr == "Error: model 'denmo:latest' not found; did you mean demo:latest?\n"
    assert result.stdout == ""
    lost = runner("run", "xyzzy", "hi", check=1).stderr
    assert lost.splitlines() == [
        "Error: model 'xyzzy:latest' not found",
        "`runner list` has yours, `runner search` what can be pulled.",
    ]


def test_control_sequences_stay_in_a_pipe_and_out_of_a_terminal(runner: CommandLine) -> None:
    assert runner("run", "nasty", "hi").stdout == NASTY + "\n"
    with runner.terminal("run", "nasty", "hi") as terminal:
        assert terminal.ends() == 0
    assert terminal.looks == ["[31mred]0;title 1mend"]
    with runner.terminal("run", "nasty", "hi", "--nowordwrap") as terminal:
        assert terminal.ends() == 0
    assert terminal.raw.replace("\r", "") == "[31mred]0;title 1mend\n"


def test_thoughts_are_dim_on_a_terminal(runner: CommandLine) -> None:
    with runner.terminal("run", "demo", "hi", "--think") as terminal:
        assert terminal.ends() == 0
    assert terminal.looks == ["Thinking...", "Let me see.", "...done thinking.", "", ANSWER.strip()]
    assert "\x1b[2mThinking...\x1b[0m" in terminal.raw
    with runner.terminal("run", "demo", "hi", "--think", NO_COLOR="1") as terminal:
        assert terminal.ends() == 0
    assert terminal.raw.replace("\r", "") == f"Thinking...\nLet me see.\n...done thinking.\n\n{ANSWER}"


def test_an_error_late_in_the_answer(runner: CommandLine) -> None:
    result = runner("run", "late", "hi", check=1)
    assert result.stdout == ANSWER
    assert result.stderr == "Error: the worker died in the middle\n"


def test_a_daemon_that_goes_away_in_the_middle(runner: CommandLine) -> None:
    result = runner("run", "cut", "hi", check=69)
    assert result.stdout == ANSWER
    assert "closed the connection before it had answered" in result.stderr


def test_the_prompt_after_ctrl_c_has_a_line_of_its_own(daemon: FakeDaemon, runner: CommandLine) -> None:
    with runner.terminal("run", "slow", "hi", "--json") as terminal:
        assert daemon.begun.wait(30), "nothing was asked"
        terminal.type("\x03")
        assert terminal.ends() == 130
    assert terminal.shown == "^C\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_the_request(
    daemon: FakeDaemon, runner: CommandLine, number: signal.Signals, code: int
) -> None:
    process = runner.start("run", "slow", "hi")
    assert process.stdout is not None
    assert process.stdout.read(4) == b"one "
    process.send_signal(number)
    rest = process.communicate(timeout=30)
    assert process.returncode == code
    assert rest == (b"\n", b"")
    assert daemon.hung_up.wait(30), "the connection is still open"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("-o", "temperature=warm"), "temperature: must be a number"),
        (("-o", "temprature=1"), "did you mean temperature?"),
        (("-o", "temperature"), "NAME=VALUE"),
        (("--think=loud",), "--think takes true, false"),
        (("--format", "yaml"), "--format takes json or a JSON Schema"),
        (("--format", "[1]"), "which is an object"),
        (("--keepalive", "soon"), "--keepalive takes seconds or a duration"),
    ],
)
def test_values_that_cannot_be_used_are_usage_errors(
    daemon: FakeDaemon, runner: CommandLine, flags: tuple[str, ...], words: str
) -> None:
    assert words in runner("run", "demo", "hi", *flags, check=2).stderr
    assert daemon.requests == []


def test_keep_alive_for_ever_is_negative() -> None:
    assert arguments.keep_alive("-1") == -1
    assert arguments.keep_alive("0") == 0
    assert arguments.keep_alive("1h30m") == 5400
    assert arguments.keep_alive(None) is None


def test_setting_a_parameter_twice_replaces_it_unless_it_collects() -> None:
    assert arguments.options(["seed=1", "seed=2", "stop=a=b", "stop= "]) == {"seed": 2, "stop": ["a=b", " "]}
    with pytest.raises(Failure, match="num_ctx: must be between"):
        arguments.options(["num_ctx=0"])


def test_the_prompt_alone(daemon: FakeDaemon, runner: CommandLine) -> None:
    result = runner("run", "demo", "--show-prompt", "--system", "Be brief", "Hi", "there")
    assert (result.stdout, result.stderr) == ("<user>Hi there\n<answer>", "")
    [request] = daemon.asked("/api/generate")
    assert request.body == {
        "model": "demo",
        "prompt": "Hi there",
        "system": "Be brief",
        "stream": False,
        "_debug_render_only": True,
    }
    shown = json.loads(runner("run", "demo", "--show-prompt", "--json", "Hi").stdout)
    assert shown["_debug_info"] == {"rendered_template": "<user>Hi\n<answer>"}
    assert "give it one" in runner("run", "demo", "--show-prompt", check=2).stderr
