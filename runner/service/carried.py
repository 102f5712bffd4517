"""What a service is told beside its unit: a file of `NAME=value` lines that only its owner reads, with keys, tokens and
what the shell had set when the service was installed. Knows which names count, and the file's format.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from runner.config import SETTINGS

_OTHERS = (
    "HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN", "HF_TOKEN_PATH", "OLLAMA_MODELS",
    "DOCKER_CONFIG", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES",
    "HSA_OVERRIDE_GFX_VERSION", "GGML_VK_VISIBLE_DEVICES", "LD_LIBRARY_PATH",
)  # fmt: skip
_CLIENTS_OWN = ("RUNNER_AUTOSTART",)
_NAMES = frozenset({row.env for row in SETTINGS} | set(_OTHERS)) - set(_CLIENTS_OWN)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def of_shell(environ: Mapping[str, str]) -> dict[str, str]:
    """What of an environment a service needs to behave as the daemon does that a command starts from there."""
    return {name: value for name, value in sorted(environ.items()) if name in _NAMES and value}


def read(path: Path) -> dict[str, str]:
    """The variables of a file, which needn't be there. Raises OSError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, sign, value = line.partition("=")
        if sign and not name.lstrip().startswith(("#", ";")):
            found[name.strip()] = _unquoted(value.strip())
    return found


def written(variables: Mapping[str, str]) -> str:
    """The text of a file with these, as both systemd and `read` take it. Raises ValueError for one of several lines."""
    lines = ["# What Runner's service is told beside its unit. Only its owner reads this file."]
    for name, value in sorted(variables.items()):
        if "\n" in value or "\r" in value:
            raise ValueError(f"{name} has several lines, which a service can't be told")
        escaped = re.sub(r'([\\"`$])', r"\\\1", value)
        lines.append(f'{name}="{escaped}"')
    return "\n".join(lines) + "\n"


def write(path: Path, text: str, mode: int = 0o600, encoding: str = "utf-8") -> None:
    """Put a file in place whole. `mode` holds from its first moment on. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if mode == 0o600 else 0o755)
    aside = path.with_name(f".{path.name}.part")
    aside.unlink(missing_ok=True)
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding=encoding) as file:
        file.write(text)
    os.chmod(aside, mode)
    aside.replace(path)


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return _ESCAPED.sub(r"\1", value[1:-1])
    if len(value) >= 2 and value[0] == value[-1] == "'":
        return value[1:-1]
    return value
