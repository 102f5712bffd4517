"""The probe process, and processes that do what drivers have been seen to do."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec
import psutil
import pytest

from runner.protocol.devices import Device, DeviceSurvey
from runner.scheduler.child import worker_environment
from runner.scheduler.probe import ProbeFailed, probe, probe_command

CPU = Device(name="CPU", backend="cpu", kind="cpu", total=10, free=5)
ANSWER = msgspec.json.encode(DeviceSurvey(devices=(CPU,))).decode()


async def ask(script: str, limit: float = 20.0) -> DeviceSurvey:
    return await probe([sys.executable, "-c", script], worker_environment(), limit)


async def refusal(script: str, limit: float = 20.0) -> str:
    with pytest.raises(ProbeFailed) as failed:
        await ask(script, limit)
    return str(failed.value)


async def test_this_machine() -> None:
    found = await probe(probe_command(), worker_environment())
    assert [device.name for device in found.devices if device.kind == "cpu"] == ["CPU"]
    assert "cpu" in found.backends
    assert not found.problem


async def test_what_drivers_print_is_no_part_of_the_answer() -> None:
    noisy = f"import sys; sys.stderr.write('found 2 devices' * 100_000); print({ANSWER!r})"
    assert (await ask(noisy)).devices == (CPU,)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
        ("import os; os.abort()", "killed by SIGABRT"),
        ("import sys; sys.exit('CUDA error: no such device')", r"exit code 1 \(CUDA error: no such device\)"),
        ("print('hello')", "an answer that is none"),
        ("", "an answer that is none"),
        ("print('[' * 100_000)", "an answer that is none"),
        ("import sys; sys.stdout.buffer.write(bytes(range(256)))", "an answer that is none"),
        ('print(\'{"devices": [{"name": 5}]}\')', "an answer that is none"),
        ("print('{\"devices\": []}')", "not even a CPU"),
    ],
)
async def test_what_goes_wrong_is_said(script: str, why: str) -> None:
    with pytest.raises(ProbeFailed, match=why):
        await ask(script)


async def test_one_that_hangs_is_ended(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    hangs = f"import os, signal, time; open({str(pid)!r}, 'w').write(str(os.getpid())); "
    hangs += "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    assert await refusal(hangs, limit=1.5) == "its process gave no answer within 2 s"
    assert not psutil.pid_exists(int(pid.read_text()))


async def test_a_flood_is_cut_off() -> None:
    assert "more than 1 MiB" in await refusal("while True: print('x' * 100_000)")


async def test_a_process_that_it_left_behind_may_hold_the_pipe(tmp_path: Path) -> None:
    left = "import subprocess, sys; "
    left += "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
    left += f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid)); print({ANSWER!r}, flush=True); "
    left += "import os; os._exit(0)"
    assert (await ask(left)).devices == (CPU,)
    psutil.Process(int((tmp_path / "pid").read_text())).kill()  # it is still there


async def test_no_such_program() -> None:
    with pytest.raises(ProbeFailed, match="could not be started"):
        await probe(["/nonexistent/python"], {})


async def test_when_nobody_waits_any_more_the_process_ends(tmp_path: Path) -> None:
    began, gone = asyncio.Event(), asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began.set()
        await reader.read()  # until the process has ended
        writer.close()
        gone.set()

    server = await asyncio.start_unix_server(connected, tmp_path / "socket")
    script = f"import socket, time; s = socket.socket(socket.AF_UNIX); s.connect({str(tmp_path / 'socket')!r}); "
    async with server, asyncio.timeout(20):
        task = asyncio.create_task(ask(script + "time.sleep(600)"))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone.wait()


async def test_sizes_that_cannot_be_are_put_right() -> None:
    odd = (Device(name="CUDA0", backend="cuda", kind="gpu", total=10, free=99), msgspec.structs.replace(CPU, free=-3))
    found = await ask(f"print({msgspec.json.encode(DeviceSurvey(devices=odd)).decode()!r})")
    assert [(each.total, each.free) for each in found.devices] == [(10, 10), (10, 0)]


async def test_what_hides_devices_from_workers_hides_them_from_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES")
    for name in names:
        monkeypatch.setenv(name, "1,0")
    monkeypatch.setenv("RUNNER_API_KEY", "secret")
    script = f"import os; assert [os.environ[name] for name in {names!r}] == ['1,0'] * 4; "
    assert await ask(script + f"assert 'RUNNER_API_KEY' not in os.environ; print({ANSWER!r})")
