"""What `runner doctor` looks at of coding assistants: whether those that Runner set up still lead to it, and settings
that outweigh the shell's. Changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from runner.assistants.acting import read
from runner.assistants.errors import Trouble
from runner.assistants.fill import Target
from runner.assistants.knowledge import Assistant, load, names
from runner.assistants.ledger import Ledger, Manifest
from runner.assistants.paths import Machine, this_machine
from runner.assistants.standing import Stray, strays, value
from runner.cli.client import Client
from runner.cli.doctor.shell import is_same, place_of
from runner.config import Address, Settings
from runner.protocol.checkup import Finding

_CHECK = "assistants"
_OUTWEIGHS = "claude", ["env", "ANTHROPIC_BASE_URL"]  # what its settings say goes above the environment


def of_assistants(settings: Settings, environ: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Of each assistant that was set up with --config; of Claude Code in any case."""
    machine = this_machine(settings.folders.state, environ)
    address = Client(settings.host, None).address
    for name in names():
        try:
            yield from _of_one(name, machine, address, settings.api_key)
        except (Trouble, OSError) as error:
            yield Finding(
                _CHECK, "warn", f"{name}: {error}", f"correct it, or `runner launch {name} --restore --force`"
            )


def _of_one(name: str, machine: Machine, address: Address, key: str | None) -> Iterator[Finding]:
    manifest = Ledger(machine.state / name).read()
    if manifest.configured and manifest.files:
        yield _of_configured(name, load(name), manifest, machine, address, key)
    elif name == _OUTWEIGHS[0]:
        yield from _of_claude(load(name), machine, address)


def _of_configured(
    name: str, assistant: Assistant, manifest: Manifest, machine: Machine, address: Address, key: str | None
) -> Finding:
    target = Target(manifest.model, address.url, 0, 0, key)  # what it is told of the context isn't compared
    wrong = strays(assistant, target, machine, read, manifest)
    elsewhere = [each for each in wrong if each.kind == "address" and not _leads_here(each, address)]
    fix = f"`runner launch {name} --config`, or --restore for what was there before"
    if elsewhere:
        there = _shown(elsewhere[0].found)
        said = f"{elsewhere[0].path} sends {assistant.title} to {there}, not to Runner at {address.url}"
        if not there:
            said = f"{elsewhere[0].path} doesn't send {assistant.title} to Runner at {address.url} any more"
        return Finding(_CHECK, "warn", said, fix)
    for each in wrong:
        if each.kind == "key":
            return Finding(_CHECK, "warn", f"{each.path} doesn't give {assistant.title} the API key of Runner", fix)
    return Finding(_CHECK, "ok", f"{assistant.title}'s settings lead to Runner")


def _of_claude(assistant: Assistant, machine: Machine, address: Address) -> Iterator[Finding]:
    name, at = _OUTWEIGHS
    found = value(assistant, at, machine, read)
    if found is None or _leads_here(Stray(found[0], "address", address.url, found[1]), address):
        return
    there = _shown(found[1]) or "what is no address"
    said = f"{found[0]} sends {assistant.title} to {there}, whatever {at[-1]} says in a shell"
    yield Finding(
        _CHECK, "warn", said, f"for Runner: `runner launch {name}`, which goes past it; for good with --config"
    )


def _leads_here(stray: Stray, address: Address) -> bool:
    """True for another spelling of the address that is wanted."""
    found, wanted = place_of(stray.found or ""), place_of(stray.wanted)
    if found is None or wanted is None:
        return False
    return is_same(found[0], found[1], address) and found[2].rstrip("/") == wanted[2].rstrip("/")


def _shown(text: str | None) -> str:
    """An address without what is secret in it; empty for what is none."""
    place = place_of(text or "")
    return place[3] if place else ""
