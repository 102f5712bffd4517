"""Files that go with a message: pictures beside it, texts in it. Finds their paths in what was typed or dropped.

Reads files, and bounds what it reads; knows nothing of models but whether one sees pictures.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runner.cli.failures import Exit, Failure
from runner.errors import RunnerError
from runner.protocol import image_file

MOST_TEXT = 256 * 1024  # bytes of a text that is put into a message
_START = r"(?:file://|~?/|\.{1,2}/|[A-Za-z]:[\\/])"
_PATH = re.compile(
    rf"(?<!\S)(?:'(?P<single>{_START}[^'\n]*)'|\"(?P<double>{_START}[^\"\n]*)\"|(?P<bare>{_START}(?:\\.|[^\s\\])*))"
)
_MARKS = ".,;:!?)"  # that end a sentence and no file's name
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")


@dataclass(slots=True)
class Attached:
    """What is sent: the text with the files in it, pictures in base64, and a word on each file for the user."""

    text: str
    images: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def found_in(text: str, sees: bool) -> Attached:
    """The message that `text` stands for, whose paths of files that exist are followed. What is no file is text.

    Raises Failure for a picture when the model doesn't see any (`sees`), or one that can't be used.
    """
    attached = Attached("")
    parts, texts, at = [], [], 0
    for match in _PATH.finditer(text):
        path, length = _existing(match)
        if path is None:
            continue
        content = _read(path)
        if content is None:
            attached.notes.append(f"{path.name} has more than {MOST_TEXT // 1024} kB; its name is sent as it is")
            continue
        if is_picture(content):
            attached.images.append(picture(path, content, sees))
            parts.append(text[at : match.start()])
            at = match.start() + length
            attached.notes.append(f"Added image {path.name}")
        elif (words := _words(content)) is not None:
            texts.append(_quoted(path, words))
            attached.notes.append(f"Added {path.name} ({len(words.splitlines())} lines)")
        else:
            attached.notes.append(f"{path.name} is neither a text nor a picture; its name is sent as it is")
    attached.text = "\n\n".join(("".join((*parts, text[at:])).strip(), *texts)).strip()
    return attached


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


def _existing(match: re.Match[str]) -> tuple[Path | None, int]:
    """The file that a piece of text names, and how many characters name it."""
    quoted = match["single"] or match["double"]
    length = len(match[0])
    candidates = [quoted] if quoted else [match["bare"], match["bare"].rstrip(_MARKS)]
    for written in candidates:
        path = _path(written, escaped=not quoted)
        try:
            if path is not None and path.is_file():
                return path, length if quoted else len(written)
        except (OSError, ValueError):
            continue
    return None, 0


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
