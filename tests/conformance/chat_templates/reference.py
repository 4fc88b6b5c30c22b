"""Chat templates as Python renders them: jinja2 in the environment that Hugging Face transformers 5 makes in
`_compile_jinja_template`, and what its `render_jinja_template` does to messages before.
"""

import copy
import datetime
import json

import jinja2
import jinja2.ext
import jinja2.sandbox

REASONING = ("reasoning_content", "thinking", "reasoning")


class Generation(jinja2.ext.Extension):
    """{% generation %}: renders its body, in a scope of its own."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

    def _render(self, caller):
        return caller()


class TemplateDict:
    def __call__(self, *args, **kwargs):
        return dict(*args, **kwargs)

    def fromkeys(self, *args, **kwargs):
        return dict.fromkeys(*args, **kwargs)


class TemplateNamespace(jinja2.utils.Namespace):
    def __init__(*args, **kwargs):
        self, args = args[0], args[1:]
        attributes = dict(*args, **kwargs)
        for name in attributes:
            TemplateNamespace._check_name(name)
        jinja2.utils.Namespace.__init__(self, attributes)

    def __setitem__(self, name, value):
        TemplateNamespace._check_name(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def _check_name(name):
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"underscore-prefixed attribute {name!r}")


class Reference:
    """One environment and its templates."""

    def __init__(self):
        self.now = 0.0
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
        )

        def raise_exception(message):
            raise jinja2.exceptions.TemplateError(message)

        def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
            return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

        def strftime_now(format):
            return datetime.datetime.fromtimestamp(self.now).strftime(format)

        environment.filters["tojson"] = tojson
        environment.globals["raise_exception"] = raise_exception
        environment.globals["strftime_now"] = strftime_now
        environment.globals["dict"] = TemplateDict()
        environment.globals["namespace"] = TemplateNamespace
        self.environment = environment
        self.templates = {}

    def render(self, source, context):
        """("text", …) or ("error", …)."""
        try:
            if source not in self.templates:
                if len(self.templates) > 200:
                    self.templates.clear()
                self.templates[source] = self.environment.from_string(source)
            # Some filters of Python's change what they are given.
            return "text", self.templates[source].render(**copy.deepcopy(context))
        except Exception as error:  # whatever Python raises is an error of the template
            return "error", f"{type(error).__name__}: {error}"

    def chat(self, source, case):
        messages = []
        for message in case["messages"]:
            reasoning = next((message[key] for key in REASONING if message.get(key) is not None), None)
            if reasoning is not None:
                message = {"thinking": reasoning, **message, "reasoning_content": reasoning}
            messages.append(message)
        self.now = case["now"]
        context = dict(case["tokens"])
        context.update(case["variables"])
        context.update(
            messages=messages,
            tools=case["tools"],
            documents=case["documents"],
            add_generation_prompt=case["add_generation_prompt"],
        )
        return self.render(source, context)
