"""The service over real worker processes that speak the protocol: answers, thoughts, embeddings, loads, cancels."""

from __future__ import annotations

import asyncio
import math
from array import array
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from runner.conversation import Message
from runner.errors import InvalidRequest, RunnerError, UnknownModel
from runner.inference.aliases import Aliases
from runner.inference.requests import Begun, Chat, ChoiceEnded, Complete, Embed, Finished, Piece
from tests.inference.conftest import THINKING_CHAT, Make, Served


def told(text: str, model: str = "m", **more: object) -> Chat:
    return Chat(model, (Message("user", text),), **more)  # type: ignore[arg-type]


async def whole(served: Served, request: Chat | Complete) -> tuple[str, str, Finished]:
    """Text, thought and end; every piece holds one of the two, and the end comes once and last."""
    text = thinking = ""
    end: Finished | None = None
    async for item in served.service.generate(request):
        assert end is None
        if isinstance(item, Finished):
            end = item
        else:
            assert bool(item.text) != bool(item.thinking)
            text += item.text
            thinking += item.thinking
    assert end is not None
    return text, thinking, end


async def test_an_answer(served: Served, make: Make) -> None:
    make("m")
    text, thinking, end = await whole(served, told("say:all is well"))
    assert (text, thinking) == ("all is well", "")
    assert (end.reason, end.prompt_tokens, end.completion_tokens) == ("stop", 2, 3)
    assert (end.timings.prefill, end.timings.decode) == (5, 7)
    assert 0 < end.timings.load <= end.timings.total
    _, _, again = await whole(served, told("say:all is well"))
    assert again.timings.load == 0


async def test_a_thought_is_split_off_in_chats_only(served: Served, make: Make) -> None:
    make("m", template=THINKING_CHAT)
    said = "say:<think>why not</think> because"
    assert (await whole(served, told(said)))[:2] == ("because", "why not")
    assert (await whole(served, Complete("m", said)))[:2] == ("because", "why not")
    raw = (await whole(served, Complete("m", said, raw=True)))[:2]
    assert raw == ("<think>why not</think> because", "")


async def test_pieces_count_tokens(served: Served, make: Make) -> None:
    make("m", template=THINKING_CHAT)
    pieces = [item async for item in served.service.generate(told("say:<think>a b</think> c d"))]
    assert sum(piece.tokens for piece in pieces if isinstance(piece, Piece)) == 4


async def test_the_first_piece_tells_how_long_the_prompt_is(served: Served, make: Make) -> None:
    make("m", template=THINKING_CHAT)
    parts = [part async for part in served.service.generate(told("say:<think>a b</think> c d"))]
    pieces = [part for part in parts if isinstance(part, Piece)]
    assert [piece.begun for piece in pieces] == [Begun(2)] + [None] * (len(pieces) - 1)


async def test_choices_come_apart_and_end_each_for_itself(served: Served, make: Make) -> None:
    make("m", template=THINKING_CHAT)
    parts = [part async for part in served.service.generate(told("say:<think>a</think> b", choices=3))]
    texts = dict.fromkeys(range(3), "")
    thoughts = dict(texts)
    for part in parts:
        if isinstance(part, Piece):
            texts[part.choice] += part.text
            thoughts[part.choice] += part.thinking
    assert texts == {0: "b 0", 1: "b 1", 2: "b 2"}
    assert set(thoughts.values()) == {"a"}
    ended = [part for part in parts if isinstance(part, ChoiceEnded)]
    assert ended == [ChoiceEnded(1, "stop"), ChoiceEnded(2, "stop")]
    for each in ended:
        assert not [
            part for part in parts[parts.index(each) :] if isinstance(part, Piece) and part.choice == each.choice
        ]
    last = parts[-1]
    assert isinstance(last, Finished)
    assert (last.choice, last.prompt_tokens, last.completion_tokens) == (0, 2, 9)


async def test_log_probabilities_go_with_their_text_and_those_of_a_thought_apart(served: Served, make: Make) -> None:
    make("m", template=THINKING_CHAT)
    parts = [part async for part in served.service.generate(told("say:<think>why not</think> because so", logprobs=2))]
    pieces = [part for part in parts if isinstance(part, Piece)]
    assert all(piece.in_thought == bool(piece.thinking) for piece in pieces if piece.text or piece.thinking)
    answer = [each for piece in pieces if not piece.in_thought for each in piece.logprobs]
    thought = [each for piece in pieces if piece.in_thought for each in piece.logprobs]
    assert b"".join(each.token for each in answer) == b" so"
    assert b"".join(each.token for each in thought) == b"<think>why not</think> because"
    assert all(len(each.top) == 2 for each in answer)


async def test_without_thoughts_all_log_probabilities_are_the_answers(served: Served, make: Make) -> None:
    make("m")
    request = Complete("m", "say:<think>x</think> y", raw=True, logprobs=0)
    pieces = [part async for part in served.service.generate(request) if isinstance(part, Piece)]
    assert b"".join(each.token for piece in pieces for each in piece.logprobs) == b"<think>x</think> y"
    assert not any(piece.in_thought for piece in pieces)


async def test_a_request_that_lost_its_worker_is_told_each_choice_once(served: Served, make: Make) -> None:
    make("m")
    parts = [part async for part in served.service.generate(told("end-one-and-die:SIGKILL", choices=2))]
    ends = [part.choice for part in parts if isinstance(part, ChoiceEnded)]
    assert ends == [1]
    assert "".join(part.text for part in parts if isinstance(part, Piece)) == "survived 0"
    assert isinstance(parts[-1], Finished)


async def test_what_is_known_before_the_first_token_raises_before_the_first_item(served: Served, make: Make) -> None:
    make("m")
    for request, error in [
        (told("x", "nobody"), UnknownModel),
        (told("x", options={"temperature": "hot"}), InvalidRequest),
        (told("fail:context_length_exceeded"), RunnerError),
    ]:
        with pytest.raises(error):
            await anext(served.service.generate(request))


async def test_closing_the_iterator_cancels_the_request(served: Served, make: Make) -> None:
    make("m")
    async with aclosing(served.service.generate(told("hold"))) as items:
        waiting = asyncio.ensure_future(anext(items))
        await served.busy()
        waiting.cancel()
        await asyncio.wait([waiting])
    await served.idle()


async def test_cancelling_the_task_cancels_the_request(served: Served, make: Make) -> None:
    make("m")
    task = asyncio.create_task(whole(served, told("hold")))
    await served.busy()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await served.idle()


async def test_embeddings(served: Served, make: Make) -> None:
    make("m")
    made = await served.service.embed(Embed("m", ("abc", (1, 2))))
    assert (made.count, made.width, made.prompt_tokens) == (2, 3, 2)
    values = array("f", made.data)
    assert math.isclose(math.hypot(*values[:3]), 1, rel_tol=1e-6)
    assert math.isclose(values[0] / values[2], 3, rel_tol=1e-6)
    short = await served.service.embed(Embed("m", ("abc",), dimensions=2))
    assert array("f", short.data).tolist() == [1.0, 0.0]
    for dimensions in (0, 4):
        with pytest.raises(InvalidRequest) as caught:
            await served.service.embed(Embed("m", ("abc",), dimensions=dimensions))
        assert caught.value.field == "dimensions"
    assert (await served.service.embed(Embed("m", ()))).count == 0


async def test_many_wide_vectors_are_scaled_off_the_loop(served: Served, make: Make) -> None:
    make("m")
    made = await served.service.embed(Embed("m", ("x",) * 20_000))
    assert len(made.data) == 20_000 * 3 * 4


async def test_load_unload_and_what_is_loaded(served: Served, make: Make) -> None:
    make("m")
    make("n")
    assert not await served.service.unload("m")
    await served.service.load("m", options={"num_ctx": 256}, keep_alive=60.0)
    await served.service.load("n", options={}, keep_alive=math.inf)
    forever, minute = served.service.residents()
    assert (forever.name, minute.name) == ("n:latest", "m:latest")
    assert forever.expires_at is None
    assert minute.expires_at is not None
    assert abs(minute.expires_at - datetime.now(UTC) - timedelta(seconds=60)) < timedelta(seconds=5)
    assert (minute.state, minute.size, minute.size_gpu) == ("ready", 1110, 0)
    assert (minute.context_length, minute.sequences) == (256, 2)
    assert await served.service.unload("M:latest")
    assert not await served.service.unload("m")
    with pytest.raises(InvalidRequest):
        await served.service.unload("no name")


async def test_a_request_while_unloading_waits_for_a_fresh_worker(served: Served, make: Make) -> None:
    make("m")
    await whole(served, told("say:one"))
    assert await served.service.unload("m")
    assert (await whole(served, told("say:two")))[0] == "two"


async def test_a_model_is_pinned_and_unpinned_by_an_alias(served: Served, make: Make, aliases: Aliases) -> None:
    make("m")
    aliases.table = {"gpt-4": "m", "claude-*": "m"}
    assert await served.service.pin("gpt-4") == "m:latest"
    assert served.service.pinned() == {"m:latest"}
    assert not served.service.unpin("gpt-5")
    assert served.service.unpin("claude-x")
    assert served.service.pinned() == frozenset()
    assert not served.service.unpin("gpt-4")
