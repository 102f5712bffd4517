"""What Tab offers: commands, the words after them, models, and paths. Never waits for the daemon."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from runner.cli.chat.slash import COMMANDS, Command
from runner.cli.client import Client
from runner.cli.failures import Failure

_PATIENCE = 5.0  # seconds
_STARTS = ("./", "../", "~/", "/")


class Names:
    """The store's models, as they were when last asked; asked aside, at the start and when there may be others."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.known: list[str] = []

    def refresh(self) -> None:
        """Ask again, beside whatever else is done."""
        threading.Thread(target=self._ask, daemon=True).start()

    def _ask(self) -> None:
        try:
            models = self._client.get("/api/tags", _PATIENCE).get("models") or ()
        except Failure:
            return  # what was known before is better than nothing
        self.known = [str(each.get("name")).removesuffix(":latest") for each in models]


class Words(Completer):
    """Completes the line up to the cursor."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Everything that could stand where the last word begins."""
        before = document.text_before_cursor
        if before.startswith("/") and " " not in before:
            yield from _matching(before, COMMANDS)
            if any(name.startswith(before) for name in COMMANDS):
                return  # a path can begin like a command, and isn't meant
        if before.startswith("/") and (command := COMMANDS.get(before.split(" ")[0].lower())) and " " in before:
            yield from self._after(command, before.partition(" ")[2].lstrip(), complete_event)
            return
        word = before.rsplit(None, 1)[-1] if before and not before[-1].isspace() else ""
        if word.startswith(_STARTS):
            yield from self._path(word, complete_event)

    def _after(self, command: Command, rest: str, event: CompleteEvent) -> Iterator[Completion]:
        if isinstance(command.words, tuple):
            yield from _matching(rest, command.words)
            return
        if "models" in command.words:
            yield from _matching(rest, self._names.known)
        if "files" in command.words:
            yield from self._path(rest, event)

    def _path(self, word: str, event: CompleteEvent) -> Iterable[Completion]:
        return self._paths.get_completions(Document(word, len(word)), event)


def _matching(begun: str, words: Iterable[str]) -> Iterator[Completion]:
    for word in words:
        if word.startswith(begun) and word != begun:
            yield Completion(word, start_position=-len(begun))
