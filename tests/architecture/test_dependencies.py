"""pyproject.toml's dependencies are the libraries that the packages import: none missing, none left over."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("modelfiles", "registry", "runner")
BY_OTHERS = {"backports-zstd"}  # aiohttp imports it where it is there
WORKSHOP = ROOT / "modelfiles" / "demo" / "train"  # not in the wheel; its makers bring torch


def imported_libraries() -> set[str]:
    """Top-level names of everything that an installed module of ours imports, wherever in the file."""
    names: set[str] = set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        if path.is_relative_to(WORKSHOP):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            if isinstance(node, ast.Import):
                names.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - set(PACKAGES)


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_dependencies_are_what_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {normalised(re.split(r"[<>=!~;\[ ]", line)[0]) for line in project["dependencies"]}
    providers = packages_distributions()
    imported = {normalised(providers.get(name, [name])[0]) for name in imported_libraries()}
    assert imported - declared == set(), "imported, not declared"
    assert declared - imported == BY_OTHERS, "declared, imported nowhere"
