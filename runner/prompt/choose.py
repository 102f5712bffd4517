"""Which compiled template renders a prompt: the request's own, the one for tools, or the model's.

In the worker, so a stranger's text is compiled here and nowhere else. Which text is the model's was decided before
(`runner.inference.templates`). Safe to use from several threads.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from modelfiles.template import is_go_template
from runner.errors import TemplateFailed
from runner.prompt.bounds import MODELS, REQUESTS
from runner.prompt.go import GoTemplate
from runner.prompt.jinja import Template
from runner.protocol.commands import ChatPrompt, InfillPrompt

_REMEMBERED = 16  # compiled templates of requests
_REMEMBERED_SIZE = 1024 * 1024  # characters of all of them together


def compiled(text: str, what: str = MODELS) -> Template | GoTemplate:
    """The template in whichever language it is. Raises TemplateFailed naming the line."""
    return GoTemplate(text, what=what) if is_go_template(text) else Template(text, what=what)


class Brought:
    """Templates that requests bring, the ones used last, each compiled once."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Template | GoTemplate] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, text: str) -> Template | GoTemplate:
        """The template of this text. Raises TemplateFailed."""
        key = hashlib.sha256(text.encode("utf-8", "replace")).digest()
        with self._lock:
            if known := self._known.get(key):
                self._known.move_to_end(key)
                return known
        made = compiled(text, REQUESTS)  # without the lock: it may take long
        with self._lock:
            self._known[key] = made
            while len(self._known) > _REMEMBERED or self._size() > _REMEMBERED_SIZE:
                self._known.popitem(last=False)
        return made

    def _size(self) -> int:
        return sum(len(each.text) for each in self._known.values())


class Templates:
    """A model's template, its other one for requests with tools, and those that requests bring, which models may share.

    A model's template that can't be compiled spoils chats with it, but not completions: it is told when it is asked
    for.
    """

    def __init__(self, text: str | None, for_tools: str | None = None, brought: Brought | None = None) -> None:
        self._usual = _kept(text)
        self._for_tools = _kept(for_tools) if for_tools else None
        self._brought = brought or Brought()

    @property
    def usual(self) -> Template | GoTemplate | None:
        """The model's, if there is one that can be used."""
        return None if isinstance(self._usual, TemplateFailed) else self._usual

    def of_chat(self, prompt: ChatPrompt) -> Template | GoTemplate | None:
        """What renders a conversation; None for a model without any. Raises TemplateFailed."""
        if prompt.template is not None:
            return self._brought.of(prompt.template)
        kept = self._for_tools if prompt.tools and self._for_tools is not None else self._usual
        if isinstance(kept, TemplateFailed):
            raise kept
        return kept

    def of_gap(self, prompt: InfillPrompt) -> GoTemplate | None:
        """What frames a gap where no tokens of the vocabulary do; None if nothing can. Raises TemplateFailed."""
        if prompt.template is not None:
            brought = self._brought.of(prompt.template)
            if not isinstance(brought, GoTemplate) or not brought.fills_gaps:
                raise TemplateFailed(f"{REQUESTS} has no place for a suffix (.Suffix)", field="template")
            return brought
        if isinstance(self._usual, TemplateFailed):
            raise self._usual
        return self._usual if isinstance(self._usual, GoTemplate) and self._usual.fills_gaps else None


def _kept(text: str | None) -> Template | GoTemplate | TemplateFailed | None:
    if text is None:
        return None
    try:
        return compiled(text)
    except TemplateFailed as error:
        return error
