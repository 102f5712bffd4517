"""What is kept of an answer is what another worker needs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.protocol.commands import Resumed
from runner.protocol.events import Ended, Text
from runner.scheduler.told import Account

texts = st.builds(
    lambda choice, text, ids: Text(1, text, len(ids), choice, ids=tuple(ids)),
    st.integers(0, 2), st.text(max_size=4), st.lists(st.integers(0, 2**31 - 1), max_size=4),
)  # fmt: skip


def test_nothing_told_is_nothing_to_resume() -> None:
    assert Account().resumed(3) == ()
    assert not Account()


def test_choices_end_one_by_one() -> None:
    told = Account.of([Text(1, "é", 1, 1, ids=(7,)), Ended(1, "length", 0), Ended(1, "stop", 1)])
    assert told.resumed(3) == (Resumed(reason="length"), Resumed((7,), 1, "stop"), Resumed())


@given(st.lists(texts, min_size=1))
def test_all_tokens_and_characters_of_each_choice(events: list[Text]) -> None:
    told = Account()
    new = [told.take(event) for event in events]
    assert new == [bool(event.ids) for event in events]
    for choice, resumed in enumerate(told.resumed(3)):
        mine = [event for event in events if event.choice == choice]
        assert resumed.tokens == tuple(token for event in mine for token in event.ids)
        assert resumed.sent == len("".join(event.text for event in mine))
