"""`runner adopt`: models that other tools on this machine have, used where they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from runner.cli import output, wording
from runner.cli.arguments import Host
from runner.cli.client import Client, Json
from runner.cli.connect import daemon, is_local
from runner.cli.failures import Exit, Failure
from runner.cli.progress import follow
from runner.cli.transfer import is_last

EXAMPLES = """
runner adopt
runner adopt ollama
runner adopt ollama llama3.2:1b
runner adopt huggingface --all
runner adopt ~/models --all --detach
"""
_PATH_STARTS = ("./", "../", "/", "~/", ".\\", "..\\")
TOOLS = ("huggingface", "ollama", "lmstudio", "docker")


def command(
    place: Annotated[
        str, typer.Argument(metavar="[huggingface|ollama|lmstudio|docker|PATH]", help="Whose models.")
    ] = "",
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="Their names, there or here.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Adopt all that is there.")] = False,
    only_list: Annotated[bool, typer.Option("--list", help="List what is there, and adopt nothing.")] = False,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Don't wait: it goes on in the background.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and progress as one object a line.")] = False,
    host: Host = None,
) -> None:
    """Use models that other tools have, without a copy.

    Without MODEL and --all it lists what there is. Files are shared, hard-linked or referred to where they lie, and
    never changed. They are hashed first: that goes on in the background when you leave, and the same command shows how
    far it is.
    """
    if everything and models:
        raise Failure("give either models or --all", Exit.USAGE)
    client = local(daemon(host))
    where = absolute(place)
    if only_list or not (everything or models):
        _list(client, where, as_json, models or [])
    else:
        adopt(client, where, models or [], everything, detach, as_json)


def local(client: Client) -> Client:
    """The client, if its daemon opens files on this machine. Raises Failure."""
    if not is_local(client):
        raise Failure("adopting works with a daemon on this machine only; this one could upload files: runner create")
    return client


def absolute(place: str) -> str:
    """A tool's word as it is, and a path from here as the daemon needs it. Raises Failure for what is neither."""
    if not place or place in TOOLS:
        return place
    path = Path(place).expanduser()
    if path.exists() or "/" in place or "\\" in place or place.startswith("."):
        return str(path.absolute())
    raise Failure(f"{place!r} is none of {', '.join(TOOLS)}, and there is no such path", Exit.USAGE)


def adopt(
    client: Client,
    where: str,
    models: list[str],
    everything: bool,
    detach: bool,
    as_json: bool,
    called: str | None = None,
) -> None:
    """Have the daemon adopt models, one of them as `called`, and show how it goes, or that it has begun.

    Raises Failure; and KeyboardInterrupt, after saying that it goes on.
    """
    wanted: Json = {"from": where, "all": True} if everything else {"from": where, "models": models}
    if called is not None:
        wanted["as"] = called
    if detach:
        begun = client.post("/runner/adopt", {**wanted, "detach": True})
        if as_json:
            output.data(begun["models"])
        for model in begun["models"]:
            output.say(f"adopting {model['name']} in the background: {wording.size(model['size'])} to hash")
        return
    seen: list[Json] = []
    try:
        with client.stream("/runner/adopt", {**wanted, "stream": True}, is_last) as updates:
            follow(_keeping_last(updates, seen), as_json)
    except KeyboardInterrupt:
        if seen:
            output.say(f"it goes on in the background; `runner adopt {quote(where)}` shows where it stands")
        raise
    if not as_json:
        _say_how_to_run(seen[-1].get("models") if seen else None)


def _keeping_last(updates: Iterable[Json], seen: list[Json]) -> Iterator[Json]:
    for update in updates:
        seen[:] = [update]
        yield update


def _say_how_to_run(names: list[str] | None) -> None:
    if names is None:
        return
    if len(names) == 1:
        output.say(f"run it with: runner run {names[0]}")
    elif names:
        output.say(f"run one of these {len(names)} with: runner run {names[0]}")
    else:
        output.say("nothing was adopted: all of it is here already, under other names")


def is_path(text: str) -> bool:
    """Whether what somebody pulls is a file or a folder of theirs, and not a name."""
    if "://" in text:
        return False
    return text in (".", "..") or text.startswith(_PATH_STARTS) or (text.endswith(".gguf") and Path(text).exists())


def adopt_path(client: Client, text: str, as_json: bool, called: str | None = None) -> None:
    """Have the daemon adopt the one model that a path stands for, as `called`. Raises Failure for none, or several."""
    where = absolute(text)
    shelf = local(client).post("/runner/adopt", {"from": where})
    names = [str(each["name"]) for each in shelf["models"]]
    if not names:
        reasons = "; ".join(f"{each['what']}: {each['reason']}" for each in shelf["left_out"])
        raise Failure(f"there is no model at {text}" + (f" ({reasons})" if reasons else ""))
    if len(names) > 1:
        raise Failure(f"several models are at {text}: {', '.join(names)}; adopt them by name: runner adopt {text} NAME")
    adopt(client, where, names, False, False, as_json, called)


def _list(client: Client, where: str, as_json: bool, models: list[str]) -> None:
    shelf = client.post("/runner/adopt", {"from": where} if where else {})
    found = [each for each in shelf["models"] if not models or _is_named(each, models)]
    if as_json:
        output.data({"models": found, "left_out": shelf["left_out"], "looked_at": shelf["looked_at"]})
    else:
        if found:
            output.table(
                ("NAME", "OWNER", "SIZE", "STATE"),
                ((each["name"], each["owner"], wording.size(each["size"]), _state(each)) for each in found),
            )
        for each in shelf["left_out"]:
            output.say(f"left out {each['what']}: {each['reason']}")
    if not found:
        _say_nothing_was_found(where, shelf, models)
    if not as_json and any(each["state"] == "new" for each in found):
        output.say(f"adopt them with: runner adopt {where or 'PLACE'} NAME (or --all)")


def _say_nothing_was_found(where: str, shelf: Json, models: list[str]) -> None:
    """Raises Failure where somebody named a path; a tool that isn't there is no failure."""
    what = f"no model called {' or '.join(models)}" if models else "no model that could be adopted"
    if where and where not in TOOLS:
        raise Failure(f"{what} at {where}")
    output.say(f"{what} was found; looked at: {', '.join(shelf['looked_at']) or 'nothing, as there is no home folder'}")


def _is_named(each: Json, models: list[str]) -> bool:
    names = {each["name"].lower(), *(known.lower() for known in each["known_as"])}
    return any(model.lower() in names or f"{model.lower()}:latest" in names for model in models)


def _state(each: Json) -> str:
    if each["state"] == "adopting" and each["total"]:
        return f"adopting, {100 * each['completed'] // each['total']}%"
    if each["here_as"] and each["here_as"].lower() != each["name"].lower():
        return f"here as {each['here_as']}"
    return f"failed: {each['error']}" if each["error"] else str(each["state"])
