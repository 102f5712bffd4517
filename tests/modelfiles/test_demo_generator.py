"""The demo model's training text: the same for the same seed, blind to the held-out lists, true to the template."""

import ast
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from modelfiles.demo.train import elsewhere, extraction, infill, mix, questions, spoken, tools
from modelfiles.demo.train.dialogue import Dialogue, pieces
from modelfiles.demo.train.facts import FACTS
from modelfiles.demo.train.grammar import expand

TRAIN = Path(mix.__file__).parent
DIALOGUES = [
    questions.question, elsewhere.off_topic, elsewhere.small_talk, tools.tool_use, extraction.extraction,
    spoken.spoken, mix.conversation,
]  # fmt: skip


def drawn(seed: int, count: int) -> list[mix.Example]:
    return list(itertools.islice(mix.examples(mix.SHARES["mix"], random.Random(seed)), count))


def test_the_same_seed_gives_the_same_text() -> None:
    assert drawn(5, 300) == drawn(5, 300)
    assert drawn(5, 300) != drawn(6, 300)


def test_no_held_out_request_comes_through() -> None:
    secret = mix.held_out()
    assert len(secret) > 90
    for example in drawn(1, 6000):
        if isinstance(example, Dialogue):
            assert not {mix.normalised(t.text) for t in example.turns if t.role == "user"} & secret


def test_a_held_out_request_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mix, "held_out", lambda: frozenset({mix.normalised("Who are you?")}))
    pool = iter(["Who are you?", "who are you", "What is Runner?"])

    def scripted(rng: random.Random) -> Dialogue:
        return Dialogue((questions.Turn("user", next(pool)),), "question")

    assert next(mix.examples(((scripted, 1.0),), random.Random(0))) == Dialogue(
        (questions.Turn("user", "What is Runner?"),), "question"
    )  # fmt: skip


def render(dialogue: Dialogue) -> str:
    """The dialogue up to its last answer, by the template itself."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    template = environment.from_string((TRAIN / "template.jinja").read_text("utf-8"))
    messages: list[dict[str, Any]] = [{"role": "system", "content": dialogue.system}] if dialogue.system else []
    messages += [{"role": t.role, "content": t.text} for t in dialogue.turns[:-1]]
    given = {"tools": list(dialogue.tools), "enable_thinking": dialogue.think}
    return template.render(messages=messages, add_generation_prompt=True, **given)


@pytest.mark.parametrize("make", DIALOGUES)
def test_training_text_is_what_the_template_renders(make: Any) -> None:
    rng = random.Random(3)
    for _ in range(150):
        dialogue = make(rng)
        *before, _, _ = pieces(dialogue)
        assert "".join(text for text, _ in before) == render(dialogue)


def test_only_what_the_assistant_says_is_a_target() -> None:
    for example in drawn(2, 500):
        if isinstance(example, Dialogue):
            learnt = [text for text, weight in pieces(example) if weight]
            assert learnt
            assert all(text.endswith("<|im_end|>") and "<|im_start|>" not in text for text in learnt)


def test_thinks_exactly_when_asked() -> None:
    for example in drawn(4, 2000):
        if isinstance(example, Dialogue):
            thoughts = [t.thought for t in example.turns if t.role == "assistant"]
            assert (thoughts[-1] is not None) == example.think
            assert all(thought is None for thought in thoughts[:-1])


def test_every_call_names_an_offered_tool_and_its_parameters() -> None:
    rng = random.Random(8)
    for _ in range(400):
        dialogue = tools.tool_use(rng)
        offered = {t["function"]["name"]: t["function"]["parameters"]["properties"] for t in dialogue.tools}
        for turn in dialogue.turns:
            if turn.text.startswith("<tool_call>"):
                call = json.loads(turn.text.removeprefix("<tool_call>").removesuffix("</tool_call>"))
                assert set(call["arguments"]) <= set(offered[call["name"]])


def test_every_extracted_value_stands_in_the_request() -> None:
    rng = random.Random(9)
    for _ in range(400):
        dialogue = extraction.extraction(rng)
        asked, answer = dialogue.turns[0].text.lower(), json.loads(dialogue.turns[1].text)
        assert answer
        assert all(str(value).lower() in asked for value in answer.values())


def test_every_fact_can_be_asked_for() -> None:
    rng = random.Random(10)
    for fact in FACTS:
        for _ in range(20):
            asked, answer = questions.ask(rng, fact)
            assert asked
            assert not set("{}|") & set(asked)
            assert answer.replace("NEWNAME", "").count("{") == 0


def test_a_model_that_is_asked_for_is_named_in_the_answer() -> None:
    fact = next(f for f in FACTS if f.answer.startswith("Run `runner pull NAME`"))
    rng = random.Random(11)
    named = {questions.ask(rng, fact)[1] for _ in range(200)}
    assert any("runner pull qwen3" in answer for answer in named)
    assert fact.answer in named


def test_snippets_are_python_and_gaps_put_them_together_again() -> None:
    rng = random.Random(12)
    for _ in range(500):
        source = infill.snippet(rng)
        ast.parse(source)
        begin, end = infill.gap(rng, source)
        assert 0 <= begin < end <= len(source)


def test_grammar_nests_and_tidies() -> None:
    seen = {expand(random.Random(seed), "(a|b (c|)) d ?") for seed in range(40)}
    assert seen == {"a d?", "b c d?", "b d?"}
