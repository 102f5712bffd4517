"""docs/architecture.md against the tree: a name in it leads somewhere, no floor is left out or in another order than
the contracts hold, and each step of the walk is in the process that it says. docs/configuration.md against the table
of settings, and the pages of the API against its endpoints."""

import ast
import re
import tomllib
from pathlib import Path

import grimp

from runner.api.dialects import DIALECTS
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


def test_the_floors_stand_in_the_order_that_the_contracts_hold() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    [layers] = [each["layers"] for each in contracts["contracts"] if each["id"] == "floors"]
    height = {
        name: len(layers) - number for number, layer in enumerate(layers) for name in re.findall(r"[a-z_.]+", layer)
    }
    rows = re.findall(r"^\| (?:[a-z]+ )?(\d+) \| (.*?) \|", TEXT.read_text(encoding="utf-8"), re.MULTILINE)
    floor = {
        name.strip("/").replace("/", "."): int(number)
        for number, names in rows
        for name in re.findall(r"`([a-z_/]+)`", names)
    }
    assert floor.keys() >= {"registry", "runner.engine", "runner.cli"}
    assert floor.keys() - height.keys() == set(), "in the table, and in no contract"
    wrong = [(low, high) for low in floor for high in floor if floor[low] < floor[high] and height[low] >= height[high]]
    assert wrong == []


def test_each_step_of_the_walk_is_in_the_process_that_it_says() -> None:
    graph = grimp.build_graph(*PACKAGES)
    process = {
        "daemon": graph.find_upstream_modules("runner.daemon", as_package=True),
        "worker": graph.find_upstream_modules("runner.engine.worker"),
    }
    _, _, rest = TEXT.read_text(encoding="utf-8").partition("## The walk of a request\n")
    walk, _, _ = rest.partition("\n## ")
    steps = re.split(r"^\d+\. ", walk, flags=re.MULTILINE)[1:]
    assert len(steps) >= 7
    where = "daemon"
    for number, step in enumerate(steps, 1):
        text = step.partition("\n\n")[0]
        if text.startswith("In the worker"):
            where = "worker"
        elif "come back over the pipe" in text:
            where = "daemon"
        modules = {found for name in PATH.findall(text) if (found := module_of(name, graph))}
        assert modules, f"step {number} names no module"
        assert modules - process[where] == set(), f"step {number} is said to be in the {where}"


def module_of(name: str, graph: grimp.ImportGraph) -> str | None:
    """The module that a short name means; None for a folder."""
    dotted = name.strip("/").replace("/", ".")
    for prefix in SHORT_FOR:
        whole = prefix.replace("/", ".") + dotted
        for each in (whole, whole.rpartition(".")[0]):  # the last part may be a function in it
            if each in graph.modules and "." in each.removeprefix(prefix.replace("/", ".")):
                return each
    return None


def test_every_endpoint_stands_on_a_page() -> None:
    written = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md") if path.name != "fields.md"
    )
    there = set(re.findall(r"/[\w/{}.-]+", written))
    paths = {path for dialect in DIALECTS for path in (*dialect.fields, *dialect.answers, *dialect.aliases)}
    assert sorted(paths - there - {"/"}) == []


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
