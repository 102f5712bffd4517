"""`runner verify`: are the store's files what they should be, and if not, bring them back."""

from __future__ import annotations

from typing import Annotated

import typer

from runner.cli import output, wording
from runner.cli.arguments import AsJson, Host
from runner.cli.client import Client, Json
from runner.cli.connect import daemon
from runner.cli.failures import Exit, Failure, Refused
from runner.cli.progress import leaving, shown

EXAMPLES = """
runner verify
runner verify qwen3:0.6b --repair
runner verify --sample 5%
"""


def command(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="Look at these models and what they need only.")
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Fetch what is bad again from where it came.")] = False,
    sample: Annotated[
        str | None, typer.Option("--sample", metavar="SHARE", help="Hash a share of the files (5%), or so many.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Choose the same sample as with this seed before.")] = None,
    as_json: AsJson = False,
    host: Host = None,
) -> None:
    """Hold the store's files against their digests.

    Bad files are put aside. With --repair they are fetched again, at the revision that they had. Exit code 1 if
    anything stays broken, and 2 for a model that isn't here.
    """
    if seed is not None and sample is None:
        raise Failure("--seed needs the --sample that it is to choose", Exit.USAGE)
    result = _verified(daemon(host), {"models": models or [], "repair": repair, "sample": sample, "seed": seed})
    if as_json:
        output.data(result)
    else:
        _tell(result)
    broken = [each for each in result.get("bad", []) if each.get("outcome") == "broken"]
    if broken:
        count = len(broken)
        raise Failure(wording.counted(count, "bad file"), Exit.FAILED)


def _verified(client: Client, body: Json) -> Json:
    """Have the daemon verify, and show how it goes; what it found. Raises Failure."""
    result: Json = {}
    try:
        with (
            leaving("not everything was looked at; what was found bad by then is put aside"),
            client.stream("/runner/verify", body, _has_result) as updates,
            shown() as show,
        ):
            for update in updates:
                if _has_result(update):
                    result = update["result"]
                else:
                    show(update)
    except Refused as refusal:
        if refusal.status in (400, 404):  # a model, a sample: exit 1 is for what is broken
            raise Failure(refusal.message, Exit.USAGE) from None
        raise
    return result


def _has_result(update: Json) -> bool:
    """True for the object that ends a verification; a repair's pull may have said `success` before."""
    return isinstance(update.get("result"), dict)


def _tell(result: Json) -> None:
    for bad in result.get("bad", []):
        name = bad.get("digest") or bad.get("path")
        users = ", ".join(bad.get("models") or []) or "no model"
        output.line(output.on_one_line(f"{bad.get('outcome')}: {name} {bad.get('reason')}"))
        output.line("    " + output.on_one_line(f"file: {bad.get('path')}"))
        if bad.get("quarantined"):
            output.line("    " + output.on_one_line(f"put aside in: {bad['quarantined']}"))
        output.line("    " + output.on_one_line(f"needed by: {users}"))
        if bad.get("advice"):
            output.line("    " + output.on_one_line(f"what to do: {bad['advice']}"))
    checked, files = int(result.get("checked") or 0), int(result.get("files") or 0)
    of = f"{checked} of {files} files" if checked != files else wording.counted(files, "file")
    seed = f", a sample with seed {result['seed']}" if result.get("seed") is not None else ""
    models = wording.counted(int(result.get("models") or 0), "model")
    output.line(f"checked {of} of {models}, {wording.size(result.get('bytes') or 0)}{seed}")
    if unfinished := int(result.get("unfinished") or 0):
        size = wording.size(result.get("unfinished_bytes") or 0)
        what, them = ("download", "it") if unfinished == 1 else ("downloads", "them")
        output.say(f"{unfinished} unfinished {what}, {size}: the same pull goes on with {them}")
    if aside := result.get("quarantine"):
        size = wording.size(sum(int(each.get("size") or 0) for each in aside))
        files_aside = wording.counted(len(aside), "file")
        output.say(f"{files_aside} in quarantine, {size}: removed after a week, or by `runner prune --grace 0`")
