"""What workers died of is refused; what is none of that isn't even looked at closely."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.conversation import Message
from runner.errors import Quarantined
from runner.protocol.commands import ChatPrompt, Generate, Resumed, TokenPrompt, Work
from runner.protocol.options import SampleOptions
from runner.scheduler import quarantine
from runner.scheduler.quarantine import LASTS, MOST, Quarantine
from runner.scheduler.ticket import Want
from tests.fakes.scheduling import want


def shown(image: bytes, text: str = "what is this?") -> Work:
    return Generate(0, ChatPrompt((Message("user", text, images=(image,)),)), SampleOptions())


def asking(work: Work, model: str = "a") -> Want:
    return replace(want(model), work=work)


@pytest.fixture
def digests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Models of the work that was hashed whole."""
    hashed: list[str] = []
    digest = quarantine._digest

    def noting(of: Want) -> str:
        hashed.append(of.model)
        return digest(of)

    monkeypatch.setattr(quarantine, "_digest", noting)
    return hashed


def test_only_work_of_the_same_size_is_hashed(digests: list[str]) -> None:
    refused = Quarantine()
    refused.add(asking(shown(b"deadly")), 0.0)
    digests.clear()
    for other in (
        shown(b"x" * 10**6),
        shown(b"deadly", "and this?"),
        Generate(0, TokenPrompt((1,) * 9), SampleOptions()),
    ):
        refused.check(asking(other), 1.0)
    refused.check(asking(shown(b"deadly"), "b"), 1.0)
    assert not digests
    refused.check(asking(shown(b"gentle")), 1.0)
    assert digests == ["a"]
    with pytest.raises(Quarantined):
        refused.check(asking(shown(b"deadly")), 1.0)


def test_how_far_it_had_come_makes_no_difference() -> None:
    refused = Quarantine()
    work = Generate(7, TokenPrompt((1, 2, 3)), SampleOptions(), resumed=(Resumed((4, 5), 6),))
    refused.add(asking(work), 0.0)
    with pytest.raises(Quarantined):
        refused.check(asking(Generate(8, TokenPrompt((1, 2, 3)), SampleOptions())), 1.0)


def test_it_ends_by_time_and_by_number(digests: list[str]) -> None:
    refused = Quarantine()
    for number in range(MOST + 1):
        refused.add(asking(Generate(0, TokenPrompt((number,)), SampleOptions())), float(number))
    assert len(refused) == MOST
    refused.check(asking(Generate(0, TokenPrompt((0,)), SampleOptions())), MOST + 1.0)
    digests.clear()
    refused.check(asking(Generate(0, TokenPrompt((9,)), SampleOptions())), MOST + LASTS + 1.0)
    assert len(refused) == 0
    assert not digests
