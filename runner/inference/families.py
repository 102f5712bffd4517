"""Chat formats of known model families, for GGUFs that bring no template: how each is recognised, and its template.

The templates are short Jinja texts of our own. They write no BOS (the tokeniser adds it where the model wants one) and
offer no tools.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from registry.gguf.facts import Facts


@dataclass(frozen=True, slots=True)
class Family:
    """A family's format, and what tells that a model was taught it.

    Its vocabulary has all `marks`. Where `named` is given, the model's name has to match; else the model ends its turns
    with `end`, or its name says that it was made for conversations. Marks alone prove nothing: base models have them.
    """

    name: str
    template: str
    marks: frozenset[str] = frozenset()
    end: str = ""
    named: re.Pattern[str] | None = None

    def fits(self, facts: Facts) -> bool:
        """Whether a model without a template is of this family."""
        name = re.sub(r"[\W_]+", " ", facts.name)
        if not self.marks <= facts.marks or _BASE.search(name):
            return False
        if self.named is not None:
            return self.named.search(name) is not None
        return self.end in facts.ends or _CONVERSES.search(name) is not None


_CONVERSES = re.compile(r"\b(?:instruct|chat|it|assistant|sft|dpo)\b", re.IGNORECASE)
_BASE = re.compile(r"\bbase\b", re.IGNORECASE)


def _named(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_CHATML = """\
{% for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}
{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

_PHI4 = """\
{% for message in messages %}<|im_start|>{{ message.role }}<|im_sep|>{{ message.content }}<|im_end|>{% endfor %}
{% if add_generation_prompt %}<|im_start|>assistant<|im_sep|>{% endif %}"""

_LLAMA3 = """\
{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>

{{ message.content }}<|eot_id|>{% endfor %}
{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>

{% endif %}"""

# These know no system message: it goes before what the user says next.
_GEMMA = """\
{% set before = namespace(text='') %}
{% for message in messages %}
{% if message.role == 'system' %}
{% set before.text = before.text ~ message.content ~ '\\n\\n' %}
{% elif message.role == 'assistant' %}<start_of_turn>model
{{ message.content }}<end_of_turn>
{% else %}<start_of_turn>user
{{ before.text }}{{ message.content }}<end_of_turn>
{% set before.text = '' %}
{% endif %}
{% endfor %}
{% if add_generation_prompt %}<start_of_turn>model
{% endif %}"""

_MISTRAL = """\
{% set before = namespace(text='') %}
{% for message in messages %}
{% if message.role == 'system' %}
{% set before.text = before.text ~ message.content ~ '\\n\\n' %}
{% elif message.role == 'assistant' %} {{ message.content }}{{ eos_token }}
{%- else %}[INST] {{ before.text }}{{ message.content }} [/INST]
{%- set before.text = '' %}
{% endif %}
{% endfor %}"""

_MISTRAL7 = """\
{% for message in messages %}
{% if message.role == 'system' %}[SYSTEM_PROMPT]{{ message.content }}[/SYSTEM_PROMPT]
{%- elif message.role == 'assistant' %}{{ message.content }}{{ eos_token }}
{%- else %}[INST]{{ message.content }}[/INST]
{%- endif %}
{% endfor %}"""

_LLAMA2 = """\
{% set before = namespace(text='') %}
{% for message in messages %}
{% if message.role == 'system' %}
{% set before.text = '<<SYS>>\\n' ~ message.content ~ '\\n<</SYS>>\\n\\n' %}
{% elif message.role == 'assistant' %} {{ message.content }} {{ eos_token }}
{%- else %}{{ bos_token }}[INST] {{ before.text }}{{ message.content }} [/INST]
{%- set before.text = '' %}
{% endif %}
{% endfor %}"""

_PHI3 = """\
{% for message in messages %}<|{{ message.role }}|>
{{ message.content }}<|end|>
{% endfor %}
{% if add_generation_prompt %}<|assistant|>
{% endif %}"""

_ZEPHYR = """\
{% for message in messages %}<|{{ message.role }}|>
{{ message.content }}{{ eos_token }}
{{ '' }}
{%- endfor %}
{% if add_generation_prompt %}<|assistant|>
{% endif %}"""

_DEEPSEEK = """\
{% for message in messages %}
{% if message.role == 'assistant' %}<\uff5cAssistant\uff5c>{{ message.content }}{{ eos_token }}
{%- elif message.role == 'system' %}{{ message.content }}
{%- else %}<\uff5cUser\uff5c>{{ message.content }}
{%- endif %}
{% endfor %}
{% if add_generation_prompt %}<\uff5cAssistant\uff5c>{% endif %}"""

_COMMAND_R = """\
{% set roles = {'system': 'SYSTEM', 'user': 'USER', 'assistant': 'CHATBOT', 'tool': 'SYSTEM'} %}
{% for message in messages %}<|START_OF_TURN_TOKEN|><|{{ roles[message.role] }}_TOKEN|>{{ message.content }}
{#- #}<|END_OF_TURN_TOKEN|>{% endfor %}
{% if add_generation_prompt %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{% endif %}"""

_GRANITE = """\
{% for message in messages %}<|start_of_role|>{{ message.role }}<|end_of_role|>{{ message.content }}{{ eos_token }}
{{ '' }}
{%- endfor %}
{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}"""

_VICUNA = """\
{% for message in messages %}
{% if message.role == 'system' %}{{ message.content ~ '\\n\\n' }}
{%- elif message.role == 'assistant' %}ASSISTANT: {{ message.content }}{{ eos_token ~ '\\n' }}
{%- else %}USER: {{ message.content ~ '\\n' }}
{%- endif %}
{% endfor %}
{% if add_generation_prompt %}ASSISTANT:{% endif %}"""

# In the order they are tried: what has more marks, or a name, comes before what has fewer.
FAMILIES: tuple[Family, ...] = (
    Family("zephyr", _ZEPHYR, named=_named(r"zephyr|tinyllama.*chat")),
    Family("vicuna", _VICUNA, named=_named(r"vicuna")),
    Family("llama2", _LLAMA2, named=_named(r"llama ?2\b.*\bchat\b|code ?llama.*instruct")),
    Family("phi4", _PHI4, frozenset(("<|im_start|>", "<|im_sep|>", "<|im_end|>")), "<|im_end|>"),
    Family("chatml", _CHATML, frozenset(("<|im_start|>", "<|im_end|>")), "<|im_end|>"),
    Family("llama3", _LLAMA3, frozenset(("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")), "<|eot_id|>"),
    Family("gemma", _GEMMA, frozenset(("<start_of_turn>", "<end_of_turn>")), "<end_of_turn>"),
    Family("phi3", _PHI3, frozenset(("<|user|>", "<|assistant|>", "<|end|>")), "<|end|>"),
    Family("deepseek", _DEEPSEEK, frozenset(("<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>")), "<\uff5cEOT\uff5c>"),
    Family(
        "command-r",
        _COMMAND_R,
        frozenset(("<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>")),
        "<|END_OF_TURN_TOKEN|>",
    ),
    Family("granite", _GRANITE, frozenset(("<|start_of_role|>", "<|end_of_role|>"))),
    Family("mistral-v7", _MISTRAL7, frozenset(("[INST]", "[/INST]", "[SYSTEM_PROMPT]"))),
    Family("mistral", _MISTRAL, named=_named(r"\bmi[sx]tral\b.*\binstruct\b")),
)


def family_of(facts: Facts) -> Family | None:
    """The family of a model without a template, if it is known."""
    return next((family for family in FAMILIES if family.fits(facts)), None)
