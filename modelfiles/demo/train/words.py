"""Vocabulary that the generators draw from, and made-up words, names, codes and numbers.

Owns word lists and nothing of what is said with them. Everything is drawn from the caller's `random.Random`.
"""

from __future__ import annotations

import random

NOUNS = """
account address album alert animal answer apple archive article asset badge bag balance ball band bank basket battery
beach bed bell bicycle bill bird block board boat book booking bottle box branch bread bridge brush budget bug building
bus button cabin cable cake calendar call camera campaign car card cart case cat chair channel chapter chart city class
client clock cloud club coat code coffee coin color comment company compass computer concert contact container contract
cookie corner country coupon course cover crate customer cycle dataset deal delivery desk device diagram dish document
dog dollar domain door draft drawer dress drink driver drone drum email engine entry episode error estimate event exam
export factory fan farm feature fee feed field file film filter fire fish flag flight floor flower folder forest fork
form forum frame friend fruit function game garage garden gate gift glass goal grade graph grid group guest guide guitar
hall hammer hat heater helmet holiday horse hospital host hotel hour house image index insect invoice island item jacket
job journal journey juice key keyboard kitchen knife label ladder lake lamp language lawyer leaf lease lecture lemon
lesson letter level library license light line link list loan lock locker log machine magazine mail map market match
meal measure meeting melody member memo menu message meter mirror mission mobile module money monitor month motor
mountain movie museum musician nail needle network news note notebook novel number nurse oven office offer operator orange orchard
order organ owner package page painting palace paper parcel park parser part partner party passport password patch path
patient payment pencil person phone photo piano picture pilot pipe pizza plan planet plant plate player playlist plot
pocket podcast poem point police policy pool port poster price printer prize product profile program project proposal
queue quiz quote rabbit radar radio rain receipt recipe record region release reminder rent repair report request
reservation restaurant result review reward ring river road robot roof room route rule salad sale sample schedule school score
screen script season seat section sensor sentence server session shelf ship shirt shoe shop shower signal singer site
sketch snack socket sofa song sound soup space speaker spoon sport stamp star state station statue step stock stone store
storm story street student subject sugar suit survey switch symbol system table tag target task tax taxi teacher team
template tent term test text theater thread ticket timer title token tool tooth topic tower town toy track trade train
transfer travel tree trip truck tunnel unit upload user vacation valley value van vehicle vendor version video village
visit visitor voice volume voucher wallet wall warehouse watch water weather website wheel widget window wine winner
wire wizard worker workshop yard year zone
""".split()

VERBS = """
accept activate adjust analyze apply approve archive arrange assign attach backup block book browse build buy calculate
call cancel change charge check choose clean clear close collect compare compile compute configure confirm connect
convert count create deactivate decline decode delete deliver describe detect disable discover display download draft
draw edit empty enable encode estimate evaluate examine explore export fetch fill filter find finish fix flag follow
format forward freeze generate get give grant group guess hide highlight import increase inspect install invite issue
join judge label launch lend list load locate lock log lookup make mark measure merge modify monitor mount move mute
notify obtain open order organize pack paint park pause pay pick plan plant play post prepare preview print process
publish purchase query quote rate read record recover reduce refresh refund register reject release remind remove rename
rent repair replace reply report request reserve reset resize resolve restart restore resume retrieve return reverse
review rotate save scan schedule search select sell send set share show shuffle sign skip solve sort split start stop
store submit subscribe suggest summarize swap sync tag test track trade train transcribe transfer translate trim unlock
update upgrade upload validate vote watch weigh withdraw wrap write
""".split()

ADJECTIVES = """
active annual basic big blue bright broken brown calm cheap clean clear cold cool current daily dark deep dry early easy
empty external famous fast final first free fresh full gold good gray great green happy hard heavy hidden high huge
internal large late latest light local long loud main modern monthly narrow new next nice noisy old open orange pink
plain private public purple quick quiet rare ready red remote rich round safe secret sharp short silent silver simple
slow small soft solid special steep strong sweet tall thick thin tiny total urban warm weekly wet white wide wild yellow
young
""".split()

FIRST_NAMES = """
Aaron Ada Alan Alba Alice Amina Amir Anders Andrea Angela Anna Anton Astrid Ben Bianca Boris Bruno Carla Carlos Chen
Clara Daniel David Diana Diego Dmitri Elena Eli Ella Emil Emma Erik Eva Fatima Felix Finn Frank Freya George Grace Greta
Hannah Hans Hassan Helen Henry Hugo Ibrahim Ida Igor Ines Ingrid Ivan Jack James Jan Jane Jonas Julia Kai Karim Karl Kate
Kenji Klara Lars Laura Layla Leo Lena Lina Liam Lisa Louis Lucia Luis Lukas Magnus Marco Marta Martin Mary Max Maya Mia
Miguel Mila Mohammed Nadia Nina Noah Nora Olga Oliver Omar Oscar Pablo Pau Paula Peter Priya Rafael Ravi Rita Robert Rosa
Ruth Sam Samir Sara Sean Sofia Stefan Sven Tara Theo Thomas Tina Tom Uma Vera Victor Viktor Wei Wendy Yara Yuki Yusuf Zara Zoe
""".split()

LAST_NAMES = """
Adams Ali Allen Baker Bauer Becker Bell Berg Bianchi Brown Bruno Campbell Chen Clark Cohen Cook Costa Cruz Davis Diaz
Evans Fischer Foster Garcia Gomez Gray Green Gupta Haas Hall Hansen Harris Hill Hoffmann Holm Hughes Ivanov Jackson Jansen
Johnson Jones Kaya Keller Kelly Khan Kim King Klein Kovac Kumar Larsen Lee Lewis Li Lopez Maier Marino Martin Meyer Miller
Moore Morris Murphy Nguyen Nilsson Olsen Ortiz Parker Patel Perez Petrov Popov Reed Reyes Ricci Rivera Roberts Rossi Ruiz Sato
Schmidt Scott Silva Singh Smith Stone Suzuki Tanaka Taylor Torres Turner Vega Wagner Walker Wang Ward Weber White Wilson
Wolf Wood Wright Yang Young Zhang Zimmer
""".split()

CITIES = """
Accra Amsterdam Ankara Athens Auckland Baku Barcelona Basel Beijing Belgrade Berlin Bern Bilbao Bogota Boston Brussels
Bucharest Budapest Cairo Chicago Cologne Copenhagen Dallas Delhi Denver Dubai Dresden Edinburgh Florence Geneva Glasgow
Graz Hamburg Hanoi Havana Helsinki Istanbul Jakarta Karachi Kyoto Lagos Leeds Leipzig Lima Lille London Luxembourg Manila
Marseille Mexico Miami Milan Minsk Montreal Moscow Mumbai Munich Nairobi Naples Nice Odessa Osaka Oxford Palermo Paris Perth
Porto Quito Riga Rome Rotterdam Salzburg Santiago Seattle Seoul Seville Shanghai Singapore Sofia Stockholm Sydney Taipei
Tallinn Tampa Toronto Toulouse Tunis Turin Valencia Venice Vilnius Warsaw York Zagreb Zurich
""".split()

COUNTRIES = """
Argentina Austria Belgium Bolivia Brazil Bulgaria Canada Chile China Colombia Croatia Cuba Cyprus Denmark Ecuador Egypt
Estonia Ethiopia Finland Georgia Germany Ghana Greece Hungary Iceland India Indonesia Iran Iraq Ireland Israel Italy
Jamaica Japan Jordan Kenya Kuwait Latvia Lebanon Libya Malta Mexico Mongolia Morocco Nepal Nigeria Norway Oman Pakistan
Panama Peru Poland Portugal Qatar Romania Senegal Serbia Slovakia Slovenia Spain Sudan Sweden Switzerland Syria Thailand
Tunisia Turkey Uganda Ukraine Uruguay Venezuela Vietnam Zambia
""".split()

JOBS = """
accountant actor architect artist baker barber builder butcher captain chef chemist clerk coach cook dancer dentist
designer detective doctor driver editor electrician engineer farmer firefighter fisher florist gardener geologist guard
hairdresser historian janitor journalist judge lawyer librarian manager mechanic musician nurse optician painter
pharmacist photographer physicist pilot plumber poet potter programmer receptionist sailor scientist sculptor singer
soldier surgeon tailor teacher technician translator vet waiter writer
""".split()

LANGUAGES = "Arabic Chinese Czech Danish Dutch English Finnish French Greek Hindi Hungarian Italian Japanese Korean Latin Norwegian Polish Portuguese Romanian Russian Spanish Swedish Thai Turkish Ukrainian".split()
MONTHS = "January February March April May June July August September October November December".split()
DAYS = "Monday Tuesday Wednesday Thursday Saturday Sunday today tomorrow tonight".split()
CURRENCIES = "AUD BRL CAD CHF CNY CZK DKK EUR GBP HKD INR JPY KRW MXN NOK NZD PLN SEK SGD TRY USD ZAR".split()

_ONSETS = "b b br c ch d d dr f f g g gr h j k k l l m m n n p p pr r r s s st t t tr v v w z".split()
_VOWELS = "a a a e e e i i o o u u ai ee ia oo".split()
_CODAS = ["", "", "", "", "", "n", "r", "s", "t", "l", "m", "x", "nd", "k"]


def invented(rng: random.Random) -> str:
    """A lower-case word that means nothing."""
    count = rng.choice((1, 2, 2, 2, 2, 3))
    return "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(count))


def noun(rng: random.Random, strange: float = 0.3) -> str:
    """A noun; with the chance `strange`, an invented one."""
    return invented(rng) if rng.random() < strange else rng.choice(NOUNS)


def verb(rng: random.Random, strange: float = 0.25) -> str:
    """A verb in its plain form."""
    return invented(rng) if rng.random() < strange else rng.choice(VERBS)


def adjective(rng: random.Random, strange: float = 0.2) -> str:
    """An adjective."""
    return invented(rng) if rng.random() < strange else rng.choice(ADJECTIVES)


def first_name(rng: random.Random) -> str:
    """A given name, sometimes one that nobody bears."""
    return invented(rng).capitalize() if rng.random() < 0.35 else rng.choice(FIRST_NAMES)


def full_name(rng: random.Random) -> str:
    """Given and family name."""
    last = invented(rng).capitalize() if rng.random() < 0.35 else rng.choice(LAST_NAMES)
    return f"{first_name(rng)} {last}"


def city(rng: random.Random) -> str:
    """A place."""
    name = invented(rng).capitalize() if rng.random() < 0.35 else rng.choice(CITIES)
    return f"{rng.choice(('New', 'San', 'Port', 'Saint'))} {name}" if rng.random() < 0.08 else name


def country(rng: random.Random) -> str:
    """A country."""
    return (invented(rng).capitalize() + "land") if rng.random() < 0.25 else rng.choice(COUNTRIES)


def integer(rng: random.Random) -> int:
    """A whole number of one to six digits, small ones more often."""
    digits = rng.choice((1, 1, 2, 2, 2, 3, 3, 4, 5, 6))
    return rng.randint(10 ** (digits - 1), 10**digits - 1)


def decimal(rng: random.Random) -> float:
    """A number with one or two places."""
    places = rng.choice((1, 1, 2))
    whole = rng.randint(1, 999 if rng.random() < 0.8 else 9999)
    return float(f"{whole}.{rng.randint(1, 10**places - 1):0{places}d}")


def code(rng: random.Random) -> str:
    """Something like `HX-204` or `a7f3c`."""
    letters = "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(rng.randint(1, 4)))
    number = rng.randint(1, 10 ** rng.randint(1, 5))
    shape = rng.random()
    if shape < 0.5:
        return f"{letters}-{number}"
    if shape < 0.7:
        return f"{letters}{number}"
    if shape < 0.85:
        return f"#{number}"
    return "".join(rng.choice("0123456789abcdef") for _ in range(rng.randint(4, 8)))


def clock(rng: random.Random) -> str:
    """A time of day."""
    hour, minute = rng.randint(0, 23), rng.choice((0, 5, 10, 15, 20, 30, 40, 45, 50, rng.randint(0, 59)))
    if rng.random() < 0.25:
        return f"{rng.randint(1, 12)} {rng.choice(('am', 'pm'))}"
    return f"{hour:02d}:{minute:02d}"


def date(rng: random.Random) -> str:
    """A day, in one of several ways of writing it."""
    shape = rng.random()
    if shape < 0.35:
        return f"20{rng.randint(10, 39)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
    if shape < 0.65:
        return rng.choice(DAYS)
    if shape < 0.85:
        return f"{rng.choice(MONTHS)} {rng.randint(1, 28)}"
    return f"{rng.randint(1, 28)} {rng.choice(MONTHS)}"


def email(rng: random.Random) -> str:
    """An address that can't exist."""
    who = rng.choice((first_name(rng), invented(rng), rng.choice(NOUNS))).lower()
    if rng.random() < 0.3:
        who += rng.choice("._-") + noun(rng)
    return f"{who}@{noun(rng, 0.5)}.{rng.choice(('com', 'org', 'net', 'io', 'dev', 'de', 'test'))}"


def path(rng: random.Random) -> str:
    """A file's path."""
    parts = [noun(rng) for _ in range(rng.randint(0, 2))]
    suffix = rng.choice(("py", "txt", "md", "json", "csv", "toml", "yaml", "log", "c", "html"))
    lead = rng.choice(("", "", "", "/", "./", "~/"))
    return lead + "/".join([*parts, f"{noun(rng)}{rng.choice(('', '', '_' + noun(rng)))}.{suffix}"])


def phrase(rng: random.Random) -> str:
    """Two or three plain words."""
    shape = rng.random()
    if shape < 0.5:
        return f"{adjective(rng)} {noun(rng)}{rng.choice(('', 's'))}"
    if shape < 0.75:
        return f"{noun(rng)} {noun(rng)}"
    return f"{adjective(rng)} {noun(rng)} {rng.choice(('in', 'for', 'near', 'with', 'of', 'from'))} {noun(rng)}"


def title(rng: random.Random) -> str:
    """The name of a song, a book or a shop."""
    words = [w.capitalize() for w in (adjective(rng), noun(rng))]
    if rng.random() < 0.3:
        words = ["The", *words]
    if rng.random() < 0.25:
        words.append(noun(rng).capitalize())
    return " ".join(words[rng.random() < 0.2 :])


def telephone(rng: random.Random) -> str:
    """A telephone number."""
    lead = rng.choice(("", "", f"+{rng.randint(1, 99)} ", f"{rng.randint(10, 999)}-"))
    return f"{lead}{rng.randint(100, 999)}-{rng.randint(0, 9999):04d}"


def inverted(rng: random.Random, text: str) -> str:
    """The text with one slip of the typing finger."""
    if len(text) < 6:
        return text
    at = rng.randint(1, len(text) - 3)
    kind = rng.random()
    if kind < 0.4:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if kind < 0.8:
        return text[:at] + text[at + 1 :]
    return text[:at] + text[at] + text[at:]
