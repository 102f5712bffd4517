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
    with pytest.raises(Failure, match=r"sees no pictures, and p\.png is one"):
        attachments.found_in(f"'{folder}/p.png'", sees=False)


def test_a_picture_that_cannot_be_used(folder: Path) -> None:
    (folder / "w.webp").write_bytes(b"RIFF\0\0\0\0WEBPVP8 ")
    with pytest.raises(Failure, match=r"w\.webp is a WebP image; PNG, JPEG and GIF are supported"):
        attachments.found_in(f"'{folder}/w.webp'", sees=True)


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
