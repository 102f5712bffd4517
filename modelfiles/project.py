"""The project file, `runner.yaml`: the models that a team needs, to be pulled or to be created.

Pure: text to values. Whether the models, files and Modelfiles that it names exist is for others.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from modelfiles import places
from modelfiles.errors import FileError, ModelfileError, ParameterError
from modelfiles.instructions import From, Instruction, Modelfile, Parameter, System, Template
from modelfiles.lockfile import folded
from modelfiles.parameters import PARAMETERS, check, from_text
from modelfiles.places import Place

FILE: Final = "runner.yaml"
VERSION: Final = 1

_INLINE = ("from", "system", "template", "parameters")
_QUANTIZATION = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """A model to pull. `name` is what to call it, empty where the reference says that; `line` where it is declared."""

    line: int
    reference: str
    name: str = ""

    @property
    def called(self) -> str:
        """The text by which people ask for it."""
        return self.name or self.reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A model to create: of the Modelfile at `path`, relative to the project file, or of `inline` instructions.

    `quantize` is the quantization to make of the weights, empty for none.
    """

    line: int
    name: str
    path: str = ""
    inline: Modelfile | None = None
    quantize: str = ""

    @property
    def called(self) -> str:
        """The text by which people ask for it."""
        return self.name


Declared: TypeAlias = Pulled | Created


@dataclass(frozen=True, slots=True)
class Project:
    """What a project file declares, in its order."""

    models: tuple[Declared, ...]


def read(file: str, text: str) -> Project:
    """The project that a text declares; `file` is what to call it. Raises FileError with line and field."""
    given = places.read(file, text).fields(("models",), ("version",))
    if "version" in given and given["version"].count() != VERSION:
        raise given["version"].wrong(f"this version of Runner knows {VERSION}")
    models: list[Declared] = []
    seen: dict[str, int] = {}
    for place in given["models"].items():
        model = _declared(place)
        before = seen.setdefault(folded(model.called), model.line)
        if before != model.line or any(folded(each.called) == folded(model.called) for each in models):
            raise place.wrong(f"{model.called} is declared in line {before} already")
        models.append(model)
    if not models:
        raise given["models"].wrong("must name at least one model")
    return Project(tuple(models))


def _declared(place: Place) -> Declared:
    if place.is_text():
        return Pulled(line=place.line, reference=place.word())
    given = place.fields((), ("reference", "name", "modelfile", "quantize", *_INLINE))
    ways = [each for each in ("reference", "modelfile", "from") if each in given]
    if len(ways) != 1:
        if ways:
            raise given[ways[1]].wrong(f"{ways[0]} and {ways[1]} exclude each other")
        raise place.wrong("must say where the model comes from, by one of reference, modelfile and from")
    if ways == ["reference"]:
        return _pulled(place, given)
    for each in _INLINE if ways == ["modelfile"] else ():
        if each in given:
            raise given[each].wrong("has no place beside modelfile; write it there")
    if "name" not in given:
        raise FileError(place.file, place.line, f"{place.field}.name", "is missing: a model that is created needs one")
    return Created(
        line=place.line,
        name=given["name"].word(),
        path=given["modelfile"].word() if ways == ["modelfile"] else "",
        inline=_inline(given) if ways == ["from"] else None,
        quantize=_quantization(given["quantize"]) if "quantize" in given else "",
    )


def _pulled(place: Place, given: dict[str, Place]) -> Pulled:
    for each in ("quantize", "system", "template", "parameters"):
        if each in given:
            raise given[each].wrong("makes another model of it: write `from` instead of `reference`, and a `name`")
    name = given["name"].word() if "name" in given else ""
    return Pulled(line=place.line, reference=given["reference"].word(), name=name)


def _inline(given: dict[str, Place]) -> Modelfile:
    return Modelfile(tuple(_instructions(given)))


def _instructions(given: dict[str, Place]) -> Iterator[Instruction]:
    yield From(given["from"].word())
    for field, make in (("template", Template), ("system", System)):
        if field in given:
            try:
                yield make(given[field].text())
            except ModelfileError as error:
                raise given[field].wrong(str(error)) from error
    for name, place in given["parameters"].entries().items() if "parameters" in given else ():
        yield from _parameter(name, place)


def _parameter(name: str, place: Place) -> Iterator[Parameter]:
    spec = PARAMETERS.get(name)
    try:
        values = [each.scalar() for each in place.items()] if place.is_list() else [place.scalar()]
        if spec is not None and spec.type is not str:  # YAML takes 1e-3 for a text
            values = [from_text(name, each) if isinstance(each, str) else each for each in values]
        check(name, values if place.is_list() else values[0])
        for value in values:
            yield Parameter(name, value)
    except ParameterError as error:
        raise place.wrong(error.reason) from error
    except ModelfileError as error:
        raise place.wrong(str(error)) from error


def _quantization(place: Place) -> str:
    value = place.word()
    if not _QUANTIZATION.fullmatch(value):
        raise place.wrong(f"{value[:40]!r} is no quantization, such as Q4_K_M")
    return value.upper()
