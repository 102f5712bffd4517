"""`runner push`: publish a model in a container registry."""

from __future__ import annotations

from typing import Annotated

import typer

from runner.cli.arguments import Host, Model
from runner.cli.connect import daemon
from runner.cli.failures import Exit, Failure
from runner.cli.transfer import push

EXAMPLES = """
runner push mine ghcr.io/anna/mine:v1
runner push localhost:5000/mine
runner push mine ghcr.io/anna/mine --format both
"""

_FORMATS = ("docker", "cncf", "both")


def command(
    model: Model,
    target: Annotated[
        str | None, typer.Argument(metavar="TARGET", help="What to call it there, if not as it is called here.")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="docker, cncf (ModelPack), or both under two tags.")
    ] = "docker",
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow plain HTTP, and certificates that nobody signed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print progress as one JSON object a line.")] = False,
    host: Host = None,
) -> None:
    """Publish a model in a container registry.

    TARGET is HOST[:PORT]/NAMESPACE/MODEL[:TAG]. What the registry has already isn't sent again. `docker login HOST`
    says who you are. With --format both, the second tag ends with -cncf.
    """
    if form not in _FORMATS:
        raise Failure(f"--format takes {', '.join(_FORMATS)}, not {form!r}", Exit.USAGE)
    asked = {"model": model, "to": target, "format": form, "insecure": insecure}
    push(daemon(host), {name: value for name, value in asked.items() if value}, as_json)
