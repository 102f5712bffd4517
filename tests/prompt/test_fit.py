"""Prompts made to fit: what stays, what goes, and that nothing more goes than must."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.conversation import Message, Role, ToolCall
from runner.prompt.fit import cut_around, cut_middle, drop_oldest_turns

_numbers = itertools.count()


def say(role: Role, size: int = 10) -> Message:
    """A message that is told apart from all others, `size` long."""
    return Message(role, f"{next(_numbers)}".ljust(size, "."))


def called() -> Message:
    return Message("assistant", f"{next(_numbers)}".ljust(10, "."), tool_calls=(ToolCall("f", {}),))


def length(messages: tuple[Message, ...]) -> int:
    return sum(len(message.content) for message in messages)


def fit(messages: tuple[Message, ...], limit: int) -> tuple[Message, ...] | None:
    return drop_oldest_turns(messages, lambda left: length(left) <= limit)


# -- conversations


def test_what_fits_stays_whole() -> None:
    messages = (say("system"), say("user"), say("assistant"), say("user"))
    assert fit(messages, 40) == messages


def test_the_oldest_turns_go_first_with_their_answers() -> None:
    system, *turns = say("system"), *(say(role) for role in ("user", "assistant") * 3), say("user")
    messages = (system, *turns)
    assert fit(messages, 79) == (system, *turns[2:])
    assert fit(messages, 60) == (system, *turns[2:])
    assert fit(messages, 59) == (system, *turns[4:])
    assert fit(messages, 39) == (system, turns[6])
    assert fit(messages, 20) == (system, turns[6])
    assert fit(messages, 19) is None


def test_system_messages_stay_wherever_they_stand() -> None:
    first, old, middle, answer, last = (say(role) for role in ("system", "user", "system", "assistant", "user"))
    assert fit((first, old, middle, answer, last), 30) == (first, middle, last)


def test_a_greeting_before_the_first_question_can_go_alone() -> None:
    greeting, question, answer, last = (say(role) for role in ("assistant", "user", "assistant", "user"))
    assert fit((greeting, question, answer, last), 30) == (question, answer, last)


def test_a_call_goes_with_its_results() -> None:
    question, call, result, answer, last = say("user"), called(), say("tool"), say("assistant"), say("user")
    assert fit((question, call, result, answer, last), 49) == (last,)


def test_a_long_chain_of_calls_loses_its_oldest_and_keeps_the_request() -> None:
    old, request = say("user"), say("user")
    rounds = [(called(), say("tool"), say("tool")) for _ in range(4)]
    messages = (old, say("assistant"), request, *itertools.chain(*rounds))
    assert fit(messages, 149) == (request, *itertools.chain(*rounds))
    assert fit(messages, 100) == (request, *itertools.chain(*rounds[1:]))
    assert fit(messages, 40) == (request, *rounds[3])
    assert fit(messages, 39) is None


def test_an_answer_to_be_continued_stays() -> None:
    old, answer, question, begun = (say(role) for role in ("user", "assistant", "user", "assistant"))
    assert fit((old, answer, question, begun), 20) == (question, begun)
    assert fit((old, answer, question, begun), 19) is None


def test_one_message_alone_fits_or_not() -> None:
    only = say("user")
    assert fit((only,), 10) == (only,)
    assert fit((only,), 9) is None


conversations = st.lists(
    st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), st.integers(1, 9)), min_size=1, max_size=40
).map(lambda parts: tuple(say(role, 3 + size) for role, size in parts))


@given(conversations, st.integers(0, 300))
def test_what_is_left(messages: tuple[Message, ...], limit: int) -> None:
    asked: list[tuple[Message, ...]] = []

    def fits(left: tuple[Message, ...]) -> bool:
        asked.append(left)
        return length(left) <= limit

    left = drop_oldest_turns(messages, fits)
    assert len(asked) <= 8  # 40 messages are at most 40 turns, and 2 to the 6th is more
    if left is None:
        (shortest,) = asked
        assert length(shortest) > limit
        assert drop_oldest_turns(messages, lambda other: len(other) <= len(shortest)) == shortest
        return
    assert length(left) <= limit
    kept = [messages.index(message) for message in left]
    assert kept == sorted(kept)
    assert messages[-1] in left
    assert all(message in left for message in messages if message.role == "system")
    users = [message for message in messages if message.role == "user"]
    if users:
        assert users[-1] in left
        first = next((message for message in left if message.role != "system"), None)
        if left != messages and first is not None:
            assert first.role == "user"  # a conversation that lost something begins with a question


@given(conversations, st.integers(0, 300))
def test_no_result_stands_without_what_it_followed(messages: tuple[Message, ...], limit: int) -> None:
    left = fit(messages, limit)
    if left is None:
        return
    plain = [message for message in messages if message.role != "system"]
    kept = [message for message in left if message.role != "system"]
    for index, message in enumerate(plain):
        if message.role == "tool" and message in kept and index and plain[index - 1].role != "user":
            assert plain[index - 1] in kept


@given(conversations)
def test_a_larger_limit_never_keeps_less(messages: tuple[Message, ...]) -> None:
    sizes = [len(left) for limit in range(0, 400, 20) if (left := fit(messages, limit)) is not None]
    assert sizes == sorted(sizes)


# -- plain text


@given(st.lists(st.integers(), max_size=60), st.integers(0, 60), st.integers(-1, 80))
def test_the_first_and_the_newest_tokens_stay(tokens: list[int], limit: int, keep: int) -> None:
    left = cut_middle(tokens, limit, keep)
    if len(tokens) <= limit:
        assert left == tokens
        return
    assert len(left) == limit
    head = min(keep, limit // 2) if keep >= 0 else limit // 2
    assert left[:head] == tokens[:head]
    assert left[head:] == tokens[len(tokens) - (limit - head) :]


@pytest.mark.parametrize(
    ("limit", "keep", "left"),
    [
        (10, 4, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (6, 0, [4, 5, 6, 7, 8, 9]),
        (6, 2, [0, 1, 6, 7, 8, 9]),
        (6, 4, [0, 1, 2, 7, 8, 9]),
        (6, -1, [0, 1, 2, 7, 8, 9]),
        (1, 4, [9]),
        (0, 4, []),
    ],
)
def test_how_much_of_the_beginning_stays(limit: int, keep: int, left: list[int]) -> None:
    assert cut_middle(range(10), limit, keep) == left


# -- around a gap


@pytest.mark.parametrize(
    ("before", "after", "limit", "kept"),
    [
        (10, 10, 20, (10, 10)),
        (30, 30, 20, (15, 5)),
        (30, 2, 20, (18, 2)),
        (2, 30, 20, (2, 18)),
        (30, 0, 20, (20, 0)),
        (0, 30, 20, (0, 20)),
        (30, 30, 0, (0, 0)),
    ],
)
def test_what_is_nearest_to_the_gap_stays(before: int, after: int, limit: int, kept: tuple[int, int]) -> None:
    preceding, following = cut_around(range(before), range(after), limit)
    assert (len(preceding), len(following)) == kept
    assert preceding == list(range(before))[before - kept[0] :]
    assert following == list(range(after))[: kept[1]]


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 60))
def test_around_a_gap_as_much_as_fits_is_kept(before: int, after: int, limit: int) -> None:
    preceding, following = cut_around(range(before), range(after), limit)
    assert len(preceding) + len(following) == min(before + after, limit)
