"""Looking at folders as a whole: which files there are and what they hold."""

import hashlib
from pathlib import Path

# Written by an open store about itself, not about models.
_OWN = ("lock", "stamps")


def contents(folder: Path, ignored: tuple[str, ...] = _OWN) -> dict[str, str]:
    """Every file under a folder, by relative path, with a hash of its bytes; links by where they lead."""
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if relative.parts[0] in ignored:
            continue
        if path.is_symlink():
            found[str(relative)] = f"-> {path.readlink()}"
        elif path.is_file():
            found[str(relative)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def unfinished(root: Path) -> list[str]:
    """What lies in a store's ingest folder."""
    folder = root / "ingest"
    return sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
