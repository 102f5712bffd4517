"""What `runner doctor` looks at of the installation: the Python it runs in, the packages it stands on, and which
`runner` the shell finds. Reads names and versions only; imports none of the packages.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from importlib import metadata
from itertools import zip_longest
from pathlib import Path

import runner
from runner.protocol.checkup import Finding

_AGAIN = "install Runner again into its environment: ./installer/dev in a checkout, or pip install --upgrade runner"
_EXACT = "llama-cpp-python"  # another version has other structures in memory
_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*\(?(?P<limits>[^;)]*)\)?\s*(?:;(?P<marker>.*))?")
_BY_INSTALLER = "put here by its installer"
_LAUNCHER = 8192  # bytes; all of one
_LIMIT = re.compile(r"(>=|<=|==|!=|<|>|~=)\s*([0-9][0-9A-Za-z.]*)")


def of_installation() -> Iterator[Finding]:
    """Python, packages, and the `runner` on PATH."""
    yield _python()
    yield from _packages(_declared())
    yield _on_path(os.environ.get("PATH", ""), Path(sysconfig.get_path("scripts")))


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    where = f"Python {version} in {sys.prefix}"
    if sys.prefix != sys.base_prefix or os.environ.get("CONDA_PREFIX"):
        return Finding("python", "ok", f"{where}, an environment of its own")
    return Finding("python", "ok", f"{where}, which other programs of this machine share")


def _declared() -> list[str]:
    """What Runner asks for: of a checkout as its pyproject.toml says now, else as it was installed."""
    project = Path(runner.__file__).resolve().parent.parent / "pyproject.toml"
    if project.is_file():
        import tomllib

        try:
            found = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
            return [str(each) for each in found]
        except (OSError, ValueError, KeyError, TypeError):
            return []
    try:
        return metadata.requires("runner") or []
    except metadata.PackageNotFoundError:
        return []


def _packages(declared: Sequence[str]) -> Iterator[Finding]:
    wrong: list[str] = []
    is_exact_wrong = False
    count = 0
    for each in declared:
        found = _PIN.fullmatch(each.strip())
        if found is None or "extra" in (found["marker"] or ""):
            continue
        try:
            version = metadata.version(found["name"])
        except metadata.PackageNotFoundError:
            if found["marker"]:  # it isn't for every Python or system
                continue
            version = ""
        count += 1
        if version and fits(version, found["limits"]):
            continue
        limits = found["limits"].strip()
        wrong.append(f"{found['name']} is {version or 'not there'}, and Runner needs {limits}")
        is_exact_wrong |= found["name"] == _EXACT or not version
    if wrong:
        yield Finding("packages", "fail" if is_exact_wrong else "warn", "; ".join(wrong), _AGAIN)
    elif count:
        yield Finding("packages", "ok", f"all {count} that Runner needs are there, in versions that it knows")
    else:
        yield Finding(
            "packages", "warn", "Runner was not installed as a package: its versions can't be looked at", _AGAIN
        )


def fits(version: str, limits: str) -> bool:
    """Whether a version is within limits such as `>=1.2,<2`, by their numbers alone; an unknown sign fits."""
    have = _numbers(version)
    for sign, number in _LIMIT.findall(limits):
        wanted = _numbers(number)
        order = _compared(have, wanted)
        allowed = {
            ">=": order >= 0,
            "<=": order <= 0,
            "==": order == 0,
            "!=": order != 0,
            "<": order < 0,
            ">": order > 0,
            "~=": order >= 0 and have[: len(wanted) - 1] == wanted[:-1],
        }
        if not allowed[sign]:
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _compared(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    pairs = zip_longest(one, other, fillvalue=0)
    return next((1 if left > right else -1 for left, right in pairs if left != right), 0)


def _on_path(path: str, ours: Path) -> Finding:
    """Which `runner` a shell finds, and whether another one hides behind it."""
    names = ("runner.exe", "runner.cmd") if sys.platform == "win32" else ("runner",)
    places = (Path(folder) / name for folder in path.split(os.pathsep) if folder for name in names)
    found = list(dict.fromkeys(place for place in places if place.is_file() and os.access(place, os.X_OK)))
    ends = {place: _end(place, names[0]) for place in found}
    different = list({ends[place]: place for place in reversed(found)}.values())[::-1]
    own = ours / names[0]
    if not found:
        advice = f"add {ours} to PATH" if own.exists() else "use `python -m runner`, or install Runner as a package"
        return Finding("path", "warn", "the shell finds no `runner` on PATH", advice)
    first = found[0]
    if own.exists() and ends[first] != own.resolve():
        said = f"the shell's `runner` is {first}, and this one is {own}"
        return Finding("path", "warn", said, f"remove the other one, or put {ours} first in PATH")
    if len(different) > 1:
        rest = ", ".join(str(place) for place in different if ends[place] != ends[first])
        return Finding("path", "warn", f"the shell uses {first}; there is another: {rest}", "remove the one not wanted")
    return Finding("path", "ok", f"the shell uses {first}")


def _end(place: Path, name: str) -> Path:
    """The command that a place on PATH leads to: through links, and through the launcher that an installer puts there,
    which starts the Python of the environment that is in use.
    """
    try:
        with place.open("rb") as file:
            text = file.read(_LAUNCHER).decode("utf-8", "surrogateescape")
        if _BY_INSTALLER not in text:
            return place.resolve()
        if place.suffix == ".cmd":
            app = place.resolve().parent.parent
            folder = app / "versions" / (app / "current.txt").read_text("utf-8").strip() / "Scripts"
        else:
            words = shlex.split(next(line for line in text.splitlines() if line.startswith("exec ")))
            folder = Path(words[1]).parent
    except (OSError, ValueError, IndexError, StopIteration):
        return place.resolve()
    return (folder / name).resolve()
