"""Writes crates/model/tests/fixtures/templates.jsonl: chat templates of every construct that transformers knows beside Jinja2's own,
rendered by its apply_chat_template with the tokenizer of the nano backbone. `rendered` is null where transformers fails.

usage: make_templates.py      needs transformers
"""
import json, pathlib
from transformers import AutoTokenizer

root = pathlib.Path(__file__).resolve().parents[2]
tokenizer = AutoTokenizer.from_pretrained(root / "datasets/nano-backbone")
call = {"name": "weather", "arguments": {"town": "Z\u00fcrich \U0001f600 <b> & 'q' \"q\"", "days": 2, "exact": True, "scale": 1.5, "none": None, "list": [1, [], {}], "b": {"z": 1, "a": 2}}}
messages = [
    {"role": "system", "content": ""}, {"role": "user", "content": "  Wo? \u00c4h\nja \n"}, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nA: b: c", "call": call},
    {"role": "user", "content": "stop"}, {"role": "assistant", "content": "never"},
]
loop = "{% for m in messages %}"
templates = {
    "generation": loop + "{%- if m.role == 'assistant' -%}{%- generation -%}\n  {{ m.content }} {{ loop.index0 }}\n{%- endgeneration -%}{%- else -%}[{{ m.content }}]{%- endif -%}{% endfor %}",
    "generation, plain and plus": loop + "  {% generation %}\n{{ m.role }}\n  {%+ endgeneration +%}\n{% endfor %}end",
    "generation has a scope": "{% set x = 1 %}{% set ns = namespace(y=1) %}{% generation %}{% set x = 2 %}{% set ns.y = 2 %}{{ x }}{% endgeneration %}{{ x }}{{ ns.y }}",
    "generation in strings, comments and raw": "{# {% generation %} #}{{ '{% generation %}' }}{% raw %}{% generation %}{{ x }}{% endraw %}{{ \"%}\" ~ '{%' }}",
    "break": loop + "{% if m.content == 'stop' %}{% break %}{% endif %}{{ m.role }},{% endfor %}end",
    "continue": loop + "{% if m.role == 'user' %}{% continue %}{% endif %}{{ loop.index }}{{ m.role }},{% endfor %}",
    "break in with": loop + "{% with t = m.content %}{% if t == 'stop' %}{% set q = 1 %}{% endif %}{{ q is defined }}{% endwith %}{% endfor %}",
    "raise_exception": "{% if messages[0].role != 'user' %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}x",
    "raise_exception, not reached": "{% if messages[0].role == 'user' %}{{ raise_exception('no') }}{% endif %}x",
    "strftime_now": "{{ strftime_now('%%') }}{{ strftime_now('%Y') | length }}{{ strftime_now('%d %b %Y') | length }}",
    "named tokens": "{{ bos_token }}|{{ eos_token }}|{{ pad_token }}|{{ unk_token is defined }}|{{ bos_token is none }}|{{ bos_token is defined }}",
    "none and defined": "{{ tools is none }}{{ tools is defined }}{{ documents is none }}{{ foo is defined }}{{ foo is none }}{{ enable_thinking }}{{ none }}{{ [none, true, 1.0, 'a', \"it's\"] }}{{ {'k': none} }}{{ (1, 'x') }}",
    "tojson": "{{ messages[2].call | tojson }}",
    "tojson indent": "{{ messages[2].call | tojson(indent=2) }}|{{ [] | tojson(indent=4) }}|{{ [[], {}, [1]] | tojson(indent=1) }}",
    "tojson options": "{{ messages[2].call | tojson(ensure_ascii=True) }}{{ messages[2].call | tojson(separators=(',', ':')) }}{{ messages[2].call | tojson(sort_keys=true) }}{{ 1e20 | tojson }}{{ 1e-7 | tojson }}",
    "string methods": "{{ messages[2].content.split('</think>')[-1].lstrip('\\n') }}|{{ messages[1].content.strip() }}|{{ 'aXbXc'.rsplit('X', 1)[0] }}|{{ 'aXbXc'.split('X', 1)[1] }}|{{ 'a: b: c'.partition(': ')[2] }}|{{ 'a: b: c'.rpartition(': ')[0] }}|{{ 'prefix-x'.removeprefix('prefix-') }}|{{ 'x.txt'.removesuffix('.txt') }}|{{ 'abc'.index('c') }}|{{ 'abcabc'.rfind('b') }}|{{ 'a b'.title() }}|{{ 'Ab'.swapcase() }}|{{ 'x'.startswith(('x', 'y')) }}|{{ ', '.join(['a', 'b']) }}|{{ 'ab'.upper() }}|{{ '{} {}'.format('a', 1) }}|{{ 'b'.zfill(3) }}|{{ 'a b  c'.split() }}",
    "filters": "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join('~') }}|{{ messages | rejectattr('role', 'in', ['user', 'system']) | list | length }}|{{ '  x ' | trim }}|{{ 'abc' | capitalize }}|{{ [3, 1, 2] | sort }}|{{ [1, 2, 3] | last }}{{ [1, 2] | first }}|{{ 'a' | default('b') }}{{ foo | default('b') }}|{{ {'b': 1, 'a': 2} | items | list }}|{{ {'b': 1, 'a': 2} | dictsort }}|{{ 5 | string ~ 'x' }}|{{ 'a\\nb' | indent(2) }}|{{ [1, 2, 3, 4] | batch(2) | list }}|{{ 7 // 2 }}{{ 7 / 2 }}{{ 2 ** 3 }}{{ 7 % 4 }}|{{ 'x' * 3 }}|{{ [1] + [2] }}|{{ 3.0 }}|{{ 1e16 }}|{{ 1e-5 }}|{{ 10 ** 20 }}",
    "slices": "{{ messages[::-1] | map(attribute='role') | join(',') }}|{{ messages[1:] | length }}|{{ 'abcdef'[1:-1] }}|{{ 'abc'[-1] }}|{{ messages[-1]['content'] }}|{{ messages[1:3] | map(attribute='role') | list }}",
    "dict": "{% for k, v in messages[2].call.items() %}{{ k }}={{ v }};{% endfor %}{{ messages[2].get('x', 'none') }}{{ messages[2].call.keys() | list }}{{ 'role' in messages[2] }}{{ dict(a=1, b='x') }}",
    "macros and blocks": "{% macro f(x, y=2) %}<{{ x }}{{ y }}{{ caller() if caller else '' }}>{% endmacro %}{{ f(1) }}{{ f(1, y=3) }}{% call f(4) %}in{% endcall %}{% filter upper %}abc{% endfilter %}{% set t %}text {{ 1 }}{% endset %}{{ t }}",
    "tests": "{{ 'a' is string }}{{ 1 is number }}{{ [] is iterable }}{{ {} is mapping }}{{ [] is sequence }}{{ true is boolean }}{{ 1 is integer }}{{ 1.5 is float }}{{ true is true }}{{ 2 is even }}{{ 4 is divisibleby(2) }}{{ none is not none }}{{ 'a' is in ['a'] }}{{ 1 == 1.0 }}{{ 'a' < 'b' }}{{ not foo }}",
    "loops": loop + "{{ loop.first }}{{ loop.last }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.previtem.role if loop.previtem is defined else '-' }}{{ loop.nextitem.role if not loop.last else '-' }}{{ loop.cycle('a', 'b') }}{% else %}none{% endfor %}{% for i in range(3) if i != 1 %}{{ i }}{% endfor %}{% for x in [] %}{% else %}empty{% endfor %}",
    "white space": "  {% if true %}  \n  a  \n  {%- endif %}\n\n  {{ 'b' }}  \n{# c #}  \n{%+ if true +%}\nd\n{% endif %}\r\ne\n\n",
    "undefined attribute": "{{ messages[0].nothing }}|{{ messages[0].nothing is defined }}|{{ foo.bar }}",
    "cycler and joiner": "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{% set j = joiner(', ') %}{% for i in [1, 2] %}{{ j() }}{{ i }}{% endfor %}",
    "unknown block": "{% trans %}x{% endtrans %}",
    "unknown function": "{{ today() }}",
    "unknown filter": "{{ 'x' | nope }}",
}
lines = []
for name, template in templates.items():
    try:
        rendered = tokenizer.apply_chat_template(messages, chat_template=template, add_generation_prompt=True, enable_thinking=False, tokenize=False)
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {error}")
        rendered = None
    lines.append(json.dumps({"name": name, "template": template, "messages": json.dumps(messages), "rendered": rendered}))
(root / "crates/model/tests/fixtures/templates.jsonl").write_text("\n".join(lines) + "\n")
