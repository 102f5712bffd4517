"""`runner generate`: files for other programs, which run models elsewhere or complete what is typed. The table KINDS
says which; the texts come from `runner.service` and `cli.completion`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args

import typer

from runner.cli import output
from runner.cli.failures import Exit, Failure
from runner.config import PORT

EXAMPLES = """
runner generate compose qwen3:0.6b > compose.yaml
runner generate quadlet qwen3:0.6b --gpu cuda --output ~/.config/containers/systemd
runner generate kube qwen3:0.6b nomic-embed-text --name models
runner generate systemd qwen3:0.6b
runner generate completion fish > ~/.config/fish/completions/runner.fish
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says. `words` are what follows the kind: models, for most of them."""

    words: tuple[str, ...]
    port: int
    host: str
    gpu: str
    image: str
    name: str
    key_file: str
    secret: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file: `file` is its name under --output, given the service's name."""

    said: str
    make: Callable[[Asked], str]
    file: Callable[[Asked], str]


def _container(of: str) -> Callable[[Asked], str]:
    def make(asked: Asked) -> str:
        from runner.service import containers  # on use: a shell's completion has no need of it

        if asked.namespace and of != "kube":
            raise ValueError("--namespace is for kube")
        if asked.gpu not in get_args(containers.Gpu):
            raise ValueError(f"--gpu takes {', '.join(get_args(containers.Gpu))}, not {asked.gpu!r}")
        if not asked.words:
            raise ValueError(f"generate {of} takes the names of models")
        wish = containers.Wish(
            asked.words,
            asked.name or containers.NAME,
            asked.image,
            asked.host,
            asked.port,
            asked.gpu,  # type: ignore[arg-type]  # it has just been looked at
            asked.key_file,
            asked.secret,
            namespace=asked.namespace,
        )
        return str(getattr(containers, of)(wish))

    return make


def _systemd(asked: Asked) -> str:
    """The unit that `runner service install` would write, which also sees to these models."""
    from dataclasses import replace

    from runner.config import Address, folders, load
    from runner.service import units
    from runner.service.installation import of_user

    _refuse_what_is_for_containers(asked)
    if not asked.words:
        raise ValueError("generate systemd takes the names of models")
    settings = load()
    made = of_user(settings, os.environ, Path.home(), asked.words)
    told = dict(made.environment)
    if (asked.host, asked.port) != ("127.0.0.1", PORT):
        told["RUNNER_HOST"] = str(Address(asked.host, asked.port))
    file = Path(asked.key_file).expanduser().absolute() if asked.key_file else folders().config / "service.env"
    return units.systemd_user(replace(made, environment=told, environment_file=file))


def _refuse_what_is_for_containers(asked: Asked) -> None:
    for name, given in (
        ("--image", asked.image),
        ("--gpu", asked.gpu != "none"),
        ("--secret", asked.secret),
        ("--namespace", asked.namespace),
    ):
        if given:
            raise ValueError(f"{name} is for containers")


def _completion(asked: Asked) -> str:
    from runner.cli import completion  # on use: it imports every verb

    _refuse_what_is_for_containers(asked)
    if len(asked.words) != 1 or asked.words[0] not in completion.SHELLS:
        raise ValueError(f"generate completion takes one of {', '.join(completion.SHELLS)}")
    return completion.script(asked.words[0])


def _completion_file(asked: Asked) -> str:
    from runner.cli import completion

    return completion.FILES[asked.words[0]]


KINDS: Mapping[str, Kind] = {
    "compose": Kind("a compose file, for docker and podman", _container("compose"), lambda asked: "compose.yaml"),
    "quadlet": Kind(
        "a unit of podman's (quadlet)", _container("quadlet"), lambda asked: f"{asked.name or 'runner'}.container"
    ),
    "systemd": Kind(
        "a unit of systemd's, without a container", _systemd, lambda asked: f"{asked.name or 'runner'}.service"
    ),
    "kube": Kind(
        "for Kubernetes, or podman kube play", _container("kube"), lambda asked: f"{asked.name or 'runner'}.yaml"
    ),
    "completion": Kind("completion for a shell", _completion, _completion_file),
}
"""What can be generated."""


def command(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="What to generate.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]...", help="Models: pulled at the start, and kept loaded; or a shell."),
    ] = None,
    port: Annotated[int, typer.Option("--port", metavar="PORT", help="Where it is reached on the machine.")] = PORT,
    host: Annotated[
        str,
        typer.Option(
            "--publish",
            metavar="ADDRESS",
            help="The machine's address that it is reached at: beyond loopback, or 0.0.0.0 for all.",
        ),
    ] = "127.0.0.1",
    gpu: Annotated[str, typer.Option("--gpu", metavar="cuda|rocm|vulkan|none", help="The GPU to hand over.")] = "none",
    image: Annotated[
        str, typer.Option("--image", metavar="IMAGE", help="The image; made of installer/Containerfile.")
    ] = "",
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What it is called; runner without it.")] = "",
    key_file: Annotated[
        str,
        typer.Option(
            "--api-key-file", metavar="FILE", help="The file with the key (compose), or with variables (systemd)."
        ),
    ] = "",
    secret: Annotated[
        str,
        typer.Option(
            "--secret", metavar="NAME", help="The secret with the key (quadlet, kube); NAME-api-key without it."
        ),
    ] = "",
    namespace: Annotated[
        str, typer.Option("--namespace", metavar="NAME", help="Kubernetes's; default without it.")
    ] = "",
    folder: Annotated[
        str | None, typer.Option("--output", "-o", metavar="DIR", help="Write it there, instead of printing it.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="With --output: also over a file that says other things.")
    ] = False,
) -> None:
    """Print a file for containers, systemd, or a shell.

    KIND is compose, quadlet, systemd, kube or completion. Nothing is started and no daemon is asked. What is printed
    holds no key; its first lines say where to put one.
    """
    row = KINDS.get(kind)
    if row is None:
        raise Failure(f"generate takes {', '.join(KINDS)}, not {kind!r}", Exit.USAGE)
    if force and folder is None:
        raise Failure("--force goes with --output", Exit.USAGE)
    asked = Asked(tuple(words or ()), port, host, gpu, image, name, key_file, secret, namespace)
    try:
        text = row.make(asked)
    except ValueError as error:
        raise Failure(str(error), Exit.USAGE) from None
    if folder is None:
        output.write(text)
        return
    path = Path(folder).expanduser() / row.file(asked)
    _put(path, text, force)
    output.line(str(path))


def _put(path: Path, text: str, force: bool) -> None:
    """Whole or not at all. What is there already may be another project's, or edited by hand. Raises Failure."""
    from runner.service import carried

    try:
        before = path.read_bytes()
    except FileNotFoundError:
        before = None
    if before == text.encode():
        return
    if before is not None and not force:
        raise Failure(
            f"{path} is there already and says other things",
            detail="--force writes over it; without --output it is printed, to compare.",
        )
    carried.write(path.resolve(), text, mode=0o644)  # a link stays one
