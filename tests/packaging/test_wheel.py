"""What a built wheel holds: everything that Runner needs when it runs, and nothing that only its makers need."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The project's wheel, built without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir"]
    result = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", folder, ROOT],
        env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    [path] = folder.glob("runner-*.whl")
    return zipfile.ZipFile(path)


def test_holds_the_three_packages_and_nothing_beside_them(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"modelfiles", "registry", "runner"}


def test_holds_every_module(wheel: zipfile.ZipFile) -> None:
    modules = {
        path.relative_to(ROOT).as_posix()
        for package in ("modelfiles", "registry", "runner")
        for path in (ROOT / package).rglob("*.py")
        if "train" not in path.parts
    }
    assert modules - set(wheel.namelist()) == set()


def test_holds_the_demo_model(wheel: zipfile.ZipFile) -> None:
    weights = wheel.read("modelfiles/demo/demo.gguf")
    assert weights[:4] == b"GGUF"
    assert len(weights) <= 8_000_000
    assert b"FROM ./demo.gguf" in wheel.read("modelfiles/demo/Modelfile")


def test_holds_the_catalog(wheel: zipfile.ZipFile) -> None:
    names = {name for name in wheel.namelist() if name.startswith("modelfiles/catalog/")}
    assert names == {path.relative_to(ROOT).as_posix() for path in (ROOT / "modelfiles" / "catalog").glob("*.yaml")}
    assert names
    for name in names:
        assert yaml.safe_load(wheel.read(name)), name


def test_holds_the_page(wheel: zipfile.ZipFile) -> None:
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "runner" / "page" / "static").iterdir()}
    assert "runner/page/static/index.html" in files
    assert files - set(wheel.namelist()) == set()


def test_leaves_the_workshop_out(wheel: zipfile.ZipFile) -> None:
    suffixes = (".pt", ".safetensors", ".ckpt", ".npy", ".npz", ".bin", ".jsonl", ".pyc")
    strays = {name for name in wheel.namelist() if "/train/" in name or name.endswith(suffixes)}
    assert strays == set()
    assert [name for name in wheel.namelist() if name.endswith(".gguf")] == ["modelfiles/demo/demo.gguf"]


def test_installs_the_command(wheel: zipfile.ZipFile) -> None:
    [entries] = (name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt"))
    assert "runner = runner.cli.main:main" in wheel.read(entries).decode()


def test_holds_what_is_known_of_assistants(wheel: zipfile.ZipFile) -> None:
    names = {name for name in wheel.namelist() if name.startswith("runner/assistants/") and name.endswith(".yaml")}
    assert names == {path.relative_to(ROOT).as_posix() for path in (ROOT / "runner" / "assistants").glob("*.yaml")}
    assert names
