"""Nothing in the registry writes, links, renames or removes but through `Disk`: only so can a sweep fail every step."""

import ast
from pathlib import Path

import pytest

import registry

ROOT = Path(registry.__file__).parent
OF_OS = {
    "write", "writev", "pwrite", "truncate", "ftruncate", "rename", "renames", "replace", "link", "symlink", "unlink",
    "remove", "removedirs", "rmdir", "mkdir", "makedirs", "mkfifo", "mknod", "chmod", "fchmod", "lchmod", "chown",
    "utime", "fsync", "fdatasync", "sync", "sendfile", "copy_file_range", "setxattr",
}  # fmt: skip
OF_PATHS = {
    "write_text", "write_bytes", "touch", "mkdir", "rmdir", "unlink", "rename", "symlink_to", "hardlink_to", "chmod",
    "lchmod",
}  # fmt: skip
OF_FLAGS = {"O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND", "O_TMPFILE"}
MODULES = {"shutil": {"disk_usage"}, "tempfile": {"TemporaryFile", "gettempdir"}, "fileinput": set()}


def changes(source: str) -> list[str]:
    """What a module does to the disk by itself."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if owner == "os" and node.attr in OF_OS | OF_FLAGS:
                found.append(f"{node.lineno}: os.{node.attr}")
            elif owner in MODULES and node.attr not in MODULES[owner]:
                found.append(f"{node.lineno}: {owner}.{node.attr}")
            elif node.attr in OF_PATHS and not _is_disk(node.value):
                found.append(f"{node.lineno}: .{node.attr}")
        elif isinstance(node, ast.ImportFrom) and node.module in ("os", "shutil", "tempfile"):
            names = (each.name for each in node.names if each.name != "path")
            found += [f"{node.lineno}: from {node.module} import {name}" for name in names]
        elif isinstance(node, ast.Call) and _writes(node):
            found.append(f"{node.lineno}: open(…) to write")
    return found


def _is_disk(owner: ast.expr) -> bool:
    """Whether a call goes to the one object, by the names that it has."""
    return _name(owner) in ("disk", "_disk")


def _name(node: ast.expr) -> str:
    """The last part of a dotted name."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _writes(call: ast.Call) -> bool:
    if _name(call.func) not in ("open", "fdopen", "FileIO"):
        return False
    given = [*call.args, *(each.value for each in call.keywords if each.arg == "mode")]
    modes = [each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return any(set(mode) & set("wax+") and set(mode) <= set("rwaxbt+") for mode in modes)


OTHERS = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "disk.py")


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_disk_changes_the_disk(path: Path) -> None:
    assert changes(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "os.replace(a, b)",
        "path.write_text('x')",
        "open(path, 'w')",
        "path.open(mode='ab')",
        "os.open(path, os.O_RDWR)",
        "shutil.rmtree(path)",
        "from os import unlink",
        "import tempfile; tempfile.mkdtemp()",
    ],
)
def test_the_look_sees_what_it_should(line: str) -> None:
    assert changes(line)
    assert not changes("disk.unlink(path); open(path, 'rb'); self._disk.rename(a, b); text.replace('a', 'w')")
