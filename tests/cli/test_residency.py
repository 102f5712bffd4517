"""`ps`, `ps --watch` and `why`: what a person sees, at every width, and what a script reads."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runner.cli.cards import ps as pstable
from runner.cli.cards import why as whycard
from tests.cli.command_line import CommandLine
from tests.cli.fake_daemon import DIGEST, FOREVER, FakeDaemon

NOW = datetime(2026, 8, 21, 12, 0, 0, tzinfo=UTC)
TOTALS = {
    "memory": [{"name": "host", "free": 3 * 10**9, "total": 16 * 10**9}, {"name": "CUDA0", "free": 1, "total": 10**10}],
    "held": {"CUDA0": 9 * 10**9},
    "queued": 5,
    "queue_limit": 512,
    "model_limit": 3,
}
READY: dict[str, Any] = {
    "name": "qwen3:8b",
    "digest": DIGEST,
    "size": 10**10,
    "size_vram": 38 * 10**8,
    "context_length": 8192,
    "expires_at": (NOW + timedelta(minutes=4, seconds=10)).isoformat(),
    "state": "ready",
    "status": "ready",
    "running": 2,
    "waiting": 5,
    "kv": {"total": 16384, "used": 9000, "busy": 4096},
    "decode_rate": 45.72,
}
LOADING = {**READY, "name": "big", "state": "loading", "status": "loading 43 %", "running": 0, "decode_rate": 0.0}
QUEUED = {
    **READY, "name": "other", "state": "queued", "status": "queued", "size": 0, "size_vram": 0, "running": 0,
    "waiting": 1, "estimate": 12.0, "kv": {"total": 0, "used": 0, "busy": 0}, "decode_rate": 0.0,
}  # fmt: skip
PAUSED = {**QUEUED, "name": "bad", "state": "paused", "status": "crash loop, again in 12 s", "waiting": 0}
ANSWER = {"models": [READY, LOADING, QUEUED, PAUSED], "totals": TOTALS}


WIDE = """\
NAME        ID              SIZE     PROCESSOR          CONTEXT    KV     REQUESTS                TOK/S    UNTIL
qwen3:8b    ab12ab12ab12    10 GB    62%/38% CPU/GPU    8192       25%    2 running, 5 waiting    45.7     4 minutes from now
big         ab12ab12ab12    10 GB    62%/38% CPU/GPU    8192       25%    5 waiting               -        loading 43 %
other       ab12ab12ab12    -        -                  8192       -      1 waiting               -        queued, about 12 seconds
bad         ab12ab12ab12    -        -                  8192       -      idle                    -        crash loop, again in 12 s
"""  # noqa: E501


def test_all_columns_where_there_is_room() -> None:
    assert pstable.lines(ANSWER, NOW) == WIDE.splitlines()


def test_a_pinned_model_says_so() -> None:
    assert pstable.lines({"models": [{**READY, "pinned": True}]}, NOW)[1].endswith("    Pinned")


def test_a_narrow_terminal_gets_fewer_words_and_then_fewer_columns() -> None:
    assert pstable.lines(ANSWER, NOW, 80)[:3] == [
        "NAME      SIZE   PROCESSOR        REQUESTS       TOK/S  UNTIL",
        "qwen3:8b  10 GB  62%/38% CPU/GPU  2 run, 5 wait  45.7   4 min",
        "big       10 GB  62%/38% CPU/GPU  5 wait         -      loading 43 %",
    ]
    assert pstable.lines(ANSWER, NOW, 20)[1] == "qwen3:8b  4 min"


@pytest.mark.parametrize("width", range(40, 160, 7))
def test_no_line_is_wider_than_its_terminal(width: int) -> None:
    lines = pstable.lines(ANSWER, NOW, width)
    assert max(map(len, lines)) <= width
    assert all(each["name"] in line for each, line in zip(ANSWER["models"], lines[1:], strict=True))


def test_the_totals_are_talk_and_not_data(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.loaded, daemon.totals = [READY], TOTALS
    done = runner("ps")
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == (
        "memory: 3.0 GB free of 16 GB; memory of CUDA0: 1 B free of 10 GB, models hold 9.0 GB; queue: 5 of 512\n"
    )
    [row] = json.loads(runner("ps", "--json").stdout)
    assert {key: row[key] for key in ("kv", "decode_rate", "running")} == {
        key: READY[key] for key in ("kv", "decode_rate", "running")
    }
    assert runner("ps", "nothing").stdout.split()[:2] == ["NAME", "ID"]


def test_watching_goes_on_when_the_daemon_comes_back(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.loaded, daemon.totals = [READY], TOTALS
    with runner.terminal("ps", "--watch", "--interval", "0.1") as terminal:
        terminal.expect("qwen3:8b")
        port = int(daemon.address.rpartition(":")[2])
        daemon.stop()
        terminal.expect("waiting for it to come back")
        again = FakeDaemon(loaded=[{**READY, "name": "after"}], totals=TOTALS).start(port)
        try:
            terminal.expect("after")
        finally:
            again.stop()
        terminal.type("\x03")
        assert terminal.ends() == 130
        assert terminal.raw.endswith("\x1b[?25h")  # the cursor is there again


def test_watching_into_a_pipe_is_plain_blocks(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.loaded, daemon.totals = [READY], TOTALS
    with runner.start("ps", "--watch", "--interval", "0.1") as process:
        assert process.stdout is not None
        read = [process.stdout.readline().decode() for _ in range(8)]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
    assert read[:4] == read[4:]
    assert read[0].startswith("NAME ")
    assert read[2].startswith("memory: ")
    assert read[3] == "\n"
    assert "\x1b" not in "".join(read)


def test_watching_as_json_is_a_line_for_each_look(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.loaded = [READY]
    with runner.start("ps", "--watch", "--json", "--interval", "0.1") as process:
        assert process.stdout is not None
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
    assert first == second
    assert first[0]["name"] == "qwen3:8b"


def test_nobody_to_watch(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.stop()
    assert "no Runner daemon answers" in runner("ps", "--watch", check=69).stderr


REASONS: dict[str, Any] = {
    "model": "demo:latest",
    "digest": DIGEST,
    "state": "ready",
    "status": "ready",
    "summary": "It is loaded for 5 min.",
    "pid": 4711,
    "shared_with": ["pirate:latest"],
    "placement": {
        "words": "all on the CPU",
        "reason": "It runs on the CPU because this machine has no GPU that llama.cpp can use.",
        "devices": [],
        "gpu_layers": 0,
        "layers": 5,
        "free": {"host": 3 * 10**9},
        "memory": [{"device": "CPU", "pool": "host", "weights": 4_500_000, "kv": 10**6, "compute": 0}],
    },
    "context": {"length": 4096, "source": "config", "words": "4096 tokens, as the configuration says", "trained": 0},
    "options": [
        {"name": "num_ctx", "value": 4096, "source": "config", "when": "load"},
        {"name": "stop", "value": ["a", "b"], "source": "modelfile", "when": "sample"},
        {"name": "top_k", "value": 40, "source": "default", "when": "sample"},
    ],
    "template": {"source": "gguf", "reason": "the GGUF's chat template", "language": "jinja", "sha256": "ab" * 32},
    "flags": [{"name": "threads", "value": "2", "words": "as many as physical cores"}],
    "history": [
        {"what": "loading", "words": "context 4096", "model": "demo:latest", "time": "2026-08-21T11:54:00+00:00",
         "detail": ""},
        {"what": "stepped_down", "words": "context 4096 in place of 8192, since memory ran out while it was loaded",
         "model": "demo:latest", "time": "2026-08-21T11:55:00+00:00", "detail": ""},
    ],
    "error": {"what": "died", "words": "killed by SIGKILL", "model": "demo:latest", "time": "2026-08-21T11:00:00+00:00",
              "detail": "ggml_backend: out of\x1b[2J memory\n\nsecond line"},
    "next": {"would": "serve", "words": "It would be computed at once.", "need": 0, "have": 0, "evicts": []},
    "log": "/home/somebody/.local/state/runner/logs/demo_latest.log",
}  # fmt: skip


def test_why_in_sections() -> None:
    assert whycard.card(REASONS, "demo", 76, NOW).splitlines() == [
        "demo:latest: It is loaded for 5 min.",
        "",
        "  Where",
        "    All on the CPU.",
        "    It runs on the CPU because this machine has no GPU that llama.cpp can",
        "    use.",
        "    CPU                     weights 4.5 MB, KV cache 1.0 MB",
        "    free before the load    3.0 GB of memory",
        "",
        "  Next request",
        "    It would be computed at once.",
        "",
        "  Context",
        "    4096 tokens, as the configuration says",
        "",
        "  Options",
        "    num_ctx    4096       the configuration",
        "    stop       'a' 'b'    the Modelfile",
        "    all others are Runner's defaults",
        "",
        "  Template",
        "    The GGUF's chat template.",
        "    sha256 abababababab (runner show --template prints it)",
        "",
        "  Worker",
        "    threads        2                as many as physical cores",
        "    process        4711",
        "    shared with    pirate:latest",
        "    log: /home/somebody/.local/state/runner/logs/demo_latest.log",
        "",
        "  History",
        "    11:55:00  stepped down  context 4096 in place of 8192, since memory ran",
        "                            out while it was loaded",
        "    11:54:00  loading       context 4096",
        "",
        "  Last error",
        "    died, 11:00:00 (About an hour ago): killed by SIGKILL",
        "      ggml_backend: out of[2J memory",
        "      second line",
    ]


def test_why_says_how_much_history_it_leaves_out_and_nothing_of_what_was_free_for_another_load() -> None:
    (first, _), place = REASONS["history"], REASONS["placement"]
    long = [first | {"time": f"2026-08-{20 + hour // 24}T{hour % 24:02}:00:00+00:00"} for hour in range(10, 24 + 6)]
    lines = whycard.card(
        {**REASONS, "history": long, "placement": place | {"memory": []}}, "demo", 76, NOW
    ).splitlines()
    begin = lines.index("  History")
    assert lines[begin + 1] == "    05:00:00             loading  context 4096"
    assert lines[begin + 12] == "    2026-08-20 18:00:00  loading  context 4096"
    assert lines[begin + 13] == "    8 earlier (runner why --json shows them)"
    assert not any("free before" in line for line in lines)


def test_pin_and_unpin_say_what_they_did(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.refusals["/runner/pin"] = (200, {"pinned": ["demo:latest"], "changed": True})
    daemon.refusals["/runner/unpin"] = (200, {"pinned": [], "changed": True})
    done = runner("pin", "demo")
    assert (done.stdout, done.stderr) == ("", 'demo is loaded and stays until "runner unpin demo"\n')
    assert runner("unpin", "demo").stderr.startswith("demo is pinned no more: ")
    daemon.refusals["/runner/unpin"] = (200, {"pinned": [], "changed": False})
    assert runner("unpin", "demo").stderr == "demo was not pinned\n"
    assert 'model "nosuch" not found' in runner("unpin", "nosuch", check=1).stderr


def test_why_names_the_adapters() -> None:
    lines = whycard.card(
        {**REASONS, "adapters": [{"name": "sql:latest", "scale": 0.5}]}, "demo:sql", 76, NOW
    ).splitlines()
    assert lines[0] == "demo:sql (demo:latest): It is loaded for 5 min."
    assert lines[lines.index("  Adapters") + 1] == "    sql:latest    scale 0.5"


def test_why_asks_with_the_options_in_question(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.reasons = REASONS
    done = runner("why", "demo", "--option", "num_ctx=9000")
    assert done.stdout.startswith("demo:latest: It is loaded")
    assert daemon.requests[-1].body == {"model": "demo", "options": {"num_ctx": 9000}}
    assert json.loads(runner("why", "demo", "--json").stdout) == REASONS
    assert "not found" in runner("why", "nothing", check=1).stderr
    assert "num_ctx" in runner("why", "demo", "--option", "num_ctx=-5", check=2).stderr


def test_ps_of_a_daemon_of_ollamas_has_ollamas_columns(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.loaded = [{"name": "x", "digest": DIGEST, "size": 1, "size_vram": 1, "expires_at": FOREVER}]
    done = runner("ps")
    assert done.stdout.splitlines()[0].split() == ["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"]
    assert done.stderr == ""
