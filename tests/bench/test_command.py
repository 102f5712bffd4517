"""`runner bench` as a person types it: a real process against servers whose answers are known."""

import asyncio
import json
import signal
import sys
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer import TyperException

from runner.cli.failures import Failure
from runner.cli.verbs import dispatch
from tests.bench.fake_openai import FakeOpenAI, InThread
from tests.cli.command_line import CommandLine
from tests.cli.fake_daemon import FakeDaemon

QUICK = ("--concurrency", "1,2", "--requests", "4", "--input-tokens", "20", "--output-tokens", "3")


@pytest.fixture
def server() -> Iterator[InThread]:
    with InThread(FakeOpenAI()) as running:
        yield running


@pytest.fixture
def runner(tmp_path: Path) -> CommandLine:
    return CommandLine("127.0.0.1:1", tmp_path)  # where no daemon is


def rows(text: str) -> list[list[str]]:
    """Cells of every line, blank lines left out."""
    return [[cell.strip() for cell in line.split("   ") if cell.strip()] for line in text.splitlines() if line]


def test_a_table(server: InThread, runner: CommandLine) -> None:
    done = runner("bench", "--url", f"fake={server.url}", *QUICK)
    found = rows(done.stdout)
    assert found[0] == ["LOAD", "SERVER", "OK", "FAILED", "IN/OUT", "TOK/S", "PER USER"]
    assert [row[:5] for row in found[1:3]] == [
        ["1 user", "fake", "4", "0", "20/3"],
        ["2 users", "fake", "4", "0", "20/3"],
    ]
    assert found[3] == ["LOAD", "SERVER", "TTFT P50/P95/P99", "GAP", "END TO END"]
    assert all(float(row[5]) > 0 for row in found[1:3])
    assert len(found) == 6
    assert "Getting to know fake" in done.stderr
    assert "Seed: " in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_known_delays_through_the_whole_command(runner: CommandLine) -> None:
    async def pause(number: int) -> None:
        await asyncio.sleep(0.02 if number else 0.1)

    with InThread(FakeOpenAI(pause=pause)) as server:
        before = time.monotonic()
        done = runner(
            "bench", "--url", server.url, "--concurrency", "2", "--requests", "4", "--output-tokens", "6", "--json"
        )
        waited = time.monotonic() - before
    [found] = json.loads(done.stdout)["results"]
    # A server can be slower than it was told to be, and never quicker; event loops may be 1 ms early.
    assert 0.099 <= found["ttft_s"]["p50"] <= waited
    assert 0.099 + 5 * 0.019 <= found["e2e_s"]["p50"] <= waited
    # Gaps may be short where one before was long, but they add up.
    assert found["tpot_s"]["mean"] == pytest.approx(found["gap_s"]["mean"])
    assert found["output_tokens_per_s"] == pytest.approx(24 / found["seconds"])
    assert found["seconds"] <= waited
    assert found["output_tokens_per_s"] <= 24 / (2 * (0.099 + 5 * 0.019)), "two users, two answers each"


def test_json(server: InThread, runner: CommandLine) -> None:
    done = runner("bench", "--url", server.url, *QUICK, "--seed", "mine", "--goal", "ttft:1h,itl:1h", "--json")
    document = json.loads(done.stdout)
    assert document["seed"] == "mine"
    assert [result["load"] for result in document["results"]] == [{"users": 1}, {"users": 2}]
    assert [result["goodput"]["share"] for result in document["results"]] == [1.0, 1.0]
    assert document["targets"][0]["name"] == server.url.split("/")[2]
    assert document["changes"] == []


def test_side_by_side_and_drawn(server: InThread, runner: CommandLine, tmp_path: Path) -> None:
    with InThread(FakeOpenAI()) as second:
        others = ("--compare", f"other={second.url}", "--compare", f"again={server.url}")
        done = runner("bench", "--url", f"one={server.url}", *others, *QUICK, "--plot", "users.svg")
    found = rows(done.stdout)
    assert [row[1] for row in found if row[0] == "2 users" and "/" in row[1]] == ["one / other", "one / again"]
    heads = [row for row in found if row[:2] == ["LOAD", "RATIO"]]
    assert heads == [["LOAD", "RATIO", "TOK/S", "TTFT P50", "GAP P50", "E2E P50"]]
    root = ET.parse(tmp_path / "users.svg").getroot()
    assert root.tag.endswith("svg")
    lines = [line for line in done.stderr.splitlines() if " answered in " in line]
    assert len(lines) == 12, "three servers, two loads, two rounds"


def test_at_a_rate(server: InThread, runner: CommandLine) -> None:
    done = runner("bench", "--url", server.url, "--rate", "200", "--requests", "20", "--output-tokens", "2", "--json")
    [found] = json.loads(done.stdout)["results"]
    assert found["load"] == {"rate": 200.0, "burstiness": 1.0}
    assert found["requests"]["ok"] == 20


def test_the_next_run_is_set_against_this_one(server: InThread, runner: CommandLine) -> None:
    command = ("bench", "--url", f"fake={server.url}", *QUICK)
    assert " since " not in runner(*command).stdout
    changed = [line for line in runner(*command).stdout.splitlines() if " since " in line]
    assert [line.split(":")[0] for line in changed] == ["1 user, fake", "2 users, fake"]
    assert len(json.loads(runner(*command, "--json").stdout)["changes"]) == 2
    assert " since " not in runner(*command, "--no-history").stdout
    assert " since " not in runner(*command, "--warmup", "2").stdout, "another question"


def test_a_history_that_cannot_be_written_costs_nothing(
    server: InThread, runner: CommandLine, runner_home: Path
) -> None:
    runner_home.mkdir()
    (runner_home / "state").write_text("not a folder")
    done = runner("bench", "--url", server.url, *QUICK)
    assert "cannot be used" in done.stderr
    assert done.stdout.startswith("LOAD")


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no SIGINT for a single process")
def test_ctrl_c_shows_what_came(runner: CommandLine) -> None:
    stuck = threading.Event()

    async def pause(number: int) -> None:
        if len(fake.measured) > 6:  # the first turn is over
            stuck.set()
            await asyncio.Event().wait()

    fake = FakeOpenAI(pause=pause)
    with InThread(fake) as server:
        process = runner.start("bench", "--url", f"fake={server.url}", *QUICK, "--plot", "cut.svg")
        assert stuck.wait(30)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert rows(out.decode())[1][:5] == ["1 user", "fake", "4", "0", "20/3"]
    assert b"the run was cut short" in err
    assert b"Traceback" not in err
    assert (runner.folder / "cut.svg").exists()


def test_ctrl_c_on_a_terminal_with_the_live_table(runner: CommandLine) -> None:
    stuck = threading.Event()

    async def pause(number: int) -> None:
        if len(fake.measured) > 6:
            stuck.set()
            await asyncio.Event().wait()

    fake = FakeOpenAI(pause=pause)
    with InThread(fake) as server, runner.terminal("bench", "--url", f"fake={server.url}", *QUICK) as screen:
        screen.expect("IN FLIGHT")
        screen.expect("2 users")
        assert stuck.wait(30)
        screen.type("\x03")
        screen.expect("PER USER")
        assert screen.ends() == 130
    assert "4/4" in screen.shown
    assert screen.raw.count("\x1b[?25h") == screen.raw.count("\x1b[?25l"), "the cursor is shown again"


@pytest.mark.parametrize(
    ("model", "code", "words"),
    [
        ("none", 1, 'answers 404: model "none" not found'),
        ("locked", 77, "answers 401: a key is needed"),
        ("babbling", 69, "not json"),
    ],
)
def test_servers_that_cannot_be_measured(
    server: InThread, runner: CommandLine, model: str, code: int, words: str
) -> None:
    done = runner("bench", "--url", f"fake={server.url}", "--model", model, *QUICK, check=code)
    assert words in done.stderr
    assert done.stdout == ""


def test_failures_are_counted_and_all_of_them_are_a_failure(server: InThread, runner: CommandLine) -> None:
    done = runner("bench", "--url", f"fake={server.url}#busy", *QUICK, "--concurrency", "4", check=1)
    assert rows(done.stdout)[1] == ["4 users", "fake", "0", "4", "-/-", "-", "-"]
    assert "4 requests failed (4 x status 503); the first: the queue is full" in done.stderr
    assert done.stderr.endswith("Error: no request was answered\n")


def test_answers_that_end_early_are_said_to(server: InThread, runner: CommandLine) -> None:
    done = runner("bench", "--url", f"fake={server.url}#short", "--requests", "2", "--concurrency", "1")
    assert "2 of 2 answers ended early, after 3 tokens on average" in done.stderr


def test_keys_go_where_they_belong(server: InThread, runner: CommandLine) -> None:
    with InThread(FakeOpenAI()) as second, InThread(FakeOpenAI()) as third:
        others = ("--compare", f"b={second.url}", "--compare", f"c={third.url}")
        keys = ("--api-key", "first=key==", "--api-key", "b=env:THE_KEY")
        runner("bench", "--url", f"a={server.url}", *others, *keys, *QUICK, "--rounds", "1", THE_KEY="hush")
        assert {served.key for served in server.fake.served} == {"Bearer first=key=="}
        assert {served.key for served in second.fake.served} == {"Bearer hush"}
        assert {served.key for served in third.fake.served} == {None}


def test_the_daemon_is_measured_when_no_url_is_given(daemon: FakeDaemon, tmp_path: Path) -> None:
    runner = CommandLine(daemon.address, tmp_path)
    done = runner("bench", "--model", "demo", *QUICK, check=1, RUNNER_API_KEY="hush")
    assert "runner answers 404: 404 page not found" in done.stderr, "this one speaks only the other dialect"
    [request] = daemon.asked("/v1/chat/completions")
    assert request.headers["Authorization"] == "Bearer hush"
    assert request.body["model"] == "demo"


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    running = FakeDaemon().start()
    yield running
    running.stop()


def test_nobody_there(runner: CommandLine) -> None:
    assert "no Runner daemon answers" in runner("bench", check=69).stderr
    assert "cannot be reached" in runner("bench", "--url", "http://127.0.0.1:1", check=69).stderr
    assert "fake at http://127.0.0.1:1/v1" in runner("bench", "--url", "fake=http://127.0.0.1:1#m", check=69).stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--concurrency", "0"), "--concurrency takes a whole number from 1"),
        (("--concurrency", "9223372036854775808"), "--concurrency takes a whole number from 1"),
        (("--rate", "nan"), "--rate takes a number"),
        (("--rate", "1", "--concurrency", "1"), "two ways to load a server"),
        (("--requests", "0"), "--requests"),
        (("--requests", "9223372036854775808"), "--requests"),
        (("--duration", "-1s"), "--duration takes a time"),
        (("--input-tokens", "5-2"), "--input-tokens takes the shorter length first"),
        (("--output-tokens", "true"), "--output-tokens takes a length"),
        (("--shared-prefix", "-1"), "--shared-prefix"),
        (("--endpoint", "embeddings"), "--endpoint takes chat or completions"),
        (("--temperature", "inf"), "--temperature takes a number from 0 to 100"),
        (("--extra", "[1]"), "--extra takes a JSON object"),
        (("--goal", "ttft:500"), "--goal takes times with their unit"),
        (("--limit", "nan"), "--limit takes"),
        (("--plot", "no/such/folder/a.svg"), "--plot takes a file in a folder that exists"),
        (("--url", "nowhere"), "--url takes [NAME=]URL[#MODEL]"),
        (("--url", "a=http://h", "--host", "127.0.0.1"), "give one"),
        (("--url", "a=http://h", "--compare", "a=http://g"), "two servers are called 'a'"),
        (("--url", "a=http://h", "--api-key", "env:NO_SUCH_VARIABLE"), "which is not in the environment"),
        (("--url", "a=http://h", "--api-key", "a\nb"), "--api-key takes a key of printable"),
    ],
)
def test_usage_errors(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises((Failure, TyperException)) as error:
        dispatch(["bench", *arguments])
    said = error.value.message if isinstance(error.value, Failure) else error.value.format_message()
    assert words in said
    assert (error.value.code if isinstance(error.value, Failure) else error.value.exit_code) == 2
