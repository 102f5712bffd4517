"""The model that comes with the package, put into the store like any other.

Knows which manifest is its own by a note in it; a model of the same name that a user made is left alone.
"""

from __future__ import annotations

import logging
from typing import Final

from modelfiles.embedded import DEMO, demo_gguf, demo_modelfile
from modelfiles.parse import parse
from registry.collect import marked
from registry.create import create
from registry.digests import digest_of, hash_file
from registry.errors import Corrupt, NotFound
from registry.manifest import EMBEDDED
from registry.names import Name
from registry.progress import Progress, Report, unheard
from registry.store import Filed, Store
from registry.stored import StoredModel

log = logging.getLogger(__name__)

NAME: Final = Name.parse(DEMO)


def is_meant(reference: str) -> bool:
    """Whether somebody who asks for this means the embedded model. Raises BadName."""
    return "://" not in reference and "@" not in reference and Name.parse(reference).key == NAME.key


def ensure_demo(store: Store, progress: Report = unheard) -> StoredModel:
    """The demo model, put into the store if it is missing, older than the package's, or the package's own and broken.

    One that the user made under this name is the user's, whole or broken: it is returned, or Corrupt is raised, and
    `runner rm demo` makes room for the package's. So is one whose manifest can't be read in whole, unless it has that
    note, or names no blob any more: then nothing is lost by a whole one in its place. The package's file is never
    hard-linked: an upgrade of the package may rewrite it.
    """
    path = demo_gguf()
    text = demo_modelfile()
    mark = str(digest_of(f"{hash_file(path)}\n{text}".encode()))
    try:
        stored = store.show(NAME)
        owned = stored.manifest.annotations.get(EMBEDDED)
        if owned is None:
            progress(
                Progress("demo is a model of yours, and stays; after `runner rm demo` a pull brings the built-in one")
            )
        if owned in (None, mark):
            return stored
    except NotFound:
        log.debug("the demo model isn't in the store yet")
    except Corrupt as error:
        if not _is_ours(store):
            raise Corrupt(f"{error}. `runner rm {NAME}` makes room for the one that comes with Runner") from error
        log.warning("%s; putting the package's own there", error)
    return create(
        store,
        NAME,
        parse(text),
        base=path.parent,
        taking="copy",
        progress=progress,
        annotations={EMBEDDED: mark},
    )


def _is_ours(store: Store) -> bool:
    """Whether what has the name came with the package, or has nothing left that it could lose."""
    return all(_has_our_note(each) for each in store.manifests() if each.name.key == NAME.key)


def _has_our_note(filed: Filed) -> bool:
    if filed.manifest is not None:
        return EMBEDDED in filed.manifest.annotations
    if not filed.data and filed.path.is_file() and filed.path.stat().st_size:
        return False  # it can't be read now; it may be another time
    return EMBEDDED.encode() in filed.data or not marked([filed.data])
