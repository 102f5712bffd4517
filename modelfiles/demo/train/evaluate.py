"""Scores a GGUF on the held-out lists: `python -m modelfiles.demo.train.evaluate FILE.gguf [--misses]`.

Greedy and without a repeat penalty, through llama.cpp, with the template that is in the file. Owns what counts
as right. The lists were written without sight of the generator and are for measuring only; the `second_` ones by
somebody who has never seen it.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llama_cpp
from jinja2.sandbox import ImmutableSandboxedEnvironment

from modelfiles.demo.train import questions

HELD_OUT = Path(__file__).with_name("heldout")
LONG_HISTORY = 2200
"""Tokens of conversation before a question of the long test."""

Row = dict[str, Any]


@dataclass(slots=True)
class Score:
    """Right and asked, with what was said where it was wrong."""

    right: int = 0
    asked: int = 0
    misses: list[str] = field(default_factory=list)

    def book(self, right: bool, told: str) -> None:
        self.asked += 1
        self.right += right
        if not right:
            self.misses.append(told)


class Model:
    """A GGUF with its own template, greedy."""

    def __init__(self, path: Path, context: int = 4096) -> None:
        self.llm = llama_cpp.Llama(str(path), n_ctx=context, n_threads=1, n_threads_batch=1, verbose=False)
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
        self.template = environment.from_string(self.llm.metadata["tokenizer.chat_template"])

    def tokens(self, text: str) -> list[int]:
        return self.llm.tokenize(text.encode(), add_bos=False, special=True)

    def complete(self, prompt: str, most: int = 160) -> str:
        """The continuation up to the end that the model sets itself, or `most` tokens."""
        made = self.llm.create_completion(
            self.tokens(prompt), max_tokens=most, temperature=0.0, repeat_penalty=1.0, seed=1
        )  # fmt: skip
        return str(made["choices"][0]["text"])  # type: ignore[index]

    def prompt(self, messages: list[Row], **given: Any) -> str:
        return self.template.render(messages=messages, add_generation_prompt=True, **given)

    def chat(self, question: str, system: str = "", **given: Any) -> str:
        messages = [{"role": "system", "content": system}] if system else []
        return self.complete(self.prompt([*messages, {"role": "user", "content": question}], **given))


def rows(name: str) -> Iterator[Row]:
    """The rows of one list."""
    for line in (HELD_OUT / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def contains(answer: str, wanted: list[str]) -> bool:
    """Whether any of the wanted pieces is in the answer, whatever the case."""
    return any(piece.lower() in answer.lower() for piece in wanted)


def asked(model: Model, name: str) -> dict[str, Score]:
    """Plain questions with pieces that the answer must hold; off-topic answers must own up to being a demo."""
    score = Score()
    for row in rows(name):
        answer = model.chat(row["question"])
        wrongly_demo = name.endswith("questions") and "only a tiny demo" in answer
        score.book(contains(answer, row.get("any", ["demo"])) and not wrongly_demo, f"{row['question']} -> {answer}")
    return {_title(name): score}


def _title(name: str) -> str:
    """A list's name as the figures have it."""
    kind, second, rest = name.partition("second_")
    return f"second list: {rest.replace('_', '-')}" if second and not kind else name.replace("_", "-")


def called(model: Model, name: str = "tools") -> dict[str, Score]:
    """The right tool, and the right arguments to the letter."""
    chosen, exact = Score(), Score()
    for row in rows(name):
        text = model.complete(model.prompt(row["messages"], tools=row["tools"]))
        try:
            inner = text.split("<tool_call>")[1].split("</tool_call>")[0]
            call = json.loads(inner)
        except (IndexError, json.JSONDecodeError):
            call = {}
        right = call.get("name") == row["call"]["name"]
        told = f"{row['messages'][-1]['content']} -> {text}"
        chosen.book(right, told)
        exact.book(right and call.get("arguments") == row["call"]["arguments"], told)
    return {f"{_title(name)}: right tool": chosen, f"{_title(name)}: exact arguments": exact}


def answered(model: Model) -> dict[str, Score]:
    """The answer from a tool's result."""
    score = Score()
    for row in rows("tool_answers"):
        properties = {key: {"type": "integer" if isinstance(v, int) else "string"} for key, v in row["arguments"].items()}
        function = {"name": row["tools"], "description": "", "parameters": {"type": "object", "properties": properties}}
        call = {"function": {"name": row["tools"], "arguments": row["arguments"]}}
        messages = [
            {"role": "user", "content": row["question"]},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": row["response"]},
        ]
        text = model.complete(model.prompt(messages, tools=[{"type": "function", "function": function}]))
        score.book(contains(text, row["any"]), f"{row['question']} -> {text}")
    return {"answers from a tool result": score}


def extracted(model: Model, name: str = "extraction") -> dict[str, Score]:
    """The right object."""
    score = Score()
    for row in rows(name):
        text = model.chat(row["prompt"], row.get("system", ""))
        try:
            right = json.loads(text) == row["json"]
        except json.JSONDecodeError:
            right = False
        score.book(right, f"{row['prompt']} -> {text}")
    return {"JSON extraction" if name == "extraction" else _title(name): score}


def filled(model: Model) -> dict[str, Score]:
    """Well-formed: something was written, it ended, and the whole is Python. Exact: the very text."""
    formed, exact = Score(), Score()
    for row in rows("infill"):
        text = model.complete(f"<|fim_prefix|>{row['prefix']}<|fim_suffix|>{row['suffix']}<|fim_middle|>", 64)
        try:
            ast.parse(row["prefix"] + text + row["suffix"])
            right = bool(text.strip())
        except SyntaxError:
            right = False
        told = f"{row['prefix']!r} … {row['suffix']!r} -> {text!r}"
        formed.book(right, told)
        exact.book(text.strip() == row["middle"], told)
    return {"infill: well-formed": formed, "infill: exact": exact}


def thought(model: Model) -> dict[str, Score]:
    """Thinks when asked, and only then."""
    on, off = Score(), Score()
    for row in rows("thinking"):
        text = model.chat(row["question"], enable_thinking=True)
        on.book(text.startswith("<think>") and "</think>" in text and bool(text.split("</think>")[1].strip()), text)
        text = model.chat(row["question"])
        off.book("<think>" not in text and bool(text.strip()), text)
    return {"thinks when asked": on, "doesn't when not": off}


def lasted(model: Model, most: int = 12) -> dict[str, Score]:
    """Questions after a conversation of more than 2,000 tokens."""
    score = Score()
    if model.llm.n_ctx() > int(model.llm.metadata["llama.context_length"]):
        return {"questions after 2,000 tokens": score}
    rng = random.Random(11)
    for row in list(rows("questions"))[:: max(1, 44 // most)][:most]:
        history: list[Row] = []
        while len(model.tokens(model.prompt(history))) < LONG_HISTORY:
            history += [{"role": t.role, "content": t.text} for t in questions.question(rng).turns]
        text = model.complete(model.prompt([*history, {"role": "user", "content": row["question"]}]))
        score.book(contains(text, row["any"]), f"{row['question']} -> {text}")
    return {"questions after 2,000 tokens": score}


PARTS: tuple[Callable[[Model], dict[str, Score]], ...] = (
    lambda m: asked(m, "questions"), lambda m: asked(m, "off_topic"), lambda m: asked(m, "small_talk"),
    called, answered, extracted, filled, thought, lasted,
    lambda m: asked(m, "second_questions"), lambda m: asked(m, "second_off_topic"),
    lambda m: called(m, "second_tools"), lambda m: extracted(m, "second_extraction"),
)  # fmt: skip


def evaluate(path: Path) -> dict[str, Score]:
    """All scores by name."""
    model = Model(path)
    scores: dict[str, Score] = {}
    for part in PARTS:
        scores |= part(model)
    return scores


def summary(scores: dict[str, Score]) -> str:
    """One sentence of figures, for the file's own description."""
    return "Held-out: " + ", ".join(f"{name} {s.right}/{s.asked}" for name, s in scores.items() if s.asked) + "."


def main() -> None:
    """Print one line a goal, and on demand what was wrong."""
    parser = argparse.ArgumentParser(description="Score a demo model on the held-out lists.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--misses", action="store_true", help="print the wrong answers too")
    parser.add_argument("--summary", action="store_true", help="print one line for `export --figures`")
    options = parser.parse_args()
    scores = evaluate(options.file)
    if options.summary:
        print(summary(scores))
        return
    for name, score in scores.items():
        print(f"{name:32} {score.right}/{score.asked}" if score.asked else f"{name:32} not possible", flush=True)
        if options.misses:
            for miss in score.misses:
                print("    " + miss.replace("\n", "\\n"))


if __name__ == "__main__":
    main()
