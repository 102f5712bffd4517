"""Where images stand in what templates of all kinds write."""

from __future__ import annotations

import pytest

from runner.conversation import Message
from runner.errors import TemplateFailed
from runner.prompt.jinja import Template
from runner.prompt.placing import own_mark, place
from runner.prompt.render import Rendered, render
from runner.protocol.commands import ChatPrompt
from tests.engine.vision_models import TEMPLATE

QWEN = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for c in m.content %}{% if c.type == 'image' or 'image_url' in c %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in c %}{{ c.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
)
NUMBERED = (
    "{% set n = namespace(i=0) %}{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for c in m.content %}{% if c.type == 'image' %}{% set n.i = n.i + 1 %}<|image_{{ n.i }}|>{% else %}"
    "{{ c.text }}{% endif %}{% endfor %}{% endif %}{% endfor %}"
)
PLAIN = "{% for m in messages %}{{ m.role + ': ' + m.content | trim }}\n{% endfor %}"
PRINTS = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
DEAF = "{% for m in messages %}{{ m.role }}\n{% endfor %}"
CHAT = (Message("system", "Be kind."), Message("user", "what?", images=(b"one", b"two")), Message("user", "well?"))


def placed(template: str, *messages: Message) -> tuple[str, str]:
    compiled = Template(template)

    def show(prompt: ChatPrompt) -> Rendered:
        return render(prompt, compiled, bos="", eos="", thinking=None, sees=True)

    rendered, mark = place(ChatPrompt(messages or CHAT), own_mark(compiled, bos="", eos=""), show)
    return rendered.text.replace(mark, "@"), mark


@pytest.mark.parametrize(
    ("template", "mark"),
    [
        (TEMPLATE, "<image>"),
        (QWEN, "<|vision_start|><|image_pad|><|vision_end|>"),
        (NUMBERED, "<|image_1|>"),
        (PLAIN, None),
        (PRINTS, None),
        (DEAF, None),
        ("{{ raise_exception('no') }}", None),
    ],
)
def test_a_template_tells_what_it_writes_for_an_image(template: str, mark: str | None) -> None:
    assert own_mark(Template(template), bos="", eos="") == mark


def test_no_template_has_no_mark() -> None:
    assert own_mark(None, bos="", eos="") is None


def test_what_the_template_writes_is_the_place() -> None:
    text, mark = placed(QWEN)
    assert mark == "<|vision_start|><|image_pad|><|vision_end|>"
    assert "<|im_start|>user\n@@what?<|im_end|>" in text


@pytest.mark.parametrize("template", [PLAIN, PRINTS, NUMBERED])
def test_elsewhere_images_stand_before_their_message(template: str) -> None:
    text, mark = placed(template)
    assert mark.startswith("[image ")
    assert "@@\nwhat?" in text


@pytest.mark.parametrize("template", [QWEN, TEMPLATE, PLAIN])
def test_nobody_writes_a_place_into_a_conversation(template: str) -> None:
    own = own_mark(Template(template), bos="", eos="") or "[image 1]"
    text, _ = placed(template, Message("user", f"{own} is what you write", images=(b"one",)))
    assert text.count("@") == 1
    assert f"{own} is what you write" in text
    with_tail = placed(template, Message("user", "look", images=(b"one",)), Message("assistant", f"I saw {own}"))[0]
    assert with_tail.count("@") == 1
    assert with_tail.index("@") < with_tail.index("look")


def test_marks_of_ours_are_never_the_same() -> None:
    assert placed(PLAIN)[1] != placed(PLAIN)[1]


def test_an_image_that_a_template_leaves_out_is_an_error() -> None:
    with pytest.raises(TemplateFailed, match="leaves out images") as caught:
        placed(DEAF)
    assert caught.value.field == "messages"
