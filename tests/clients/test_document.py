"""docs/clients.md against the tests: each client that is run or replayed stands there, with the version that is run."""

import json
import re
from pathlib import Path

from tests.clients.environments import NODE, PYTHON

HERE = Path(__file__).parent
TEXT = (HERE.parents[1] / "docs" / "clients.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("|")]
VERSIONS = {(name.split(" (")[0], version) for name, version, *_ in ROWS}


def test_every_client_stands_there_with_its_version() -> None:
    packages = [parts[0] for parts in (*PYTHON.values(), *NODE.values())]
    pinned = {tuple(re.sub(r"\[\w+\]", "", each).replace("==", "@").rsplit("@", 1)) for each in packages}
    assert pinned - VERSIONS == set()


def test_every_transcript_stands_there() -> None:
    transcripts = [json.loads(path.read_text(encoding="utf-8")) for path in (HERE / "transcripts").glob("*.json")]
    replayed = TEXT.partition("## Replayed")[2]
    assert transcripts
    names = {each["client"].partition(",")[0] for each in transcripts}
    assert {name for name in names if name not in replayed} == set()
