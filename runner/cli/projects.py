"""A project file against the store: what each declared model needs, in which order. Decides, and changes nothing.

The daemon says what names mean and what is here; files beside the project file are looked at by their times first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from modelfiles import project
from modelfiles.errors import FileError, ModelfileError
from modelfiles.instructions import Modelfile
from modelfiles.lockfile import Lock, LockedCreate, LockedPull, folded, same_reference
from modelfiles.project import Created, Declared, Pulled
from modelfiles.render import render
from runner.cli.cards.provenance import Held, Meant, ask
from runner.cli.client import Client
from runner.cli.failures import Exit, Failure
from runner.cli.locking import is_demo, pulled_entry, read_text
from runner.cli.recipe import at_home, parsed

Action = Literal["none", "pull", "create"]

_PATH_STARTS = ("./", "../", "/", "~", ".\\", "..\\")
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a declared model is created from. `base` is the text of the model that FROM names, empty for files;
    `files` are local ones, and `folder` is where their paths start."""

    modelfile: Modelfile
    folder: Path
    digest: str
    base: str
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A model that should be here. `name` is as the store writes it; `recipe` only for one that is created."""

    declared: Declared
    name: str
    recipe: Recipe | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done for a target, and why, in words."""

    action: Action
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The targets of a project, each after what it is made from. `folder` is where paths start."""

    path: Path
    folder: Path
    targets: tuple[Target, ...]

    def names(self) -> list[str]:
        """Every text to ask the daemon about."""
        texts = []
        for target in self.targets:
            texts.append(target.name)
            if isinstance(target.declared, Pulled):
                texts.append(target.declared.reference)
            if target.recipe is not None and target.recipe.base:
                texts.append(target.recipe.base)
        return texts


def read(client: Client, path: Path) -> Plan | None:
    """What the project file at `path` wants, put in order; None where there is no such file. Raises Failure."""
    text = read_text(path)
    if text is None:
        return None
    try:
        declared = project.read(str(path), text).models
    except FileError as error:
        raise Failure(str(error)) from None
    folder = path.absolute().parent
    recipes = {each.called: _recipe(path, folder, each) for each in declared if isinstance(each, Created)}
    bases = [recipe.base for recipe in recipes.values() if recipe.base]
    meant = ask(client, [*(each.called for each in declared), *bases])
    targets: dict[str, Target] = {}  # by the folded name: letter case makes no other model
    for each in declared:
        name = meant[each.called].name
        if folded(name) in targets:
            first = targets[folded(name)].declared
            raise Failure(f"{path}, line {each.line}: {name} is declared in line {first.line} already")
        targets[folded(name)] = Target(declared=each, name=name, recipe=recipes.get(each.called))
    for each in declared:  # what a model is made from is needed as well, declared or not
        base = recipes[each.called].base if each.called in recipes else ""
        if base and folded(meant[base].name) not in targets:
            implied = Pulled(line=each.line, reference=base)
            targets[folded(meant[base].name)] = Target(declared=implied, name=meant[base].name)
    return Plan(path, folder, tuple(_in_order(path, targets, {base: folded(meant[base].name) for base in bases})))


def step(target: Target, meant: Mapping[str, Meant], lock: Lock | None) -> Step:
    """What a target needs. `meant` has every name of the plan."""
    here = meant[target.name]
    if here.held is None:
        return Step("pull" if target.recipe is None else "create", here.problem or "missing")
    if target.recipe is None:
        return _pull_step(target, here.held, meant, lock)
    why = _stale(target, target.recipe, here.held, meant)
    return Step("create" if why else "none", why or "as declared")


def locked_pull(target: Target, meant: Mapping[str, Meant], lock: Lock | None) -> LockedPull | None:
    """The lock's entry of a model to pull, if it is still about what is declared."""
    entry = lock.find(target.name) if lock is not None else None
    if entry is None or not isinstance(entry[1], LockedPull) or not isinstance(target.declared, Pulled):
        return None
    return entry[1] if same_reference(entry[1].reference, meant[target.declared.reference].reference) else None


def disagreement(target: Target, meant: Mapping[str, Meant], lock: Lock) -> str:
    """How the lock and the project file differ about a target; empty where they don't."""
    found = lock.find(target.name)
    if found is None:
        return "" if is_demo(target.name) else "isn't in the lock"
    entry, recipe = found[1], target.recipe
    if recipe is None:
        return "" if locked_pull(target, meant, lock) else "is another model in the lock"
    if not isinstance(entry, LockedCreate):
        return "is pulled by the lock, and created by the project"
    wanted = (folded(meant[recipe.base].name if recipe.base else ""), recipe.digest, _quantize(target))
    is_same = (folded(entry.base), entry.modelfile, entry.quantize) == wanted
    return "" if is_same else "is declared otherwise than in the lock"


def entries(plan: Plan, meant: Mapping[str, Meant], only: Target | None = None) -> dict[str, LockedPull | LockedCreate]:
    """What a lock says of a project whose models are all here, or of one of them. Raises Failure for the first that
    isn't."""
    found: dict[str, LockedPull | LockedCreate] = {}
    rounded: set[str] = set()  # quantized, or made from such a model: not the same on every machine
    for target in plan.targets:
        base = meant[target.recipe.base].name if target.recipe is not None and target.recipe.base else ""
        if _quantize(target) or folded(base) in rounded:
            rounded.add(folded(target.name))
        if only not in (None, target) or (is_demo(target.name) and target.recipe is None):
            continue
        here, todo = meant[target.name], step(target, meant, None)
        if todo.action != "none":
            raise Failure(f"{target.name} isn't as {plan.path} declares it ({todo.why}); `runner up` makes it so")
        if target.recipe is None or here.held is None:
            found[target.name] = pulled_entry(here)
            continue
        found[target.name] = LockedCreate(
            base=base,
            modelfile=target.recipe.digest,
            quantize=_quantize(target),
            digest="" if folded(target.name) in rounded else here.held.digest,
        )
    return found


def _pull_step(target: Target, held: Held, meant: Mapping[str, Meant], lock: Lock | None) -> Step:
    assert isinstance(target.declared, Pulled)
    entry = locked_pull(target, meant, lock)
    if entry is not None:
        return Step("none", "as locked") if held.digest == entry.digest else Step("pull", "not as locked")
    wanted = meant[target.declared.reference].reference
    if target.declared.name and not same_reference(held.reference, wanted):
        return Step("pull", f"is {held.reference or 'a model made here'}, not {wanted}")
    return Step("none", "here")


def _stale(target: Target, recipe: Recipe, held: Held, meant: Mapping[str, Meant]) -> str:
    """Why a created model isn't what is declared; empty where it is."""
    if held.modelfile != recipe.digest:
        return "declared otherwise"
    base = meant[recipe.base].held if recipe.base else None
    if recipe.base and (base is None or base.digest != held.base_digest):
        return f"{meant[recipe.base].name} has changed"
    if _quantize(target) and held.quantization.upper() != _quantize(target):
        return f"quantized as {held.quantization}"
    changed = next((path for path in recipe.files if _has_changed(path, held, bool(_quantize(target)))), None)
    return f"{changed.name} has changed" if changed else ""


def _has_changed(path: Path, held: Held, quantized: bool) -> bool:
    """Whether a file isn't what the model was made of any more. Of a quantized model only the times are known."""
    try:
        status = path.stat()
        if not quantized and status.st_size not in {int(each["size"]) for each in held.files}:
            return True
        if datetime.fromtimestamp(status.st_mtime).astimezone() <= datetime.fromisoformat(held.modified_at):
            return False
        # A checkout gives new times to old bytes.
        return quantized or _digest(path) not in {str(each["digest"]) for each in held.files}
    except OSError as error:
        raise Failure(f"cannot read {path}: {error.strerror}", Exit.IO) from None


def _digest(path: Path) -> str:
    summed = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            summed.update(block)
    return f"sha256:{summed.hexdigest()}"


def _quantize(target: Target) -> str:
    return target.declared.quantize if isinstance(target.declared, Created) else ""


def _recipe(path: Path, folder: Path, declared: Created) -> Recipe:
    if declared.inline is None:
        at = folder / declared.path
        try:
            modelfile, folder = parsed(at.read_bytes(), str(at)), at.parent
        except FileNotFoundError:
            raise Failure(f"{path}, line {declared.line}: there is no {at}") from None
        except OSError as error:
            raise Failure(f"{path}, line {declared.line}: cannot read {at}: {error.strerror}", Exit.IO) from None
    else:
        modelfile = at_home(declared.inline)
    try:
        written = render(modelfile)
    except ModelfileError as error:
        raise Failure(f"{path}, line {declared.line}: {declared.name}: {error}") from None
    named = [*modelfile.sources, *modelfile.adapters, *modelfile.drafts]
    files = [folder / each for each in named if _is_file(each, folder)]
    base = "" if _is_file(modelfile.sources[0], folder) else modelfile.sources[0]
    digest = f"sha256:{hashlib.sha256(written.encode()).hexdigest()}"
    local = tuple(each for each in files if each.is_file())
    return Recipe(modelfile=modelfile, folder=folder, digest=digest, base=base, files=local)


def _is_file(source: str, folder: Path) -> bool:
    """Whether a FROM means a file, as the daemon tells it: by its form, or because it is there."""
    return source.startswith(_PATH_STARTS) or source.lower().endswith(".gguf") or (folder / source).exists()


def _in_order(path: Path, targets: Mapping[str, Target], bases: Mapping[str, str]) -> Iterable[Target]:
    """What is pulled comes first, and what is created after what it is made from."""
    done: set[str] = set()
    waiting = sorted(targets.values(), key=lambda each: each.recipe is not None)
    while waiting:
        ready = [each for each in waiting if each.recipe is None or bases.get(each.recipe.base, "") in {"", *done}]
        if not ready:
            circle = ", ".join(each.name for each in waiting)
            raise Failure(f"{path}, line {waiting[0].declared.line}: {circle} are made from each other")
        yield from ready
        done.update(folded(each.name) for each in ready)
        waiting = [each for each in waiting if folded(each.name) not in done]
