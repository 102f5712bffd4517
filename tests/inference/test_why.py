"""Why a model is where it is, in words: a scheduler on the bench, and a whole service over fake workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.errors import InvalidRequest, UnknownModel
from runner.inference.passage import PASSAGE, Passage
from runner.inference.requests import Embed
from runner.inference.residents import Pool, Surroundings, overview
from runner.inference.resolve import Account, Resolver
from runner.inference.service import Service
from runner.inference.why import Explained, explain
from runner.protocol.devices import Device, DeviceSurvey
from runner.protocol.events import Loading, Ready, Stats
from runner.protocol.sandbox import Promise
from runner.scheduler.devices import Inventory
from tests.fakes.scheduling import GIB, Bench, ready, want
from tests.inference.conftest import Make, Served
from tests.inference.test_service import told, whole

CPU = Device(name="CPU", backend="cpu", kind="cpu")
GPU = Device(name="CUDA0", backend="cuda", kind="gpu", description="a GPU", total=8 * GIB, free=GIB)
TODAY = datetime(2026, 8, 21, 12, 0, 0, tzinfo=UTC)
MIB = 2**20

Ask = Callable[..., Explained]


def around(*devices: Device) -> Surroundings:
    return Surroundings(
        pid=lambda run: 1000 + run,
        pools=lambda: (Pool("host", GIB, 2 * GIB),),
        devices=lambda: devices or (CPU,),
        log_of=lambda model: Path("/logs") / model,
        most_loaded=lambda: 1,
    )


@pytest.fixture
def ask(make: Make, resolver: Resolver) -> Ask:
    """Ask why of a model on a bench, as the Modelfile's and the request's options have it."""

    def asked(bench: Bench, model: str, *devices: Device, modelfile: str = "", **options: Any) -> Explained:
        make("m", modelfile)
        account: Account = resolver.account("m", options)
        account = replace(account, want=replace(want(model), context_from=account.want.context_from))
        seen = overview(bench.scheduler, around(*devices), bench.now, TODAY)
        return explain(account, seen.residents, bench.scheduler, around(*devices), bench.now, TODAY)

    return asked


def loaded(bench: Bench, model: str, **changes: Any) -> None:
    """Its worker is ready, with some megabytes with each device."""
    told: Ready = msgspec.structs.replace(ready(), layers=24, weights_bytes={"CPU_Mapped": 100 * MIB}, **changes)
    bench.scheduler.events(bench.run(model), [told])


def test_one_that_nobody_asked_for(ask: Ask) -> None:
    why = ask(Bench(), "a")
    assert why.words == "It is not loaded: nobody has asked for it since Runner started."
    assert why.resident is None
    assert why.place.reason == "It would run on the CPU because this machine has no GPU that llama.cpp can use."
    assert (why.next.would, why.history, why.error, why.log) == ("load", (), None, "/logs/a")
    assert why.next.words.startswith("The model would be loaded first: it needs at least ")


def test_one_on_the_cpu_for_want_of_a_gpu(ask: Ask) -> None:
    bench = Bench(memory=4 * GIB)
    bench.submit(want("a", has_work=False))
    loaded(bench, "a")
    bench.advance(7)
    why = ask(bench, "a")
    assert why.words == "It is loaded for 7 s."
    assert why.place.words == "all on the CPU"
    assert why.place.reason == "It runs on the CPU because this machine has no GPU that llama.cpp can use."
    assert why.place.free["host"] == 4 * GIB
    assert why.next.words == "It would be computed at once."


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("PARAMETER num_gpu 0\n", "It runs on the CPU because num_gpu is 0, which the Modelfile says."),
        ("PARAMETER device cpu\n", "It runs on the CPU because device is cpu, which the Modelfile says."),
        ("", "It runs on the CPU because no layer of it fitted on CUDA0."),
    ],
)
def test_one_on_the_cpu_beside_a_gpu(ask: Ask, lines: str, reason: str) -> None:
    bench = Bench()
    asked = want("a", has_work=False)
    given: dict[str, Any] = {"num_gpu": 0} if "num_gpu" in lines else {"device": "cpu"} if lines else {}
    load = msgspec.structs.replace(asked.load, options=msgspec.structs.replace(asked.load.options, **given))
    bench.submit(replace(asked, load=load))
    loaded(bench, "a", devices=("CUDA0: a GPU",))
    assert ask(bench, "a", CPU, GPU, modelfile=lines).place.reason == reason


def test_one_that_lies_on_a_gpu_wholly_or_in_part(ask: Ask) -> None:
    bench = Bench(models=2)
    for model, layers in (("a", 25), ("b", 10)):
        bench.submit(want(model, has_work=False))
        loaded(bench, model, devices=("CUDA0: a GPU",), gpu_layers=layers, kv_bytes={"CUDA0": 30 * MIB})
    why = ask(bench, "a", CPU, GPU)
    assert (why.place.words, why.place.reason) == ("all on CUDA0", "All of its layers fit there.")
    assert why.resident is not None
    assert why.resident.size_gpu == 30 * MIB
    why = ask(bench, "b", CPU, GPU)
    assert why.place.words == "10 of 25 layers on CUDA0, the rest on the CPU"
    assert why.place.reason.startswith("Not all of its layers fit there")


def test_a_main_gpu_says_that_nothing_is_divided(ask: Ask) -> None:
    bench = Bench()
    asked = want("a", has_work=False)
    given = msgspec.structs.replace(asked.load.options, main_gpu=1, split_mode="none")
    bench.submit(replace(asked, load=msgspec.structs.replace(asked.load, options=given)))
    loaded(bench, "a")
    options = {
        each.name: (each.value, each.origin)
        for each in ask(bench, "a", modelfile="PARAMETER device cpu\nPARAMETER main_gpu 1\n").options
    }
    assert (options["main_gpu"], options["split_mode"]) == ((1, "modelfile"), ("none", "modelfile"))


def test_what_llama_cpp_chose_how_it_is_shut_in_and_that_it_stays(ask: Ask) -> None:
    bench = Bench()
    bench.submit(want("a", has_work=False))
    assert ("flash attention", "auto") in [(each.name, each.value) for each in ask(bench, "a").flags]
    shut = (Promise("files", True), Promise("network", False, "the kernel is too old"))
    loaded(bench, "a", flash_attn=False, sandbox=shut)
    bench.scheduler.pin("a")
    why = ask(bench, "a")
    flags = {each.name: (each.value, each.words) for each in why.flags}
    assert flags["flash attention"] == ("off", "as llama.cpp found faster")
    assert flags["sandbox"] == ("in part", "not network: the kernel is too old")
    assert why.resident is not None
    assert (why.resident.is_pinned, why.resident.expires_at) == (True, None)
    assert why.words == "It is loaded for 0 s, and pinned."


def test_a_pinned_one_that_is_not_loaded(ask: Ask) -> None:
    bench = Bench()
    bench.scheduler.pin("a")
    pinned = " It is pinned, and stays once it is loaded."
    assert ask(bench, "a").words == f"It is not loaded: nobody has asked for it since Runner started.{pinned}"
    bench.submit(want("a", has_work=False))
    loaded(bench, "a")
    bench.exit("a", -9)
    assert ask(bench, "a").words == f"It is not loaded: its worker died 0 s ago, killed by SIGKILL.{pinned}"


def test_one_that_had_to_go_and_what_it_would_drive_out(ask: Ask) -> None:
    bench = Bench()
    bench.submit(want("a", has_work=False))
    loaded(bench, "a")
    bench.submit(want("b", has_work=False))
    bench.exit("a", 0)
    bench.load("b")
    bench.advance(90)
    why = ask(bench, "a")
    assert why.words.startswith('It is not loaded: it was evicted 90 s ago, for "b": ')
    assert (why.next.would, why.next.evicts) == ("evict", ("b",))
    assert "in place of b: no more than 1 may be loaded at once" in why.next.words
    assert [each.what for each in why.history] == ["loading", "loaded", "evicted"]


def test_one_that_is_waited_for_one_that_loads_and_one_that_keeps_dying(ask: Ask) -> None:
    bench = Bench()
    busy = bench.submit(want("a"))
    loaded(bench, "a")
    bench.submit(want("b"))
    bench.submit(want("b"))
    why = ask(bench, "b")
    assert why.words == "It is not loaded yet: 2 requests wait for it in the queue."
    assert (why.next.would, "2 requests wait in the queue already" in why.next.words) == ("wait", True)
    bench.done(busy)
    bench.advance(60)
    bench.exit("a", 0)
    bench.scheduler.events(bench.run("b"), [Loading(0.43)])
    assert ask(bench, "b").words == "It is being loaded, 43% so far."
    bench.load("b")
    for number in range(4):
        bench.submit(want("b", text=f"number {number}"))
    while not bench.scheduler.view.pause("b"):
        bench.exit("b")
        if bench.member("b"):
            bench.load("b")
    why = ask(bench, "b")
    assert (why.resident and why.resident.state, why.next.would) == ("paused", "pause")
    assert why.words.startswith("It is left alone for another ")
    assert why.error is not None
    assert (why.error.what, why.error.words) == ("died", "killed by SIGKILL")


def test_one_that_fits_nowhere(ask: Ask) -> None:
    bench = Bench(memory=MIB)
    why = ask(bench, "a")
    assert why.next.would == "refuse"
    assert "it needs at least" in why.next.words


def test_two_names_for_one_worker(ask: Ask) -> None:
    bench = Bench()
    first = replace(want("a"), key="blob")
    bench.submit(first)
    loaded(bench, "a", sequences=2)
    bench.submit(replace(first, model="b"))
    seen = overview(bench.scheduler, around(), bench.now, TODAY)
    assert [(each.name, each.shared_with, each.running + each.waiting) for each in seen.residents] == [
        ("a", ("b",), 1),
        ("b", ("a",), 1),
    ]
    assert seen.residents[0].pid == seen.residents[1].pid


def test_a_name_is_not_pinned_because_its_workers_other_one_is(ask: Ask) -> None:
    bench = Bench()
    bench.submit(replace(want("a", has_work=False), key="b"))
    loaded(bench, "a")
    bench.scheduler.pin("a")
    why = ask(bench, "b")
    assert why.resident is not None
    assert (why.resident.shared_with, why.resident.is_pinned) == (("a",), False)
    assert "pinned" not in why.words


def test_what_is_seen_of_a_worker_that_computes() -> None:
    bench = Bench()
    bench.submit(want("a"))
    loaded(bench, "a")
    cells = {"cells_used": 90, "cells_busy": 40, "cells": 512}
    stats = Stats(completion_tokens=80, wait_ns=2 * 10**9, running=1, waiting=0, **cells)
    bench.scheduler.events(bench.run("a"), [stats])
    [row] = overview(bench.scheduler, around(), bench.now, TODAY).residents
    assert (row.cells, row.cells_used, row.cells_busy, row.rate.decode) == (512, 90, 40, 40.0)
    assert (row.waiting, row.estimate, row.status, row.placement) == (1, 0.0, "ready", "all on the CPU")


async def test_why_through_the_service(served: Served, make: Make) -> None:
    make("m", "PARAMETER num_ctx 256\nPARAMETER temperature 0.5\n")
    why = await served.service.why("m", {"num_ctx": 128, "top_k": 7})
    chosen = {each.name: (each.value, each.origin) for each in why.options if each.origin != "default"}
    assert chosen["num_ctx"] == (128, "request")
    assert chosen["temperature"] == (0.5, "modelfile")
    assert chosen["top_k"] == (7, "request")
    assert why.context.words.startswith("128 tokens, as the request asks")
    assert len(why.template.digest) == 64
    assert why.next.would == "load"
    assert served.scheduler.view.residents() == ()  # asking changes nothing
    await served.service.load("m", options={}, keep_alive=None)
    why = await served.service.why("m:latest", {})
    assert (why.context.length, why.context.origin) == (256, "modelfile")
    assert why.resident is not None
    assert [each.what for each in why.history] == ["loading", "loaded"]
    with pytest.raises(UnknownModel):
        await served.service.why("nothing", {})
    with pytest.raises(InvalidRequest) as caught:
        await served.service.why("m", {"num_ctx": -1})
    assert caught.value.field == "options.num_ctx"


async def test_why_waits_until_it_is_known_which_devices_there_are(
    served: Served, resolver: Resolver, make: Make
) -> None:
    make("m")
    looking: asyncio.Future[DeviceSurvey] = asyncio.get_running_loop().create_future()
    inventory = Inventory(lambda: looking, lambda: 64 * GIB)
    inventory.start()
    with ThreadPoolExecutor(1) as threads:
        service = Service(served.scheduler, resolver, threads, inventory=inventory)
        asked = asyncio.create_task(service.why("m", {}))
        done, _ = await asyncio.wait((asked,), timeout=0.05)
        assert not done
        looking.set_result(DeviceSurvey(devices=(CPU,)))
        assert (await asked).next.would == "load"


async def test_the_way_through_the_queue_is_noted(served: Served, make: Make) -> None:
    make("m")
    passage = Passage()
    token = PASSAGE.set(passage)
    try:
        await whole(served, told("say:one"))
        assert (passage.position, passage.is_cold, passage.is_over) == (0, True, True)
        assert passage.waited is not None
        passage = Passage()
        PASSAGE.set(passage)
        await served.service.embed(Embed("m", ("a",)))
        assert (passage.position, passage.eta, passage.is_cold, passage.is_over) == (0, 0.0, False, True)
    finally:
        PASSAGE.reset(token)
