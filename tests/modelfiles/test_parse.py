"""The parser: what it reads, and where it says a fault is."""

import time
from contextlib import suppress

import pytest

from modelfiles.errors import ModelfileError
from modelfiles.instructions import (
    Adapter,
    Draft,
    From,
    Instruction,
    License,
    Message,
    Parameter,
    Parser,
    Renderer,
    Requires,
    System,
    Template,
)
from modelfiles.parse import parse


def after_from(text: str | bytes) -> tuple[Instruction, ...]:
    """The instructions that `text` adds to a first line `FROM m`."""
    head = b"FROM m\n" if isinstance(text, bytes) else "FROM m\n"
    instructions = parse(head + text).instructions  # type: ignore[operator]
    assert instructions[0] == From("m")
    return instructions[1:]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ADAPTER ./lora.gguf", Adapter("./lora.gguf")),
        ("DRAFT qwen3:0.6b", Draft("qwen3:0.6b")),
        ("RENDERER qwen3-coder", Renderer("qwen3-coder")),
        ("PARSER harmony", Parser("harmony")),
        ("REQUIRES 0.14.0", Requires("0.14.0")),
        ("REQUIRES v0.14.0", Requires("0.14.0")),
        ("REQUIRES 0.20", Requires("0.20")),
        ("REQUIRES 0.20.1-rc.1+build5", Requires("0.20.1-rc.1+build5")),
        ("LICENSE MIT", License("MIT")),
        ("SYSTEM You are kind.", System("You are kind.")),
        ("TEMPLATE {{ .Prompt }}", Template("{{ .Prompt }}")),
        ("MESSAGE user Is Toronto in Canada?", Message("user", "Is Toronto in Canada?")),
        ("MESSAGE assistant yes: it is", Message("assistant", "yes: it is")),
        ("message SYSTEM be brief", Message("system", "be brief")),
        ("PARAMETER temperature 1", Parameter("temperature", 1.0)),
        ("PARAMETER temperature .5", Parameter("temperature", 0.5)),
        ("PARAMETER min_p 5e-2", Parameter("min_p", 0.05)),
        ("PARAMETER num_ctx 4096", Parameter("num_ctx", 4096)),
        ("PARAMETER num_ctx 1.048576e+06", Parameter("num_ctx", 1048576)),
        ("PARAMETER num_gpu -1", Parameter("num_gpu", -1)),
        ("PARAMETER use_mmap false", Parameter("use_mmap", False)),
        ("PARAMETER use_mmap T", Parameter("use_mmap", True)),
        ("PARAMETER kv_cache_type Q8_0", Parameter("kv_cache_type", "q8_0")),
        ("parameter Top_K 20", Parameter("top_k", 20)),
        ("PARAMETER low_vram true", Parameter("low_vram", "true")),
        ("PARAMETER rope_frequency_base 1e+06", Parameter("rope_frequency_base", "1e+06")),
        ("PARAMETER stop </s>", Parameter("stop", "</s>")),
        ("PARAMETER stop ### User: ", Parameter("stop", "### User:")),
        ('PARAMETER stop "### User: "', Parameter("stop", "### User: ")),
        ('PARAMETER stop """### User:\n"""', Parameter("stop", "### User:\n")),
        ("system\thi", System("hi")),
        ("   SYSTEM    hi   ", System("hi")),
        ("SYSTEM a # b", System("a # b")),
        ("SYSTEM #1", System("#1")),
    ],
)
def test_one_instruction(text: str, expected: Instruction) -> None:
    assert after_from(text) == (expected,)
    assert after_from(text + "\n") == (expected,)
    assert after_from(text + "\r\nLICENSE x") == (expected, License("x"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('""', ""),
        ('""""""', ""),
        ('"\'"', "'"),
        ('"a b  "', "a b  "),
        ('"two\nlines"', "two\nlines"),
        ('"a "b" c"', 'a "b" c'),
        ('"""a"""   ', "a"),
        ('"""\na\n"""', "\na\n"),
        ('"""a\r\nb"""', "a\r\nb"),
        ('"""say "hi" and ""bye"" """', 'say "hi" and ""bye"" '),
        ('"""a """b""" c"""', 'a """b""" c'),
        ('""""a""""', '"a"'),
        ('"""""""""', '"""'),
        ('"""a\n# no comment\nFROM x"""', "a\n# no comment\nFROM x"),
        # As Ollama prints a value that opens with a quotation; it is not quoted as a whole.
        ('"Hm" is all it says.', '"Hm" is all it says.'),
        ("emoji 👩‍🔬 and nbsp\u00a0inside", "emoji 👩‍🔬 and nbsp\u00a0inside"),
    ],
)
def test_quoting(value: str, expected: str) -> None:
    assert after_from(f"SYSTEM {value}\nLICENSE x\n") == (System(expected), License("x"))


def test_a_blank_after_the_name_makes_an_empty_value() -> None:
    """Ollama prints empty values so."""
    assert after_from("SYSTEM \nMESSAGE assistant \nLICENSE x") == (System(""), Message("assistant", ""), License("x"))


def test_comments_blank_lines_and_order() -> None:
    text = "# a comment\n\n  \t# another\r\nSYSTEM hi\r\r\nFROM m # not a comment\n#last"
    assert parse(text).instructions == (System("hi"), From("m # not a comment"))


@pytest.mark.parametrize(
    "source",
    [
        "FROM m\nSYSTEM grüß 🙂",
        "\ufeffFROM m\nSYSTEM grüß 🙂",
        "FROM m\nSYSTEM grüß 🙂".encode(),
        "FROM m\nSYSTEM grüß 🙂".encode("utf-8-sig"),
        "FROM m\nSYSTEM grüß 🙂".encode("utf-16"),
        b"\xff\xfe" + "FROM m\nSYSTEM grüß 🙂".encode("utf-16-le"),
        b"\xfe\xff" + "FROM m\nSYSTEM grüß 🙂".encode("utf-16-be"),
    ],
)
def test_encodings(source: str | bytes) -> None:
    assert parse(source).instructions == (From("m"), System("grüß 🙂"))


MALFORMED = [
    ("", 1, 1, "no FROM"),
    ("# only a comment", 1, 1, "no FROM"),
    ("SYSTEM hi\n", 1, 1, "no FROM"),
    ("FROM", 1, 5, "FROM needs a value"),
    ("FROM\n", 1, 5, "FROM needs a value"),
    ("FROM ", 1, 6, "FROM needs a value"),
    ('FROM ""', 1, 6, "FROM needs a value"),
    ('FROM "a\nb"', 1, 6, "FROM takes one line"),
    ("FROM: m", 1, 1, "unknown instruction 'FROM:'; did you mean FROM?"),
    ("BADCOMMAND x", 1, 1, "unknown instruction 'BADCOMMAND'"),
    ("FROM m\n  TEMPLAET x", 2, 3, "did you mean TEMPLATE?"),
    ("FROM m\nSYSTEM You are\na bot.", 3, 1, "a text of several lines goes between"),
    ("FROM m\nSYSTEM\n", 2, 7, "SYSTEM needs a value"),
    ("FROM m\r\nSYSTEM\r\n", 2, 7, "SYSTEM needs a value"),
    ("FROM m\rSYSTEM", 2, 7, "SYSTEM needs a value"),
    ("FROM m\nPARAMETER", 2, 10, "PARAMETER needs a name and a value"),
    ("FROM m\nPARAMETER  \n", 2, 12, "PARAMETER needs a name and a value"),
    ("FROM m\nPARAMETER temperature\n", 2, 22, "PARAMETER temperature needs a value"),
    ("FROM m\nPARAMETER temperature ", 2, 23, "temperature: must be a number"),
    ("FROM m\nPARAMETER tempreature 1", 2, 11, "did you mean temperature?"),
    ("FROM m\nPARAMETER temperature hot", 2, 23, 'temperature: must be a number, not "hot"'),
    ("FROM m\nPARAMETER temperature 1 # warm", 2, 23, "temperature: must be a number"),
    ("FROM m\nPARAMETER temperature nan", 2, 23, "temperature: must be a number"),
    ("FROM m\nPARAMETER temperature 1e999", 2, 23, "temperature: must be a finite number"),
    ("FROM m\nPARAMETER temperature -1", 2, 23, "temperature: must be between 0.0 and 100.0, not -1"),
    ("FROM m\nPARAMETER top_k 1.5", 2, 17, "top_k: must be a whole number, not 1.5"),
    ("FROM m\nPARAMETER top_k 1_0", 2, 17, "top_k: must be a whole number"),
    ("FROM m\nPARAMETER top_k \u0661", 2, 17, "top_k: must be a whole number"),
    ("FROM m\nPARAMETER num_ctx 99999999999999999999", 2, 19, "num_ctx: must be between"),
    (f"FROM m\nPARAMETER num_ctx {'9' * 10000}", 2, 19, "num_ctx: must be a whole number"),
    ("FROM m\nPARAMETER use_mmap maybe", 2, 20, "use_mmap: must be true or false"),
    ("FROM m\nPARAMETER flash_attn perhaps", 2, 22, "flash_attn: must be one of auto, on, off"),
    ('FROM m\nPARAMETER stop ""', 2, 16, "stop: must not be empty"),
    ("FROM m\nMESSAGE", 2, 8, "MESSAGE needs a role and a text"),
    ("FROM m\nMESSAGE user", 2, 13, "MESSAGE user needs a value"),
    ("FROM m\nMESSAGE user\nLICENSE x", 2, 13, "MESSAGE user needs a value"),
    ("FROM m\nMESSAGE badguy I'm bad", 2, 9, "unknown role 'badguy': it must be one of system, user, assistant"),
    ("FROM m\nREQUIRES soon", 2, 10, "REQUIRES takes a version, such as 0.14.0"),
    ("FROM m\nREQUIRES 01.2.3", 2, 10, "REQUIRES takes a version"),
    ("FROM m\nADAPTER   ", 2, 11, "ADAPTER needs a value"),
    ('FROM m\nSYSTEM "', 2, 8, '" opens a text here, and no line ends with "'),
    ('FROM m\nSYSTEM "abc\ndef\n', 2, 8, '" opens a text here'),
    ('FROM m\nSYSTEM """abc\ndef""\n', 2, 8, '""" opens a text here'),
    ('FROM m\nSYSTEM """abc""" def', 2, 8, '""" opens a text here'),
    ('FROM m\nSYSTEM """""', 2, 8, '""" opens a text here'),
    ('FROM m\nSYSTEM """ok"""\nLICENSE """\n\n  MESSAGE', 3, 9, '""" opens a text here'),
    ('FROM m\nSYSTEM """\n\n"""\nNOPE', 5, 1, "unknown instruction 'NOPE'"),
    ('FROM m\nSYSTEM "grüß 🙂"\n  🙂 x', 3, 3, "unknown instruction '🙂'"),
    ("FROM m\nSYSTEM a\0b", 2, 8, "NUL"),
    ("FROM m\nPARAMETER stop a\0b", 2, 16, "NUL"),
    ("FROM m\nSYSTEM \ud800", 2, 8, "surrogate"),
    ("FROM m\nPARAMETER stop \ud800", 2, 16, "surrogate"),
]


@pytest.mark.parametrize(("text", "line", "column", "message"), MALFORMED)
def test_malformed(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(ModelfileError) as caught:
        parse(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert message in caught.value.message
    assert str(caught.value) == f"line {line}, column {column}: {caught.value.message}"
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("source", "line", "column", "message"),
    [
        (b"GGUF\x03\0\0\0", 1, 1, "GGUF"),
        (b"FROM m\nSYSTEM caf\xe9", 2, 11, "invalid UTF-8"),
        (b"\xef\xbb\xbfFROM m\xff", 1, 7, "invalid UTF-8"),
        (b"\xff\xfe" + "FROM m\nx".encode("utf-16-le") + b"\0", 2, 2, "invalid UTF-16"),
        (b"\xff\xfe" + "FROM m\n".encode("utf-16-le") + b"\x00\xd8x\x00", 2, 1, "invalid UTF-16"),
        ("FROM m".encode("utf-16-le"), 1, 1, "unknown instruction"),
    ],
)
def test_malformed_bytes(source: bytes, line: int, column: int, message: str) -> None:
    with pytest.raises(ModelfileError, match=message) as caught:
        parse(source)
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize(
    "text",
    [
        "FROM m\n" + "\n \t" * 200_000,
        "FROM m\n" + "#\n" * 200_000,
        'FROM m\nSYSTEM """' + 'a"""b\n' * 100_000,
        'FROM m\nSYSTEM """' + '"' * 400_000 + "x",
        'FROM m\nSYSTEM """' + '""" ' * 100_000 + "x",
        "FROM m\nSYSTEM a" + " " * 400_000 + "b\n",
        "FROM m\n" + "SYSTEM a\n" * 20_000 + "x",
    ],
)
def test_time_grows_with_the_length_only(text: str) -> None:
    started = time.process_time()
    with suppress(ModelfileError):  # either outcome is fine: what counts is the time
        parse(text)
    assert time.process_time() - started < 3
