"""Everything that isn't Runner: off-topic questions in the frames of real ones, and small talk.

A tiny model that wasn't taught what it doesn't know answers everything with a command.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from modelfiles.demo.train import words
from modelfiles.demo.train.dialogue import Dialogue, Turn
from modelfiles.demo.train.grammar import expand
from modelfiles.demo.train.questions import framed, scuffed, system

REFUSAL = "I am only a tiny demo: I know Runner's commands and nothing else. Pull a larger model for that."
REFUSAL_THOUGHT = "This is not about Runner. I only know Runner's commands."

THINGS = """
the dishwasher|the washing machine|a cake|bread|pasta|a pizza|an omelette|rice|soup|a salad|coffee|tea|a cocktail|jam|cheese|
a tyre|a bicycle|my car|a truck|the engine|a boat|a plane|a rocket|a train ticket|a house|a shed|a fence|a chair|a table|a roof|
a garden|a tree|roses|tomatoes|a lawn|weeds|a dog|a cat|a horse|a parrot|bees|chickens|a goldfish|a tooth|my back|my hair|
my shoes|a tie|a shirt|jeans|a stain|rust|paint|dust|mould|ice|snow|a wall|the windows|the floor|the kitchen|the bathroom|
a guitar|the piano|a song|a poem|a story|a novel|a letter|a speech|an essay|a joke|a painting|a photo|a film|a video|a game|
chess|poker|football|tennis|a marathon|yoga|a muscle|weight|money|taxes|a loan|stocks|bitcoin|a pension|insurance|
a passport|a visa|a hotel|a flight|a holiday|a tent|a map|a language|French|Spanish|maths|physics|chemistry|biology|history|
philosophy|a triangle|an equation|an integral|a prime number|the moon|a star|the sun|a planet|an atom|a virus|a vaccine|a headache|
a cold|a fever|my neighbour|my boss|a friend|a party|a wedding|a baby|a birthday present|a job|an interview|a contract|
a Python list|a dictionary|a for loop|an SQL table|a web page|a docker container|a git branch|a spreadsheet|an email account|
my phone|my television|the printer|a camera|the radio|a lamp|a battery|a clock|an umbrella|a knife|a ladder|the heating
""".replace("\n", "")
DEEDS = """
(remove|clean|get rid of|wash out|get out)|(start|stop|repair|fix|service|sell|buy|rent|paint|clean)|(copy|draw|paint|sketch|photograph)|
(cook|bake|make|prepare|serve|freeze|season)|(learn|study|teach|understand|explain|practise)|(write|compose|read|print|publish|translate)|
(grow|plant|water|cut|feed|train|pick|breed)|(find|choose|search for|look for|order|get|lose|hide)|(lift|push|pull|carry|move|load|unload|throw|drop)|
(run|play|win|watch|listen to|record)|(measure|weigh|count|list|calculate|solve|check|verify|test)|(build|create|design|construct|assemble|install|set up)|
(show|describe|name|rename|open|close|lock|switch off|turn on)|(heal|treat|cure|avoid|prevent|survive|forget|stop eating)|(download|upload|save|delete|share|send|forward)
""".replace("\n", "")
TOPICS = """
the weather|the universe|dinosaurs|volcanoes|the Romans|the French revolution|Napoleon|Shakespeare|Mozart|the Beatles|Picasso|
gravity|evolution|black holes|photosynthesis|electricity|magnets|relativity|thermodynamics|democracy|inflation|capitalism|Buddhism|
football|the Olympics|basketball|cooking|wine|coffee|chocolate|whales|elephants|penguins|spiders|tigers|cats|dogs|horses|birds|
the ocean|rivers|mountains|deserts|rain|clouds|rainbows|earthquakes|the stars|Mars|the moon|cars|trains|planes|bridges|castles|
love|happiness|sleep|dreams|music|films|novels|fashion|politics|religion|economics|law|medicine|cancer|vitamins|the heart|the brain|
quantum computers|blockchain|climate change|solar power|nuclear energy|the stock market|my future|zebras|owls|sharks|the Vikings|
Egypt|Rome|Japan|Brazil|the pyramids|World War II|the cold war|Einstein|Newton|Darwin|Plato|Cleopatra|algebra|geometry|grammar|poetry
""".replace("\n", "")
PERSONS = "president|king|queen|mayor|prime minister|inventor|author|singer|director|painter|winner|founder|captain|composer|coach|emperor"

PATTERNS = (
    "what is the (capital|population|currency|language|flag|area|highest mountain|largest city|national dish|climate|president|time zone|anthem) of {country}?",
    "(where|how big|how old|how far|how cold|how warm|how rich|how large) is {country}?",
    "(where|how big|how old|how far away|how beautiful) is {city}?",
    "what is {a} (plus|minus|times|divided by|+|-|*|x|/) {b}?", "what's {a} (plus|minus|times|divided by|+|-|*|x|/) {b}", "{a} (+|-|*|x|times|plus) {b}",
    "(calculate|compute|solve|work out) {a} (+|-|*|x|times|plus|minus) {b}", "what is the square root of {a}?", "is {a} a prime number?",
    f"who (is|was) the (first |last |current |)({PERSONS}) of ({{country}}|{TOPICS})?", f"who (wrote|invented|discovered|painted|founded|built|sang|directed|won) ({TOPICS}|{{title}}|the world cup|the election|the cup in {{year}}|the race)?",
    "who (is|was) {person}?", "when (was|did) {person} (born|die|live|become famous)?", "when (was|did|is|does) (the war|the election|summer|easter|the match|the film|the shop|{title}) (begin|end|start|happen|open)?",
    f"(explain|describe|summarize|define|discuss) ({TOPICS})(to me|in simple words|briefly| to a child| in detail|)",
    f"(tell me|what do you know|write|talk|say something|I want to know|give me facts|tell me something interesting|teach me) about ({TOPICS})",
    f"what (is|are|do you think of|do you know about|causes|is special about) ({TOPICS})?", f"why (is|are|do|does|did) ({TOPICS}|{THINGS}) (important|blue|red|so big|exist|cold|hot|dangerous|expensive|salty|green|matter|work|so popular|hard|dark|bright|wet)?",
    "why (is|are) (the sky|grass|the sea|the sun|snow|blood|fire|leaves|the moon|roses|sugar|lemons|water) (blue|green|salty|hot|white|red|round|sweet|sour|wet|so bright|yellow|cold|orange)?",
    f"(write|compose|make up|sing|give|tell) (me|) (a|an|one) (short|funny|sad|long|little|beautiful|) (poem|story|song|joke|haiku|essay|letter|limerick|fairy tale|riddle|speech|rap|report) (about|on|for) ({TOPICS}|{THINGS}|{{person}}|spring|winter|summer)",
    "(tell|write) me a (joke|story|riddle|poem|fairy tale)", "translate ('|\"|){phrase}('|\"|) (into|to) {language}", "how do you say ('|\"|){phrase}('|\"|) in {language}?",
    "what does ('|\"|){phrase}('|\"|) mean (in {language}|)?", "(recommend|suggest) (me|) (a|some) (good|nice|cheap|new|) (book|restaurant|film|movie|song|hotel|recipe|game|podcast|series|wine|present)(s|)(in {city}|for tonight|for my mother|for kids|)",
    "can you (recommend|suggest|find|book|order|buy|name) (me|) (a|some) (good|nice|cheap|new|) (book|restaurant|film|movie|song|hotel|recipe|game|series|taxi|ticket|table)?",
    "(which|what) (car|phone|laptop|book|city|country|dog|job|film|stocks|shares|team|song|food|shoes|school|colour|bicycle|game) (should I|would you|do you|can I) (buy|choose|pick|visit|like|recommend|read|watch|want|take|try|prefer|sell) (this year|next|now|today|)?",
    f"(should I|can I|may I|must I) ({DEEDS}) ({THINGS})?", "how (long|many|much|far|fast|tall|deep|heavy|often|old) (is|are|do|does|should|can) ({things}) (take|live|cost|last|weigh|run|sleep|be|eat)?",
    "what (time|day|date|year) is it (now|today|in {city}|)?", "what is the weather (like|) (today|in {city}|tomorrow|)?", "will it (rain|snow|be sunny|be cold) (tomorrow|today|in {city}|this week)?",
    f"what is the (best|meaning|price|colour|history|difference|origin|purpose|recipe|taste|name|cause) (of|for) ({TOPICS}|{THINGS})?",
    f"write (a|some) (Python|Java|C|JavaScript|Rust|SQL|) (function|program|code|script|query|class) (that|to) (sorts a list|adds numbers|reverses a string|{DEEDS}) ({THINGS}|)",
    f"what is the difference between ({TOPICS}) and ({TOPICS})?", "my {noun} is (broken|lost|too old|empty|dirty|dead|sick|late), (what can I do|what now|help|how do I fix it)?",
    f"I (love|hate|like|miss|need|am afraid of) ({TOPICS}|{THINGS})", "I (feel|am) (sad|happy|tired|lonely|bored|hungry|angry|ill|in love)", "what is the meaning of life?",
    "(do|did) you (like|know|see|remember|eat|watch|play|enjoy) ({topics}|{things}|{person})?", "(give|show|list|name) (me|) (three|five|ten|some|all|two) (facts|examples|ideas|tips|names|recipes|countries|animals|rivers|reasons|colours|planets) (about|for|of|in) ({topics}|{country}|{things})",
    "(is|are) ({topics}|{things}) (good|bad|dangerous|real|healthy|true|expensive|legal|edible|big|old)(for me|for children|)?", "summarize this (text|article|book|email): the {adjective} {noun} {verb}s the {noun}.",
    "the {noun} is {adjective}", "{noun}", "{phrase}", "{person}", "{title}", "the {adjective} {noun} and the {noun}", "what is a {noun}?", "what is {noun}?", "where is my {noun}?", "who has the {noun}?",
)  # fmt: skip


def _fill(rng: random.Random, text: str) -> str:
    """Put fresh words into the slots."""
    slots: dict[str, Callable[[random.Random], str]] = {
        "{country}": words.country, "{city}": words.city, "{person}": words.full_name, "{title}": words.title,
        "{phrase}": words.phrase, "{noun}": words.noun, "{adjective}": words.adjective, "{verb}": words.verb,
        "{a}": lambda r: str(words.integer(r)), "{b}": lambda r: str(words.integer(r)),
        "{year}": lambda r: str(r.randint(1900, 2025)), "{language}": lambda r: r.choice(words.LANGUAGES),
        "{things}": lambda r: r.choice(THINGS.split("|")), "{topics}": lambda r: r.choice(TOPICS.split("|")),
    }  # fmt: skip
    for slot, draw in slots.items():
        while slot in text:
            text = text.replace(slot, draw(rng), 1)
    return text


_TAILS = (" from the carpet", " at home", " for my family", " in {city}", " without money", " by hand", " in winter", " for beginners", " on a budget", " with my kids", " for a party", " for {person}", " with a {noun}")


def foreign(rng: random.Random) -> str:
    """A question that has nothing to do with Runner."""
    if rng.random() < 0.45:
        thing = rng.choice(THINGS.split("|")) if rng.random() < 0.7 else f"(a|the|my|some) {words.adjective(rng, 0.05)} {words.noun(rng, 0.1)}"
        deed = f"({DEEDS}) {thing}" if rng.random() < 0.75 else f"{words.verb(rng, 0.05)} {thing}"
        if rng.random() < 0.3:
            deed += rng.choice(_TAILS)
        text = framed(rng, deed).replace("Runner", "you")
    else:
        text = rng.choice(PATTERNS)
    return scuffed(rng, _fill(rng, expand(rng, text)))


def off_topic(rng: random.Random) -> Dialogue:
    """A foreign question and the admission."""
    think = rng.random() < 0.15
    turns = (Turn("user", foreign(rng)), Turn("assistant", REFUSAL, REFUSAL_THOUGHT if think else None))
    return Dialogue(turns, "off-topic", system(rng), think=think)


TALK = (
    ("(hi|hello|hey|hi there|hello there|hey there|good morning|good evening|good afternoon|greetings|howdy|hiya|morning|good day|yo|moin|hey you|hello again|hi runner|hello demo)(, nice to (meet|see) you|, how is it going|! Anyone there|)",
     "Hello! Ask me anything about Runner's commands.", "A greeting. I greet back."),
    ("(thanks|thank you|thx|many thanks|thanks a lot|thank you very much|cheers|great, thanks|perfect, thank you|that helped|that was helpful|great|awesome|perfect|nice|cool|wonderful|very good|well done|good job|that's great|ok, thanks|okay|got it|I see|understood)(, that (helped|was useful|works|did it|was quick|is what I needed|was very helpful)|)",
     "You are welcome!", "They are content. A short reply will do."),
    ("(bye|goodbye|good bye|see you|see you later|good night|bye bye|farewell|until tomorrow|that's all|I have to go|ciao|talk to you later|have a nice day|take care|so long|cu|I'm off)(, demo|, bye| then|, thanks|, take care|)",
     "Goodbye! See you soon.", "They leave. I say goodbye."),
    ("(how are you|how are you (doing|today|feeling|)|how is it going|how's it going|how do you do|what's up|are you okay|are you well|how do you feel|everything alright|how have you been|you alright)",
     "I am fine, thank you! Ask me anything about Runner's commands.", "A friendly question. I answer kindly."),
    ("(sorry|I am sorry|my mistake|oops|excuse me|never mind|forget it|no problem|it's fine|don't worry)", "No problem at all!", "An apology. I am kind."),
    ("(you are (wrong|stupid|bad|useless|dumb|slow)|that is (wrong|not right|false|not true|not helpful)|this (doesn't help|is wrong|is bad)|no, that's wrong|bad answer|I don't believe you|are you sure)",
     "I am sorry: I am only a tiny demo and make mistakes. `runner --help` knows for sure.", "They are not content. I am sorry."),
    ("(yes|no|ok|maybe|sure|hm|hmm|test|testing|ping|hello world|are you there|anyone here|can you hear me|do you work|one two three)", "I am here. Ask me anything about Runner's commands.", "There is no question here."),
)  # fmt: skip


def small_talk(rng: random.Random) -> Dialogue:
    """A greeting, thanks or goodbye."""
    pattern, answer, reason = rng.choices(TALK, (4, 4, 3, 3, 1, 1, 1.5))[0]
    think = rng.random() < 0.15
    turns = (Turn("user", scuffed(rng, expand(rng, pattern))), Turn("assistant", answer, reason if think else None))
    return Dialogue(turns, "small talk", system(rng), think=think)
