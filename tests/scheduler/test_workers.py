"""The scheduler over real processes that speak the protocol: deaths, hangs, floods, cancels and swaps."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import psutil
import pytest

from runner.errors import LoadFailed, Quarantined, RunnerError, WorkerCrashed
from runner.scheduler import child
from runner.scheduler.stream import Stream
from tests.fakes.processes import House, house, want

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the fake worker dies by POSIX signals")


@pytest.fixture(autouse=True)
def _short_graces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "STOP_GRACE", 0.3)
    monkeypatch.setattr(child, "TERM_GRACE", 0.2)


async def test_one_answer(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        told = await at.ask(want("say:all is well"))
        assert told.text == "all is well"
        assert told.end is not None
        assert told.end.usage.completion_tokens == 3


async def test_many_at_once(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        answers = await asyncio.gather(*(at.ask(want(f"say:number {n}")) for n in range(50)))
        assert [told.text for told in answers] == [f"number {n}" for n in range(50)]


async def test_the_environment_is_allow_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "RUNNER_API_KEY", "HTTPS_PROXY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    async with house(tmp_path) as at:
        names = (await at.ask(want("env"))).text.split(" ")
        assert "CUDA_VISIBLE_DEVICES" in names
        assert "PATH" in names
        assert not {"HF_TOKEN", "RUNNER_API_KEY", "HTTPS_PROXY", "AWS_SECRET_ACCESS_KEY", "RUNNER_HOME"} & set(names)


async def test_no_descriptor_leaks_into_a_worker(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    try:
        async with house(tmp_path) as at:
            await at.ask(want(None))
            process = psutil.Process(at.pid("a"))
            held = {os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{process.pid}/fd")}
            assert os.readlink(f"/proc/self/fd/{writing}") not in held
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGABRT", "SIGBUS"])
async def test_a_death_before_the_first_word_is_not_seen(tmp_path: Path, name: str) -> None:
    async with house(tmp_path) as at:
        told = await at.ask(want(f"once:{tmp_path}/died:die:{name}"))
        assert told.text == "survived"


async def test_a_death_after_some_words_is_not_seen(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        words = " ".join(f"word{number}" for number in range(20))
        told = await at.ask(want(f"say-and-die:3:{tmp_path}/deaths:{words}"))
        assert told.text == words
        assert (tmp_path / "deaths").read_text() == "x" * 6


async def test_a_request_that_workers_die_of_is_quarantined(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with house(tmp_path) as at:
        with pytest.raises(Quarantined, match="died twice of this request") as caught:
            await at.ask(want("begin-and-die:SIGSEGV"))
        assert "about to die" not in caught.value.message
        assert "about to die of SIGSEGV" in caplog.text
        assert (await at.ask(want("say:fresh"))).text == "fresh"
        pid = at.pid("a")
        with pytest.raises(Quarantined, match="before"):
            await at.ask(want("begin-and-die:SIGSEGV"))
        assert at.pid("a") == pid, "refused before any worker sees it"


async def test_the_neighbours_of_such_a_request_are_unharmed(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        first = asyncio.create_task(at.ask(want("talk:first of all", num_parallel=8)))
        await at.busy()
        others = [asyncio.create_task(at.ask(want(f"say:{number}", num_parallel=8))) for number in range(6)]
        with pytest.raises(Quarantined):
            await at.ask(want("die:SIGKILL", num_parallel=8))
        assert [(await other).text for other in others] == [str(number) for number in range(6)]
        releasing = asyncio.create_task(at.ask(want("release", num_parallel=8)))
        assert (await first).text == "first of all"
        await releasing


async def test_a_worker_killed_from_outside(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        holding = asyncio.create_task(at.ask(want(f"once:{tmp_path}/begun:hold:still here")))
        await at.busy()
        while not (tmp_path / "begun").exists():  # noqa: ASYNC110 -- the worker tells it by nothing else
            await asyncio.sleep(0.01)
        pid = at.pid("a")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert (await holding).text == "survived"
        assert at.pid("a") != pid


async def test_neighbours_of_other_models_lose_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, models=2) as at:
        holding = asyncio.create_task(at.ask(want("hold:unharmed", "b")))
        await at.busy()
        with pytest.raises(Quarantined):
            await at.ask(want("begin-and-die:SIGKILL", "a"))
        await at.ask(want("release", "b"))
        assert (await holding).text == "unharmed"


class TestLoading:
    async def test_slow_with_signs_of_life(self, tmp_path: Path) -> None:
        async with house(tmp_path) as at:
            assert (await at.ask(want("say:ok", how="slow"))).text == "ok"

    async def test_refused(self, tmp_path: Path) -> None:
        async with house(tmp_path) as at:
            with pytest.raises(LoadFailed, match="unknown model architecture"):
                await at.ask(want("say:ok", how="refuse"))
            await at.until(lambda: not at.scheduler.view.residents())

    async def test_no_sign_of_life(self, tmp_path: Path) -> None:
        async with house(tmp_path, load_timeout=0.5) as at:
            with pytest.raises(LoadFailed, match="no progress"):
                await at.ask(want("say:ok", how="silent"))

    async def test_a_large_file_is_given_more_time(self, tmp_path: Path) -> None:
        large = tmp_path / "large.gguf"
        with large.open("wb") as file:
            file.truncate(25 * 10**6)
        wanted = want("say:ok", how="silent")
        load = msgspec.structs.replace(wanted.load, draft=(str(large),))
        async with house(tmp_path, load_timeout=0.1) as at:
            with pytest.raises(LoadFailed, match=r"no progress for 0\.6 s"):
                await at.ask(replace(wanted, load=load))

    async def test_a_death_is_worth_another_try(self, tmp_path: Path) -> None:
        flag = str(tmp_path / "flag").replace("/", "|")
        async with house(tmp_path) as at:
            assert (await at.ask(want("say:ok", how=f"once:{flag}:die:SIGKILL"))).text == "ok"

    async def test_two_are_not(self, tmp_path: Path) -> None:
        async with house(tmp_path) as at:
            with pytest.raises(LoadFailed, match="exit code 3"):
                await at.ask(want("say:ok", how="exit:3"))

    async def test_what_is_no_frame(self, tmp_path: Path) -> None:
        async with house(tmp_path) as at:
            with pytest.raises(LoadFailed, match="broke the protocol"):
                await at.ask(want("say:ok", how="frame"))

    async def test_a_flood_on_stderr(self, tmp_path: Path) -> None:
        async with house(tmp_path / "logs") as at:
            assert (await at.ask(want("say:dry", how="flood"))).text == "dry"
        assert sum(file.stat().st_size for file in (tmp_path / "logs").iterdir()) < 9 * 2**20

    async def test_what_a_load_wrote_explains_no_later_death(self, tmp_path: Path) -> None:
        async with house(tmp_path) as at:
            await at.ask(want(f"once:{tmp_path}/died:die:SIGSEGV", how="flood"))
            (died,) = [each for each in at.scheduler.view.history.of("a") if each.what == "died"]
            assert died.detail == "about to die of SIGSEGV"
            (measured,) = at.scheduler.view.measured()
            assert (measured.meters.deaths, measured.meters.last_death) == (1, "killed by SIGSEGV")

    async def test_a_program_that_is_not_there(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        async with house(tmp_path) as at:
            monkeypatch.setattr(at.workers, "_command", lambda: [str(tmp_path / "nothing")])
            with pytest.raises(LoadFailed, match="could not be started"):
                await at.ask(want("say:ok"))


class TestCancel:
    async def test_while_it_runs(self, tmp_path: Path) -> None:
        async with house(tmp_path) as at:
            tasks = [asyncio.create_task(at.ask(want("hold", num_parallel=1))) for _ in range(2)]
            await at.until(lambda: sum(len(member.inside) for member in at.scheduler.view.residents()) == 2)
            waiting = asyncio.create_task(at.ask(want("say:my turn", num_parallel=1)))
            for task in tasks:
                task.cancel()
            assert (await waiting).text == "my turn"
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError) for end in ends)

    async def test_while_it_loads(self, tmp_path: Path) -> None:
        async with house(tmp_path) as at:
            task = asyncio.create_task(at.ask(want("say:x", how="silent")))
            await at.until(lambda: at.pid("a") is not None)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await at.ask(want("say:the other", "b"))).text == "the other"

    async def test_before_the_process_is_even_there(self, tmp_path: Path) -> None:
        async with house(tmp_path) as at:
            request = at.scheduler.submit(want("say:x"), Stream())
            at.scheduler.cancel(request)
            assert at.scheduler.unload("a")
            await at.workers.gone()
            assert not at.scheduler.view.residents()


class TestEnd:
    async def test_a_hung_worker_is_killed(self, tmp_path: Path) -> None:
        async with house(tmp_path) as at:
            task = asyncio.create_task(at.ask(want("hang")))
            await at.busy()
            pid = at.pid("a")
            assert pid is not None
            at.scheduler.close(lambda: None)
            at.scheduler.abort()
            with pytest.raises(RunnerError):
                await task
            await at.workers.gone()
            assert not psutil.pid_exists(pid)

    async def test_a_stopped_worker_is_killed(self, tmp_path: Path) -> None:
        async with house(tmp_path) as at:
            await at.ask(want(None))
            pid = at.pid("a")
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            at.scheduler.unload("a")
            await at.until(lambda: not at.scheduler.view.residents())
            assert not psutil.pid_exists(pid)

    async def test_a_worker_that_closes_its_output_is_over(self, tmp_path: Path) -> None:
        async with house(tmp_path) as at:
            with pytest.raises(WorkerCrashed):
                await at.ask(want("close"))

    async def test_an_orderly_end_leaves_no_zombie(self, tmp_path: Path) -> None:
        async with house(tmp_path) as at:
            await at.ask(want(None))
            pid = at.pid("a")
            assert pid is not None
            at.scheduler.unload("a")
            await at.until(lambda: not at.scheduler.view.residents())
            assert not psutil.pid_exists(pid)


async def test_swap_storm(tmp_path: Path) -> None:
    """Three models, a place for one, random cancels and a few deaths: nobody is lost, nobody is answered twice."""
    chance = random.Random(7)

    async def one(at: House, number: int) -> str:
        model = chance.choice("abc")
        deadly = number % 40 == 17
        text = f"once:{tmp_path}/{number}:die:SIGKILL" if deadly else f"say:{number} from {model}"
        task = asyncio.create_task(at.ask(want(text, model)))
        if chance.random() < 0.2:
            for _ in range(chance.randrange(30)):
                await asyncio.sleep(0)
            task.cancel()
        try:
            told = await task
        except asyncio.CancelledError:
            return "cancelled"
        except LoadFailed:  # three deaths of one model within a minute
            return "paused"
        assert told.end is not None
        assert told.text == ("survived" if deadly else f"{number} from {model}")
        return "answered"

    async with house(tmp_path / "logs") as at:
        outcomes = await asyncio.gather(*(one(at, number) for number in range(90)))
        assert len(outcomes) == 90
        assert outcomes.count("answered") >= 55
        assert all(at.scheduler.view.waiting(model) == 0 for model in "abc")
        await at.until(lambda: not any(member.inside for member in at.scheduler.view.residents()))
