"""The project file: what may be declared, and errors that name line and field."""

import pytest

from modelfiles.errors import FileError
from modelfiles.instructions import From, Modelfile, Parameter, System, Template
from modelfiles.project import Created, Project, Pulled, read

WHOLE = """\
version: 1
models:
  - qwen3:0.6b
  - reference: hf.co/org/repo:Q4_K_M
    name: coder
  - name: helper
    from: coder
    system: |
      You are terse.
    template: "{{ .Prompt }}"
    parameters:
      temperature: 1e-1
      num_ctx: 4096
      stop: [a, "b c"]
  - name: own
    modelfile: models/Modelfile
    quantize: q4_k_m
"""


def test_everything_that_can_be_declared() -> None:
    inline = Modelfile(
        (
            From("coder"),
            Template("{{ .Prompt }}"),
            System("You are terse.\n"),
            Parameter("temperature", 0.1),
            Parameter("num_ctx", 4096),
            Parameter("stop", "a"),
            Parameter("stop", "b c"),
        )
    )
    assert read("f", WHOLE) == Project(
        (
            Pulled(line=3, reference="qwen3:0.6b"),
            Pulled(line=4, reference="hf.co/org/repo:Q4_K_M", name="coder"),
            Created(line=6, name="helper", inline=inline),
            Created(line=15, name="own", path="models/Modelfile", quantize="Q4_K_M"),
        )
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "models:\n  - name: a\n",
            "f, line 2: models[0]: must say where the model comes from, by one of reference, modelfile and from",
        ),
        ("models:\n  - reference: a\n    from: b\n", "models[0].from: reference and from exclude each other"),
        ("models:\n  - from: a\n", "f, line 2: models[0].name: is missing"),
        ("models:\n  - a\n  - b\n  - reference: A:latest\n", "f, line 4: models[2]: A:latest is declared in line 2"),
        ("models: [a, a]\n", "f, line 1: models[1]: a is declared in line 1 already"),
        ("models:\n  - reference: a\n    quantize: Q4_0\n", "models[0].quantize: makes another model of it"),
        ("models:\n  - {name: a, modelfile: m, system: x}\n", "models[0].system: has no place beside modelfile"),
        (
            "models:\n  - name: a\n    from: b\n    parameters:\n      temprature: 1\n",
            "f, line 5: models[0].parameters.temprature: unknown parameter; did you mean temperature?",
        ),
        (
            "models:\n  - name: a\n    from: b\n    parameters: {temperature: hot}\n",
            'models[0].parameters.temperature: must be a number, not "hot"',
        ),
        ("models:\n  - name: a\n    from: b\n    parameters: {top_k: [1, 2]}\n", "must be a whole number"),
        ("models:\n  - name: a\n    from: b\n    parameters: {stop: null}\n", "must be a text"),
        ("models:\n  - name: a\n    from: b\n    quantize: Q4 K\n", "'Q4 K' is no quantization"),
        ("models:\n  - 1:30\n", "models[0]: must be a mapping"),
        ("models:\n  - name: 3\n    from: b\n", "models[0].name: it must be a text; put it in quotes"),
        ("modls: [a]\n", "f, line 1: modls: there is no such field; did you mean models?"),
        ("models:\n", "f, line 1: models: must name at least one model"),
        ("version: 1\n", "models: is missing"),
        ("models: {a: b}\n", "models: must be a list"),
        ("version: 9\nmodels: [a]\n", "version: this version of Runner knows 1"),
        ('models: ["a\\nb"]\n', "models[0]: it must be one line"),
        ('models: ["a\\x1b[2J"]\n', "control character"),
    ],
)
def test_what_is_wrong_is_named_with_line_and_field(text: str, said: str) -> None:
    with pytest.raises(FileError) as caught:
        read("f", text)
    assert said in str(caught.value)
