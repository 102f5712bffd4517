"""docs/architecture.md against the tree: a name in it leads somewhere, and no floor is left out. And
docs/configuration.md against the table of settings."""

import ast
import re
from pathlib import Path

from runner.config import SETTINGS

ROOT = Path(__file__).parents[2]
TEXT = ROOT / "docs" / "architecture.md"
PACKAGES = ("modelfiles", "registry", "runner")
# Where the document's short names start: `openai/read` is runner/api/openai/read.py.
SHORT_FOR = ("", "runner/", "runner/api/", "registry/")
# `folder/`, `folder/module`, `folder/module.py`, `folder/module.name`: what the document writes between backticks.
PATH = re.compile(r"`((?:\.?[a-z_]+/)+(?:[a-z_]+)?(?:\.[A-Za-z_]+)?)`")


def leads_somewhere(name: str) -> bool:
    return any(exists(ROOT / (prefix + name)) for prefix in SHORT_FOR)


def exists(path: Path) -> bool:
    if path.exists() or path.with_name(path.name + ".py").exists():
        return True
    module = path.with_suffix(".py")
    return path.suffix != "" and module.exists() and path.suffix[1:] in defined_in(module)


def defined_in(module: Path) -> set[str]:
    """Functions, methods and classes of a module."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    tree = ast.parse(module.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def floors() -> set[str]:
    """The packages, and the folders and modules right inside runner."""
    inside = {path for path in (ROOT / "runner").iterdir() if not path.name.startswith("_")}
    return {*PACKAGES, *(path.stem for path in inside if path.is_dir() or path.suffix == ".py")}


def test_every_name_leads_somewhere() -> None:
    names = set(PATH.findall(TEXT.read_text(encoding="utf-8")))
    assert names, f"{TEXT} names no module as `folder/module`"
    assert {name for name in names if not leads_somewhere(name)} == set()


def test_every_floor_is_in_the_table() -> None:
    rows = [line for line in TEXT.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    named = set(re.findall(r"[a-z_]+", " ".join(rows)))
    assert floors() - named == set()


def test_every_setting_stands_where_it_says_when_a_change_counts() -> None:
    lines = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8").splitlines()
    rows = [line.split("|")[1:3] for line in lines if line.startswith("| `")]
    starts = {"now": "at once", "load": "from the next request on", "start": "when the daemon is started again"}
    written = {
        when: set(names.strip(" `").split())
        for names, words in rows
        for when, start in starts.items()
        if words.strip().startswith(start)
    }
    assert written == {when: {each.name for each in SETTINGS if each.applies == when} for when in starts}
