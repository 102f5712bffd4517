"""Local files as a source: what a path in a Modelfile stands for. Looks at names only, and opens nothing.

Whether the files are sound GGUFs, and what they are, others find out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from registry.errors import BadSource, Unreadable
from registry.sources.shards import SHARD, shards_of

_PATH = re.compile(r"(?:[./~\\]|[A-Za-z]:[/\\]).*", re.DOTALL)
_NO_TEXT = re.compile("[\ud800-\udfff]")
_TORCH = (".safetensors", ".bin", ".pth", ".pt")
_CONVERT = "convert it to GGUF first, with llama.cpp's convert_hf_to_gguf.py, or pull a GGUF of the same model"
_CONVERT_ADAPTER = (
    "convert it to GGUF first, with llama.cpp's convert_lora_to_gguf.py (--base is the model's folder on the hub)"
)


def looks_like_path(source: str) -> bool:
    """Whether a FROM can only mean a file: it begins like a path, or ends like a model file."""
    return bool(_PATH.fullmatch(source)) or source.lower().endswith((".gguf", *_TORCH))


def gguf_files(source: str, base: Path, *, adapter: bool = False) -> tuple[Path, ...]:
    """The files that a path stands for, relative to `base`: one file, all shards of it, or a folder's GGUFs.

    Raises BadSource if there are none, or only weights of another format; what to do then is another thing for an
    `adapter`.
    """
    try:
        path = Path(os.path.abspath(base / Path(source).expanduser()))
    except RuntimeError as error:
        raise BadSource(f"{source}: nobody knows where that home is") from error
    refuse_other_formats(str(path), adapter=adapter)
    found = _files_at(path, adapter)
    refuse_unwritable(*found)
    return found


def refuse_unwritable(*paths: Path) -> None:
    """Raise BadSource for a path that no manifest, note or answer could hold: one that isn't UTF-8."""
    for path in paths:
        if readable(str(path)) != str(path):
            raise BadSource(f"{readable(str(path))}: its name isn't UTF-8; rename it")


def readable(text: str) -> str:
    """A text with a path in it, whatever bytes that has: those that aren't UTF-8 are replaced."""
    return _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", text)


def _files_at(path: Path, adapter: bool) -> tuple[Path, ...]:
    try:
        is_folder = path.is_dir()
    except OSError as error:  # somebody else's home on the way to it
        raise Unreadable(f"{path}: can't be read: {error.strerror}") from error
    if is_folder:
        return _of_folder(path, adapter)
    if SHARD.fullmatch(path.name):
        return tuple(path.with_name(name) for name in shards_of(path.name))
    return (path,)


def refuse_other_formats(name: str, *, adapter: bool = False) -> None:
    """Raise BadSource, with what to do, for weights that are no GGUF by their name."""
    if name.lower().endswith(_TORCH):
        raise BadSource(f"{name}: not a GGUF file; {_CONVERT_ADAPTER if adapter else _CONVERT}")


def _of_folder(folder: Path, adapter: bool) -> tuple[Path, ...]:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise Unreadable(f"{folder}: can't be read: {error.strerror}") from error
    found = tuple(folder / name for name in names if _is_model_file(name))
    if not found:
        raise BadSource(f"{folder}: {_why_empty(names, adapter)}")
    return found


def _is_model_file(name: str) -> bool:
    # What a quantizer measured lies beside models, in the same format.
    return name.lower().endswith(".gguf") and not name.lower().startswith("imatrix")


def _why_empty(names: Sequence[str], adapter: bool) -> str:
    if any(name.lower().endswith(_TORCH) for name in names):
        return f"no GGUF file, but weights of another format; {_CONVERT_ADAPTER if adapter else _CONVERT}"
    return "no GGUF file in this folder"
