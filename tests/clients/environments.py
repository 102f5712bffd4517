"""The clients' own environments: which versions, made once, and a script of ours run inside one of them.

Knows pip and npm, and nothing of Runner. A client never meets the project's packages, nor the user's home.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

PYTHON: Mapping[str, tuple[str, ...]] = {
    "openai": ("openai==3.52.0",),
    "anthropic": ("anthropic==2.11.0",),
    "ollama": ("ollama==0.6.3",),
    "langchain_openai": ("langchain-openai==1.7.3",),
    "langchain_ollama": ("langchain-ollama==1.1.0",),
    "litellm": ("litellm[mcp]==1.106.2",),  # without that part it fails on tools
    "llama_index": ("llama-index-llms-ollama==0.11.0",),
    "chromadb": ("chromadb==1.5.9", "ollama==0.6.3"),
    "aider": ("aider-chat==0.86.2",),
}
NODE: Mapping[str, tuple[str, ...]] = {
    "openai": ("openai@6.30.1",),  # 7 asks for Node 22
    "ollama": ("ollama@0.6.4",),
    "anthropic": ("@anthropic-ai/sdk@1.11.0",),
    "opencode": ("opencode-ai@1.18.33",),
    "codex": ("@openai/codex@0.169.0",),
    "continue": ("@continuedev/cli@1.5.47",),
    "claude": ("@anthropic-ai/claude-code@2.1.197",),
    "cline": ("cline@3.0.65",),
    "copilot": ("@github/copilot@1.0.102",),
    "qwen": ("@qwen-code/qwen-code@0.15.10",),
}

_MINUTES = 60.0


class CannotInstall(Exception):
    """pip or npm could not put a client into its environment; the message is the end of what it said."""


def python_environment(cache: Path, client: str) -> Path:
    """The folder of the venv with this client in it, made below `cache` the first time. Raises CannotInstall."""
    packages = PYTHON[client]
    with _made_once(cache, "python", client, (sys.version, *packages)) as (folder, made):
        if not made:
            # pip reaches in from outside: a venv without one is made in a moment.
            _run([sys.executable, "-I", "-m", "venv", "--without-pip", str(folder)], cache)
            pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
            _run([*pip, "--prefer-binary", "--cache-dir", str(cache / "pip"), *packages], cache)
    return folder


def node_environment(cache: Path, client: str) -> Path:
    """The folder whose node_modules has this client in it, made below `cache` the first time. Raises CannotInstall."""
    packages = NODE[client]
    with _made_once(cache, "node", client, packages) as (folder, made):
        if not made:
            folder.mkdir(parents=True)
            (folder / "package.json").write_text('{"private": true}\n', encoding="utf-8")
            npm = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--cache", str(cache / "npm")]
            _run([*npm, "--prefix", str(folder), *packages], cache)
    return folder


def python_report(cache: Path, client: str, asked: Sequence[str], scratch: Path) -> dict[str, Any]:
    """What each function of python/<client>.py gave: `{name: {"gave": …}}`, or `{"raised": type, "said": text}`.

    `asked` are the script's arguments. Raises CannotInstall, or AssertionError when the script itself breaks.
    """
    interpreter = python_environment(cache, client) / "bin" / "python"
    script = HERE / "python" / f"{client}.py"
    # -I keeps this folder off the import path: the scripts are named as the packages that they import.
    return _report([str(interpreter), "-I", str(HERE / "python" / "drive.py"), str(script)], asked, scratch)


def node_report(cache: Path, client: str, asked: Sequence[str], scratch: Path) -> dict[str, Any]:
    """The same of node/<client>.mjs. Node looks for packages beside a script, so the script moves to them."""
    modules = node_environment(cache, client) / "node_modules"
    (scratch / "node_modules").symlink_to(modules, target_is_directory=True)
    for name in ("drive.mjs", f"{client}.mjs"):
        shutil.copyfile(HERE / "node" / name, scratch / name)
    return _report(["node", str(scratch / "drive.mjs"), str(scratch / f"{client}.mjs")], asked, scratch)


def own_environment(home: Path, **more: str) -> dict[str, str]:
    """What a client sees of the environment: a home of its own, and no setting of the user's or of Runner's."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    loopback = "localhost,127.0.0.1,::1"
    return kept | {"HOME": str(home), "NO_PROXY": loopback, "no_proxy": loopback, "NO_COLOR": "1"} | more


def _report(command: Sequence[str], asked: Sequence[str], scratch: Path) -> dict[str, Any]:
    home, written = scratch / "home", scratch / "report.json"
    home.mkdir()
    ran = subprocess.run(
        [*command, str(written), *asked],
        cwd=scratch,
        env=own_environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=5 * _MINUTES,
        check=False,
    )
    if ran.returncode != 0:
        raise AssertionError(f"{command} ended with {ran.returncode}:\n{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}")
    report: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
    return report


@contextmanager
def _made_once(cache: Path, language: str, client: str, made_of: Sequence[str]) -> Iterator[tuple[Path, bool]]:
    """The folder for exactly these parts, and whether it is whole; whoever gets False fills it, alone."""
    mark = hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:12]
    folder = cache / language / f"{client}-{mark}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    whole = folder / "whole"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = whole.exists()
        if not made:
            shutil.rmtree(folder, ignore_errors=True)  # what a run that was cut off left behind
        yield folder, made
        whole.touch()


def _run(command: Sequence[str], cache: Path) -> None:
    ran = subprocess.run(
        command, cwd=cache, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20 * _MINUTES, check=False
    )
    if ran.returncode != 0:
        raise CannotInstall(f"{' '.join(command)}: {(ran.stderr or ran.stdout).strip()[-2000:]}")
