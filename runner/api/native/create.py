"""The body of /api/create as a Modelfile: its text, or the fields that newer clients send.

Decides which callers may name paths; whether a file or a model exists, others find out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelfiles import instructions as modelfile
from modelfiles.errors import ModelfileError, ParameterError
from modelfiles.instructions import Instruction, Modelfile
from modelfiles.parse import parse
from registry.digests import Digest
from registry.errors import BadDigest, BadSource
from registry.gguf.quantizations import QuantType, quant_type
from registry.quantize import Quantization
from registry.sources.local import looks_like_path
from runner.api import values
from runner.api.native import wire
from runner.api.native.read import model_of
from runner.errors import InvalidRequest, NotAllowed

_PIECES = ("source", "template", "system", "license", "parameters", "messages", "renderer", "parser", "requires")


@dataclass(frozen=True, slots=True)
class Creation:
    """What to create. Paths in `modelfile` start from `base`; with None no file is opened.

    `files` maps names as the Modelfile writes them to blobs that were uploaded before.
    """

    name: str
    modelfile: Modelfile
    base: Path | None
    files: Mapping[str, Digest]
    quantization: Quantization


def creation(body: wire.CreateRequest, from_this_machine: bool) -> Creation:
    """Raises InvalidRequest naming the field, ModelfileError with line and column, or NotAllowed for a path."""
    values.refuse(body, wire.FIELDS["/api/create"].later)
    name = model_of(body)
    files, adapters, drafts = (_digests(getattr(body, field), field) for field in ("files", "adapters", "draft_files"))
    written = (
        Modelfile(tuple(_instructions(body, files, adapters, drafts))) if body.modelfile is None else _parsed(body)
    )
    blobs = _together(files=files, adapters=adapters, draft_files=drafts)
    quantization = _quantization(body, from_this_machine)
    if from_this_machine:
        return Creation(name, written, _base(body, written, blobs), blobs, quantization)
    if body.base is not None:
        raise NotAllowed("base is for programs on Runner's own machine; upload files to /api/blobs", field="base")
    return Creation(name, written, None, blobs, quantization)


def _quantization(body: wire.CreateRequest, from_this_machine: bool) -> Quantization:
    if body.quantize and body.quantization and body.quantize != body.quantization:
        raise InvalidRequest("quantize and quantization are the same field; give one", field="quantization")
    kind = _type(body.quantize, "quantize") or _type(body.quantization, "quantization")
    found = Quantization(kind, _type(body.draft_quantize, "draft_quantize"), _imatrix(body, from_this_machine))
    try:
        found.check()
    except BadSource as error:
        raise InvalidRequest(f"quantize: {error}", field="quantize") from None
    return found


def _type(text: str | None, field: str) -> QuantType | None:
    try:
        return quant_type(text) if text else None
    except BadSource as error:
        raise InvalidRequest(f"{field}: {error}", field=field) from None


def _imatrix(body: wire.CreateRequest, from_this_machine: bool) -> Path | Digest | None:
    if not body.imatrix:
        return None
    if body.imatrix.startswith("sha256:"):
        return _digest(body.imatrix, "imatrix")
    if not from_this_machine:
        raise NotAllowed("imatrix must be the digest of an uploaded blob", field="imatrix")
    path = Path(body.imatrix)
    if not path.is_absolute():
        raise InvalidRequest("imatrix must be an absolute path, or the digest of an uploaded blob", field="imatrix")
    return path


def _parsed(body: wire.CreateRequest) -> Modelfile:
    for name in (*_PIECES, "adapters", "draft_files"):
        if getattr(body, name):
            field = "from" if name == "source" else name
            raise InvalidRequest(f"{field} and modelfile exclude each other", field=field)
    return parse(body.modelfile or "")


def _instructions(
    body: wire.CreateRequest,
    files: Mapping[str, Digest],
    adapters: Mapping[str, Digest],
    drafts: Mapping[str, Digest],
) -> Iterable[Instruction]:
    if not body.source and not files:
        raise InvalidRequest("from, files or modelfile is required", field="from")
    if body.source and files:
        raise InvalidRequest("from and files exclude each other", field="from")
    for source in (body.source,) if body.source else files:
        yield modelfile.From(source)
    yield from map(modelfile.Adapter, adapters)
    yield from map(modelfile.Draft, drafts)
    for text, make in (
        (body.template, modelfile.Template),
        (body.system, modelfile.System),
        (body.renderer, modelfile.Renderer),
        (body.parser, modelfile.Parser),
        (body.requires, modelfile.Requires),
    ):
        if text:
            yield make(text)
    yield from map(modelfile.License, [body.license] if isinstance(body.license, str) else body.license or ())
    for name, value in (body.parameters or {}).items():
        yield from _parameter(name, value)
    for index, message in enumerate(body.messages or ()):
        yield _message(message, f"messages[{index}]")


def _parameter(name: str, value: Any) -> Iterable[Instruction]:
    for each in value if isinstance(value, list) else (value,):
        if each is None:  # clients send every option they know, most of them null
            continue
        try:
            yield modelfile.Parameter(name, each)
        except ParameterError as error:
            raise InvalidRequest(f"parameters.{error}", field=f"parameters.{name}") from None


def _message(message: wire.Message, at: str) -> Instruction:
    try:
        return modelfile.Message(message.role, message.content or "")
    except ModelfileError as error:
        raise InvalidRequest(f"{at}: {error}", field=at) from None


def _digests(given: Mapping[str, str] | None, field: str) -> dict[str, Digest]:
    return {path: _digest(text, f"{field}[{path!r}]") for path, text in (given or {}).items()}


def _together(**given: Mapping[str, Digest]) -> dict[str, Digest]:
    """All uploads by their names, of which none may stand for two contents. Raises InvalidRequest."""
    found: dict[str, Digest] = {}
    for field, digests in given.items():
        for path, digest in digests.items():
            if found.setdefault(path, digest) != digest:
                raise InvalidRequest(f"{field}[{path!r}] has the name of another file", field=field)
    return found


def _digest(text: str, field: str) -> Digest:
    try:
        return Digest.parse(text)
    except BadDigest as error:
        raise InvalidRequest(f"{field}: {error}", field=field) from None


def _base(body: wire.CreateRequest, written: Modelfile, blobs: Mapping[str, Digest]) -> Path | None:
    """The folder that paths start from; none without paths, lest a name be taken for a file."""
    if body.base is not None:
        base = Path(body.base)
        if not base.is_absolute():
            raise InvalidRequest("base must be an absolute path", field="base")
        return base
    sources = (*written.sources, *written.adapters, *written.drafts)
    paths = [Path(source) for source in sources if source not in blobs and looks_like_path(source)]
    for path in paths:
        if not path.is_absolute():
            raise InvalidRequest(f"{str(path)[:200]!r} is a relative path; give base, where it starts", field="base")
    return Path(paths[0].anchor) if paths else None
