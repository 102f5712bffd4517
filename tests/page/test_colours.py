"""The style sheet of highlighted code: made from the table, and readable in light and dark."""

import re

from runner.page.colours import BACKGROUND, contrast, sheet
from runner.page.files import FOLDER


def test_the_file_is_as_the_table_has_it() -> None:
    written = (FOLDER / "code.css").read_text(encoding="utf-8")
    assert written == sheet(), "python -m runner.page.colours > runner/page/static/code.css"


def test_everybody_can_read_it() -> None:
    pairs = set(re.findall(r"light-dark\((#\w{6}), (#\w{6})\)", sheet()))
    assert len(pairs) > 5
    for pair in pairs:
        for colour, ground in zip(pair, BACKGROUND, strict=True):
            assert contrast(colour, ground) >= 4.5, (colour, ground)


def test_code_lies_on_the_ground_that_was_reckoned_with() -> None:
    page = (FOLDER / "page.css").read_text(encoding="utf-8")
    assert f"--code: light-dark({BACKGROUND[0]}, {BACKGROUND[1]})" in page


def test_words_can_be_read_on_every_ground() -> None:
    page = (FOLDER / "page.css").read_text(encoding="utf-8")
    named = {
        name: (light, dark) for name, light, dark in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", page)
    }
    on = [(words, ground) for words in ("text", "soft") for ground in ("ground", "raised", "sunken", "code", "wash")]
    on += [
        ("accent", "ground"),
        ("accent", "wash"),
        ("on-accent", "accent"),
        ("danger", "danger-wash"),
        ("warn", "sunken"),
    ]
    for words, ground in on:
        for one, other in zip(named[words], named[ground], strict=True):
            assert contrast(one, other) >= 4.5, (words, ground, one, other)


def test_contrast_is_what_it_is_called() -> None:
    assert round(contrast("#000000", "#ffffff"), 1) == 21.0
    assert contrast("#777777", "#777777") == 1.0
