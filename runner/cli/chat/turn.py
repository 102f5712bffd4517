"""One turn of a conversation: a message is asked, its answer shown, and the calls in it are answered by the user.

Ctrl-C ends the answer and a line says so; what came stays in the conversation. Knows no prompt but the one for a
call's result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runner.cli import answer, output
from runner.cli.answer import Answer, Look
from runner.cli.chat.calls import told
from runner.cli.chat.session import Session
from runner.cli.client import Client, Json
from runner.cli.failures import Failure

Results = Callable[[Sequence[Json]], list[Json] | None]
"""Asks for the results of calls, as messages; None when the user would rather not."""


def take(client: Client, session: Session, message: Json, results: Results) -> None:
    """Ask `message` and see the answer through. Raises Failure; the conversation then is as it was before."""
    said = [message]
    session.unanswered = message
    while True:
        came, stopped = _answer(client, session, said)
        if came.text or came.last:
            said.append(_reply(came, with_calls=not stopped))
        if stopped or not came.calls:
            break
        for call in came.calls:
            output.line(told(call))
        answers = results(came.calls)
        if answers is None:
            del said[-1]["tool_calls"]
            break
        said += answers
    if said[-1]["role"] == "assistant":
        session.settle(said)
    output.line("")


def _answer(client: Client, session: Session, said: list[Json]) -> tuple[Answer, bool]:
    """What came, and whether the user stopped it."""
    came, stopped = Answer(), False
    look = Look(session.thinking, session.wrap, hint=" (Ctrl-T shows it)")
    try:
        with client.stream("/api/chat", session.ask(said), answer.is_last) as updates:
            answer.show(updates, came, look)
    except KeyboardInterrupt:
        stopped = True  # the connection is closed, which is how the daemon hears of it
        output.line("(stopped)")
    answer.warn(came.last)
    if came.last.get("done_reason") == "length":
        output.say(_cut(client, session, came.last))
    if session.verbose and came.last:
        output.line("")
        answer.timings(came.last)
    return came, stopped


def _reply(came: Answer, with_calls: bool) -> Json:
    reply: Json = {"role": "assistant", "content": came.text}
    if came.thinking:
        reply["thinking"] = came.thinking
    if came.calls and with_calls:
        reply["tool_calls"] = came.calls
    return reply


def _cut(client: Client, session: Session, last: Json) -> str:
    """Why an answer broke off before its end."""
    used = int(last.get("prompt_eval_count") or 0) + int(last.get("eval_count") or 0)
    try:
        loaded = client.get("/api/ps").get("models") or ()
    except Failure:
        loaded = ()
    names = (session.model, f"{session.model}:latest")
    room = next((int(each.get("context_length") or 0) for each in loaded if each.get("name") in names), 0)
    if room and used >= room - 1:
        return (
            f"Note: the answer broke off: the context of {room} tokens is full. "
            "/undo or /clear makes room, and /set parameter num_ctx makes it larger"
        )
    return f"Note: the answer broke off after {last.get('eval_count', 0)} tokens, its limit (num_predict)"
