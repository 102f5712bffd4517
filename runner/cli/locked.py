"""`runner pull --locked`: the models of a lock file, brought in exactly as it says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modelfiles.lockfile import Lock, LockedPull
from runner.cli import output
from runner.cli.cards.provenance import ask
from runner.cli.client import Client, Json
from runner.cli.each import each
from runner.cli.failures import Failure
from runner.cli.locking import pull_locked, required_lock


def pull_all(client: Client, file: str, models: Sequence[str], as_json: bool, more: Json) -> None:
    """Pull the named models, or all that the lock says where to pull from; `more` are further fields of the requests.

    As JSON, each model ends with an object of its own, with its `name`, `status` and `digest`. Raises Failure.
    """
    lock = required_lock(Path(file))
    meant = ask(client, [*models, *lock.models])
    wanted = [_entry(lock, file, meant[model].name) for model in models] if models else list(_pulled(lock))
    if not models and (created := len(lock.models) - len(wanted)):
        output.say(f"left out of {file}: {created} to be created, which `runner up` does")

    def bring(name: str) -> None:
        entry = lock.models[name]
        assert isinstance(entry, LockedPull)
        held = meant[name].held
        if held is not None and held.digest == entry.digest:
            output.say(f"{name} is as locked")
            tell(name, "unchanged", entry)
            return
        output.say(f"{name} from {entry.source}")
        pull_locked(client, meant[name].name, entry, as_json, more)
        tell(name, "pulled", entry)

    def tell(name: str, status: str, entry: LockedPull) -> None:
        if as_json:
            output.data({"name": name, "status": status, "digest": entry.digest}, indent=None)

    each(wanted, bring)


def _pulled(lock: Lock) -> list[str]:
    return [name for name, entry in lock.models.items() if isinstance(entry, LockedPull)]


def _entry(lock: Lock, file: str, name: str) -> str:
    found = lock.find(name)
    if found is None:
        near = lock.near(name)
        hint = f"; did you mean {' or '.join(near)}?" if near else f"; `runner lock {name}` adds it once it is pulled"
        raise Failure(f"{name} isn't in {file}{hint}")
    if not isinstance(found[1], LockedPull):
        raise Failure(f"{name} is created, from {found[1].base or 'files'}: `runner up` does that")
    return found[0]
