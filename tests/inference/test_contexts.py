"""The context that a model gets where nobody names one."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from registry.store import Store
from runner.inference.contexts import Contexts
from runner.inference.resolve import Resolver
from runner.protocol.devices import Device
from runner.protocol.options import LoadOptions
from runner.scheduler.lessons import Lessons
from runner.scheduler.memory import CPU_DEVICE, HOST, Block, Footprint, Graph
from runner.scheduler.offer import Offer
from tests.inference.conftest import Make
from tests.tiny_gguf import Q8_0, UINT32, Tensor, Typed

MIB, GIB = 2**20, 2**30
GPU = Device(name="CUDA0", backend="cuda", kind="gpu", total=24 * GIB, free=24 * GIB)
ASKED = LoadOptions(num_ctx=1, num_parallel=0)
EIGHT_B = Footprint(  # 128 KiB for each token
    weights=5 * GIB,
    kv=32 * 4096,
    state=0,
    vocabulary=128_256,
    width=4096,
    blocks=(Block(weights=128 * MIB, keys=1024, values=1024),) * 32,
    tables=512 * MIB,
    output=512 * MIB,
    graph=Graph(width=4096, heads=32, queries=4096, attended=4096, feed=43008),
    trained=131_072,
)


class Machine:
    """What it has, by pool, in GiB; to be changed at will."""

    def __init__(self, host: float, gpu: float | None = None) -> None:
        self.host, self.gpu = host, gpu

    def look(self) -> Offer:
        room = {HOST: round(self.host * GIB)}
        if self.gpu is None:
            return Offer((CPU_DEVICE,), room, room)
        room["CUDA0"] = round(self.gpu * GIB)
        return Offer((CPU_DEVICE, GPU), room, room)


def chosen(machine: Machine, footprint: Footprint = EIGHT_B, configured: int = 0) -> int:
    return Contexts(Lessons(), machine.look).choose("m", footprint, ASKED, configured)[0]


def test_on_a_cpu_the_models_own_up_to_the_default_or_what_is_configured() -> None:
    assert chosen(Machine(64)) == 8192
    assert chosen(Machine(64), replace(EIGHT_B, trained=4096)) == 4096
    assert chosen(Machine(64), configured=16384) == 16384
    assert chosen(Machine(64), replace(EIGHT_B, trained=4096), configured=16384) == 4096


def test_short_memory_shortens_it_step_by_step() -> None:
    # 5 GiB of weights, about 0.3 to run, and 1 GiB for 8192 tokens
    assert [chosen(Machine(host)) for host in (6.6, 6.0, 5.65)] == [8192, 4096, 2048]
    assert chosen(Machine(1)) == 2048  # it won't fit, and that is said by whoever plans the load


def test_a_gpu_with_room_gives_more() -> None:
    assert chosen(Machine(64, 24)) == 32768
    assert chosen(Machine(64, 9)) == 16384
    assert chosen(Machine(64, 7)) == 8192
    assert chosen(Machine(64, 6.3)) == 4096  # on the GPU whole, rather than in part with more
    assert chosen(Machine(64, 2)) == 8192  # in part anyway


def test_it_is_chosen_once_and_stays() -> None:
    machine, lessons = Machine(6.0), Lessons()
    contexts = Contexts(lessons, machine.look)
    assert contexts.choose("m", EIGHT_B, ASKED)[0] == 4096
    machine.host = 64
    assert contexts.choose("m", EIGHT_B, ASKED)[0] == 4096
    assert contexts.choose("m", EIGHT_B, ASKED, 16384)[0] == 16384  # configured anew
    machine.host = 5.65
    assert contexts.choose("m", EIGHT_B, ASKED, 16384)[0] == 2048  # for now
    machine.host = 64
    assert contexts.choose("m", EIGHT_B, ASKED, 16384)[0] == 16384


def test_one_requests_options_change_nobody_elses_context() -> None:
    lessons = Lessons()
    contexts = Contexts(lessons, Machine(64, 24).look)
    on_cpu = msgspec.structs.replace(ASKED, num_gpu=0)
    plain = (EIGHT_B, ASKED)
    chosen, [words] = contexts.choose("m", EIGHT_B, on_cpu, own=lambda: plain)
    assert (chosen, lessons.of("m").context) == (8192, 32768)
    assert words == "context 8192, chosen by Runner: 32768 is for a GPU that holds all of the model"
    assert contexts.choose("m", EIGHT_B, ASKED)[0] == 32768
    contexts.choose("n", EIGHT_B, on_cpu, own=lambda: plain, keeps=False)  # who only asks
    contexts.choose("n", EIGHT_B, on_cpu, own=lambda: None)  # a model whose own options can't be
    assert lessons.of("n").context == 0


def test_what_a_request_asks_for_is_its_own_affair(store: Store, make: Make) -> None:
    tensors = [Tensor("token_embd.weight", (64, 4), Q8_0), Tensor("output_norm.weight", (64,))]
    tensors += [Tensor(f"blk.{layer}.attn_q.weight", (64, 64), Q8_0) for layer in range(2)]
    digest = str(make("m", tensors=tensors, llama__context_length=Typed(UINT32, 131072)).digest)
    lessons = Lessons()
    resolver = Resolver(store, lessons=lessons, look=Machine(64, 24).look)

    def context(**options: object) -> int:
        return resolver.load("m", options, None).load.options.num_ctx

    assert resolver.account("m", {}).want.load.options.num_ctx == 32768
    assert lessons.of(digest).context == 0  # nothing was to be loaded
    assert (context(num_gpu=0), context(device="cpu"), context()) == (8192, 8192, 32768)
    assert lessons.of(digest).context == 32768


def test_it_is_stated() -> None:
    contexts = Contexts(Lessons(), Machine(6.0).look)
    _, [words] = contexts.choose("m", EIGHT_B, ASKED)
    assert words == "context 4096, chosen by Runner: 8192 does not fit in 6.4 GB of host memory"
    _, [words] = contexts.choose("short", replace(EIGHT_B, trained=2048), ASKED)
    assert words == "context 2048, all that the model was made for"
