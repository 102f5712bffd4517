"""Questions about Runner, and the same frames about anything else: the contrast that keeps answers honest.

Owns the frames. Facts come from `facts`, foreign topics from `elsewhere`.
"""

from __future__ import annotations

import random
import re

from modelfiles.demo.train import words
from modelfiles.demo.train.dialogue import Dialogue, Turn
from modelfiles.demo.train.facts import FACTS, Fact
from modelfiles.demo.train.grammar import expand

FRAMES = (
    "how do I {do}?", "how do I {do}?", "how do I {do}?", "how can I {do}?", "how can I {do}?", "how to {do}?", "how to {do}",
    "how would I {do}?", "how does one {do}?", "how do you {do}?", "how could I {do}?", "how should I {do}?", "how may I {do}?",
    "how might one {do}?", "how am I supposed to {do}?", "how do we {do}?", "how did I {do} again?",
    "(what is|what's) the (command|subcommand|verb|way|best way|right command|easiest way|trick|proper way) to {do}?",
    "(which|what) (command|subcommand|verb|call) (do I use|do I need|should I use|is there|is used|lets me|would I use|is it) (to|if I want to) {do}?",
    "(which|what) (command|subcommand) (will|can|would) {do}?",
    "(what|which command) do I (type|run|enter|use|need|call|do|execute) to {do}?",
    "(what|which command) (should|must|can|would) I (type|run|enter|use|do) to {do}?",
    "I (want|need|would like|wish|have|plan|intend|am trying|hope|am about|was told) to {do}",
    "I'd like to {do}, (what do I type|how|which command|what is the command|how do I do that)?",
    "I (want|need) to {do}, (what do I type|how|which command is that|what is the command|what now|where do I start)?",
    "I want to {do}. (What do I type|How|Which command|What is the command|How do I do that|What do I run|Any hint)?",
    "{do}", "{do}", "{do} please", "please {do}", "{do}, please", "{do}: how?", "{do}, how?", "{do}: (which command|what command|how is that done)?",
    "can I {do}?", "can I {do}? How?", "could I {do}?", "may I {do}?", "am I able to {do}?", "can one {do}?", "can Runner {do}?",
    "is it possible to {do}?", "is there a (way|command|method|possibility|subcommand) to {do}?", "is there (some|any) way to {do}?",
    "(tell|show|teach|remind) me how to {do}", "can you (tell|show|explain to) me how to {do}?", "could you (tell|show|explain to) me how I {do}?",
    "do you know how to {do}?", "explain how to {do}", "please explain how I can {do}", "help me {do}", "can you help me {do}?",
    "what is needed to {do}?", "what must I do to {do}?", "what's the (quickest|simplest|fastest) way to {do}?", "steps to {do}",
    "command to {do}", "the command to {do}?", "what if I want to {do}?", "let me {do}", "time to {do}", "I can't {do}, how does it work?",
    "I don't know how to {do}", "I forgot how to {do}", "looking for a way to {do}", "trying to {do}", "need to {do}", "want to {do}",
    "any way to {do}?", "where do I {do}?", "where can I {do}?", "my goal is to {do}", "I have to {do}, how?", "suppose I want to {do}, how?",
    "{do}, which (command|subcommand|verb) is that?", "{do}. (How|Which command|What do I type)?", "what lets me {do}?", "how is it possible to {do}?",
    "what's the (command|subcommand|way) for {doing}?", "(command|subcommand) for {doing}", "{doing}: how?", "{doing}: which command is that?", "{doing}, how does that work?",
    "how does {doing} work?", "is {doing} possible?", "what about {doing}?", "how about {doing}?", "I am interested in {doing}", "I need help with {doing}",
    "(which|what) (command|subcommand|verb) is (for|used for|there for|responsible for) {doing}?", "any (hint|tip|advice|idea) on {doing}?", "{doing}?", "explain {doing}",
    "how do I go about {doing}?", "what is the (procedure|syntax|command line) for {doing}?", "I have trouble {doing}", "is there a (command|way) for {doing}?",
)  # fmt: skip

OPENINGS = (
    "hi, ", "hello, ", "hey, ", "hi! ", "hello! ", "so, ", "ok, ", "quick question: ", "one question: ", "question: ", "please: ",
    "um, ", "well, ", "sorry, ", "and ", "now, ", "excuse me, ", "hey runner, ", "good morning, ", "I am new here. ", "I'm new to this: ",
    "next: ", "also, ", "thanks! ", "another thing: ", "just wondering, ",
)  # fmt: skip
ENDINGS = (
    " please", " (please)", " thanks", ", thanks", " with Runner", " in Runner", " using Runner", " with runner", " from the terminal",
    " on Linux", " on my Mac", " on Windows", " from the command line", " here", " now", " quickly", " exactly", " again", " then",
    " on this machine", " easily", " in the shell", " by command", " properly", " for a project", " for work", ", I am new", " because I have to", " and I don't know how",
    " as soon as possible", ", it is urgent", " if that is possible", " without reading the docs", " (I forgot)", ", any idea?", ", do you know?", ", my friend", " today",
)  # fmt: skip

DOUBLED = frozenset("get put set cut run stop drop begin plan trim grab snag scrap pin ship fit hit let sit spin chat kid win dig tap step wrap".split())
"""Verbs that double their last letter before -ing."""

PLAIN = 0.25
"""How often a fact is asked for in the words that everybody thinks of first."""

CONCRETE = (
    "qwen3 qwen3:4b qwen2.5 qwen2.5-coder llama3.2 llama3.2:1b llama3.1 gemma3 gemma3:4b gemma2 mistral phi4 phi3 smollm2 "
    "deepseek-r1 deepseek-r1:7b granite3 codellama tinyllama all-minilm nomic-embed-text bge-m3 llava demo mymodel"
).split()
GENERIC = (
    "a model", "a model", "a model", "the model", "a (new|local|language|chat|small|big|large|certain|single|whole|specific|different|good) model",
    "(my|this|that|one|some|any|another|an old|an existing|one of my) model", "models", "an LLM", "(a|some) language model",
    "(a|one of the) model(s|) I (don't use|no longer need|have|own|like|downloaded|made)", "the model I (use|have|made|downloaded|pulled)", "it",
)  # fmt: skip


def concrete(rng: random.Random) -> str:
    """A model's name as a user types it."""
    shape = rng.random()
    if shape < 0.7:
        return rng.choice(CONCRETE)
    if shape < 0.9:
        name = words.invented(rng) + rng.choice(("", "", str(rng.randint(2, 5)), "-chat", "-instruct", "-mini"))
        return name + rng.choice(("", "", f":{rng.randint(1, 70)}b"))
    return f"hf.co/{words.invented(rng)}/{words.invented(rng)}-GGUF"


def scuffed(rng: random.Random, text: str) -> str:
    """The sentence as people really type it: a greeting, lower case, no full stop, a typo."""
    if rng.random() < 0.13:
        text = rng.choice(OPENINGS) + text
    if rng.random() < 0.12:
        bare, mark = (text[:-1], text[-1]) if text[-1] in ".?!" else (text, "")
        text = bare + rng.choice(ENDINGS) + mark
    if rng.random() < 0.7:
        text = text[0].upper() + text[1:]
    elif rng.random() < 0.5:
        text = text.lower()
    if rng.random() < 0.25:
        text = text.rstrip("?.!")
    elif text[-1] not in ".?!" and rng.random() < 0.4:
        text += rng.choice(".!?.")
    return words.inverted(rng, text) if rng.random() < 0.06 else text


def ask(rng: random.Random, fact: Fact) -> tuple[str, str]:
    """A question for the fact and its answer; a model that the question names is named in the answer too."""
    share = len(fact.ways) / (len(fact.ways) + 0.6 * len(fact.asks))
    if fact.plain and rng.random() < PLAIN:
        text = framed(rng, rng.choice(fact.plain))
    else:
        text = framed(rng, rng.choice(fact.ways)) if rng.random() < share else rng.choice(fact.asks)
    name = "NAME"
    while "{m}" in text:
        if "NAME" in fact.answer and name == "NAME" and rng.random() < 0.22:
            name = concrete(rng)
            text = text.replace("{m}", name, 1)
        else:
            text = text.replace("{m}", rng.choice(GENERIC), 1)
    # "a new name" contains no NAME; NEWNAME stays as it is
    return scuffed(rng, expand(rng, text)), re.sub(r"\bNAME\b", lambda _: name, fact.answer)


def gerund(deed: str) -> str:
    """The deed with its first verb as a noun: "get rid of it" is "getting rid of it"."""
    verb, blank, rest = deed.partition(" ")
    if verb.endswith("ie"):
        verb = verb[:-2] + "y"
    elif verb.endswith("e") and not verb.endswith(("ee", "oe")):
        verb = verb[:-1]
    elif verb in DOUBLED:
        verb += verb[-1]
    return f"{verb}ing{blank}{rest}"


def framed(rng: random.Random, pattern: str) -> str:
    """The verb phrase in one of the frames."""
    frame = rng.choice(FRAMES)
    deed = expand(rng, pattern)
    return expand(rng, frame).replace("{doing}", gerund(deed)).replace("{do}", deed)


def thought(rng: random.Random, gloss: str) -> str:
    """A short thought that leads to the answer."""
    return rng.choice(("The question is about {g}.", "This is about {g}. I know that one.", "They ask about {g}.")).format(g=gloss)


SYSTEMS = (
    "You are a helpful assistant.", "You are a helpful assistant.", "Answer briefly.", "You are Runner's assistant.", "Be concise.",
    "You are a friendly assistant. Answer in one sentence.", "You are an expert.", "Be polite.", "You are a helpful AI assistant.",
    "You answer questions about Runner.", "Keep it short.", "You help users on the command line.", "Answer the user's question.",
)  # fmt: skip


def system(rng: random.Random, share: float = 0.2) -> str:
    """A system prompt that changes nothing, or none."""
    if rng.random() >= share:
        return ""
    if rng.random() < 0.3:
        return f"You are {words.first_name(rng)}, a {words.adjective(rng)} {rng.choice(words.JOBS)}."
    return rng.choice(SYSTEMS)


def question(rng: random.Random) -> Dialogue:
    """One fact, asked and answered."""
    fact = rng.choices(FACTS, [f.weight for f in FACTS])[0]
    asked, answer = ask(rng, fact)
    think = rng.random() < 0.15
    turns = (Turn("user", asked), Turn("assistant", answer, thought(rng, fact.gloss) if think else None))
    return Dialogue(turns, "question", system(rng), think=think)
