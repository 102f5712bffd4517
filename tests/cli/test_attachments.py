"""Files that go with a message: which words are paths, and what becomes of each kind of file."""

import base64
from pathlib import Path

import pytest

from runner.cli import attachments
from runner.cli.failures import Failure
from tests.engine.vision_models import png

PICTURE = png(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "a folder"
    place.mkdir()
    (place / "notes.txt").write_text("one\ntwo\n")
    (place / "p.png").write_bytes(PICTURE)
    (place / "it's.md").write_text("```\ncode\n```")
    (place / "big.txt").write_bytes(b"x" * (attachments.MOST_TEXT + 1))
    (place / "binary").write_bytes(b"\xff\x00\x01")
    return place


@pytest.mark.parametrize(
    "written",
    [
        "'{}/notes.txt'",
        '"{}/notes.txt"',
        "{escaped}/notes.txt",
        "file://{url}/notes.txt",
        "'file://{url}/notes.txt'",
    ],
)
def test_a_path_however_a_terminal_writes_it(folder: Path, written: str) -> None:
    text = str(folder)
    path = written.format(text, escaped=text.replace(" ", "\\ "), url=text.replace(" ", "%20"))
    attached = attachments.found_in(f"what is in {path}?" if written[0] == "{" else f"what is in {path} ?", sees=False)
    assert attached.text.endswith("notes.txt:\n```txt\none\ntwo\n```")
    assert attached.text.startswith(f"what is in {path}")
    assert attached.notes == ["Added notes.txt (2 lines)"]


def test_a_picture_goes_beside_the_text(folder: Path) -> None:
    attached = attachments.found_in(f"describe '{folder}/p.png' please", sees=True)
    assert attached.text == "describe  please"
    assert [base64.b64decode(image) for image in attached.images] == [PICTURE]
    assert attached.notes == ["Added image p.png"]


def test_a_model_that_sees_nothing_says_so(folder: Path) -> None:
    text = f"why does nginx give 404 for '{folder}/p.png'?"
    note = "p.png is a picture, and this model sees none; its name is sent as it is"
    assert attachments.found_in(text, sees=False) == attachments.Attached(text, [], [note])
    with pytest.raises(Failure, match=r"sees no pictures, and p\.png is one"):
        attachments.given([], [folder / "p.png"], sees=False)


def test_a_picture_that_cannot_be_used(folder: Path) -> None:
    (folder / "w.webp").write_bytes(b"RIFF\0\0\0\0WEBPVP8 ")
    words = "w.webp is a WebP image; PNG, JPEG and GIF are supported"
    text = f"'{folder}/w.webp'"
    assert attachments.found_in(text, sees=True) == attachments.Attached(
        text, [], [f"{words}; its name is sent as it is"]
    )
    with pytest.raises(Failure, match=words):
        attachments.given([], [folder / "w.webp"], sees=True)


def test_a_file_that_cannot_be_read_stays_a_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(attachments, "_read", refuse)  # root may read every file
    text = f"PermissionError: '{folder}/notes.txt'"
    notes = ["notes.txt can't be read (Permission denied); its name is sent as it is"]
    assert attachments.found_in(text, sees=False) == attachments.Attached(text, [], notes)


def test_a_traceback_takes_no_files_along(folder: Path) -> None:
    lines = [f'  File "{folder}/notes.txt", line {number}, in f\n    f()\n' for number in (1, 2)]
    for text in (
        f"Why?\nTraceback (most recent call last):\n{''.join(lines)}ValueError: no",
        lines[0].strip(),
        lines[0].split(",")[0].strip(),
    ):
        assert attachments.found_in(text, sees=False) == attachments.Attached(text)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("{a} and {b} differ in what?", ["a", "b"]),
        ("compare {a}, {b}!", ["a", "b"]),
        ("{a} {b}", ["a", "b"]),
        ("{a} is right, so what is wrong in {b} ?", ["a", "b"]),
        ("in prose {a} is only a name", []),
        ("{a}\n{b}\n{a}", ["a"]),
        ("{a} {a} {a}", ["a"]),
    ],
)
def test_a_file_is_read_at_the_edges_of_a_message_and_once(tmp_path: Path, text: str, read: list[str]) -> None:
    for name in "ab":
        (tmp_path / name).write_text(f"this is {name}\n")
    message = text.format(a=tmp_path / "a", b=tmp_path / "b")
    attached = attachments.found_in(message, sees=False)
    assert attached.text == "\n\n".join((message, *(f"{name}:\n```\nthis is {name}\n```" for name in read)))
    left = [name for name in "ab" if f"{{{name}}}" in text and name not in read]
    assert attached.notes == [f"Added {name} (1 lines)" for name in read] + [
        f"Not read: {name}. A file is read at the start or the end of a message" for name in left
    ]


def test_a_dropped_file_is_read_anywhere(folder: Path) -> None:
    path = f"'{folder}/notes.txt'"
    text = f"sort the lines of {path} by name"
    assert attachments.found_in(text, sees=False, pasted=[f"see {path} there"]).text == text
    assert attachments.found_in(text, sees=False, pasted=[f"{path} "]).notes == ["Added notes.txt (2 lines)"]


def test_files_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "MOST_PICTURES", 2 * len(PICTURE) - 1)
    paths = [tmp_path / name for name in ("a", "b", "c", "d")]
    for path in paths[:2]:
        path.write_text(path.name * (attachments.MOST_TEXT - 10))
    for path in paths[2:]:
        path.write_bytes(PICTURE)
    attached = attachments.found_in(" ".join(map(str, paths)), sees=True)
    assert len(attached.images) == 1
    assert [note.partition(";")[0] for note in attached.notes] == [
        "Added a (1 lines)",
        "with b the texts have more than 256 kB",
        "Added image c",
        "with d the pictures are too large for one message",
    ]


@pytest.mark.parametrize("text", ["see /no/such/file", "5/3 or ./", "file://elsewhere/etc/hosts", "~nobody/x", "a/b"])
def test_what_is_no_file_is_text(text: str) -> None:
    assert attachments.found_in(text, sees=True) == attachments.Attached(text)


def test_what_is_neither_text_nor_picture_stays_a_name(folder: Path) -> None:
    text = f"'{folder}/binary' and '{folder}/big.txt'"
    attached = attachments.found_in(text, sees=True)
    assert attached.text == text
    assert [note.split()[0] for note in attached.notes] == ["binary", "big.txt"]


def test_a_fence_is_longer_than_any_in_the_text(folder: Path) -> None:
    attached = attachments.found_in(f'"{folder}/it\'s.md"', sees=False)
    assert "````md\n```\ncode\n```\n````" in attached.text


def test_files_that_are_named_have_to_be_usable(folder: Path) -> None:
    attached = attachments.given([folder / "notes.txt", folder / "p.png"], [folder / "p.png"], sees=True)
    assert (attached.text, len(attached.images)) == ("notes.txt:\n```txt\none\ntwo\n```", 2)
    for name, words in (("binary", "neither"), ("big.txt", "256 kB")):
        with pytest.raises(Failure, match=words):
            attachments.given([folder / name], [], sees=True)
    with pytest.raises(FileNotFoundError):
        attachments.given([folder / "absent"], [], sees=True)
