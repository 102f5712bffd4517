"""`runner show`: what is known about a model."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from runner.cli import output
from runner.cli.arguments import AsJson, Host, Model
from runner.cli.cards import memory as memorycard
from runner.cli.cards import model as modelcard
from runner.cli.connect import daemon
from runner.cli.failures import Exit, Failure

EXAMPLES = """
runner show demo
runner show demo --modelfile > Modelfile
runner show demo --memory
runner show demo --json | jq .capabilities
"""


def command(
    model: Model,
    modelfile: Annotated[bool, typer.Option("--modelfile", help="Print the Modelfile.")] = False,
    parameters: Annotated[bool, typer.Option("--parameters", help="Print the parameters.")] = False,
    system: Annotated[bool, typer.Option("--system", help="Print the system message.")] = False,
    template: Annotated[
        bool, typer.Option("--template", help="Print the template in use, and where it is from.")
    ] = False,
    license_: Annotated[bool, typer.Option("--license", help="Print the licence.")] = False,
    memory: Annotated[
        bool, typer.Option("--memory", help="Print the memory it takes: by context, type of cache and device.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="With all metadata and tensors.")] = False,
    as_json: AsJson = False,
    host: Host = None,
) -> None:
    """Show what is known about a model."""
    flags = (modelfile, parameters, system, template, license_)
    wanted = [name for name, asked in zip(modelcard.PARTS, flags, strict=True) if asked]
    if memory:
        if wanted or verbose:
            raise Failure("--memory is shown alone", Exit.USAGE)
        found = daemon(host).post("/runner/plan", {"model": model})
        if as_json:
            output.data(found.get("table", []))
        else:
            output.table(*memorycard.table(found))
            output.say(memorycard.below(found))
        return
    if len(wanted) + verbose + as_json > 1 and (wanted or not (verbose and as_json)):
        raise Failure("only one of --modelfile --parameters --system --template --license can be shown", Exit.USAGE)
    info = daemon(host).post("/api/show", {"model": model, "verbose": verbose})
    if as_json:
        output.data(info)
    elif wanted:
        text = modelcard.part(info, wanted[0])
        reason = str(info.get("template_reason") or "") if template else ""
        if not text:
            raise Failure(f"{model!r} has no {wanted[0]}" + (f": {reason}" if reason else ""))
        if reason:
            output.say(f"from: {reason}")
        output.line(text.rstrip("\n"))
    else:
        output.line(modelcard.card(info, shutil.get_terminal_size().columns, verbose))
