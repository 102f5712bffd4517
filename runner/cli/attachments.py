"""Files that go with a message: pictures beside it, texts in it. Finds their paths in what was typed or dropped.

Reads files, and bounds what it reads; knows nothing of models but whether one sees pictures.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from string import whitespace
from urllib.parse import unquote, urlsplit

from runner.cli.failures import Exit, Failure
from runner.errors import RunnerError
from runner.protocol import image_file

MOST_TEXT = 256 * 1024  # bytes of a text that is put into a message, and of all those that it names
MOST_PICTURES = 2 * image_file.MOST_BYTES  # bytes of the pictures of one message
_MOST_NAMES = 3  # in one line for the user
_HEAD = 12  # bytes that tell a picture
_START = r"(?:file://|~?/|\.{1,2}/|[A-Za-z]:[\\/])"
_PATH = re.compile(
    rf"(?<!\S)(?:'(?P<single>{_START}[^'\n]*)'|\"(?P<double>{_START}[^\"\n]*)\"|(?P<bare>{_START}(?:\\.|[^\s\\])*))"
)
_BETWEEN = re.compile(r"[,;]?[ \t]+(?:\S+[ \t]+)?")  # two paths that belong together: at most a word
_MARKS = ".,;:!?)"  # that end a sentence and no file's name
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")


@dataclass(slots=True)
class Attached:
    """What is sent: the text with the files in it, pictures in base64, and a word on each file for the user."""

    text: str
    images: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def found_in(text: str, sees: bool, pasted: Sequence[str] = ()) -> Attached:
    """The message that `text` stands for, with the files in it that are meant: none of it stands in the way of sending.

    Meant are paths at the start and at the end of the text, those that were dropped (among `pasted`, the texts that
    were pasted into it), and pictures anywhere when the model `sees` them. All else is text.
    """
    named = [each for match in _PATH.finditer(text) if (each := _existing(match)) is not None]
    edges, dropped = _at_the_edges(text, named), _dropped(pasted)
    taken, left = _Taken(Attached("")), list[str]()
    parts, at = [], 0
    for each in named:
        if each in edges or each.written in dropped or (sees and _is_picture(each.path)):
            if taken.take(each.path, sees):
                parts.append(text[at : each.start])
                at = each.end
        elif each.path.name not in left:
            left.append(each.path.name)
    attached = taken.attached
    if left:
        names = ", ".join(left[:_MOST_NAMES]) + (f" and {len(left) - _MOST_NAMES} more" if left[_MOST_NAMES:] else "")
        attached.notes.append(f"Not read: {names}. A file is read at the start or the end of a message")
    attached.text = "\n\n".join(("".join((*parts, text[at:])).strip(), *taken.texts)).strip()
    return attached


@dataclass(slots=True)
class _Taken:
    """What goes with one message, each file once, and no more than its bounds."""

    attached: Attached
    texts: list[str] = field(default_factory=list)
    _files: set[Path] = field(default_factory=set)
    _text_bytes: int = 0
    _picture_bytes: int = 0

    def take(self, path: Path, sees: bool) -> bool:
        """True when it goes as a picture, in place of its name. What can't go is told, and its name stays."""
        if (whole := path.resolve()) in self._files:
            return False
        self._files.add(whole)
        try:
            return self._take(path, sees)
        except OSError as error:
            why = f"{path.name} can't be read ({error.strerror or error})"
        except Failure as failure:
            why = failure.message
        self.attached.notes.append(f"{why}; its name is sent as it is")
        return False

    def _take(self, path: Path, sees: bool) -> bool:
        content = _read(path)
        if content is None:
            raise Failure(f"{path.name} has more than {MOST_TEXT // 1024} kB")
        if is_picture(content):
            if not sees:
                raise Failure(f"{path.name} is a picture, and this model sees none")
            if self._picture_bytes + len(content) > MOST_PICTURES:
                raise Failure(f"with {path.name} the pictures are too large for one message")
            self.attached.images.append(picture(path, content, sees))
            self._picture_bytes += len(content)
            self.attached.notes.append(f"Added image {path.name}")
            return True
        if (words := _words(content)) is None:
            raise Failure(f"{path.name} is neither a text nor a picture")
        if self._text_bytes + len(content) > MOST_TEXT:
            raise Failure(f"with {path.name} the texts have more than {MOST_TEXT // 1024} kB")
        self.texts.append(_quoted(path, words))
        self._text_bytes += len(content)
        self.attached.notes.append(f"Added {path.name} ({len(words.splitlines())} lines)")
        return False


def given(files: list[Path], images: list[Path], sees: bool) -> Attached:
    """Files that were named one by one, so each has to be usable.

    Raises Failure, and OSError for one that isn't there.
    """
    attached, texts = Attached(""), []
    for path in files:
        content = _read(path)
        if content is None:
            raise Failure(f"{path} has more than {MOST_TEXT // 1024} kB, which is the most for a text", Exit.USAGE)
        if is_picture(content):
            attached.images.append(picture(path, content, sees))
        elif (words := _words(content)) is None:
            raise Failure(f"{path} is neither a text in UTF-8 nor a picture", Exit.USAGE)
        else:
            texts.append(_quoted(path, words))
    attached.images += [picture(path, _whole(path), sees) for path in images]
    attached.text = "\n\n".join(texts)
    return attached


def is_picture(content: bytes) -> bool:
    """True for what begins as a picture does, of a kind that models are shown or of WebP, which is refused by name."""
    return content.startswith(_PICTURES) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP")


def picture(path: Path, content: bytes, sees: bool) -> str:
    """A picture as the API takes it. Raises Failure."""
    if not sees:
        raise Failure(f"this model sees no pictures, and {path.name} is one; `runner search` finds models with vision")
    try:
        image_file.check(content, path.name)
    except RunnerError as error:
        raise Failure(str(error)) from None
    return base64.b64encode(content).decode()


@dataclass(frozen=True, slots=True)
class _Named:
    """A file that a text names, and where: `written` is all that names it, with its quotes."""

    path: Path
    start: int
    end: int
    written: str


def _existing(match: re.Match[str]) -> _Named | None:
    """The file that a piece of text names, if it does. A line of a traceback names one to people only."""
    if match.string[: match.start()].endswith("File "):
        return None
    quoted = match["single"] or match["double"]
    candidates = [quoted] if quoted else [match["bare"], match["bare"].rstrip(_MARKS)]
    for written in candidates:
        path = _path(written, escaped=not quoted)
        try:
            if path is not None and path.is_file():
                end = match.end() if quoted else match.start() + len(written)
                return _Named(path, match.start(), end, match.string[match.start() : end])
        except (OSError, ValueError):
            continue
    return None


def _at_the_edges(text: str, named: Sequence[_Named]) -> set[_Named]:
    """Those at the start and at the end, several one after the other included: `compare ./a and ./b`."""
    if not named:
        return set()
    meant = set[_Named]()
    follows = [_BETWEEN.fullmatch(text, one.end, two.start) is not None for one, two in pairwise(named)]
    if not text[: named[0].start].strip():
        meant.update(named[: (*follows, False).index(False) + 1])
    if not text[named[-1].end :].strip(_MARKS + whitespace):
        meant.update(named[-1 - (*reversed(follows), False).index(False) :])
    return meant


def _dropped(pasted: Iterable[str]) -> set[str]:
    """Paths that were pasted by themselves on one line, as terminals do with files that are dropped on them."""
    alone = (text.strip() for text in pasted)
    return {
        match[0]
        for text in alone
        if "\n" not in text and not _PATH.sub("", text).strip()
        for match in _PATH.finditer(text)
    }


def _is_picture(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return is_picture(file.read(_HEAD))
    except OSError:
        return False


def _path(written: str, escaped: bool) -> Path | None:
    if written.startswith("file://"):
        address = urlsplit(written)
        return Path(unquote(address.path)) if address.netloc in ("", "localhost") else None
    if escaped and not re.match(r"[A-Za-z]:", written):  # a shell's, as terminals write what is dropped on them
        written = re.sub(r"\\(.)", r"\1", written)
    try:
        return Path(written).expanduser()
    except RuntimeError:  # nobody's home
        return None


def _read(path: Path) -> bytes | None:
    """The whole of a small text or of a picture; None when it is too long for a text."""
    with path.open("rb") as file:
        content = file.read(MOST_TEXT + 1)
        if len(content) <= MOST_TEXT:
            return content
        return content + file.read(image_file.MOST_BYTES) if is_picture(content) else None


def _whole(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(image_file.MOST_BYTES + 1)


def _words(content: bytes) -> str | None:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _quoted(path: Path, text: str) -> str:
    """A text under its name, in a fence that is longer than any within it."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{path.name}:\n{fence}{path.suffix[1:]}\n{text.rstrip()}\n{fence}"
