"""The picture is sound XML, and its points lie where the figures say."""

import xml.etree.ElementTree as ET

import pytest

from runner.bench.plot import svg
from runner.bench.shape import Level, Rate, Users
from tests.bench import made

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("levels", [(Users(1),), (Users(1), Users(8), Users(128)), (Rate(0.5), Rate(2.0))])
@pytest.mark.parametrize("names", [("runner",), ("runner", 'a <"b"> & \x1b\x00\ud800 c', *"defghijk")])
def test_it_is_sound(names: tuple[str, ...], levels: tuple[Level, ...]) -> None:
    _, found = made.run(*names, levels=levels)
    picture = svg(found, "a & b < c")
    picture.encode()
    root = ET.fromstring(picture)
    assert root.tag == f"{SVG}svg"
    assert root.findtext(f"{SVG}title") == "a & b < c"
    panels = root.findall(f"{SVG}g")
    assert len(panels) == 4
    for panel in panels:
        assert len(panel.findall(f"{SVG}polyline")) == len(names)
        assert len(panel.findall(f"{SVG}circle")) == len(names) * len(levels)


def test_points_lie_in_the_plot_and_more_is_higher() -> None:
    _, found = made.run("fast", "slow")
    panels = ET.fromstring(svg(found, "t")).findall(f"{SVG}g")
    for panel, more_is_fast in zip(panels, (True, True, False, False), strict=True):
        heights = [float(circle.attrib["cy"]) for circle in panel.findall(f"{SVG}circle")]
        assert all(34 <= height <= 210 for height in heights)
        assert (heights[0] < heights[2]) is more_is_fast, "smaller is higher up"


def test_labels() -> None:
    _, found = made.run("fast", levels=(Users(1), Users(128)))
    texts = [element.text for element in ET.fromstring(svg(found, "t")).iter(f"{SVG}text")]
    assert {"fast", "1", "128", "users", "tokens per second, all users"} <= set(texts)
    _, at_rate = made.run("fast", levels=(Rate(0.25),))
    assert "requests per second" in svg(at_rate, "t")


def test_without_a_single_answer_there_is_still_a_picture() -> None:
    run, _ = made.run("a")
    for turn in run.turns:
        turn.outcomes.clear()
    from runner.bench.summary import summaries

    root = ET.fromstring(svg(summaries(run.turns, run.plan.goals), "t"))
    assert root.findall(f".//{SVG}circle") == []
