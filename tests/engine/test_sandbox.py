"""The worker's shell: what a real worker can't do any more, what it still does, and what is said where it can't be."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelfiles.embedded import demo_gguf
from runner.engine.sandbox import filter as calls
from runner.engine.sandbox import landlock
from runner.engine.sandbox import places as sandbox_places
from runner.engine.sandbox.enter import Work, enter
from runner.engine.sandbox.kernel import Kernel
from runner.errors import LoadFailed
from runner.protocol.codec import FrameReader, pack_command, unpack_events
from runner.protocol.commands import Command, Embed, Generate, Load, PrefixStore, Stop, TextPrompt
from runner.protocol.events import Done, Event, Failed, Ready, Text
from runner.protocol.options import LoadOptions, SampleOptions
from runner.protocol.sandbox import WORDS, Mode, Promise, Sandbox
from runner.scheduler.environment import worker_environment
from tests.engine.attempts import ATTEMPTS, HARMLESS

# A worker in which a request for vectors makes it try everything, as code would that a model file brought along.
EVIL = """
import json, os, sys
from runner.engine.mailbox import Mailbox
from runner.engine.worker import main
from tests.engine.attempts import attempt
def inputs(self, command):
    sys.stderr.write(attempt(json.loads(command.inputs[0])) + "\\n")
    raise RuntimeError("evil")
Mailbox.inputs = inputs
sys.exit(main())
"""
OPTIONS = LoadOptions(num_ctx=256, num_parallel=1, num_thread=1)
GREEDY = SampleOptions(temperature=0.0, repeat_penalty=1.0, ignore_eos=True, num_predict=12)
ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux's kernel lets a process shut itself in so")


@pytest.fixture
def places(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A home with a secret, a store with a model, a folder for prefixes, and somebody who listens."""
    home, store = tmp_path / "home", tmp_path / "store"
    home.mkdir()
    store.mkdir()
    (home / "secret").write_text("canary")
    model = store / "model.gguf"
    model.write_bytes(demo_gguf().read_bytes())
    local = socket.socket(socket.AF_UNIX)
    local.bind(str(tmp_path / "socket"))
    local.listen()
    with local, socket.create_server(("127.0.0.1", 0)) as server:
        yield {
            "canary": str(home / "secret"), "home": str(home), "store": str(store), "model": str(model),
            "prefixes": str(tmp_path / "prefixes"), "port": str(server.getsockname()[1]),
            "socket": str(tmp_path / "socket"),
        }  # fmt: skip


def told(source: str, load: Load, *commands: Command) -> tuple[list[Event], str]:
    """What a worker made of `source` says to a load and to commands until each has ended, and its log."""
    environment = worker_environment() | {"PYTHONPATH": str(ROOT), "CANARY": "of the parent"}
    with subprocess.Popen(
        [sys.executable, "-c", source],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"".join(map(pack_command, [load, *commands])))
        process.stdin.flush()
        events: list[Event] = []
        frames = FrameReader()
        waiting = {command.id for command in commands if isinstance(command, Generate | Embed)}
        while waiting or not any(isinstance(event, Ready) for event in events):
            data = os.read(process.stdout.fileno(), 1 << 16)
            if not data:
                break
            for body in frames.feed(data):
                events += unpack_events(body)
            waiting -= {event.id for event in events if isinstance(event, Done | Failed)}
        if process.poll() is None and not any(isinstance(e, Failed) and e.id is None for e in events):
            process.stdin.write(pack_command(Stop()))
        process.stdin.close()
        log = process.stderr.read().decode()
    return events, log


def load_of(places: dict[str, str], mode: Mode = "on") -> Load:
    prefixes = PrefixStore(ram=1 << 20, disk=1 << 24, root=places["prefixes"], model="model")
    return Load((places["model"],), OPTIONS, prefixes=prefixes, sandbox=Sandbox(mode))


def tried(places: dict[str, str], mode: Mode) -> tuple[dict[str, str], list[Event]]:
    events, log = told(EVIL, load_of(places, mode), Embed(1, (json.dumps(places),)))
    line = next(line for line in log.splitlines() if line.startswith("{"))
    found: dict[str, str] = json.loads(line)
    return found, events


def test_a_worker_reaches_nothing_but_its_model_and_the_prefixes(places: dict[str, str]) -> None:
    found, events = tried(places, "strict")
    assert set(found) == set(ATTEMPTS)
    assert {name: how for name, how in found.items() if name in HARMLESS} == dict.fromkeys(HARMLESS, "done")
    stopped = {name: how for name, how in found.items() if name not in HARMLESS}
    expected = dict.fromkeys(stopped, "PermissionError")
    expected["leave a core dump"] = stopped["leave a core dump"]  # root hears of it by another name
    expected["rename the model into the prefixes"] = stopped["rename the model into the prefixes"]
    assert stopped == expected
    assert stopped["rename the model into the prefixes"] in ("PermissionError", "OSError")  # EXDEV
    assert Path(places["model"]).read_bytes() == demo_gguf().read_bytes()
    ready = next(event for event in events if isinstance(event, Ready))
    assert {promise.what for promise in ready.sandbox} == set(WORDS)
    assert [promise for promise in ready.sandbox if not promise.holds] == []


def test_without_a_sandbox_the_attempts_succeed(places: dict[str, str]) -> None:
    """So they are real ones. Left out is what would end the worker, or stop this process."""
    skipped = {"cut the model", "trace the daemon", "set up io_uring", "leave a core dump", "read the daemon's memory"}
    found, events = tried(places | {"skip": ",".join(skipped)}, "off")
    done = {name for name, how in found.items() if how == "done"}
    # Where this runs without privileges, other processes are closed anyway.
    assert set(ATTEMPTS) - skipped - done <= {"remove the model", "read the model", "read the daemon's environment",
                                              "rename the model into the prefixes"}  # fmt: skip
    ready = next(event for event in events if isinstance(event, Ready))
    assert all(not promise.holds and "off" in promise.why for promise in ready.sandbox)


WORKER = "import sys; from runner.engine.worker import main; sys.exit(main())"


def test_answers_are_the_same_inside(places: dict[str, str]) -> None:
    asked = Generate(1, TextPrompt("def add(a, b):\n    return"), GREEDY)
    texts = []
    for mode in ("strict", "off"):
        events, _ = told(WORKER, load_of(places, mode), asked)  # type: ignore[arg-type]
        texts.append("".join(event.text for event in events if isinstance(event, Text)))
    assert texts[0] == texts[1] != ""


def test_prefixes_survive_the_worker(places: dict[str, str]) -> None:
    prompt = "def add(a, b):\n    return a + b\n" * 8
    cached = []
    for _ in range(2):
        events, _ = told(WORKER, load_of(places), Generate(1, TextPrompt(prompt), GREEDY))
        done = next(event for event in events if isinstance(event, Done))
        cached.append(done.usage.cached_tokens)
    assert cached[0] == 0 < cached[1]


def test_a_missing_file_is_said_as_before(places: dict[str, str]) -> None:
    Path(places["model"]).unlink()
    messages = []
    for mode in ("strict", "off"):
        events, _ = told(WORKER, load_of(places, mode))  # type: ignore[arg-type]
        failed = next(event for event in events if isinstance(event, Failed))
        messages.append((failed.code, failed.message))
    assert messages[0] == messages[1]


# -- kernels that lack something; in a process of their own, since what is set there stays


class Old(Kernel):
    """A kernel that lacks what it is told, and doesn't do the rest."""

    def __init__(self, abi: int | None, filters: bool = True) -> None:
        self.abi, self.filters, self.rules = abi, filters, 0
        self.handled: list[bytes] = []

    def no_new_privileges(self) -> None:
        pass

    def keep_capabilities(self, kept: int) -> None:
        pass

    def call(self, number: int, *arguments: object) -> int:
        if self.abi is None:
            raise OSError(38, "Function not implemented")
        if number == 444 and arguments[0] is None:
            return self.abi
        if number == 444:
            self.handled.append(bytes(arguments[0]))  # type: ignore[call-overload]
            return os.open(os.devnull, os.O_RDONLY)
        self.rules += number == 445
        return 0

    def install(self, program: bytes) -> None:
        if not self.filters:
            raise OSError(22, "Invalid argument")


def entered(kernel: Kernel, mode: Mode = "on", *, gpu: bool = False) -> dict[str, Promise]:
    return {promise.what: promise for promise in enter(Sandbox(mode), Work(gpu=gpu), lambda: kernel)}


@pytest.fixture(autouse=True)
def _keep_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set in this process would stay for the other tests; those of a worker's own are set there."""
    monkeypatch.setattr("runner.engine.sandbox.limits.limit", lambda size: "")
    monkeypatch.setattr("runner.engine.sandbox.enter._threads", lambda: 1)


def test_what_an_old_kernel_lacks_is_said_and_the_rest_holds() -> None:
    found = entered(Old(None))
    assert not found["files"].holds
    assert "Function not implemented" in found["files"].why
    assert found["network"].holds
    assert not found["processes"].holds
    found = entered(Old(1))
    assert "version 1" in found["files"].why
    assert found["programs"].holds
    found = entered(Old(5))
    assert found["files"].holds
    assert not found["processes"].holds
    found = entered(Old(6, filters=False))
    assert found["files"].holds
    assert "seccomp" in found["network"].why
    assert all(promise.holds for promise in entered(Old(7)).values())


def test_a_gpu_keeps_its_local_sockets_and_it_is_said() -> None:
    found = entered(Old(7), gpu=True)
    assert not found["sockets"].holds
    assert found["network"].holds
    entered(Old(7), "strict", gpu=True)


def test_only_a_build_that_is_known_to_use_no_gpu_goes_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_places, "_DRIVERS", (str(tmp_path / "dri*"),))
    assert not sandbox_places.has_gpu(tmp_path)
    (tmp_path / "dri0").touch()
    assert sandbox_places.has_gpu(tmp_path), "a build in one file may be any"
    (tmp_path / "libggml-cpu-haswell.so").touch()
    assert not sandbox_places.has_gpu(tmp_path)
    (tmp_path / "libggml-vulkan.so.0").touch()
    assert sandbox_places.has_gpu(tmp_path)


@pytest.mark.parametrize("kernel", [Old(None), Old(7, filters=False), Old(1)])
def test_strict_refuses_what_cannot_be_held(kernel: Old) -> None:
    with pytest.raises(LoadFailed, match="sandbox"):
        entered(kernel, "strict")


def test_another_system_says_why() -> None:
    def none() -> Kernel:
        raise OSError("only Linux has it")

    found = {promise.what: promise for promise in enter(Sandbox(), Work(), none)}
    assert found["files"].why == "only Linux has it"
    assert found["limits"].holds


@pytest.mark.parametrize(("abi", "size"), [(1, 8), (3, 8), (4, 16), (5, 16), (6, 24), (9, 24)])
def test_a_kernel_is_asked_for_what_its_version_knows(abi: int, size: int) -> None:
    kernel = Old(abi)
    entered(kernel)
    (described,) = kernel.handled
    assert len(described) == size
    handled = landlock.Right(int.from_bytes(described[:8], sys.byteorder))
    assert (landlock.Right.TRUNCATE in handled) == (abi >= 3)
    assert (landlock.Right.IOCTL_DEV in handled) == (abi >= 5)
    assert kernel.rules > 5


def test_threads_that_are_outside_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.engine.sandbox.enter._threads", lambda: 3)
    assert "2 threads" in entered(Old(7))["files"].why


def test_there_is_a_filter_for_both_kinds_of_machine() -> None:
    for machine in calls.ARCHITECTURES:
        code = calls.program(machine, local_sockets=True)
        assert code is not None
        assert len(code) % 8 == 0
        assert len(code) // 8 < 4096
    assert calls.program("riscv64", local_sockets=True) is None
