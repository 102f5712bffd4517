"""Files for containers: compose, quadlet, Kubernetes. From a few choices to text, nothing else.

In a container the daemon listens on every address, so it has to have a key; outside it is published on loopback only,
unless another address is asked for.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from runner.config import PORT
from runner.service import fill

Gpu = Literal["none", "cuda", "rocm", "vulkan"]
IMAGE = "localhost/runner"
NAME = "runner"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*|[0-9A-Fa-f:.]+")
_ODD = re.compile(r"[\s\x00-\x1f$%]|(?<!:)//")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")
_DEVICES: Mapping[Gpu, tuple[str, ...]] = {"rocm": ("/dev/kfd", "/dev/dri"), "vulkan": ("/dev/dri",)}
_KUBE: Mapping[Gpu, str] = {"cuda": "nvidia.com/gpu", "rocm": "amd.com/gpu", "vulkan": "gpu.intel.com/i915"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to run. `publish` is `host:port` on this machine, `key_file` and `secret` where the key is found,
    `checkout` the folder of Runner's sources, seen from the file, if compose is to make the image, `namespace`
    Kubernetes's, which is part of the names that its service has."""

    models: tuple[str, ...] = ()
    name: str = NAME
    image: str = ""
    host: str = "127.0.0.1"
    port: int = PORT
    gpu: Gpu = "none"
    key_file: str = ""
    secret: str = ""
    storage: str = "50Gi"
    namespace: str = ""
    checkout: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"a name takes small letters, digits and hyphens, not {self.name!r}")
        if not _HOST.fullmatch(self.host):
            raise ValueError(f"{self.host!r} is no address that a port could be published at")
        if self.namespace and not _NAME.fullmatch(self.namespace):
            raise ValueError(f"a namespace takes small letters, digits and hyphens, not {self.namespace!r}")
        if self.image and not _IMAGE.fullmatch(self.image):
            raise ValueError(f"{self.image!r} is no name of an image")
        if self.secret and not _NAME.fullmatch(self.secret):
            raise ValueError(f"a secret's name takes small letters, digits and hyphens, not {self.secret!r}")
        if not 0 < self.port < 65536:
            raise ValueError(f"a port is from 1 to 65535, not {self.port}")
        for model in self.models:
            if not model or model.startswith(("-", "./", "/", "~")) or _ODD.search(model):
                raise ValueError(f"{model!r} is no model that a container could pull")

    @property
    def image_name(self) -> str:
        """The one that is named, or the one that installer/Containerfile makes for that GPU."""
        return self.image or f"{IMAGE}:{'latest' if self.gpu == 'none' else self.gpu}"

    @property
    def publish(self) -> str:
        """Where it is reached on the machine that runs it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def allowed(self) -> str:
        """RUNNER_ALLOWED_HOSTS, as a shell would set it: what clients call it by, of which the container knows nothing.
        Empty on loopback, which is allowed anyway, and where it is published at every address."""
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return "" if self.host == "localhost" else self.host
        return "" if address.is_loopback or address.is_unspecified else self.host

    @property
    def is_everywhere(self) -> bool:
        """Whether it is published at all addresses of the machine, of which nobody knows the names here."""
        return self.host in ("0.0.0.0", "::")

    @property
    def service_names(self) -> str:
        """All that pods may call the service by, in Kubernetes."""
        within = f"{self.name}.{self.namespace or 'default'}"
        return ",".join((self.name, within, f"{within}.svc", f"{within}.svc.cluster.local"))

    @property
    def secret_name(self) -> str:
        """Of the secret that holds the key."""
        return self.secret or f"{self.name}-api-key"


def compose(wish: Wish) -> str:
    """A compose file."""
    context = ""
    if wish.checkout:
        arguments = (f"  args: {{GPU: {wish.gpu}}}",) if wish.gpu != "none" else ()
        file = "  dockerfile: installer/Containerfile"
        context = _block(4, "build:", f"  context: {wish.checkout}", file, *arguments)
    return fill.filled(
        "compose.yaml",
        {
            "name": wish.name,
            "image": _text(wish.image_name),
            "build": context,
            "command": _line(4, "command", wish.models),
            "publish": wish.publish,
            "making": _making(wish),
            "everywhere": _note(wish),
            "allowed": _allowed(wish, "      ", ": "),
            **_compose_key(wish.key_file),
            "gpu": _compose_gpu(wish.gpu),
        },
    )


def quadlet(wish: Wish) -> str:
    """A podman unit, `NAME.container`."""
    devices = ("nvidia.com/gpu=all",) if wish.gpu == "cuda" else _DEVICES.get(wish.gpu, ())
    groups = ("PodmanArgs=--group-add=keep-groups",) if wish.gpu in _DEVICES else ()
    return fill.filled(
        "runner.container",
        {
            "name": wish.name,
            "image": wish.image_name,
            "command": f"Exec={fill.command_words(wish.models)}" if wish.models else "",
            "publish": wish.publish,
            "making": _making(wish),
            "everywhere": _note(wish),
            "allowed": _allowed(wish, "Environment=", "="),
            "secret": wish.secret_name,
            "gpu": "\n".join((*(f"AddDevice={device}" for device in devices), *groups)),
        },
    )


def kube(wish: Wish) -> str:
    """A claim, a deployment and a service."""
    resource = _KUBE.get(wish.gpu)
    limits = _block(10, "resources:", "  limits:", f"    {resource}: 1") if resource else ""
    return fill.filled(
        "kube.yaml",
        {
            "name": wish.name,
            "image": _text(wish.image_name),
            "command": _line(10, "args", wish.models),
            "secret": wish.secret_name,
            "port": str(wish.port),
            "making": _making(wish),
            "storage": wish.storage,
            "namespace": f"  namespace: {wish.namespace}" if wish.namespace else "",
            "namespaced": f" -n {wish.namespace}" if wish.namespace else "",
            "allowed": wish.service_names,
            "gpu": limits,
        },
    )


def _making(wish: Wish) -> str:
    """How the image is made, where nobody else has made it."""
    if wish.image or wish.checkout:
        return ""
    argument = "" if wish.gpu == "none" else f" --build-arg GPU={wish.gpu}"
    return (
        "# Its image is made in a checkout of Runner (docker or podman):\n"
        f"#     podman build -f installer/Containerfile -t {wish.image_name}{argument} ."
    )


def _note(wish: Wish) -> str:
    if not wish.is_everywhere:
        return ""
    return (
        "# Published at every address of the machine: clients that call it by another name than localhost are refused\n"
        "# until RUNNER_ALLOWED_HOSTS below has the addresses and names that they call it by."
    )


def _allowed(wish: Wish, before: str, sign: str) -> str:
    """The line that says by which names it may be called; a comment where they are whoever's to fill in."""
    if wish.is_everywhere:
        indent = before[: len(before) - len(before.lstrip())]
        return f"{indent}# {before.lstrip()}RUNNER_ALLOWED_HOSTS{sign}192.168.1.5,models.lan"
    value = _text(wish.allowed) if sign == ": " else wish.allowed
    return f"{before}RUNNER_ALLOWED_HOSTS{sign}{value}" if wish.allowed else ""


def _compose_gpu(gpu: Gpu) -> str:
    if gpu == "cuda":
        return _block(
            4, "deploy:", "  resources:", "    reservations:", "      devices:",
            "        - driver: nvidia", "          count: all", "          capabilities: [gpu]",
        )  # fmt: skip
    if gpu in _DEVICES:
        group = "${RENDER_GID:?put RENDER_GID=... into .env: what `getent group render` says}"
        return _block(4, "devices:", *(f"  - {device}" for device in _DEVICES[gpu]), "group_add:", f'  - "{group}"')
    return ""


def _compose_key(file: str) -> dict[str, str]:
    """Where the key comes from: the file `.env`, which compose reads itself, or a file that is mounted as a secret."""
    if not file:
        return {
            "note": "# Needs a key in .env beside this file:\n"
            '#     (umask 077; echo "RUNNER_API_KEY=$(openssl rand -hex 24)" > .env)',
            "key": _block(6, 'RUNNER_API_KEY: "${RUNNER_API_KEY:?put RUNNER_API_KEY=... into .env}"'),
            "secrets": "",
            "secret": "",
        }
    return {
        "note": f"# Needs a key in {file}, which the container's user 10001 has to be able to read.",
        "key": _block(6, "RUNNER_API_KEY_FILE: /run/secrets/runner-api-key"),
        "secrets": _block(4, "secrets:", "  - runner-api-key"),
        "secret": _block(0, "secrets:", "  runner-api-key:", f"    file: {_text(file)}"),
    }


def _line(indent: int, key: str, words: tuple[str, ...]) -> str:
    return f"{' ' * indent}{key}: {json.dumps(list(words))}" if words else ""


def _block(indent: int, *lines: str) -> str:
    return "\n".join(f"{' ' * indent}{line}" if line else "" for line in lines)


def _text(value: str) -> str:
    return json.dumps(value)
