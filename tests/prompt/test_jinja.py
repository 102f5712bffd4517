"""Chat templates in the sandbox: what they can do, what they can't, and that every failure has a reason."""

from __future__ import annotations

import datetime
from typing import Any

import jinja2
import jinja2.ext
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from runner.errors import TemplateFailed
from runner.prompt.bounds import OUTPUT_LIMIT, TEMPLATE_LIMIT
from runner.prompt.jinja import Template

DATA: dict[str, Any] = {
    "messages": [{"role": "user", "content": "hello"}],
    "form": "%1000000000d",
    "braces": "{:>1000000000}",
    "million": 10**6,
    "billion": 10**9,
    "long": "a" * 1000,
    "longer": "b" * 10**6,
    "big": 10**600,
}


def render(text: str, **variables: Any) -> str:
    return Template(text).render(DATA | variables)


def failure(text: str, *, seconds: float = 60.0, memory: int = 1 << 40) -> str:
    """How the template fails, whether compiled or rendered. It must not be by taking too long."""
    with pytest.raises(TemplateFailed) as caught:
        Template(text, seconds=seconds, memory=memory).render(DATA)
    message = caught.value.message
    assert message.encode("utf-8")
    assert len(message) < 1200
    return message


# -- no way out

# Each would end in Python's own objects. Printing an attribute that is refused prints nothing.
ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ ['']|map('attr', '__class__')|list }}",
    "{{ ['']|map(attribute='__class__')|list }}",
    "{{ [{'a': 1}]|groupby('__class__')|list }}",
    "{{ '{0.__class__}'.format('') }}",
    "{{ '{x.__class__}'.format_map({'x': 1}) }}",
    "{{ ('{0.__class__}'|attr('format'))(1) }}",
    "{{ ('{x.__class__}'|attr('format_map'))({'x': 1}) }}",
    "{{ lipsum.__globals__ }}",
    "{{ cycler.__globals__ }}",
    "{{ joiner.__init__ }}",
    "{{ namespace.__init__ }}",
    "{{ range.__self__ }}",
    "{{ raise_exception.__globals__ }}",
    "{{ strftime_now.__globals__ }}",
    "{{ strftime_now.__code__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ self.__init__ }}",
    "{% macro m() %}{% endmacro %}{{ m._func }}{{ m.__call__ }}{{ m._environment }}",
    "{% for x in [1] %}{{ loop._iterable }}{{ loop.__class__ }}{{ loop._recurse }}{% endfor %}",
    "{% set n = namespace(a=1) %}{{ n.__class__ }}{{ n._Namespace__attrs }}",
    "{{ messages.__len__ }}{{ messages[0].__class__ }}{{ messages[0]['__class__'] }}",
    "{{ undefined_name.__class__ }}",
]
FORBIDDEN = [
    "{{ ''.__class__.__mro__ }}",
    "{{ ''.__class__() }}",
    "{{ (''|attr('__class__')).__mro__ }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ lipsum.__globals__['os'] }}",
    "{{ lipsum.__globals__.os.popen('id').read() }}",
    "{{ ''['__class__']['__mro__'] }}",
    "{{ ().__class__.__bases__ }}",
    "{{ '{0.__class__.__mro__}'.format(1) }}",
    "{{ messages.append(1) }}",
    "{{ messages.pop() }}",
    "{{ messages.clear() }}",
    "{{ messages[0].update({'role': 'system'}) }}",
    "{{ messages[0].pop('role') }}",
    "{{ messages[0].setdefault('x', 1) }}",
    "{% set messages[0]['role'] = 'x' %}",
    "{% include 'secret' %}",
    "{% import 'secret' as s %}",
    "{% extends 'secret' %}",
    "{{ open('/etc/passwd') }}",
    "{{ __import__('os') }}",
]


@pytest.mark.parametrize("text", ESCAPES)
def test_python_is_out_of_reach(text: str) -> None:
    printed = render(text)
    for sign in ("<class", "<function", "<bound", "<code", "<built-in", "object at 0x", "mappingproxy"):
        assert sign not in printed


@pytest.mark.parametrize("text", FORBIDDEN)
def test_what_is_forbidden_fails(text: str) -> None:
    assert failure(text).startswith("the model's chat template ")
    assert DATA["messages"] == [{"role": "user", "content": "hello"}]


# -- no large values

TOO_MUCH = [
    "{{ 'a' * 1000000000 }}",
    "{{ 1000000000 * 'a' }}",
    "{{ 'a' * billion }}",
    "{{ [1] * billion }}",
    "{{ (1,) * billion }}",
    "{{ 'a'|center(1000000000) }}",
    "{{ 'a'|center(billion) }}",
    "{{ 'a'.center(billion) }}",
    "{{ 'a'.ljust(billion) }}",
    "{{ 'a'.rjust(1000000000, 'b') }}",
    "{{ 'a'.zfill(billion) }}",
    "{{ ('a'|attr('zfill'))(billion) }}",
    "{{ '\t'.expandtabs(billion) }}",
    "{{ '\t'.expandtabs(tabsize=billion) }}",
    "{{ long.replace('a', longer) }}",
    "{{ long.replace('', longer) }}",
    "{{ long|replace('a', longer) }}",
    "{{ longer.join(long) }}",
    "{{ ([longer] * 1000)|join }}",
    "{{ long|join(longer) }}",
    "{{ messages|map(attribute='role')|join('x' * 15000000) ~ ([longer] * 17)|join }}",
    "{{ 'a\nb'|indent(billion) }}",
    "{{ ('\n' * 1000)|indent(longer, blank=true) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ form % 1 }}",
    "{{ form|format(1) }}",
    "{{ '%.1000000000f' % 1.5 }}",
    "{{ '%*d' % (billion, 1) }}",
    "{{ '%(a)1000000000s' % {'a': 1} }}",
    "{{ ('%(a)s' * 1000) % {'a': longer} }}",
    "{{ ('%(a)s' * 1000)|format(a=longer) }}",
    "{{ braces.format('a') }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{:{}}'.format(1, billion) }}",
    "{{ '{a:>1000000000}'.format_map({'a': 1}) }}",
    "{{ ('{0}' * 1000).format(longer) }}",
    "{{ ('{a}' * 1000).format(a=longer) }}",
    "{{ ('{a}' * 1000).format_map({'a': longer}) }}",
    "{{ long.translate({97: longer}) }}",
    "{{ 'a'.encode() * billion }}",
    "{{ (1).to_bytes(billion, 'big') }}",
    "{{ range(billion) }}",
    "{{ range(1000000000)|list }}",
    "{{ [1]|batch(billion, 'x')|list }}",
    "{{ [1]|slice(billion)|list }}",
    "{{ ([[1] * 1000000] * 1000)|sum(start=[]) }}",
    "{{ [1, 2]|tojson(indent=billion) }}",
    "{{ [1, 2]|tojson(indent='x' * 15000000) }}",
    "{{ ([1] * 1000)|tojson(separators=(longer, ':')) }}",
    "{{ ([longer] * 1000)|tojson }}",
    "{% set a = [longer, longer] %}{% set b = [a, a, a, a] %}{% set c = [b, b, b, b] %}{{ {'c': c}|tojson }}",
    "{{ 10 ** 100000 }}",
    "{{ 2 ** billion }}",
    "{{ ((10 ** 64) ** 64) ** 64 }}",
    "{{ big * big * big }}",
    "{{ (longer|replace('b', '9'))|int(0, 16) % 7 }}",
    "{{ (longer|replace('b', '9'))|int(0, 16) // 7 }}",
    "{{ 42|round(1000000000, 'ceil') }}",
    "{{ 42|round(-1000000000, 'floor') }}",
    "{% set n = namespace(x=10) %}{% for i in range(64) %}{% set n.x = n.x * n.x %}{% endfor %}",
    "{{ " + "9" * 5000 + " }}",
    # At the end, so that it is clear that nothing of this was computed while compiling.
    "{% if false %}{{ 'a' * 1000000000 }}{{ 42|round(1000000000, 'ceil') }}{% endif %}{{ 1 // 0 }}",
]


@pytest.mark.parametrize("text", TOO_MUCH)
def test_no_single_step_makes_a_large_value(text: str) -> None:
    """Each of these would take gigabytes, or minutes that nothing could interrupt."""
    assert failure(text).startswith("the model's chat template ")


GROWING = [
    "{% set n = namespace(s=long) %}{% for i in range(99999) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
    "{% set n = namespace(s=long) %}{% for i in range(99999) %}{% set n.s = n.s + n.s %}{% endfor %}",
    "{% set n = namespace(s=1) %}{% for i in range(99) %}{% set n.s %}{{ n.s }}{{ n.s }}{% endset %}{% endfor %}",
    "{% set n = namespace(l=[]) %}{% for i in range(99999) %}{% set n.l = [n.l, 'a' * 10000000] %}{% endfor %}",
]


@pytest.mark.parametrize("text", GROWING)
def test_memory_taken_bit_by_bit_is_noticed(text: str) -> None:
    assert failure(text, memory=64 * 2**20).endswith("took more than 64 MiB of memory")


def test_output_is_bounded() -> None:
    piece = "x" * 2**20
    pieces = OUTPUT_LIMIT // len(piece)
    text = "{% for i in range(n) %}{{ piece }}{% endfor %}"
    assert len(Template(text).render({"n": pieces, "piece": piece})) == OUTPUT_LIMIT
    with pytest.raises(TemplateFailed, match="writes more than"):
        Template(text).render({"n": pieces + 1, "piece": piece})


def test_a_template_is_bounded() -> None:
    assert Template("x" * TEMPLATE_LIMIT).render({}) == "x" * TEMPLATE_LIMIT
    with pytest.raises(TemplateFailed, match=r"characters; .* are allowed"):
        Template("x" * (TEMPLATE_LIMIT + 1))


# -- no endless run

ENDLESS = [
    "{% set r = range(99999) %}{% for a in r %}{% for b in r %}{% for c in r %}{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{{ '' }}{% continue %}{% endfor %}{% endfor %}",
    "{% macro m(n) %}{% for i in range(99) %}{{ m(n - 1) if n }}{% endfor %}{% endmacro %}{{ m(99) }}",
    "{{ lipsum(n=1000000) }}",
]


@pytest.mark.parametrize("text", ENDLESS)
def test_a_template_without_end_is_interrupted(text: str) -> None:
    assert failure(text, seconds=0.05).endswith("took more than 0.05 s")


def test_a_template_can_be_used_again_after_it_was_interrupted() -> None:
    template = Template(
        "{% for a in range(n) %}{% for b in range(n) %}{% for c in range(n) %}{% endfor %}{% endfor %}{% endfor %}ok",
        seconds=0.2,
    )
    with pytest.raises(TemplateFailed, match=r"took more than 0\.2 s"):
        template.render({"n": 99999})
    assert template.render({"n": 1}) == "ok"


# -- templates that are wrong

WRONG = [
    ("{% if %}", "not valid Jinja: line 1"),
    ("\n\n{{ }", "not valid Jinja: line 3"),
    ("{% endfor %}", "not valid Jinja: line 1"),
    ("{{ 'a'|no_such_filter }}", "no_such_filter"),
    ("{% generation %}x", "not valid Jinja"),
    ("{% break %}", "not valid Jinja"),
    ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "nested too deeply"),
    ("{% if 1 %}" * 500 + "{% endif %}" * 500, "nested too deeply"),
    ("{% for a in x %}" * 25 + "{% endfor %}" * 25, "not valid Jinja"),
    ("{{ missing.attribute }}", "'missing' is undefined"),
    ("{{ 1 + 'a' }}", "TypeError"),
    ("{{ 1 // 0 }}", "ZeroDivisionError"),
    ("{{ [1][5].x }}", "cannot be rendered"),
    ("{{ missing|tojson }}", "TypeError"),
    ("{{ cycler() }}", "at least one item"),
    ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested too deeply"),
    ("{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}", "nested too deeply"),
]


@pytest.mark.parametrize(("text", "reason"), WRONG)
def test_a_wrong_template_says_what_is_wrong(text: str, reason: str) -> None:
    assert reason in failure(text)


def test_raise_exception_speaks_for_the_template() -> None:
    assert failure("\n{% if true %}\n{{ raise_exception('Roles must alternate!') }}{% endif %}").endswith(
        "refuses this conversation: line 3: Roles must alternate!"
    )


def test_what_fails_while_it_runs_names_its_line() -> None:
    assert failure("{{ 1 }}\n{{ absent.deeper }}").endswith("cannot be rendered: line 2: 'absent' is undefined")
    assert "cannot be rendered: line 3: ZeroDivisionError" in failure("{% for x in [0] %}\n\n{{ 1 // x }}{% endfor %}")


def test_what_a_template_says_is_cut_and_made_presentable() -> None:
    assert len(failure("{{ raise_exception('a' * 1000000) }}")) < 1200
    assert failure(r"{{ raise_exception('half \ud800 a pair') }}").endswith("half ? a pair")


def test_variables_of_any_name_are_plain_data() -> None:
    assert Template("{{ context }}{{ environment }}").render({"context": 1, "environment": 2, "self": 3}) == "12"


# -- what templates are written for: Hugging Face's renderer


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("{% for a in range(9) %}{% if a == 2 %}{% continue %}{% endif %}{{ a }}{% endfor %}", "01345678"),
        ("{% for a in range(9) %}{% if a == 5 %}{% break %}{% endif %}{{ a }}{% endfor %}", "01234"),
        ("{% generation %}{% for a in [1, 2] %}{{ a }}{% endfor %}{% endgeneration %}!", "12!"),
        ("{% if true %}\n  x\n{% endif %}\ny", "  x\ny"),
        ("    {% set a = 1 %}\n{{ a }}\n", "1"),
        ("{%- set n = namespace(x=0) -%}{% for a in [1] %}{% set n.x = a %}{% endfor %}{{ n.x }}", "1"),
        ("{{ messages|selectattr('role', 'equalto', 'user')|list|length }}", "1"),
        ("{{ messages[0].items()|list }}", "[('role', 'user'), ('content', 'hello')]"),
        ("{{ messages[0]|items|list|length }}", "2"),
        ("{{ messages[-1]['content'][1:3] }}", "el"),
        ("{{ 'a,b'.split(',')|join('+') }}{{ ' x '.strip() }}{{ 'x'|upper }}", "a+bxX"),
        ("{{ '{:02d}/{}'.format(3, 'x') }} {{ '%s-%05.1f' % ('a', 2.25) }} {{ '**%s**' % 'b' }}", "03/x a-002.2 **b**"),
        ("{{ '100%' }}{{ '%d%%' % 5 }}", "100%5%"),
        ("{{ 'a'.ljust(3, '.') }}{{ 'a'.center(3) }}{{ '7'.zfill(3) }}", "a.. a 007"),
        ("{{ 'a-b'.replace('-', '+') }}{{ 'a-b-c'.replace('-', '', 1) }}{{ 'a-b'|replace('-', '.') }}", "a+bab-ca.b"),
        ("{{ '-' * 3 }}{{ [0] * 2 }}{{ 2 ** 10 }}{{ 7 // 2 }}{{ 7 % 4 }}{{ 2.5|round }}", "---[0, 0]1024332.0"),
        ("{{ undefined_name }}{{ undefined_name is defined }}{{ none is none }}", "FalseTrue"),
        ("{{ 'x' if undefined_name else 'y' }}{{ undefined_name|default('z') }}", "yz"),
        ("{{ '<a>&' }}{{ '<b>'|e }}{{ '<c>'|safe }}", "<a>&&lt;b&gt;<c>"),
        ("{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, b=3) }}", "1213"),
        ("{% set x %}{{ 1 }}{% endset %}{{ x ~ 2 }}", "12"),
        ("{% filter upper %}a{% endfilter %}", "A"),
    ],
)  # fmt: skip
def test_what_templates_use(text: str, printed: str) -> None:
    assert render(text) == printed


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("{{ {'ö': '<b>&\\'\"'}|tojson }}", """{"ö": "<b>&'\\""}"""),
        ("{{ ['日本', '🙂']|tojson }}", '["日本", "🙂"]'),
        ("{{ ['ö']|tojson(ensure_ascii=true) }}", '["\\u00f6"]'),
        ("{{ {'b': 1, 'a': [true, none, 1.5]}|tojson }}", '{"b": 1, "a": [true, null, 1.5]}'),
        ("{{ {'b': 1, 'a': 2}|tojson(sort_keys=true) }}", '{"a": 2, "b": 1}'),
        ("{{ {'a': 1}|tojson(indent=2) }}", '{\n  "a": 1\n}'),
        ("{{ [1, 2]|tojson(separators=(',', ':')) }}", "[1,2]"),
        ("{{ ''|tojson }}{{ {}|tojson }}{{ []|tojson }}{{ 'a'|tojson }}", '""{}[]"a"'),
    ],
)
def test_tojson_is_readable_json(text: str, printed: str) -> None:
    assert render(text) == printed


def test_strftime_now_is_the_local_time() -> None:
    before = datetime.datetime.now().astimezone()
    printed = datetime.datetime.strptime(render("{{ strftime_now('%Y-%m-%d %H:%M:%S %z') }}"), "%Y-%m-%d %H:%M:%S %z")
    after = datetime.datetime.now().astimezone()
    assert before.replace(microsecond=0) <= printed <= after


def as_hugging_face() -> jinja2.Environment:
    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])


CHECKED_FILTERS = [
    "a|indent(b)",
    "a|indent(b, true)",
    "a|indent(b, blank=true)",
    "a|indent(s)",
    "a|center(b)",
    "a|replace(s, 'x')",
    "a|replace(s, 'x', b)",
    "a|replace('', s)",
    "a|join(s)",
    "[a, s, b]|join",
    "[{'k': a}, {'k': s}]|join('-', 'k')",
    "[[a], [s]]|join('-', attribute=0)",
    "'%s %5d'|format(a, b)",
    "'%(x)s'|format(x=a)",
    "f|round",
    "f|round(b)",
    "f|round(b, 'ceil')",
    "f|round(2, method='floor')",
    "[b, f]|sum",
    "[{'k': b}]|sum('k')",
    "[{'k': b}]|sum(attribute='k', start=f)",
    "a|list|batch(3)|list",
    "a|list|batch(3, s)|list",
    "a|list|slice(2)|list",
    "a|list|slice(3, s)|list",
    "a.center(b, '.')",
    "a.ljust(b) + a.rjust(b) + a.zfill(b)",
    "a.replace(s, 'x')",
    "a.replace(s, 'x', b)",
    "a.expandtabs(b) + a.expandtabs() + a.expandtabs(tabsize=b)",
    "s.join([a, a]) + s.join(a)",
    "'{:>5}{!r}{x}'.format(a, s, x=b)",
    "'{x}'.format_map({'x': a})",
    "a * b",
    "b * s",
    "'%s' % a",
    "b % 7",
    "b // 3",
    "b ** 2",
    "f ** 2",
]


@pytest.mark.parametrize("expression", CHECKED_FILTERS)
@settings(max_examples=25)
@given(
    a=st.text(st.sampled_from("ab\n\t \r<ö"), max_size=8),
    s=st.text(st.sampled_from("ab-"), min_size=1, max_size=3),
    b=st.integers(0, 12),
    f=st.floats(-1e6, 1e6),
)
def test_within_the_limits_everything_is_as_in_jinja(expression: str, a: str, s: str, b: int, f: float) -> None:
    text = "{{ " + expression + " }}"
    variables = {"a": a, "s": s, "b": b, "f": f}
    assert Template(text).render(variables) == as_hugging_face().from_string(text).render(variables)
