"""What each assistant gets in an empty home, to look at: `python -m tests.assistants.golden` writes the files anew."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from runner.assistants.knowledge import names
from tests.assistants.homes import KEYED, TARGET, planned

FOLDER = Path(__file__).parent / "golden"


def picture(name: str, home: Path) -> str:
    """The plans of a launch and of --config, without and with an API key, as JSON; the home is written `~`."""
    found = {}
    for title, target, config in (
        ("launch", TARGET, False),
        ("launch with a key", KEYED, False),
        ("config", TARGET, True),
        ("config with a key", KEYED, True),
    ):
        plan = planned(home, name, target, config=config)
        found[title] = {
            "files": [
                {"path": str(write.path), "private": write.is_private, "lines": write.after.decode().splitlines()}
                for write in plan.writes
            ],
            "environment": plan.environment,
            "unset": list(plan.unset),
            "command": list(plan.argv),
        }
    return json.dumps(found, indent=2, ensure_ascii=False).replace(str(home), "~") + "\n"


if __name__ == "__main__":
    for name in names():
        with tempfile.TemporaryDirectory() as home:
            (FOLDER / f"{name}.json").write_text(picture(name, Path(home)), encoding="utf-8")
