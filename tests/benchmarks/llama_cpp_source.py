"""The source package of the llama-cpp-python that is installed: its llama.cpp, and the tools built from it.

What is built runs the very llama.cpp that Runner runs, with the same flags, so that a comparison is about the servers.
Kept in the temporary folder from one time to the next.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

TOOLS = ("llama-server", "llama-batched-bench")
_INSIDE = "vendor/llama.cpp/"
# Of no use to a build, and most of the package.
_LEFT_OUT = ("models/", "tools/ui/src/", "tools/ui/static/", "tools/ui/tests/", "docs/", "examples/", ".git")
_PORTABLE = "-DGGML_NATIVE=OFF"
_STAMP = Path(__file__).parents[2] / ".venv" / "stamp"


def archive() -> Path:
    """The package as it is published, fetched by pip the first time."""
    release = version("llama-cpp-python")
    kept = Path(tempfile.gettempdir()) / f"llama-cpp-python-{release}.tar.gz"
    if not kept.exists():
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
            subprocess.run([*command, "--dest", folder, f"llama-cpp-python=={release}"], check=True)
            fetched = next(Path(folder).glob("*.tar.gz"))
            aside = kept.with_suffix(".part")
            shutil.copyfile(fetched, aside)
            aside.replace(kept)
    return kept


def read(name: str) -> bytes:
    """One file of llama.cpp's tree."""
    with tarfile.open(archive()) as files:
        member = next(member for member in files if member.name.endswith(_INSIDE + name))
        content = files.extractfile(member)
        if content is None:
            raise RuntimeError(f"{name} is no file of the source package")
        return content.read()


def flags() -> list[str]:
    """What llama-cpp-python was compiled with: CMAKE_ARGS, what installer/dev wrote down, or the portable flags."""
    if os.environ.get("CMAKE_ARGS"):
        return shlex.split(os.environ["CMAKE_ARGS"])
    lines = _STAMP.read_text().splitlines() if _STAMP.exists() else []
    return shlex.split(lines[2] if len(lines) > 2 else _PORTABLE)


def build(jobs: int) -> Path:
    """The folder with the tools in it, compiled when they aren't there yet (minutes). Raises CalledProcessError."""
    asked = " ".join(flags())
    print(f"llama.cpp of llama-cpp-python {version('llama-cpp-python')}, {asked}", file=sys.stderr)
    mark = hashlib.sha256(asked.encode()).hexdigest()[:12]
    root = Path(tempfile.gettempdir()) / f"llama-cpp-python-{version('llama-cpp-python')}-{mark}"
    binaries = root / "build" / "bin"
    if all((binaries / tool).exists() for tool in TOOLS):
        return binaries
    unpack(root / "source")
    configure(root / "source", root / "build")
    print(f"compiling {', '.join(TOOLS)} in {root}", file=sys.stderr)
    command = ["cmake", "--build", str(root / "build"), "--parallel", str(jobs), "--target", *TOOLS]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return binaries


def unpack(folder: Path) -> None:
    """llama.cpp's tree, as far as it takes part in the build."""
    if (folder / "CMakeLists.txt").exists():
        return
    aside = folder.with_suffix(".part")
    shutil.rmtree(aside, ignore_errors=True)
    with tarfile.open(archive()) as files:
        for member in files:
            _, found, name = member.name.partition(f"/{_INSIDE}")
            if found and name and not name.startswith(_LEFT_OUT):
                member.name = name
                files.extract(member, aside, filter="data")
    aside.replace(folder)


def configure(source: Path, folder: Path) -> None:
    """Have cmake prepare the build, with nothing fetched from anywhere and the server's web page left out."""
    command = ["cmake", "-S", str(source), "-B", str(folder), "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=ON"]
    if shutil.which("ninja"):
        command += ["-G", "Ninja"]
    off = ("LLAMA_BUILD_UI", "LLAMA_USE_PREBUILT_UI", "LLAMA_OPENSSL", "LLAMA_BUILD_TESTS", "LLAMA_BUILD_EXAMPLES")
    command += [f"-D{name}=OFF" for name in off]
    # Where SOURCE_DATE_EPOCH is set, llama.cpp turns even AVX2 off.
    environment = {name: value for name, value in os.environ.items() if name not in ("SOURCE_DATE_EPOCH", "CMAKE_ARGS")}
    subprocess.run([*command, *flags()], check=True, env=environment, stdout=subprocess.DEVNULL)


def main() -> None:
    print(build(os.cpu_count() or 1))


if __name__ == "__main__":
    main()
