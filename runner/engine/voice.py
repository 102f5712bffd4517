"""How a model is spoken to and how it answers, by its template: what renders prompts, how thoughts and calls look.

Models that share a worker each have a voice, so a request says which: the GGUF's own, or a template's. Safe to use from
several threads.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from runner.formats import CallFormat, Thinking, calls_of, markers_of, thinking_of
from runner.llama.model import Model
from runner.prompt.choose import Brought, Templates
from runner.prompt.placing import own_mark
from runner.protocol.commands import ChatPrompt, InfillPrompt, Prompt

_REMEMBERED = 32  # voices of templates, the GGUF's own apart
_REMEMBERED_SIZE = 1024 * 1024  # characters of all their templates together


@dataclass(frozen=True, slots=True)
class Voice:
    """`shown` are control tokens that come out as text, since they mark calls. `image_mark` is what the template writes
    for an image, None if it knows nothing of images. `size` is of the template's text."""

    templates: Templates
    thinking: Thinking | None = None
    calls: CallFormat | None = None
    shown: frozenset[int] = frozenset()
    image_mark: str | None = None
    size: int = 0


def voice(
    model: Model, text: str | None, for_tools: str | None, brought: Brought | None = None, *, sees: bool = False
) -> Voice:
    """The voice of a model with this template, and another for requests with tools if there is one. Only one who `sees`
    needs an image's mark."""
    templates = Templates(text, for_tools, brought)
    called = for_tools or text  # the template that renders tools decides how they are called
    calls = calls_of(called) if called else None
    return Voice(
        templates,
        thinking_of(text) if text else None,
        calls,
        model.marked(markers_of(calls)) if calls else frozenset(),
        own_mark(templates.usual, bos=model.text_of(model.bos), eos=model.text_of(model.eos)) if sees else None,
        len(text or ""),
    )


class Voices:
    """The GGUF's `own` voice, and those of templates that requests name as their model's, the ones used last."""

    def __init__(self, own: Voice, make: Callable[[str], Voice]) -> None:
        self._own = own
        self._make = make
        self._known: OrderedDict[str, Voice] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, prompt: Prompt) -> Voice:
        """The voice of the model that is asked. One whose template can't be compiled says so when it is used."""
        text = prompt.usual if isinstance(prompt, ChatPrompt | InfillPrompt) else None
        if text is None:
            return self._own
        with self._lock:
            if known := self._known.get(text):
                self._known.move_to_end(text)
                return known
        made = self._make(text)  # without the lock: it may take long
        with self._lock:
            self._known[text] = made
            while len(self._known) > _REMEMBERED or self._size() > _REMEMBERED_SIZE:
                self._known.popitem(last=False)
        return made

    def _size(self) -> int:
        return sum(each.size for each in self._known.values())


def voices(model: Model, *, sees: bool = False) -> Voices:
    """Those of a loaded model, which `sees` images or doesn't."""
    brought = Brought()
    own = voice(model, model.chat_template(), model.chat_template("tool_use"), brought, sees=sees)
    return Voices(own, lambda text: voice(model, text, None, brought, sees=sees))
