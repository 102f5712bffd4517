"""A scene in a process of its own, to be killed: `python -m tests.faults.child SCENE FOLDER [STEP]`.

With a step it ends itself there, as `kill -9` would: nothing is closed, nothing is cleaned up. Without one it plays to
the end, and says `done`.
"""

import os
import sys
from pathlib import Path
from typing import Any

from registry.disk import Disk
from registry.store import Store
from tests.faults.scenes import Place, scene
from tests.registry.faulty_disk import FaultyDisk


class Deadly(FaultyDisk):
    """Ends the process at a step; waits for the medium as the real one does."""

    def do(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """One operation, or the end."""
        if self.count + 1 == self.at:
            os._exit(137)
        self.count += 1
        return getattr(Disk, name)(self, *arguments)


def main() -> None:
    """Play."""
    place = Place(Path(sys.argv[2]))
    disk = Deadly(int(sys.argv[3])) if len(sys.argv) > 3 else Disk()
    with Store.open(place.store, disk) as store:
        os.write(1, b"opened\n")
        scene(sys.argv[1]).work(store, place, None)  # type: ignore[arg-type]  # these scenes need no hub
    os.write(1, b"done\n")


if __name__ == "__main__":
    main()
