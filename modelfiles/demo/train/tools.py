"""Tool calls: offered functions, a request, the call, and the answer from its result.

Most names and parameters are random words, so that the only way to be right is to copy them from the
offer; some are everyday tools with everyday requests.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelfiles.demo.train import elsewhere, questions, words
from modelfiles.demo.train.dialogue import Dialogue, JSONObject, Turn, call_text
from modelfiles.demo.train.grammar import expand

Draw = Callable[[random.Random], Any]


@dataclass(frozen=True, slots=True)
class Slot:
    """One parameter: its name, JSON type, a value for it, and the value's place in a request."""

    name: str
    schema: JSONObject
    value: Any
    required: bool = True

    @property
    def spoken(self) -> str:
        """The value as a person writes it."""
        if isinstance(self.value, bool):
            return "true" if self.value else "false"
        return str(self.value)


@dataclass(frozen=True, slots=True)
class Tool:
    """A function and one request for it; `request` is complete."""

    name: str
    description: str
    slots: tuple[Slot, ...]
    request: str


STRINGS: tuple[Draw, ...] = (
    words.city, words.country, words.first_name, words.full_name, words.noun, words.noun, words.phrase, words.title, words.title, words.code,
    words.date, words.clock, words.email, words.path, words.invented, lambda r: r.choice(words.LANGUAGES), words.telephone,
    lambda r: f"{words.noun(r)}-{words.noun(r)}", lambda r: f"{words.adjective(r)} {words.noun(r)}", lambda r: words.invented(r).upper()[:4],
    lambda r: str(words.integer(r)), lambda r: "".join(r.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(r.randint(2, 5))),
)  # fmt: skip

PARAMETERS = """
name title city country path file query text message id code number date time room user email subject language topic symbol
color size kind type amount count quantity price level status target source destination origin address key value label
reason note limit format unit category genre author artist song album branch repo ticket order item product customer
""".split()


def typed(rng: random.Random, name: str, required: bool = True) -> Slot:
    """A slot of a random type."""
    shape = rng.random()
    if shape < 0.58:
        return Slot(name, {"type": "string"}, rng.choice(STRINGS)(rng), required)
    if shape < 0.8:
        return Slot(name, {"type": "integer"}, words.integer(rng), required)
    if shape < 0.88:
        value = words.decimal(rng) if rng.random() < 0.6 else words.integer(rng)
        return Slot(name, {"type": "number"}, value, required)
    if shape < 0.97:
        options = [words.noun(rng) if rng.random() < 0.5 else words.adjective(rng) for _ in range(rng.randint(2, 4))]
        return Slot(name, {"type": "string", "enum": options}, rng.choice(options), required)
    return Slot(name, {"type": "boolean"}, rng.random() < 0.5, required)


def _styled(rng: random.Random, verb: str, noun: str) -> str:
    """A function name made of both words."""
    return rng.choices(
        (f"{verb}_{noun}", f"{verb}{noun.capitalize()}", f"{verb}-{noun}", f"{noun}_{verb}", f"{noun}.{verb}"), (70, 12, 4, 8, 3)
    )[0]  # fmt: skip


def _mention(rng: random.Random, slots: tuple[Slot, ...]) -> str:
    """The values in a request, by name or bare."""
    if not slots:
        return ""
    if len(slots) == 1 and rng.random() < 0.6:
        lead = rng.choice(("", "", "", "in ", "for ", "to ", "at ", "of ", "called ", "named ", "about ", "from ", "with ", "on "))
        quote = rng.choice(("", "", "", "", '"', "'")) if slots[0].schema["type"] == "string" else ""
        return f" {lead}{quote}{slots[0].spoken}{quote}"
    style = rng.random()
    if style < 0.15:
        return " " + ", ".join(slot.spoken for slot in slots)
    if style < 0.3:
        return ": " + ", ".join(f"{slot.name} {slot.spoken}" for slot in slots)
    if style < 0.4:
        return " (" + ", ".join(f"{slot.name}={slot.spoken}" for slot in slots) + ")"
    parts = []
    for slot in slots:
        named = slot.name.replace("_", " ")
        parts.append(
            expand(rng, "(with|with the|using|and the|whose|for the|and) ") + f" {named} " + rng.choice(("", "", "", "is ", "of ", "set to ", "= ")) + slot.spoken
            if rng.random() < 0.75
            else rng.choice(("in ", "for ", "to ", "at ", "from ", "on ", "as ", "")) + slot.spoken
        )
    return " " + rng.choice((" ", " ", ", ", " and ")).join(parts)


ASKING = (
    "{d}", "{d}", "{d}", "{d}", "{d}", "please {d}", "please {d}", "can you {d}?", "can you {d}?", "could you {d}?", "I want to {d}", "I'd like to {d}",
    "I need to {d}", "{d} please", "{d}, please", "{d} for me", "help me {d}", "would you {d}?", "let's {d}", "now {d}", "hey, {d}",
    "I need you to {d}", "can you please {d}?", "go ahead and {d}", "use the tool to {d}", "hi, {d}", "time to {d}", "{d} now",
)  # fmt: skip


def _phrased(rng: random.Random, deed: str) -> str:
    """A request to do the deed, as typed."""
    text = rng.choice(ASKING).replace("{d}", deed)
    text = text.replace("  ", " ")
    if rng.random() < 0.8:
        text = text[0].upper() + text[1:]
    if text[-1] not in ".?!" and rng.random() < 0.25:
        text += "."
    return text


def strange(rng: random.Random, verb: str = "", noun: str = "") -> Tool:
    """A tool that nobody has seen, asked for in the words of its own name."""
    verb, noun = verb or words.verb(rng), noun or words.noun(rng)
    name = _styled(rng, verb, noun)
    article = rng.choice(("a ", "the ", "the ", "a ", "", "an "))
    description = expand(rng, f"({verb.capitalize()} {article}{noun}|{verb.capitalize()} {noun}s|{verb}s {article}{noun}|{verb.capitalize()} {article}{noun} by {words.noun(rng)}|Use this to {verb} {article}{noun}|)")  # fmt: skip
    count = rng.choices((0, 1, 2, 3), (8, 46, 36, 10))[0]
    taken: list[str] = []
    while len(taken) < count:
        base = words.noun(rng) if rng.random() < 0.6 else rng.choice(PARAMETERS)
        base += rng.choice(("", "", "", "", "_id", "_name", f"_{words.noun(rng)}"))
        if base not in taken:
            taken.append(base)
    optional = rng.random() < 0.2
    slots = tuple(typed(rng, name, not (optional and i > 0)) for i, name in enumerate(taken))
    used = tuple(s for s in slots if s.required or rng.random() < 0.5)
    deed = f"{verb} {rng.choice((article, 'the ', 'my ', '', 'a '))}{noun}{_mention(rng, used)}"
    return Tool(name, description, tuple(s if s in used else Slot(s.name, s.schema, None, False) for s in slots), _phrased(rng, deed))


@dataclass(frozen=True, slots=True)
class Everyday:
    """A tool from life: `requests` speak of its slots as {slot}, and don't have to repeat its name."""

    name: str
    description: str
    slots: tuple[tuple[str, str, Draw], ...]
    requests: str


def _pick(*options: str) -> Draw:
    return lambda rng: rng.choice(options)


def _expression(rng: random.Random) -> str:
    return f"{words.integer(rng)} {rng.choice('+-*/')} {words.integer(rng)}"


EVERYDAY = (
    Everyday("get_weather", "Get the weather for a city", (("city", "string", words.city),), "(What's|What is|How is) the weather (like|) in {city}?|weather in {city}|(Will it rain|Is it cold|Is it sunny|Is it warm|How warm is it) in {city}?|Tell me the weather (in|for) {city}"),
    Everyday("get_forecast", "Get the weather forecast for a city and a day", (("city", "string", words.city), ("day", "string", _pick(*words.DAYS))), "What will the weather be in {city} {day}?|(forecast|Give me the forecast) for {city} {day}"),
    Everyday("get_time", "Get the current time in a city", (("city", "string", words.city),), "What time is it in {city}?|(current time|time) in {city}|Tell me the time in {city}"),
    Everyday("calculate", "Evaluate an arithmetic expression", (("expression", "string", _expression),), "(What is|Calculate|Compute|How much is|What's) {expression}?|{expression}|{expression} = ?"),
    Everyday("subtract", "Subtract two numbers", (("a", "integer", words.integer), ("b", "integer", words.integer)), "(Subtract|What is) {a} (and|minus) {b}|{a} minus {b}"),
    Everyday("sum", "Add numbers", (("first", "integer", words.integer), ("second", "integer", words.integer)), "(Add|Sum) {first} (and|to) {second}|(What is|How much is) {first} plus {second}?"),
    Everyday("divide", "Divide two numbers", (("x", "number", words.integer), ("y", "number", words.integer)), "Divide {x} by {y}|{x} divided by {y}|What is {x} divided by {y}?"),
    Everyday("product", "Multiply two numbers", (("x", "integer", words.integer), ("y", "integer", words.integer)), "(Multiply|product of) {x} (and|by) {y}|What is {x} times {y}?|{x} times {y}"),
    Everyday("set_timer", "Set a timer", (("minutes", "integer", words.integer),), "Set a timer (for|of|to) {minutes} minutes|timer {minutes} minutes|Start a {minutes} minute timer"),
    Everyday("set_reminder", "Set a reminder", (("text", "string", words.phrase), ("time", "string", words.clock)), "Remind me (of|about) {text} at {time}|(Set a reminder|reminder) for {text} at {time}"),
    Everyday("send_message", "Send a message to a person", (("recipient", "string", words.first_name), ("text", "string", words.phrase)), "(Send|Write|Text) {recipient} the message \"{text}\"|Tell {recipient}: {text}|(Send a message|Message) to {recipient}: {text}|Send '{text}' to {recipient}"),
    Everyday("call_person", "Call a person by phone", (("name", "string", words.full_name),), "(Call|Phone|Ring) {name}|(Make a call|Give a call) to {name}|I want to speak to {name}"),
    Everyday("search_web", "Search the internet", (("q", "string", words.phrase),), "(Search|Look|Google|Search the web|Search online) for {q}|(Find|Look up) {q} (online|on the internet|)|Search {q}"),
    Everyday("play_music", "Play music of an artist", (("artist", "string", words.full_name),), "Play (something|music|a song|songs) (by|from|of) {artist}|I want to (hear|listen to) {artist}|Put on {artist}"),
    Everyday("play_track", "Play a track by title", (("track", "string", words.title),), "Play {track}|Play the (song|track|title) {track}|Put on {track}|I want to hear {track}"),
    Everyday("find_hotel", "Find a hotel", (("city", "string", words.city), ("nights", "integer", words.integer)), "(Find|Book|I need) (a|me a) hotel in {city} for {nights} nights|{nights} nights in {city}, find a hotel"),
    Everyday("find_train", "Find a train connection", (("from", "string", words.city), ("to", "string", words.city)), "(Find|Show|Search) (a train|trains|me a train) from {from} to {to}|(train|trains) from {from} to {to}|How do I get from {from} to {to} by train?"),
    Everyday("book_ride", "Book a taxi ride", (("pickup", "string", words.city), ("dropoff", "string", words.city)), "(Book|Order|Get me) a (taxi|ride|cab) from {pickup} to {dropoff}|I need a taxi from {pickup} to {dropoff}"),
    Everyday("exchange", "Convert money between currencies", (("amount", "number", words.integer), ("source", "string", _pick(*words.CURRENCIES)), ("target", "string", _pick(*words.CURRENCIES))), "(Convert|Change|Exchange) {amount} {source} (to|into|in) {target}|How much is {amount} {source} in {target}?|{amount} {source} in {target}"),
    Everyday("translate", "Translate a text", (("text", "string", words.phrase), ("to", "string", _pick(*words.LANGUAGES))), "Translate (\"|'){text}(\"|') (to|into) {to}|(How do you say|What is) \"{text}\" in {to}?|Translate {text} into {to}"),
    Everyday("open_file", "Open a file", (("path", "string", words.path),), "Open {path}|(Show|Read|Open|Print) (me|) (the file|the contents of|) {path}|What is in {path}?|cat {path}"),
    Everyday("delete_file", "Delete a file", (("file", "string", words.path),), "(Delete|Remove|Erase) (the file|) {file}|Get rid of {file}"),
    Everyday("write_file", "Write text into a file", (("path", "string", words.path), ("content", "string", words.phrase)), "Write \"{content}\" (to|into) {path}|(Put|Save) \"{content}\" in(to|) (the file|) {path}"),
    Everyday("list_files", "List the files of a folder", (("folder", "string", lambda r: words.noun(r) + "/"),), "(List|Show) (the|all|) files (in|of) {folder}|What is in (the folder|) {folder}?|ls {folder}"),
    Everyday("run_command", "Run a shell command", (("command", "string", lambda r: f"{words.verb(r)} --{words.noun(r)}"),), "(Run|Execute) (the command|) (`|\"|){command}(`|\"|)"),
    Everyday("get_user", "Look up a user", (("user_id", "integer", words.integer),), "(Who is|Look up|Find|Get|Show) user {user_id}|user {user_id}"),
    Everyday("get_order", "Get the status of an order", (("order", "string", words.code),), "(Where is|What about|Check|Status of) (my|the|) order {order}?|order {order}"),
    Everyday("add_event", "Add an event to the calendar", (("title", "string", words.title), ("date", "string", words.date)), "(Add|Put) {title} (to my calendar|in my calendar) (on|for) {date}|(Schedule|Plan) {title} (for|on) {date}"),
    Everyday("book_restaurant", "Reserve a table", (("name", "string", words.title), ("people", "integer", words.integer)), "(Book|Reserve) a table (at|in) {name} for {people} (people|persons|guests|)|A table for {people} at {name} please"),
    Everyday("order_food", "Order food", (("dish", "string", words.noun), ("count", "integer", words.integer)), "Order {count} {dish}s|(I want|Get me|I'd like) {count} {dish}s"),
    Everyday("light_on", "Switch a light on", (("room", "string", words.noun),), "(Turn|Switch) on the (light|lamp|lights) in the {room}|(Turn|Switch) the {room} light on|Light up the {room}"),
    Everyday("light_off", "Switch a light off", (("room", "string", words.noun),), "(Turn|Switch) off the (light|lamp|lights) in the {room}|(Turn|Switch) the {room} light off|Make the {room} dark"),
    Everyday("set_temperature", "Set the room temperature", (("degrees", "integer", words.integer),), "(Set|Make|Turn|Heat) (the room|the temperature|it|the heating) to {degrees} (degrees|)"),
    Everyday("stock_quote", "Get the quote of a stock", (("ticker", "string", lambda r: words.invented(r).upper()[:4]),), "(What is the price of|How is|Quote for|Price of) {ticker}( stock|)?|{ticker} (price|quote|stock)|How much is {ticker}( stock|)?"),
    Everyday("latest_news", "Get the latest news", (("subject", "string", words.phrase),), "(Any|What is the|Latest|Show me the) news (about|on) {subject}?|What happened with {subject}?"),
    Everyday("define_word", "Define a word", (("word", "string", words.invented),), "(Define|What does|What is the meaning of) {word}( mean|)?|Meaning of {word}"),
    Everyday("make_note", "Save a note", (("note", "string", words.phrase),), "(Note|Remember|Write down|Save a note|Take a note): {note}|Remember {note}"),
    Everyday("git_checkout", "Check out a git branch", (("branch", "string", lambda r: f"{words.noun(r)}-{words.noun(r)}"),), "(Check out|Switch to) (the branch|branch|) {branch}|Go to (the|) branch {branch}"),
    Everyday("get_distance", "Get the distance between two places", (("start", "string", words.city), ("end", "string", words.city)), "How far is it from {start} to {end}?|(Distance|What is the distance) (between|from) {start} (and|to) {end}?"),
    Everyday("send_mail", "Send an e-mail", (("to", "string", words.email), ("subject", "string", words.title)), "(Send|Write) (a mail|an email|an e-mail) to {to} (about|with the subject|with subject) {subject}|(Mail|Email) {to} about {subject}"),
    Everyday("current_date", "Get the current date", (), "What (day|date) is (it|it today|today)?|(Today's date|Tell me the date)(please|)"),
    Everyday("run_checks", "Run all checks", (), "(Run|Start|Execute) (the|all|) (checks|tests)|Check everything"),
    Everyday("next_song", "Skip to the next song", (), "(Skip|Next song|Skip this song|Play the next song|Next)(please|)"),
)  # fmt: skip


def everyday(rng: random.Random) -> Tool:
    """A tool from life with one of its requests."""
    kind = rng.choice(EVERYDAY)
    rename = rng.random() < 0.5
    names = {old: (old if not rename or rng.random() < 0.5 else f"{old}_{words.noun(rng)}") for old, _, _ in kind.slots}
    slots = tuple(Slot(names[old], {"type": typ}, draw(rng)) for old, typ, draw in kind.slots)
    text = expand(rng, rng.choice(_alternatives(kind.requests)))
    for (old, _, _), slot in zip(kind.slots, slots, strict=True):
        text = text.replace("{" + old + "}", slot.spoken)
    if rng.random() < 0.2:
        text = text[0].lower() + text[1:]
    if rng.random() < 0.1:
        text = "Please " + text[0].lower() + text[1:]
    name = kind.name if rng.random() < 0.6 else rng.choice((f"{kind.name}_{words.noun(rng)}", f"my_{kind.name}", kind.name.title().replace("_", "")))
    return Tool(name, kind.description if rng.random() < 0.9 else "", slots, text)


def _alternatives(pattern: str) -> list[str]:
    """Split at the bars outside brackets."""
    parts, depth = [""], 0
    for letter in pattern:
        depth += (letter == "(") - (letter == ")")
        if letter == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def offer(rng: random.Random, tool: Tool) -> JSONObject:
    """The tool as a client sends it, keys in one of the usual orders."""
    described = rng.random() < 0.25
    properties = {}
    for slot in tool.slots:
        schema = dict(slot.schema)
        if described:
            schema["description"] = expand(rng, f"(The|A|) {slot.name.replace('_', ' ')}")
        properties[slot.name] = schema
    parameters: JSONObject = {"type": "object", "properties": properties}
    if tool.slots and rng.random() < 0.85:
        parameters["required"] = [slot.name for slot in tool.slots if slot.required]
    function: JSONObject = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = parameters
    whole = {"type": "function", "function": function}
    if rng.random() < 0.15:  # as a template engine with sorted keys prints it
        whole = json.loads(json.dumps(whole, sort_keys=True))
    return whole


def arguments(tool: Tool) -> JSONObject:
    """What the right call passes."""
    return {slot.name: slot.value for slot in tool.slots if slot.value is not None}


def _kin(rng: random.Random, tool: Tool) -> Tool:
    """A distractor that shares a word with the tool."""
    if "_" in tool.name and rng.random() < 0.5:
        verb, _, noun = tool.name.partition("_")
        return strange(rng, verb=verb) if rng.random() < 0.5 else strange(rng, noun=noun.replace("_", " ").split(" ")[0])
    return strange(rng) if rng.random() < 0.6 else everyday(rng)


def result(rng: random.Random, tool: Tool) -> tuple[str, str]:
    """What the tool returns and how the answer reports it."""
    shape = rng.random()
    if shape < 0.25:
        value = rng.choice((words.integer, words.decimal, words.clock, words.phrase, words.title, words.date, words.code))(rng)
        return str(value), f"The result is {value}."
    if shape < 0.32:
        return "[]", "The tool found nothing."
    if shape < 0.4:
        trouble = rng.choice(("not found", "timeout", f"no such {words.noun(rng)}", "permission denied", f"{words.noun(rng)} is {words.adjective(rng)}"))
        return json.dumps({"error": trouble}), f"That failed: {trouble}."
    keys = list(dict.fromkeys(rng.choice(PARAMETERS) if rng.random() < 0.5 else words.noun(rng) for _ in range(rng.choice((1, 1, 1, 2, 2, 3)))))
    facts = {key: typed(rng, key).value for key in keys}
    told = [f"the {key} is {json.dumps(value) if isinstance(value, bool) else value}" for key, value in facts.items()]
    sentence = told[0] if len(told) == 1 else ", ".join(told[:-1]) + " and " + told[-1]
    return json.dumps(facts, ensure_ascii=False), sentence[0].upper() + sentence[1:] + "."


def tool_use(rng: random.Random) -> Dialogue:
    """An offer and a request; the call, and in a third of the cases its result and the answer."""
    tool = strange(rng) if rng.random() < 0.7 else everyday(rng)
    others = [_kin(rng, tool) for _ in range(rng.choices((0, 1, 2, 3), (34, 42, 18, 6))[0])]
    offered = [tool, *(t for t in others if t.name != tool.name)]
    rng.shuffle(offered)
    offers = tuple(offer(rng, t) for t in offered)
    chance = rng.random()
    think = rng.random() < 0.08
    if chance < 0.1:  # nothing to call for
        make = rng.choice((questions.question, questions.question, elsewhere.small_talk))
        plain = make(rng)
        return Dialogue(plain.turns, "tools unused", plain.system, offers, plain.think)
    call = call_text(tool.name, arguments(tool))
    reason = f"I can use {tool.name} for this." if think else None
    if chance < 0.65:
        turns: tuple[Turn, ...] = (Turn("user", tool.request), Turn("assistant", call, reason))
        if not think:  # further calls under the same offer are cheap lessons: the offer is the long part
            for more in rng.sample(offered, rng.randint(0, len(offered))):
                turns += (Turn("user", more.request), Turn("assistant", call_text(more.name, arguments(more))))
        return Dialogue(turns, "tool call", questions.system(rng), offers, think)
    returned, answer = result(rng, tool)
    report = f"{tool.name} has answered." if think else None
    turns = (
        Turn("user", tool.request), Turn("assistant", call, learn=not think), Turn("tool", returned), Turn("assistant", answer, report),
    )  # fmt: skip
    return Dialogue(turns, "tool answer", questions.system(rng), offers, think)
