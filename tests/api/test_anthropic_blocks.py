"""Anthropic's blocks, whatever comes in whatever parts: events in good order, and nothing said that wasn't."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from runner.api.anthropic import wire
from runner.api.anthropic.blocks import Blocks, Gathered
from runner.inference.requests import CallPart, Piece

SAID = st.sampled_from(("a", "b c", " ", "\n", "\n\nd", "é\u2028"))
KINDS = st.lists(st.tuples(st.sampled_from(("thinking", "text", "call")), st.lists(SAID, max_size=3)), max_size=6)


def pieces_of(spoken: list[tuple[str, list[str]]]) -> list[Piece]:
    """What a model says, in parts. A call's input says it in JSON, cut between its letters."""
    pieces: list[Piece] = []
    calls = 0
    for kind, said in spoken:
        if kind == "thinking":
            pieces += [Piece(thinking=each) for each in said]
        elif kind == "text":
            pieces += [Piece(text=each) for each in said]
        else:
            text = json.dumps({"said": said})
            pieces.append(Piece(call=CallPart(calls, f"id{calls}", "f")))
            pieces += [Piece(call=CallPart(calls, arguments=text[at : at + 7])) for at in range(0, len(text), 7)]
            pieces.append(Piece(call=CallPart(calls, complete=True)))
            calls += 1
    return pieces


def told(pieces: list[Piece], *, hides: bool = False) -> list[wire.BlockEvent]:
    blocks = Blocks(hides_thoughts=hides)
    return [*(event for piece in pieces for event in blocks.take(piece)), *blocks.finish()]


def gathered(events: list[wire.BlockEvent]) -> list[wire.Content]:
    whole = Gathered()
    for event in events:
        whole.take(event)
    return whole.whole()


@given(KINDS)
def test_events_come_in_good_order(spoken: list[tuple[str, list[str]]]) -> None:
    begun, open_index = 0, None
    for event in told(pieces_of(spoken)):
        if isinstance(event, wire.BlockStart):
            assert (event.index, open_index) == (begun, None)
            open_index, begun = begun, begun + 1
        else:
            assert event.index == open_index
            if isinstance(event, wire.BlockStop):
                open_index = None
    assert open_index is None


@given(KINDS)
def test_all_is_told_but_blanks_at_borders(spoken: list[tuple[str, list[str]]]) -> None:
    pieces = pieces_of(spoken)
    blocks = gathered(told(pieces))
    texts = [block.text for block in blocks if isinstance(block, wire.TextBlock)]
    assert "".join("".join(texts).split()) == "".join("".join(piece.text for piece in pieces).split())
    assert len(blocks) == 1 or not any(text.isspace() for text in texts)
    thoughts = [block.thinking for block in blocks if isinstance(block, wire.ThinkingBlock)]
    assert "".join(thoughts) == "".join(piece.thinking for piece in pieces)
    calls = [block.input for block in blocks if isinstance(block, wire.ToolUseBlock)]
    assert calls == [{"said": said} for kind, said in spoken if kind == "call"]
    if len(spoken) == 1 and spoken[0][0] == "text":
        assert "".join(texts) == "".join(spoken[0][1])


@given(KINDS)
def test_where_an_answer_is_cut_into_pieces_changes_nothing(spoken: list[tuple[str, list[str]]]) -> None:
    joined = [(kind, ["".join(said)] if kind != "call" else said) for kind, said in spoken]
    assert gathered(told(pieces_of(spoken))) == gathered(told(pieces_of(joined)))


@given(KINDS)
def test_hidden_thoughts_leave_all_else_as_it_is(spoken: list[tuple[str, list[str]]]) -> None:
    plain, hidden = (gathered(told(pieces_of(spoken), hides=hides)) for hides in (False, True))
    assert len(plain) == len(hidden)
    for one, other in zip(plain, hidden, strict=True):
        if isinstance(one, wire.ThinkingBlock):
            assert isinstance(other, wire.ThinkingBlock)
            assert other.thinking == ""
        else:
            assert one == other
