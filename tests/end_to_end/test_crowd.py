"""Many users at once, with nothing set: each gets an answer, and it is the one that he would get alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.benchmarks.daemon import Daemon

USERS = 128
QUESTIONS = ["How do I pull a model?", "How do I list my models?", "What is Runner?", "How do I stop a model?"]


def test_128_users_are_all_answered(own_daemon: Daemon) -> None:
    own_daemon.start()

    def ask(index: int) -> Any:
        message = {"role": "user", "content": QUESTIONS[index % len(QUESTIONS)]}
        options = {"num_predict": 32}
        return own_daemon.post(
            "/api/chat", {"model": "demo", "messages": [message], "options": options, "stream": False}
        )

    alone = [ask(index)["message"]["content"] for index in range(len(QUESTIONS))]
    with ThreadPoolExecutor(USERS) as pool:
        answers = list(pool.map(ask, range(USERS)))
    for index, answer in enumerate(answers):
        assert isinstance(answer, dict), answer
        assert answer["done"]
        assert answer["message"]["content"] == alone[index % len(QUESTIONS)]
    (model,) = own_daemon.get("/api/ps")["models"]
    assert model["sequences"] == USERS
