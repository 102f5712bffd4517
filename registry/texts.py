"""The small files of a repository, as what they set of a model: instructions, parameters, or a whole config.

Pure: bytes in, a recipe out. Knows no source and no store.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from modelfiles.errors import ParameterError
from modelfiles.parameters import Value, check
from registry.assemble import Recipe
from registry.manifest import ModelConfig
from registry.stored import read_messages

log = logging.getLogger(__name__)


def with_texts(recipe: Recipe, texts: Sequence[tuple[str, bytes]]) -> Recipe:
    """The recipe with what small files set. Raises BadManifest for one that Runner wrote itself and is wrong."""
    by_kind: dict[str, list[bytes]] = {}
    for kind, data in texts:
        by_kind.setdefault(kind, []).append(data)
    last = {kind: given[-1].decode("utf-8", "replace") for kind, given in by_kind.items()}
    recipe = replace(
        recipe,
        template=last.get("template"),
        system=last.get("system"),
        parameters=_parameters(last.get("params", "")),
        messages=read_messages(by_kind.get("messages", ())),
        licenses=tuple(data.decode("utf-8", "replace") for data in by_kind.get("license", ())),
    )
    if "config" not in by_kind:
        return recipe
    config = ModelConfig.from_json(by_kind["config"][-1])
    return replace(
        recipe,
        renderer=config.renderer,
        parser=config.parser,
        requires=config.requires,
        parent=config.parent,
        quantization=config.quantization,
        created=config.created,
    )


def _parameters(text: str) -> Mapping[str, Value]:
    """The author's parameters, as far as Runner knows them."""
    if not text:
        return {}
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        log.warning("the repository's params aren't JSON: %s", error)
        return {}
    found: dict[str, Value] = {}
    for key, value in given.items() if isinstance(given, dict) else ():
        try:
            found[key] = check(key, value)
        except ParameterError as error:
            log.warning("a parameter of the repository is left out: %s", error)
    return found
