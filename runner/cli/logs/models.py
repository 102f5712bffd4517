"""Which model a person means whose log they ask for, told from files: the names that the daemon keeps for completion,
and the logs that there are. Asks no daemon.
"""

from __future__ import annotations

import difflib
from contextlib import suppress

from runner.cli.failures import Failure
from runner.config import Settings
from runner.log import folder, worker_file


def named(found: Settings, asked: str) -> str:
    """The model's full name. Raises Failure for one that there neither is nor was."""
    known = _known(found)
    meant = found.aliases.get(asked, asked)
    full = meant if ":" in meant.rpartition("/")[2] else f"{meant}:latest"
    by_case = {name.lower(): name for name in known}
    full = by_case.get(full.lower(), full)
    logs = folder(found.folders.state)
    files = [path.stem for path in logs.glob("*.log") if path.stem != "daemon"] if logs.is_dir() else []
    if full.lower() in by_case or worker_file(logs, full).exists():
        return full
    if not known and not files:
        raise Failure(f"there is no log of {full}: {logs} has none of any model")
    # A file's name lacks what file names can't carry, so a model's own name is better where it is known.
    there = known or [stem.removesuffix("_latest") for stem in files]
    spelt = {name.removesuffix(":latest").lower(): name for name in there}
    near = difflib.get_close_matches(full.removesuffix(":latest").lower(), spelt, 3, 0.5)
    hint = f"; did you mean {', '.join(spelt[each].removesuffix(':latest') for each in near)}?" if near else ""
    raise Failure(f'there is no log of "{asked}": no such model was loaded here{hint}')


def _known(found: Settings) -> list[str]:
    """Full names of the models in the store, as the daemon wrote them last."""
    with suppress(OSError, UnicodeDecodeError):
        text = (found.folders.cache / "names").read_text(encoding="utf-8")
        names = [line.strip() for line in text.splitlines() if line.strip()]
        return [name if ":" in name.rpartition("/")[2] else f"{name}:latest" for name in names]
    return []
