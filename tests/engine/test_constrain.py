"""A guide with the demo model's vocabulary, and a sampler that says what it was told to."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from modelfiles.embedded import demo_gguf
from runner.engine import constrain, grammar, grammars
from runner.engine.constrain import Form, Guide, State
from runner.engine.grammars import Grammars
from runner.errors import InvalidRequest, Unsupported
from runner.formats import Thinking
from runner.llama import library
from runner.llama.model import Model
from runner.llama.sampler import Sampler
from runner.protocol.commands import Constraint, ConstraintKind
from runner.protocol.options import LoadOptions

THINKING = Thinking("<think>", "</think>")
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    loaded = Model([str(demo_gguf())], LoadOptions(num_ctx=8, num_parallel=1), library.start())
    loaded.show([THINKING.opening, THINKING.closing])
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def compiler(model: Model) -> Iterator[Grammars]:
    made = Grammars(model)
    yield made
    made.close()


class Wishes:
    """A sampler that wants these tokens in turn. Where it may not have one, it takes the first of the allowed that its
    next wish begins with, or simply the first."""

    learns_from_drawing = False

    def __init__(self, model: Model, wishes: list[int]) -> None:
        self._model = model
        self._wishes = deque(wishes)
        self.accepted: list[int] = []
        self.refused = 0

    def propose(self, logits: Any, allowed: npt.NDArray[np.int64] | None = None) -> int:
        if allowed is None:
            return self._wishes.popleft() if self._wishes else self._model.eos
        self.refused += 1
        return int(allowed[0])

    def accept(self, token: int) -> None:
        self.accepted.append(token)


class Author(Wishes):
    """A sampler that wants to write this text, whatever of it has been written for it, and then to end."""

    def __init__(self, model: Model, text: str) -> None:
        super().__init__(model, [])
        self._text = text

    def propose(self, logits: Any, allowed: npt.NDArray[np.int64] | None = None) -> int:
        left = self._text.encode()[len(b"".join(map(self._model.piece, self.accepted))) :]
        fitting = range(self._model.n_vocab) if allowed is None else allowed.tolist()
        self.refused += allowed is not None
        best = max(
            (t for t in fitting if left.startswith(self._model.piece(t))), key=lambda t: len(self._model.piece(t))
        )
        return int(best) if self._model.piece(best) else self._model.eos


Led = Callable[[Sampler], Guide]


class Talk:
    """One answer: what the guide makes of the wishes, or of the author."""

    def __init__(self, model: Model, led: Led, *wishes: str | int, author: Author | None = None) -> None:
        tokens = [
            token
            for wish in wishes
            for token in ([wish] if isinstance(wish, int) else model.tokenize(wish, special=True, bos=False))
        ]
        self.sampler = author or Wishes(model, tokens)
        self.guide = guide = led(cast(Sampler, self.sampler))
        self.runs: list[list[int]] = []
        logits = np.zeros(model.n_vocab, np.float32)
        while not guide.is_complete and len(self.runs) < 100:
            self.runs.append(guide.choose(logits))
            if model.ends(self.runs[-1][-1]):
                break
        self.tokens = [token for run in self.runs for token in run]
        self.text = b"".join(map(model.piece, self.tokens)).decode("utf-8", "replace")
        assert self.sampler.accepted == self.tokens


def guide(
    compiler: Grammars,
    kind: ConstraintKind,
    form: object,
    state: State = "answer",
    thinking: Thinking | None = THINKING,
    *,
    runs: bool = True,
) -> Led:
    compiled = compiler.form(Constraint(kind, form if isinstance(form, str) else json.dumps(form)))
    return lambda sampler: Guide(compiled, compiler._model, sampler, thinking, state, runs=runs)


def test_what_fits_is_taken_as_the_model_wants_it(model: Model, compiler: Grammars) -> None:
    talk = Talk(model, guide(compiler, "regex", "[a-z ]+\\."), "a plain answer.")
    assert talk.text == "a plain answer."
    assert talk.sampler.refused == 0
    assert talk.guide.is_complete


def test_what_does_not_fit_is_chosen_again(model: Model, compiler: Grammars) -> None:
    talk = Talk(model, guide(compiler, "choice", ["yes", "no"]), "maybe")
    assert talk.text in ("yes", "no")
    assert talk.sampler.refused == 1


def test_what_must_come_is_not_asked_for(model: Model, compiler: Grammars) -> None:
    wanted = '{"name": "Ada", "age": 36}'
    talk = Talk(model, guide(compiler, "schema", PERSON), author=Author(model, wanted))
    assert talk.text == wanted
    assert talk.sampler.refused == 0
    assert model.piece(talk.runs[0][0]) == b'{"'  # nobody proposed it
    assert max(map(len, talk.runs)) > 2
    assert len(talk.runs) < len(talk.tokens) // 2 + 3


def test_a_fixed_text_is_one_run(model: Model, compiler: Grammars) -> None:
    talk = Talk(model, guide(compiler, "schema", {"const": {"status": "a fixed text", "n": 7}}))
    assert json.loads(talk.text) == {"status": "a fixed text", "n": 7}
    assert len(talk.runs) == 1


def test_without_runs_each_token_is_chosen(model: Model, compiler: Grammars) -> None:
    """As where the model is to say what it thinks of each."""
    wanted = '{"name": "Ada", "age": 36}'
    talk = Talk(model, guide(compiler, "schema", PERSON, runs=False), author=Author(model, wanted))
    assert talk.text == wanted
    assert all(len(run) == 1 for run in talk.runs)
    assert talk.sampler.refused == 0


def test_the_end_comes_only_where_the_grammar_may_end(model: Model, compiler: Grammars) -> None:
    talk = Talk(model, guide(compiler, "regex", "[xy]{2,}"), model.eos, "x", model.eos, "xxx")
    assert len(talk.text) >= 2
    assert talk.sampler.refused == 1
    assert model.ends(talk.tokens[-1])
    assert [model.ends(token) for token in talk.tokens].count(True) == 1


def test_every_end_token_ends(model: Model, compiler: Grammars) -> None:
    assert len(model.end_tokens) > 1
    for end in model.end_tokens:
        assert Talk(model, guide(compiler, "regex", "b*"), end).tokens == [end]


def test_no_control_token_gets_into_an_answer(model: Model, compiler: Grammars) -> None:
    (control,) = model.tokenize("<|im_start|>", special=True, bos=False)
    talk = Talk(model, guide(compiler, "regex", "(?s:.){3}"), control, control, control, control)
    assert control not in talk.tokens


def test_what_a_negation_allows_and_then_refuses_is_passed_over(model: Model, compiler: Grammars) -> None:
    """Outside of UTF-8 a negation allows even control tokens, which come first here."""
    (control,) = model.tokenize("<|im_start|>", special=True, bos=False)
    talk = Talk(model, guide(compiler, "lark", 'start: "a" T\nT: ~/b*/'), control, control, control)
    assert control not in talk.tokens
    assert talk.text.startswith("a")


def test_a_sampler_that_learns_from_drawing_is_asked_once(model: Model, compiler: Grammars) -> None:
    sampler = Wishes(model, model.tokenize("maybe", special=True, bos=False))
    sampler.learns_from_drawing = True
    leader = guide(compiler, "choice", ["yes", "no"])(cast(Sampler, sampler))
    leader.choose(np.zeros(model.n_vocab, np.float32))
    assert sampler.refused == 1
    assert len(sampler._wishes) == len(model.tokenize("maybe", special=True, bos=False))


class TestThoughts:
    def test_the_answer_begins_behind_the_closing_marker(self, model: Model, compiler: Grammars) -> None:
        leader = guide(compiler, "schema", PERSON, "thought")
        wanted = 'Who? {"x": 1} Ada.</think>\n\n{"name": "Ada", "age": 3}'
        talk = Talk(model, leader, author=Author(model, wanted))
        assert talk.text == wanted
        assert talk.sampler.refused == 0

    def test_a_model_may_begin_a_thought_itself(self, model: Model, compiler: Grammars) -> None:
        talk = Talk(model, guide(compiler, "choice", ["yes"], "open"), "<think>", "hm", "</think>", "no")
        assert talk.text == "<think>hm</think>yes"

    @pytest.mark.parametrize("wish", ["no", "<think>"])
    def test_but_it_need_not_and_not_where_it_was_told_not_to(
        self, model: Model, compiler: Grammars, wish: str
    ) -> None:
        state: State = "open" if wish == "no" else "answer"
        assert Talk(model, guide(compiler, "choice", ["yes"], state), wish).text == "yes"

    def test_only_at_the_beginning(self, model: Model, compiler: Grammars) -> None:
        talk = Talk(model, guide(compiler, "regex", "ab[^e]*", "open"), "a", "b", "<think>")
        assert model.tokenize("<think>", special=True, bos=False)[0] not in talk.tokens

    def test_a_thought_that_ends_the_answer_is_closed_instead(self, model: Model, compiler: Grammars) -> None:
        talk = Talk(model, guide(compiler, "choice", ["yes"], "thought"), "hm", model.eos)
        assert talk.text == "hm</think>yes"

    def test_blanks_behind_a_thought_are_few(self, model: Model, compiler: Grammars) -> None:
        (blank,) = model.tokenize("\n", special=False, bos=False)
        talk = Talk(model, guide(compiler, "choice", ["yes"], "thought"), "</think>", blank, blank, blank, blank)
        assert talk.text == "</think>\n\nyes"

    def test_blanks_that_the_grammar_wants_are_its_own(self, model: Model, compiler: Grammars) -> None:
        talk = Talk(model, guide(compiler, "regex", "\n?yes", "thought"), "</think>", "\n", "yes")
        assert talk.text == "</think>\nyes"

    @pytest.mark.parametrize("marker", ["</think>", "[/THINK]", ">>>", "#"])
    def test_a_marker_of_several_tokens_is_seen_and_nothing_behind_it_taken(
        self, model: Model, compiler: Grammars, marker: str
    ) -> None:
        thinking = Thinking("<<<", marker)
        letters = [token for c in f"no{marker}" for token in model.tokenize(c, special=False, bos=False)]
        talk = Talk(model, guide(compiler, "choice", ["yes"], "thought", thinking), *letters)
        assert talk.text == f"no{marker}yes"

    def test_a_token_that_runs_over_the_marker_is_cut_at_its_end(
        self, model: Model, compiler: Grammars, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (odd,) = model.tokenize("~", special=False, bos=False)
        pieces = model.piece
        monkeypatch.setattr(model, "piece", lambda token: b'k>{"' if token == odd else pieces(token))
        first = [token for c in "</thin" for token in model.tokenize(c, special=False, bos=False)]
        assert Talk(model, guide(compiler, "choice", ["yes"], "thought"), *first, odd).text == "</think>yes"

    def test_without_markers_there_is_no_thought(self, model: Model, compiler: Grammars) -> None:
        assert Talk(model, guide(compiler, "choice", ["yes"], "thought", None), "<think>").text == "yes"


class TestFailures:
    def test_a_step_that_costs_too_much_ends_the_answer(
        self, model: Model, compiler: Grammars, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(constrain, "_SLOWEST", -1.0)
        with pytest.raises(InvalidRequest, match="too complex") as caught:
            Talk(model, guide(compiler, "regex", "[a-y]+"), "abc")
        assert caught.value.field == "format"
        monkeypatch.undo()
        with pytest.raises(InvalidRequest, match="too complex"):  # nor does it hold anybody up again
            guide(compiler, "regex", "[a-y]+")
        guide(compiler, "regex", "[a-x]+")

    def test_a_way_that_cannot_be_gone_ends_the_answer(
        self, model: Model, compiler: Grammars, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A row of the parser may hold so many items, and 700 optional properties are too many behind the brace."""
        monkeypatch.setattr(grammars.Trial, "judge", lambda trial, constraint: grammar.source(constraint))
        many = {"type": "object", "properties": {f"p{index}": {"type": "string"} for index in range(700)}}
        with pytest.raises(InvalidRequest, match="items"):
            Talk(model, guide(compiler, "schema", many), "{", '"')

    def test_a_vocabulary_without_ends_cannot_be_bound(self, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(model, "end_tokens", frozenset())
        made = Grammars(model)
        with pytest.raises(Unsupported, match="vocabulary"):
            made.form(Constraint("json"))
        made.close()


class TestCache:
    """`judged` counts what reaches the helper process."""

    @pytest.fixture
    def judged(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        seen: list[str] = []
        judge = grammars.Trial.judge

        def counting(trial: grammars.Trial, constraint: Constraint) -> str:
            seen.append(constraint.text)
            return judge(trial, constraint)

        monkeypatch.setattr(grammars.Trial, "judge", counting)
        return seen

    @pytest.fixture
    def fresh(self, model: Model) -> Iterator[Grammars]:
        made = Grammars(model)
        yield made
        made.close()

    def test_a_grammar_is_compiled_once(self, model: Model, fresh: Grammars, judged: list[str]) -> None:
        for _ in range(3):
            assert Talk(model, guide(fresh, "choice", ["yes"]), "no").text == "yes"
        assert len(judged) == 1
        guide(fresh, "regex", '["yes"]')  # the same text, another kind
        assert len(judged) == 2

    def test_a_refusal_is_remembered(self, fresh: Grammars, judged: list[str]) -> None:
        errors = []
        for _ in range(3):
            with pytest.raises(InvalidRequest) as caught:
                guide(fresh, "regex", "[")
            errors.append((caught.value.message, caught.value.field))
        assert len(set(errors)) == 1
        assert len(judged) == 1

    def test_the_longest_unused_goes(self, fresh: Grammars, judged: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(grammars, "_MOST_GRAMMARS", 2)
        for text in ("a", "b", "a", "c", "a", "b"):
            guide(fresh, "regex", text)
        assert judged == ["a", "b", "c", "b"]
        assert len(fresh._known) == 2

    def test_their_texts_are_bounded_together(
        self, fresh: Grammars, judged: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(grammars, "_MOST_TEXT", 10)
        for text in ("a" * 6, "b" * 6, "a" * 6):
            guide(fresh, "regex", text)
        assert len(judged) == 3
        assert len(fresh._known) == 1

    def test_guides_of_one_grammar_go_their_own_ways(self, model: Model, fresh: Grammars) -> None:
        led = guide(fresh, "choice", ["yes", "no"])
        assert Talk(model, led, "yes").text == "yes"
        assert Talk(model, led, "no").text == "no"

    def test_threads_that_ask_for_the_same_wait_for_one(self, fresh: Grammars, judged: list[str]) -> None:
        with ThreadPoolExecutor(4) as pool:
            forms = list(pool.map(lambda index: fresh.form(Constraint("regex", "ab"[index % 2])), range(16)))
        assert sorted(judged) == ["a", "b"]
        assert len({id(form) for form in forms}) == 2
        assert all(isinstance(form, Form) for form in forms)
