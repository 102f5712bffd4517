"""A store with small models, and a whole service over the fake worker."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelfiles.parse import parse
from registry.create import create
from registry.store import Store
from registry.stored import StoredModel
from runner.inference.aliases import Aliases
from runner.inference.resolve import Resolver
from runner.inference.service import Service
from runner.scheduler.loop import Limits, Scheduler
from runner.scheduler.stock import Host
from tests import tiny_gguf
from tests.fakes.processes import Watched
from tests.fakes.scheduling import GIB

CHAT = "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}"
THINKING_CHAT = CHAT + "{% if enable_thinking %}<think>{% else %}<think></think>{% endif %}"
TOOLS_CHAT = CHAT + "{% if tools %}<tool_call>{% endif %}"

Make = Callable[..., StoredModel]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def make(store: Store, tmp_path: Path) -> Make:
    """Make a model: a name, lines of a Modelfile, and what its header says beyond the ordinary, or the model that it is
    made from."""

    def make_one(
        name: str,
        more: str = "",
        *,
        template: str | None = CHAT,
        architecture: str = "llama",
        tensors: Sequence[tiny_gguf.Tensor] | None = None,
        base: str | None = None,
        **extra: object,
    ) -> StoredModel:
        if base is not None:
            return create(store, name, parse(f"FROM {base}\n{more}"), base=tmp_path, taking="copy")
        metadata: dict[str, object] = {"general.version": name, "tokenizer.chat_template": template}
        metadata |= {key.replace("__", "."): value for key, value in extra.items()}
        path = tmp_path / f"{name.replace(':', '-')}.gguf"
        path.write_bytes(tiny_gguf.model(architecture, extra=metadata, tensors=tensors).build())
        return create(store, name, parse(f"FROM ./{path.name}\n{more}"), base=tmp_path, taking="copy")

    return make_one


@pytest.fixture
def aliases() -> Aliases:
    return Aliases()


@pytest.fixture
def resolver(store: Store, aliases: Aliases) -> Resolver:
    return Resolver(store, context_length=0, num_parallel=2, aliases=aliases)


@dataclass
class Served:
    service: Service
    scheduler: Scheduler
    workers: Watched
    store: Store

    async def idle(self) -> None:
        """Wait until no worker holds a request."""
        while any(member.inside for member in self.scheduler.view.residents()):
            self.workers.something_happened.clear()
            await self.workers.something_happened.wait()

    async def busy(self) -> None:
        """Wait until a worker holds a request."""
        while not any(member.inside for member in self.scheduler.view.residents()):
            self.workers.something_happened.clear()
            await self.workers.something_happened.wait()


@pytest.fixture
async def served(store: Store, resolver: Resolver, tmp_path: Path) -> AsyncIterator[Served]:
    """The service over fake workers, which take the text of the last message as what to do."""
    workers = Watched(tmp_path / "logs", 30.0, has_spare=False)
    scheduler = Scheduler(Limits(2, 100, 300.0), workers, time.monotonic, Host(lambda: 64 * GIB))
    with ThreadPoolExecutor(2) as threads:
        yield Served(Service(scheduler, resolver, threads), scheduler, workers, store)
        scheduler.close(lambda: None)
        scheduler.abort()
        await workers.gone()
