"""The environment that chat templates are written for: jinja2's immutable sandbox with what Hugging Face
transformers adds (utils/chat_template_utils.py): trim_blocks and lstrip_blocks, break and continue,
raise_exception, strftime_now, a tojson that escapes no HTML, the tag generation, and a dict and a namespace that are no
way to Python's inside. Compiled into the program onecopy-jinja (worker.cc), which calls answer()."""

import datetime
import functools
import json

import jinja2
import jinja2.debug
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox


class Refusal(Exception):
    """Reported as it is."""


class Generation(jinja2.ext.Extension):
    """{% generation %}...{% endgeneration %} marks what a model says; the text within stands for itself."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        # A call block, as in transformers: what is set inside is not seen outside.
        return jinja2.nodes.CallBlock(self.call_method("text"), [], [], body).set_lineno(line)

    def text(self, caller):
        return caller()


class Namespace(jinja2.utils.Namespace):
    """namespace() of jinja2, but for names such as __class__."""

    def __init__(*args, **kwargs):  # any name may be a keyword, self too
        values = dict(*args[1:], **kwargs)
        for name in values:
            check_name(name)
        jinja2.utils.Namespace.__init__(args[0], values)

    def __setitem__(self, name, value):
        check_name(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)


def check_name(name):
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.sandbox.SecurityError(f"a namespace takes no name that begins with an underscore: {name}")


class Dict:
    """dict without the attributes of a class."""

    def __call__(self, *args, **kwargs):
        return dict(*args, **kwargs)

    def fromkeys(self, *args, **kwargs):
        return dict.fromkeys(*args, **kwargs)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise Refusal(f"the chat template refuses the conversation: {message}")


@functools.lru_cache(maxsize=8)
def compiled(source):
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    environment.filters["tojson"] = tojson
    environment.globals.update(raise_exception=raise_exception, dict=Dict(), namespace=Namespace)
    return environment.from_string(source)


def render(request):
    now = request["now"]

    def strftime_now(format):
        return (datetime.datetime.now() if now is None else datetime.datetime.fromtimestamp(now)).strftime(format)

    pieces, length = [], 0
    # Also as a variable of the request, it hides no variable: transformers has it among the globals.
    for piece in compiled(request["template"]).generate({"strftime_now": strftime_now, **(request["variables"] or {})}):
        pieces.append(piece)
        length += len(piece)
        if length > request["max_characters"]:
            raise Refusal(f"the chat template writes more than {request['max_characters']} characters")
    return "".join(pieces)


def failure(error):
    if isinstance(error, Refusal):
        return str(error)
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"the chat template cannot be parsed: line {error.lineno}: {error.message}"
    if isinstance(error, jinja2.sandbox.SecurityError):
        return f"the chat template does what templates may not: {error}"
    if isinstance(error, MemoryError):
        return "the chat template takes too much memory"
    if isinstance(error, RecursionError):
        return "the chat template is nested too deeply"
    return f"the chat template failed: {type(error).__name__}: {error}"


def answer(request):
    """JSON of a request to JSON of {"text"} or {"error"}, both as bytes."""
    try:
        result = {"text": render(json.loads(request))}
    except BaseException as error:  # a template may raise what it likes
        result = {"error": failure(error)[:2000]}
    return json.dumps(result).encode()


def load_all():
    """Once the process is closed, no module can be loaded: what templates make Python load is loaded here."""
    compiled("{{ 'a'|pprint|urlize|wordwrap }}{{ [1]|random }}{{ lipsum(1) }}{{ 'a b'.title() }}").render()
    datetime.datetime.now().strftime("%c")
    "".encode("utf-16")
    try:
        compiled("{{ 1 / 0 }}").render()
    except ZeroDivisionError:
        pass
    compiled.cache_clear()


load_all()
