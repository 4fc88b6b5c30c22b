"""Random templates of the language that chat templates are written in, from a grammar, and contexts for them."""

CONTEXT = {
    "s": "Hello World", "t": "  a,b;c \n", "u": "Straße ΣΊΣΥΦΟΣ 日本 👍\u00a0", "e": "", "n": None, "i": 7, "j": -3, "z": 0,
    "f": 2.5, "g": -0.125, "b": True, "c": False, "l": [3, 1, 2], "m": ["b", "A", "c", "a"], "k": [], "x": [[1, "p"], [2, "q"]],
    "d": {"a": 1, "b": [1, 2], "items": "own", "key": None, "Z": {"q": "deep"}}, "h": {},
    "r": [{"role": "user", "content": "one", "n": 2}, {"role": "tool", "content": None, "n": 1}, {"role": "user", "n": 3}],
    "w": "<b>&\"'</b>", "p": "%s-%d",
}
# Quirks worth never losing.
BY_HAND = [
    "{{ x }}{% set x = 1 %}{{ x }}",
    "{% set q = 1 %}{% for i in l %}{% set q = q + i %}{{ q }}{% endfor %}{{ q }}",
    "{% if b %}{% set s = 'set' %}{% endif %}{{ s }}",
    "{% if c %}{% set s = 'set' %}{% endif %}{{ s }}",
    "{% set s %}{{ s }}x{% endset %}{{ s }}",
    "{% macro m1(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m1(1) }}{{ m1(1, 3, 4, 5, z=6) }}",
    "{% macro m1(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m1() }}|{{ m1(b=1) }}|{{ m1(1, 2, 3) }}",
    "{% macro m1() %}{{ caller('x') }}{% endmacro %}{% call(v) m1() %}[{{ v }}]{% endcall %}{{ m1() }}",
    "{% macro a1() %}{{ later }}{% endmacro %}{% set later = 5 %}{{ a1() }}",
    "{% for i in [1,2,3] %}{% if i == 2 %}{% continue %}{% endif %}{{ i }}{% else %}none{% endfor %}",
    "{% for i in [1,2,3] %}{% break %}{% else %}else{% endfor %}",
    "{% for i in [] %}{% else %}else{{ loop }}{% endfor %}",
    "{% for i in l if i > 1 %}{{ loop.index }}/{{ loop.length }}{{ loop.last }}{{ loop.nextitem }},{% endfor %}",
    "{% for i in l if i > 1 %}{{ i }}{{ loop.revindex }}{{ loop.previtem }}{% else %}no{% endfor %}",
    "{% for i in l %}{{ loop.cycle('a', 'b') }}{{ loop.changed(i > 1) }}{% endfor %}",
    "{% for i in l %}{% for j in m %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}",
    "{% for a, (q, v) in [[1, [2, 3]]] %}{{ a }}{{ q }}{{ v }}{% endfor %}",
    "{% for a, q in l %}{{ a }}{% endfor %}",
    "{% set ns = namespace(a=1) %}{% for i in l %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns }}",
    "{% set ns = namespace() %}{% set ns._x = 1 %}",
    "{% set a, q = 1, 2 %}{{ a }}{{ q }}{% set ns = namespace() %}{% set ns.v, a = 3, 4 %}{{ ns.v }}{{ a }}",
    "{{ d.items }}{{ d['items'] }}{{ d.key }}{{ d['nope'] }}{{ d.nope is defined }}{{ d.update is defined }}",
    "{{ d['copy'] is defined }}{{ d.get('a') }}{{ d.get('no', 5) }}{{ d.keys()|list }}{{ d.values()|list }}",
    "{{ l[0] }}{{ l[-1] }}{{ l[9] is defined }}{{ l[1:] }}{{ l[::-1] }}{{ s[::2] }}{{ u[5:9] }}{{ s[-3:] }}{{ l[:-1] }}",
    "{{ 'a' 'b' }}{{ 'x\\ty\\u00e9\\x41\\101' }}{{ 'it''s' }}{{ \"q\\\"q\" }}{{ '\\d' }}{{ '\\é' }}",
    "{{ 1_000 }}{{ 0x1f }}{{ 0b11 }}{{ 0o17 }}{{ 1e3 }}{{ 1.5e-7 }}{{ 2**10 }}{{ 2**3**2 }}{{ -2**2 }}{{ 00 }}",
    "{{ 7 // 2 }}{{ -7 // 2 }}{{ 7 % -3 }}{{ 7 / 2 }}{{ 1e16 }}{{ 123456789012345680.0 }}{{ 0.1 + 0.2 }}{{ 5.0 }}{{ 1e22 }}",
    "{{ -7.5 // 2 }}{{ 7.5 % -2 }}{{ -0.0 }}{{ 3 == 3.0 }}{{ true + true }}{{ 1 if z }}{{ none }}",
    "{{ 1 < 2 < 3 }}{{ 1 < 3 < 2 }}{{ 'a' < 'b' }}{{ [1, 2] < [1, 3] }}{{ 'a' in s }}{{ 2 not in l }}{{ 'a' in d }}",
    "{{ not b or c and b }}{{ n or 'x' }}{{ s and i }}{{ (1, 2) }}{{ (1,) }}{{ () }}{{ {} }}{{ {'a': 1, 2: none} }}",
    "{{ l|tojson }}{{ d|tojson(indent=2) }}{{ u|tojson }}{{ u|tojson(ensure_ascii=true) }}{{ d|tojson(sort_keys=true) }}",
    "{{ x|tojson(separators=(',', ':')) }}{{ d|tojson(indent=4, separators=[';', '=']) }}{{ [1.0, 1e100, true, none]|tojson }}",
    "{{ {1: 2, none: 3, true: 4, 1.5: 5}|tojson }}{{ undefined_thing|tojson }}",
    "{{ '\\u2028\\x7f\\x00\\n\\\\'|tojson }}{{ '😀'|tojson(ensure_ascii=true) }}{{ []|tojson(indent=2) }}{{ {}|tojson(indent=2) }}",
    "{{ m|sort }}{{ m|sort(case_sensitive=true) }}{{ r|sort(attribute='n')|map(attribute='n')|list }}{{ m|sort(reverse=true) }}",
    "{{ r|selectattr('role', 'equalto', 'user')|list|length }}{{ r|rejectattr('content')|list }}{{ l|select('odd')|list }}",
    "{{ r|map(attribute='content', default='none')|join('/') }}{{ m|map('upper')|join }}{{ x|map('first')|list }}",
    "{{ r|groupby('role') }}{{ d|dictsort }}{{ l|sum }}{{ l|min }}{{ m|max }}{{ m|unique|list }}{{ l|batch(2, 'f')|list }}",
    "{{ l|slice(2)|list }}{{ s|replace('l', 'L', 1) }}{{ s|truncate(8, true) }}{{ s|indent(2, true) }}{{ u|title }}{{ u|upper }}",
    "{{ u|lower }}{{ 'ΑΣ'|lower }}{{ 'ß'|upper }}{{ 'ǆ'|capitalize }}{{ 'ŉ'|title }}{{ 'İ'|lower|length }}",
    "{{ '42'|int }}{{ '4.7'|int }}{{ 'x'|int(9) }}{{ '0x1f'|int(0, 16) }}{{ '1_0'|int }}{{ 'inf'|float }}{{ '2.50'|float }}",
    "{{ 2.5|round }}{{ 3.5|round }}{{ 2.675|round(2) }}{{ 42.55|round(1, 'floor') }}{{ 7|round }}{{ 1234|round(-2) }}{{ 2.1|round(0, 'ceil') }}",
    "{{ p % ('a', 5) }}{{ '%5.2f|%-5s|%05d|%x|%%' % (f, 'a', 42, 255) }}{{ '%(a)s' % d }}{{ '{}-{:>5}-{a!r}'.format(1, 'x', a='y') }}",
    "{{ '%s'|format(l) }}{{ '{0[0]}{1.a}'.format(l, d) }}{{ '{:.3f} {:,} {:08.2f} {:+d}'.format(f, 1234567, -f, 5) }}",
    "{{ s.split() }}{{ t.split(',') }}{{ t.strip() }}{{ s.find('o') }}{{ s.startswith('He') }}{{ s.replace('o', '0') }}{{ s.title() }}",
    "{{ u.upper() }}{{ s.rsplit('o', 1) }}{{ s.partition(' ') }}{{ '-'.join(m) }}{{ 'a\\nb\\r\\nc'.splitlines() }}{{ s.center(20, '*') }}",
    "{{ '5'.zfill(3) }}{{ '-5'.zfill(4) }}{{ s.removeprefix('He') }}{{ s.count('l') }}{{ s.isalpha() }}{{ '٣'.isdigit() }}{{ s.swapcase() }}",
    "a\n  {% if b %}\n  b\n  {% endif %}\n  c  {%- if b -%}  d  {%- endif +%}  \n e {{- s -}} f",
    "  {#- x -#}  a {# y #}\n b {#+ z #}\n{% raw %} {{ x }} {%- endraw %} c {%- raw -%} {% x %} {% endraw -%} d",
    "{% filter upper %}a{{ s }}{% endfilter %}{% with a = 1, q = s %}{{ a }}{{ q }}{% endwith %}{{ a }}",
    "{% set v | trim | upper %}  hello {% endset %}{{ v }}{% generation %}g{% set v = 1 %}{{ v }}{% endgeneration %}{{ v }}",
    "{{ l.append(4) }}", "{{ d.__class__ }}x", "{{ s.__class__.__mro__ }}", "{{ l.append is defined }}{{ d.clear }}", "{{ (1).__class__ }}",
    "{{ undefined_thing.x }}", "{{ undefined_thing }}{{ undefined_thing|length }}{{ undefined_thing is undefined }}{{ undefined_thing == other }}",
    "{{ 'a' ~ 1 ~ none ~ 2.0 ~ [1] }}{{ 1 + 'a' }}", "{{ cycler('a', 'b').next() }}{% set j1 = joiner() %}{{ j1() }}{{ j1() }}",
    "{{ dict(a=1, b=2) }}{{ dict([['x', 1]]) }}{{ range(5)|list }}{{ range(5, 0, -2) }}{{ range(3)|tojson }}",
    "{{ range(100001) }}", "{{ raise_exception('no') }}", "{{ s|nope }}", "{% if c %}{{ s|nope }}{% endif %}x", "{{ s is nope }}",
    "{{ s", "{% if %}{% endif %}", "{% endif %}", "{% for x in %}{% endfor %}", "{{ 'abc }}", "{# x", "{% raw %}x", "{{ ) }}", "{{ 1 2 }}",
    "{{ s is defined and s is string }}{{ i is divisibleby 7 }}{{ l is iterable }}{{ d is mapping }}{{ s is sequence }}{{ i is not odd }}",
    "{{ n is none }}{{ b is true }}{{ f is float }}{{ i is number }}{{ b is integer }}{{ 'a' is in s }}{{ l is sameas l }}{{ d.a is eq 1 }}",
    "{{ loop }}{% for i in l %}{{ loop.index0 }}{% endfor %}{{ w|e }}{{ w|safe }}{{ (w|safe) + w }}{{ s|wordcount }}{{ w|urlencode }}",
    "{% for q in d %}{{ q }}{% endfor %}{% for q, v in d.items() %}{{ q }}={{ v }};{% endfor %}{% for q, v in h|items %}x{% endfor %}",
    "{% for q in s %}{{ q }}.{% endfor %}{{ s|list }}{{ s|first }}{{ s|last }}{{ s|reverse }}{{ l|reverse|list }}{{ k|first is defined }}",
    "{%- for q in r -%}\n  {{ q.role }}:\n  {{- q.content }}\n{% endfor %}\n\n", "x\r\ny\rz\n", "a\n\n", "{{ {'a': {'b': 1}}.a.b }}{{ {'a': 1}['a'] }}",
    "{{ '%s' % undefined_thing }}|{{ d|items|list }}|{{ 'x' if not n }}|{{ x[0][1] }}|{{ x.0.1 }}|{{ 'a'.b is defined }}",
    "{% print 1, 2 %}{% set a = 1, 2 %}{{ a }}{% if 1, %}t{% endif %}{{ 1, 2 }}", "{{ f() }}", "{{ s() }}", "{{ s.nope() }}",
    "{% macro m1() %}{% for i in l %}{{ i }}{% if i == 1 %}{% break %}{% endif %}{% endfor %}{% endmacro %}{% for i in m %}{{ m1() }}{% endfor %}",
    "{% macro f1(q) %}{% if q > 0 %}{{ q }}{{ f1(q - 1) }}{% endif %}{% endmacro %}{{ f1(5) }}", "{% macro f1() %}{{ f1() }}{% endmacro %}{{ f1() }}",
    "{% for i in l %}{% macro m2() %}{{ i }}{% endmacro %}{{ m2() }}{% endfor %}", "{% set loop = 1 %}{{ loop }}", "{% for i in l %}{% set loop = 1 %}{% endfor %}",
    "{{ [1, 2, 3]|map('string')|join(',') }}{{ s|default('x') }}{{ e|default('x', true) }}{{ n|d('y', boolean=true) }}{{ zz|d }}",
]

NAMES = ["s", "t", "u", "e", "n", "i", "j", "z", "f", "g", "b", "c", "l", "m", "k", "x", "d", "h", "r", "w", "q", "v", "missing"]
STRINGS = ["''", "'a'", "' a b '", "'A-b c'", "'日本ß'", "'%s'", "'a,b'", "'role'", "'n'", "'\\n x\\n'", "'12'", "'-3.5'", "'{}'", "'\\'\"'"]
NUMBERS = ["0", "1", "2", "3", "-1", "10", "0.5", "2.0", "1e3", "100", "7.25"]
FILTERS = [
    "abs", "attr('a')", "batch(2)|list", "batch(2, 0)|list", "capitalize", "center(9)", "count", "default('D')", "default(0, true)", "d",
    "dictsort", "dictsort(true)", "dictsort(false, 'value')", "dictsort(reverse=true)", "e", "escape", "first", "float", "float(1)",
    "forceescape", "format(1)", "format('x', 2)", "groupby('role')", "groupby('n', default=0)", "indent", "indent(2, true)",
    "indent('> ', blank=true)", "int", "int(5)", "int(default=2, base=16)", "items|list", "join", "join(', ')",
    "join('-', attribute='n')", "last", "length", "list", "lower", "map('upper')|list", "map(attribute='role')|list",
    "map(attribute='n', default=9)|join", "map('int')|list", "map('default', 'x')|list", "max", "min", "max(attribute='n')", "reject('none')|list",
    "rejectattr('content')|list", "rejectattr('role', 'eq', 'user')|list", "replace('a', 'b')", "replace('', '.')", "replace('l', '', 1)",
    "reverse|list", "reverse|join", "round", "round(1)", "round(1, 'floor')", "round(method='ceil')", "safe", "select|list", "select('odd')|list",
    "select('gt', 1)|list", "select('in', [1, 2])|list", "selectattr('content')|list", "selectattr('n', 'ge', 2)|list", "slice(2)|list",
    "slice(2, 'z')|list", "sort", "sort(true)", "sort(attribute='n')", "sort(case_sensitive=true)", "string", "sum", "sum(start=2)",
    "sum(attribute='n')", "title", "tojson", "tojson(indent=2)", "tojson(ensure_ascii=true)", "tojson(sort_keys=true)",
    "tojson(separators=(',', ':'))", "trim", "trim('a ')", "truncate(5)", "truncate(6, true, '…')", "truncate(3, leeway=0)", "unique|list",
    "unique(attribute='role')|list", "upper", "urlencode", "wordcount", "list|length", "tojson(indent='\\t')", "tojson(1, 2)",
]
TESTS = [
    "boolean", "callable", "defined", "divisibleby 2", "divisibleby(3)", "eq 1", "equalto('a')", "escaped", "even", "false", "filter",
    "float", "ge 2", "gt 1", "in [1, 'a']", "in s", "integer", "iterable", "le 2", "lower", "lt 3", "mapping", "ne 1", "none", "number",
    "odd", "sameas none", "sequence", "string", "test", "true", "undefined", "upper", "not none", "not string", "not defined", "== 1",
]
METHODS = [
    "upper()", "lower()", "strip()", "lstrip('a')", "rstrip()", "split()", "split(',')", "split('a', 1)", "rsplit(None, 1)", "rsplit(' ', 1)",
    "splitlines()", "splitlines(true)", "replace('a', 'b')", "replace('', '-', 2)", "startswith('a')", "startswith(('a', ' '))", "endswith('c')",
    "find('b')", "find('l', 3)", "find('', 2, 1)", "rfind('l')", "index('a')", "count('l')", "count('')", "title()", "capitalize()", "swapcase()",
    "isdigit()", "isalpha()", "isalnum()", "isspace()", "isupper()", "islower()", "istitle()", "isascii()", "isidentifier()", "isprintable()",
    "isnumeric()", "isdecimal()", "center(9)", "center(10, '*')", "ljust(8)", "rjust(8, '.')", "zfill(6)", "partition(' ')", "rpartition('l')",
    "removeprefix('a')", "removesuffix('c')", "expandtabs(4)", "casefold()", "join(m)", "join(['x', 'y'])", "format(1, 2)", "format(*l)",
    "get('a')", "get('zz', 5)", "items()", "keys()", "values()", "items()|list", "copy()", "index(1)", "count(1)", "append(1)", "pop()", "update({})",
    "bit_length()", "is_integer()", "conjugate()", "nope()", "a", "b", "role", "n", "items", "content", "Z.q", "__class__", "0",
]
BINARY = ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", ">", "<=", ">=", "in", "not in", "and", "or"]
TEXTS = ["a", " ", "\n", "  \n  ", "x\n", "\n\n", " b ", "{", "}", "日", "%", "#", "\t", "- ", "\r\n"]


def pick(rng, items):
    return items[rng.randrange(len(items))]


def primary(rng):
    kind = rng.random()
    if kind < 0.6:
        return pick(rng, NAMES)
    if kind < 0.75:
        return pick(rng, STRINGS)
    if kind < 0.9:
        return pick(rng, NUMBERS)
    return pick(rng, ["none", "true", "false", "True", "None"])


def expression(rng, depth=0):
    kind = rng.random()
    if depth > 3 or kind < 0.2:
        return primary(rng)
    one = lambda: expression(rng, depth + 1)
    if kind < 0.42:
        return f"{atom(rng, depth)}|{pick(rng, FILTERS)}"
    if kind < 0.52:
        return f"{atom(rng, depth)}.{pick(rng, METHODS)}"
    if kind < 0.66:
        return f"{one()} {pick(rng, BINARY)} {one()}"
    if kind < 0.73:
        return f"{atom(rng, depth)} is {pick(rng, TESTS)}"
    if kind < 0.78:
        return f"({one()})"
    if kind < 0.83:
        bounds = [rng.choice(["", "1", "-1", "2", "0", "i", "-4"]) for _ in range(rng.choice([2, 2, 3]))]
        # Of names only: Jinja folds a constant's slice at once, and by another rule.
        return f"{pick(rng, NAMES)}[{':'.join(bounds)}]"
    if kind < 0.88:
        return f"{atom(rng, depth)}[{one()}]"
    if kind < 0.91:
        return f"[{', '.join(one() for _ in range(rng.randrange(4)))}]"
    if kind < 0.93:
        return "{" + ", ".join(f"{primary(rng)}: {one()}" for _ in range(rng.randrange(3))) + "}"
    if kind < 0.96:
        return f"{one()} if {one()}" + (f" else {one()}" if rng.random() < 0.7 else "")
    if kind < 0.98:
        return rng.choice(["-", "not ", "+"]) + atom(rng, depth)
    return rng.choice([f"range({one()})", f"dict(a={one()})", f"namespace(a={one()}).a", f"m1({one()})", f"m1(a={one()})",
                       f"cycler({one()}, 1).next()", "loop.index", "loop.last", "loop.length", "caller()", "ns.a", f"({one()}, {one()})"])


def atom(rng, depth):
    return primary(rng) if rng.random() < 0.75 else f"({expression(rng, depth + 1)})"


def tag(rng, body):
    left = rng.choice(["{%", "{%", "{%", "{%-", "{%+"])
    right = rng.choice(["%}", "%}", "%}", "-%}", "+%}"])
    return f"{left} {body} {right}"


def output(rng, depth=0):
    left, right = rng.choice(["{{", "{{", "{{", "{{-"]), rng.choice(["}}", "}}", "}}", "-}}"])
    return f"{left} {expression(rng, depth)} {right}"


def statement(rng, depth):
    kind = rng.random()
    inner = lambda: body(rng, depth + 1)
    if depth > 3 or kind < 0.36:
        return output(rng)
    if kind < 0.48:
        return tag(rng, f"set {rng.choice(['q', 'v', 's', 'ns.a', 'q, v', 'l'])} = {expression(rng)}")
    if kind < 0.62:
        text = tag(rng, f"if {expression(rng, 1)}") + inner()
        if rng.random() < 0.3:
            text += tag(rng, f"elif {expression(rng, 1)}") + inner()
        if rng.random() < 0.5:
            text += tag(rng, "else") + inner()
        return text + tag(rng, "endif")
    if kind < 0.8:
        over = rng.choice(["l", "m", "r", "d", "x", "k", "s", "d.items()", "range(3)", "d|dictsort", expression(rng, 2)])
        target = rng.choice(["q", "q", "v", "q, v", "s", "loopy"])
        text = tag(rng, f"for {target} in {over}" + (f" if {expression(rng, 2)}" if rng.random() < 0.2 else "")) + inner()
        if rng.random() < 0.3:
            extra = rng.choice(["{{ loop.index }}", "{{ loop.last }}", "{{ loop.previtem }}", "{{ loop.nextitem }}", "{{ loop.revindex }}",
                                "{% if loop.first %}1{% endif %}", "{% break %}", "{% continue %}", "{% if loop.index == 2 %}{% break %}{% endif %}",
                                "{{ loop.length }}{{ loop.changed(q) }}", "{{ loop.cycle('x', 'y') }}"])
            text += extra + inner()
        if rng.random() < 0.2:
            text += tag(rng, "else") + inner()
        return text + tag(rng, "endfor")
    if kind < 0.85:
        arguments = rng.choice(["", "a", "a=1", "a, v=2", "a, q=a", "s"])
        text = tag(rng, f"macro m1({arguments})") + inner()
        text += rng.choice(["", "{{ a }}", "{{ varargs }}", "{{ kwargs }}", "{{ caller is defined }}", "{{ caller() }}"])
        return text + tag(rng, "endmacro") + rng.choice(["", "{{ m1() }}", "{{ m1(1) }}", "{{ m1(v=2) }}"])
    if kind < 0.88:
        return tag(rng, "set q" + rng.choice(["", " | trim", " | upper | replace('A', q)"])) + inner() + tag(rng, "endset") + "{{ q }}"
    if kind < 0.9:
        return tag(rng, f"with q = {expression(rng, 2)}, s = q") + inner() + tag(rng, "endwith")
    if kind < 0.92:
        return tag(rng, f"filter {rng.choice(['upper', 'trim', 'indent(2)', 'replace(s, q)'])}") + inner() + tag(rng, "endfilter")
    if kind < 0.94:
        return tag(rng, rng.choice(["call m1()", "call(v) m1(1)"])) + inner() + tag(rng, "endcall")
    if kind < 0.95:
        return tag(rng, "generation") + inner() + tag(rng, "endgeneration")
    if kind < 0.97:
        return rng.choice(["{# c #}", "{#- c -#}", "{#+ c #}\n", "{# c\n -#}\n "])
    if kind < 0.98:
        return tag(rng, "raw") + "{{ x }}{% y %}" + rng.choice(TEXTS) + tag(rng, "endraw")
    return rng.choice(["{% set ns = namespace(a=1) %}", "{{ loop }}", "{% endif %}", "{{", "{% break %}", "{% set ns = namespace(l) %}"])


def body(rng, depth):
    parts = []
    for _ in range(rng.randrange(1, 4)):
        if rng.random() < 0.6:
            parts.append(rng.choice(TEXTS))
        parts.append(statement(rng, depth))
    if rng.random() < 0.6:
        parts.append(rng.choice(TEXTS))
    return "".join(parts)


def random_template(rng):
    """One statement or a few: a long template raises somewhere, and hides the rest."""
    if rng.random() < 0.5:
        return "{{ " + expression(rng) + " }}"
    start = "{% set ns = namespace(a=1) %}" if rng.random() < 0.3 else ""
    return start + (body(rng, 1) if rng.random() < 0.6 else statement(rng, 0))


def random_context(rng):
    context = dict(CONTEXT)
    for name in list(context):
        if rng.random() < 0.1:
            context[name] = context[rng.choice(list(context))]
    return context
