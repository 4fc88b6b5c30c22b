"""Conversations, tools and documents to render chat templates with: what people send, and seeded variations of it."""

import copy

TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": None, "unk_token": {"content": "<unk>"}}

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather in a city.\n\nArgs: \"city\" & <unit>",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": " The city, e.g. Zürich "},
                "unit": {"type": "string", "enum": ["C", "F"], "default": "C", "nullable": True},
                "days": {"type": ["integer", "null"], "minimum": 1, "maximum": 14.5, "description": "How many"},
            },
            "required": ["city"],
        },
        "return": {"type": "string", "description": "A sentence"},
    },
}
SEARCH = {
    "type": "function",
    "function": {
        "name": "search",
        "description": "Nested arguments",
        "parameters": {
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "q", "examples": ["a 'b'", "c\"d"]},
                "filters": {
                    "type": "array",
                    "description": "f",
                    "items": {
                        "type": "object",
                        "properties": {
                            "field": {"type": "string", "description": "日本語"},
                            "range": {"type": "array", "items": {"type": "number"}},
                            "deep": {"type": "object", "properties": {"x": {"type": "boolean", "description": "x?"}}},
                        },
                        "required": ["field"],
                    },
                },
                "tags": {"type": "array", "items": {"type": "string", "enum": ["a", "b", 3]}},
                "matrix": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
                "any": {"description": "no type"},
                "options": {"type": "object", "additionalProperties": {"type": "integer"}, "description": "map"},
            },
            "required": ["query", "filters"],
        },
    },
}
BARE = {"name": "bare", "description": "no wrapper", "parameters": {"type": "object", "properties": {}}}
INTERPRETER = {"type": "code_interpreter"}
NO_PARAMETERS = {"type": "function", "function": {"name": "now", "description": "The time", "parameters": {}}}
TOOLS = [None, [], [WEATHER], [WEATHER, SEARCH], [SEARCH, NO_PARAMETERS], [BARE], [WEATHER, INTERPRETER]]
DOCUMENTS = [None, [], [{"title": "T\"1\"", "text": "Ein Text über Äpfel"}, {"title": "2", "text": "", "n": [1, 2.5, None]}]]

ARGUMENTS = [
    {"city": "Zürich", "unit": "C"},
    {},
    "{\"city\": \"Paris\"}",
    "not json",
    {"nested": {"a": [1, 2.0, True, None, "x'y"]}, "ü": "\u2028\x7f\x1f"},
    {"code": "print(\"hi\")\n"},
]


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def call(name, arguments, id="abcdef123"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def base():
    """Conversations by hand."""
    system = {"role": "system", "content": " You are helpful.\n"}
    yield [user("Hi")]
    yield [system, user("Hi")]
    yield [user("Hi"), assistant("Hello!"), user("How are you?")]
    yield [system, user("  1  "), assistant("\tzwei\n"), user("3")]
    yield [system]
    yield []
    yield [assistant("I start")]
    yield [user("a"), user("b")]
    yield [user(""), assistant(""), user("")]
    yield [user("Ünïcödé 日本語 👩‍👩‍👧 \u2028 \u00a0 \x85 <|im_end|> {{ x }} {% if %}")]
    yield [user("a"), assistant(None), user("b")]
    yield [user("a"), {"role": "assistant"}, user("b")]
    yield [user([{"type": "text", "text": "Look"}, {"type": "image"}, {"type": "text", "text": " there"}])]
    yield [user([{"type": "text", "text": "x"}]), assistant([{"type": "text", "text": "y"}])]
    yield [user(["plain", "parts"])]
    yield [{"role": "system", "content": [{"type": "text", "text": "sys"}]}, user("u")]
    yield [{"role": "developer", "content": "dev"}, user("u")]
    yield [user("a"), assistant("<think>reason</think>answer"), user("b")]
    yield [user("a"), assistant("</think>"), user("b"), assistant("<think>x</think>\n\ny</think>z")]
    yield [user("a"), assistant("answer", reasoning_content="because"), user("b")]
    yield [user("a"), assistant("answer", reasoning="why", thinking=None)]
    yield [{"role": "odd", "content": "?"}]
    yield [{"content": "no role"}]
    yield [user(5), assistant(2.5), user(True)]
    for arguments in ARGUMENTS:
        ask = [system, user("Weather?"), {"role": "assistant", "content": "", "tool_calls": [call("get_weather", arguments)]}]
        yield ask
        answer = {"role": "tool", "content": "21 °C", "tool_call_id": "abcdef123", "name": "get_weather"}
        yield ask + [answer]
        yield ask + [answer, assistant("It is 21 °C"), user("Thanks")]
        yield ask[1:] + [dict(answer, content={"temperature": 21.5, "ok": True})]
        yield ask[1:] + [dict(answer, content=["a", 1]), assistant("x")]
        two = {"role": "assistant", "content": None, "tool_calls": [call("a", arguments), call("b", arguments, "123456789")]}
        yield [user("x"), two, answer, dict(answer, tool_call_id="123456789"), user("y")]
        yield [user("x"), {"role": "assistant", "content": "I call", "tool_calls": [call("get_weather", arguments)]}, answer]
        yield [user("x"), {"role": "assistant", "tool_calls": [{"name": "bare", "arguments": arguments}]}, answer]
        yield [user("x"), {"role": "assistant", "tool_calls": [call("brave_search", arguments)]}, {"role": "ipython", "content": "r"}]
    yield [user("x"), {"role": "assistant", "content": "c", "tool_calls": []}, user("y")]
    yield [user("x"), {"role": "assistant", "content": "c", "tool_calls": None}, user("y")]
    yield [user("x"), {"role": "tool", "content": "orphan"}, {"role": "tool", "content": "two"}]
    yield [user("x"), {"role": "assistant", "content": "p", "tool_plan": "plan", "tool_calls": [call("a", {})]}]
    yield [m for i in range(20) for m in (user(f"q{i}"), assistant(f"a{i}"))] + [user("end")]


FUNCTIONS = {"functions": "[{}]", "datetime": "2026-01-01"}
VARIABLES = [
    {},
    {"enable_thinking": False},
    {"date_string": "1 Jan 2025", "tools_in_user_message": False},
    {"builtin_tools": ["brave_search", "code_interpreter"]},
    {"builtin_tools": []},
    {"enable_citations": True, "citation_mode": "fast", "safety_mode": "NONE"},
    {"custom_tools": [BARE]},
    {"add_bos_token": True, "keep_past_thinking": 1},
]


def cases():
    """Each conversation with every set of tools, and the rest in turn."""
    count = 0
    for messages in base():
        for tools in TOOLS:
            count += 1
            yield {
                "messages": messages,
                "tools": tools,
                "documents": DOCUMENTS[count % 3],
                "variables": {**(FUNCTIONS if count % 4 else {}), **VARIABLES[count // 2 % len(VARIABLES)]},
                "tokens": TOKENS if count % 5 else {},
                "add_generation_prompt": count % 3 != 0,
                "now": 1_763_740_800.25 + count * 86_400.5,
            }


CHARACTERS = "aZ09 _-\n\t\"'\\{}%#<>|&/.,:ßçÅΣς日本😀\u00a0\u2028\x1c\x85\x00\u0301ﬁİ"
KEYS = ["role", "content", "tool_calls", "name", "type", "text", "id", "function", "arguments", "parameters", "properties",
        "description", "items", "keys", "values", "get", "copy", "update", "__class__", "_x", "required", "enum", "default", "0"]
STRINGS = ["user", "assistant", "system", "tool", "ipython", "", " ", "text", "image", "string", "object", "array", "integer",
           "code_interpreter", "function", "[]", "{}", "</think>", "<think>", "a.b", "None", "<co>", "\n"]


def random_text(rng):
    if rng.random() < 0.4:
        return rng.choice(STRINGS)
    return "".join(rng.choice(CHARACTERS) for _ in range(rng.randrange(12)))


def random_value(rng, depth=0):
    kind = rng.random()
    if depth > 3 or kind < 0.45:
        return random_text(rng)
    if kind < 0.6:
        return rng.choice([None, True, False, 0, 1, -7, 10**15, 0.5, -2.0, 1e300, 1e-7, 3.0e16, 123456.789])
    if kind < 0.75:
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    names = [rng.choice(KEYS) if rng.random() < 0.8 else random_text(rng) for _ in range(rng.randrange(5))]
    return {name: random_value(rng, depth + 1) for name in names}


def mutate(rng, value):
    """Changes a value somewhere inside."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        kind = rng.random()
        if kind < 0.12:
            del value[key]
        elif kind < 0.2:
            value[rng.choice(KEYS)] = random_value(rng, 2)
        else:
            value[key] = mutate(rng, value[key])
        return value
    if isinstance(value, list) and value and rng.random() < 0.85:
        index = rng.randrange(len(value))
        kind = rng.random()
        if kind < 0.1:
            del value[index]
        elif kind < 0.2:
            value.insert(index, copy.deepcopy(rng.choice(value)))
        else:
            value[index] = mutate(rng, value[index])
        return value
    return random_value(rng, 1)


def strict_case(rng, known):
    """Roles that alternate and contents that are text, which is what the strictest templates take."""
    case = copy.deepcopy(rng.choice(known))
    turns = [user(random_text(rng)) if i % 2 == 0 else assistant(random_text(rng)) for i in range(rng.randrange(1, 8))]
    if rng.random() < 0.3:
        turns.insert(0, {"role": "system", "content": random_text(rng)})
    case.update(messages=turns, tools=rng.choice([None, None, [WEATHER], [SEARCH]]), tokens=TOKENS,
                variables=FUNCTIONS, add_generation_prompt=rng.random() < 0.5)
    return case


def random_case(rng, known):
    if rng.random() < 0.25:
        return strict_case(rng, known)
    case = copy.deepcopy(rng.choice(known))
    for _ in range(rng.randrange(1, 6)):
        part = rng.choice(["messages", "messages", "messages", "tools", "tools", "documents", "variables"])
        changed = mutate(rng, case[part]) if case[part] is not None else random_value(rng, 1)
        if part == "messages":
            changed = [m for m in changed if isinstance(m, dict)] if isinstance(changed, list) else []
        elif part == "variables":
            reserved = ("messages", "tools", "documents", "add_generation_prompt")
            changed = {k: v for k, v in changed.items() if k not in reserved} if isinstance(changed, dict) else {}
        elif changed is not None and not isinstance(changed, list):
            changed = [changed]
        case[part] = changed
    case["add_generation_prompt"] = rng.random() < 0.5
    return case
