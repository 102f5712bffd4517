"""Text in, JSON out: what a person asks when he wants fields picked from a sentence.

Half the keys are random words in random sentences, so that copying is all that helps.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from modelfiles.demo.train import words
from modelfiles.demo.train.dialogue import Dialogue, Turn
from modelfiles.demo.train.grammar import expand
from modelfiles.demo.train.tools import Slot, typed

Draw = Callable[[random.Random], Any]

KINDS: tuple[tuple[dict[str, Draw], tuple[str, ...]], ...] = (
    ({"name": words.first_name, "age": lambda r: r.randint(1, 99)}, ("{name} is {age} (years old|)", "{name}, (age|aged|who is) {age}, (lives here|is my friend|likes {x}|works as a {y}|lives in {z})", "{name} ({age}) (likes {x}|plays the {x}|is a {y})", "(My friend|This is|Meet|I know) {name}, {age} years old", "{name} (turned|turns|has turned|will be) {age} (today|this year|)", "At {age}, {name} (is|became) a {y}")),
    ({"name": words.full_name, "age": lambda r: r.randint(1, 99), "city": words.city}, ("{name}, {age}, lives in {city}", "{name} is {age} years old and (lives in|comes from|works in|was born in) {city}", "{age}-year-old {name} from {city}", "{name} from {city} is {age}")),
    ({"name": words.full_name, "job": lambda r: r.choice(words.JOBS)}, ("{name} (is|works as|became) a {job}", "{name}, a {job} (by trade|), (lives in {z}|likes {x}|is here)", "(The|Our|My) {job} is (called|named|) {name}", "Our {job} {name} is (ill|away|here|on holiday)")),
    ({"name": words.full_name, "job": lambda r: r.choice(words.JOBS), "city": words.city}, ("{name} (works|is employed) as a {job} in {city}", "{name} is a {job} (in|from) {city}", "{name}, a {job}, lives in {city}", "The {job} {name} (moved to|lives in|comes from) {city}")),
    ({"city": words.city, "country": words.country}, ("{city} (is|lies) (a city|a town|) in {country}", "{city}, {country}", "(The city of|I live in|We visited|She comes from) {city} in {country}", "{city} is the capital of {country}", "{country}'s largest city is {city}")),
    ({"city": words.city, "temperature": lambda r: r.randint(-20, 45)}, ("It is {temperature} degrees in {city}", "{city}: {temperature} degrees", "In {city} (we measured|it was|they had) {temperature} degrees")),
    ({"product": words.noun, "price": words.integer}, ("The {product} costs {price} (euros|dollars|pounds|)", "A {product} (for|at) {price} (euros|dollars)", "I (paid|spent) {price} (dollars|euros) (for|on) a {product}", "{product}: {price} (euros|dollars)", "The price of the {product} is {price}", "You get the {product} for {price} euros")),
    ({"item": words.noun, "quantity": words.integer}, ("(I need|We ordered|They sent|Buy|He bought) {quantity} {item}s", "{quantity} {item}s (are missing|arrived|were sold|please)", "(There are|We have) {quantity} {item}s in stock")),
    ({"order_id": words.integer, "status": lambda r: r.choice(("shipped", "delivered", "open", "late", "paid", "lost", "cancelled"))}, ("Order {order_id} (is|was|has been) {status}", "(The|Your) order (number|no.|) {order_id} is {status}", "Status of order {order_id}: {status}")),
    ({"order": words.code, "items": words.integer, "total": words.decimal}, ("Order {order} (has|contains|holds) {items} items, {total} in total", "{items} items in order {order} cost {total}")),
    ({"title": words.title, "year": lambda r: r.randint(1800, 2030)}, ("{title} (came out|appeared|was released|was published|was made) in {year}", "(The|A) (film|book|novel|song|album|movie) {title} (is from|of|came out in|dates from) {year}", "{title} ({year})", "In {year} {title} (came out|was a success)")),
    ({"title": words.title, "author": words.full_name}, ("{title} (was written|is) by {author}", "{author} (wrote|published|is the author of) {title}", "The book {title} by {author}", "{author}'s {title} is (good|new|famous)")),
    ({"from": words.city, "to": words.city}, ("(A train|A flight|The bus|A trip|I travel|We go|She flew) from {from} to {to}", "{from} to {to}", "(leaving|departing from) {from}, arriving in {to}")),
    ({"from": words.city, "to": words.city, "date": words.date}, ("(A train|A flight|The bus|A trip|A ticket) from {from} to {to} on {date}", "On {date} (we|I) (go|fly|travel|drive) from {from} to {to}", "{from} to {to}, {date}")),
    ({"event": words.title, "date": words.date, "time": words.clock}, ("{event} (is|starts|takes place) on {date} at {time}", "On {date} at {time}: {event}", "(Come to|Join us for|Don't miss) {event} on {date} at {time}")),
    ({"event": words.title, "place": words.city}, ("{event} (is|takes place|will be|happens) in {place}", "(Come to|Join us at) {event} in {place}")),
    ({"email": words.email, "phone": words.telephone}, ("(Write to|Contact|Reach us at|Mail) {email} or (call|phone|) {phone}", "{email}, {phone}", "(You can reach|Call) me at {phone} or {email}", "My (mail|email) is {email} and my (number|phone) is {phone}")),
    ({"name": words.full_name, "email": words.email}, ("{name} <{email}>", "(Write to|Contact|Ask) {name} (at|under) {email}", "{name}'s (address|email|mail) is {email}", "I am {name}, (my email is|mail me at) {email}")),
    ({"color": lambda r: r.choice("red blue green black white brown yellow pink gray orange purple golden silver dark pale".split()), "animal": lambda r: r.choice("dog cat horse bird cow sheep goat fox bear wolf mouse fish duck frog snake rabbit pig hen".split())}, ("(I saw|There is|We have|Look, there is|She owns|Here comes) a {color} {animal}", "(The|My|That) {animal} is {color}", "A {color} {animal} (sleeps|runs|eats|is here)")),
    ({"color": lambda r: r.choice("red blue green black white brown yellow pink gray orange purple golden silver".split()), "object": words.noun}, ("(I bought|There is|We have|He lost|She owns) a {color} {object}", "(The|My|That) {object} is {color}")),
    ({"host": words.invented, "port": words.integer}, ("(The server|It) (runs|listens) on {host}:{port}", "Connect to {host} on port {port}", "{host} port {port}")),
    ({"user": words.invented, "action": words.verb, "time": words.clock}, ("{time} {user} {action}", "(User|) {user} did {action} at {time}", "[{time}] {user}: {action}")),
)  # fmt: skip

ORDERS = (
    "Extract {keys} (as JSON|into JSON|in JSON|): {text}", "Extract {keys} (as JSON|into JSON|as a JSON object) from: {text}", "(Return|Give me|Write|Produce|Output|Make) (a|) JSON (object|) with (the (keys|fields)|) {keys}. Text: {text}",
    "{text}\n\n(Extract|Return|Give me) {keys} as JSON", "{keys}: {text}", "(Turn|Convert|Change|Put) this (into|to) JSON with (the (fields|keys)|) {keys}: {text}", "(Please|) extract {keys} as JSON from: {text}",
    "(What are|Find|Get|List|Give me) {keys} (in|from) this text? (Answer in JSON|JSON please|Use JSON|Reply with JSON). {text}", "(JSON|json) with {keys}\n{text}", "Text: {text}\n(Fields|Keys): {keys}\n(Answer in JSON|JSON|Return JSON)",
    "Give me a JSON object with {keys}.\n\n{text}", "Parse {keys}: {text}", "I need {keys} as JSON. {text}", "(Read|Parse) the text and (return|fill in|answer with) {keys} (as JSON|in JSON):\n{text}",
)  # fmt: skip
BARE = ("(Extract|Give me|Return) {keys}: {text}", "{keys}: {text}", "{text}", "{keys}\n{text}", "Find {keys} in: {text}")
DEMANDS = (
    "Answer with JSON only.", "You reply only with valid JSON.", "Respond in JSON.", "Return only JSON.", "You are a parser. Output JSON, nothing else.",
    "Only answer in JSON.", "Your answers are JSON objects.", "Reply with JSON only, no text.", "You extract data as JSON.", "Output valid JSON.",
)  # fmt: skip
SCHEMA_ORDERS = (
    "(Fill|Use|Follow|Match) this (schema|JSON schema): {schema}\nText: {text}", "{text}\n(Schema|JSON schema): {schema}", "Extract (the data|JSON) (by|with|matching) this schema: {schema}\n{text}",
    "(Return|Write) JSON that matches {schema}\n\n{text}",
)  # fmt: skip
SCHEMA_DEMANDS = (
    "Respond with (a JSON object that matches|JSON matching) (this schema|the schema): {schema}", "Answer (only|) with JSON (of|that fits) this schema: {schema}", "JSON schema: {schema}", "Use this schema: {schema}",
)  # fmt: skip


def _told(rng: random.Random) -> tuple[str, list[Slot]]:
    """A sentence from life, and what is in it."""
    draws, forms = rng.choice(KINDS)
    values = {key: draw(rng) for key, draw in draws.items()}
    text = expand(rng, rng.choice(forms))
    for mark, draw in (("{x}", words.noun), ("{y}", lambda r: r.choice(words.JOBS)), ("{z}", words.city)):
        text = text.replace(mark, draw(rng)) if mark in text else text
    for key, value in values.items():
        text = text.replace("{" + key + "}", str(value))
    return text[0].upper() + text[1:] + ".", [Slot(key, _schema(value), value) for key, value in values.items()]


def _schema(value: object) -> dict[str, Any]:
    return {"type": "integer" if isinstance(value, int) else "number" if isinstance(value, float) else "string"}


def _random(rng: random.Random) -> tuple[str, list[Slot]]:
    """Random keys with random values in one of several plain layouts."""
    keys = list(dict.fromkeys(words.noun(rng) for _ in range(rng.choice((1, 2, 2, 2, 3, 3, 4)))))
    slots = [typed(rng, key) for key in keys]
    slots = [Slot(s.name, {"type": s.schema["type"]}, s.value) for s in slots]
    style = rng.random()
    if style < 0.3:
        text = ", ".join(f"{s.name}: {s.spoken}" for s in slots)
    elif style < 0.5:
        text = "\n".join(f"{s.name}{rng.choice((': ', ' = ', ' - '))}{s.spoken}" for s in slots)
    elif style < 0.8:
        text = " ".join(f"The {s.name} is {s.spoken}." for s in slots)
    else:
        text = " and ".join(f"the {s.name} is {s.spoken}" for s in slots) + "."
    return text, slots


def _keys(rng: random.Random, names: list[str]) -> str:
    """The wanted keys as one writes them."""
    quote = rng.choice(("", "", "", '"', "`"))
    named = [f"{quote}{name}{quote}" for name in names]
    if rng.random() < 0.1:
        named = [f"the {name}" for name in names]
    if len(named) == 1:
        return named[0]
    return ", ".join(named) if rng.random() < 0.35 else ", ".join(named[:-1]) + " and " + named[-1]


def extraction(rng: random.Random) -> Dialogue:
    """A text, the wanted fields, and the object."""
    text, slots = _told(rng) if rng.random() < 0.55 else _random(rng)
    if len(slots) > 1 and rng.random() < 0.3:
        rng.shuffle(slots)
    if len(slots) > 2 and rng.random() < 0.4:
        slots = slots[:-1]
    names = [s.name for s in slots]
    schema = {"type": "object", "properties": {s.name: s.schema for s in slots}}
    if rng.random() < 0.6:
        schema["required"] = names
    demand = ""
    shape = rng.random()
    slots_text = {"{schema}": json.dumps(schema), "{text}": text, "{keys}": _keys(rng, names)}
    if shape < 0.6:
        order = rng.choice(ORDERS)
    elif shape < 0.75:
        order, demand = rng.choice(BARE[:2] + BARE[3:]), rng.choice(DEMANDS)
    elif shape < 0.88:
        order = rng.choice(SCHEMA_ORDERS)
    else:
        order, demand = rng.choice(BARE), rng.choice(SCHEMA_DEMANDS)
    order, demand = expand(rng, order), expand(rng, demand)
    for mark, value in slots_text.items():
        order, demand = order.replace(mark, value), demand.replace(mark, value)
    separators = (",", ":") if rng.random() < 0.08 else (", ", ": ")
    answer = json.dumps({s.name: s.value for s in slots}, ensure_ascii=False, separators=separators)
    return Dialogue((Turn("user", order), Turn("assistant", answer)), "extraction", demand)
