"""oracle.py DRIVER FOLDER: every template of FOLDER over every conversation of FOLDER/conversations.json, here and in
Python's Jinja, set up as transformers does it. Where one fails the other has to fail too; otherwise the texts are the
same. What the conversations say (their strings) never loses its mark: a run of bytes that only a user can have written
is checked to be marked as his. 77: Python's Jinja is not installed.
"""

import datetime
import glob
import json
import os
import subprocess
import sys

try:
    import jinja2
    from jinja2.ext import Extension
    from jinja2.sandbox import SandboxedEnvironment
except ImportError:
    print("skipped: Python's Jinja is not installed (Debian: python3-jinja2)")
    sys.exit(77)

NOW = 1761000000


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def strftime_now(form):
        return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).strftime(form)

    env = SandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    return env


def expected(env, text, variables):
    try:
        return env.from_string(text).render(**variables), None
    except Exception as error:  # whatever it is: the template failed
        return None, "%s: %s" % (type(error).__name__, error)


def loses_marks(result):
    """A look-alike that the conversation alone can have brought in, with a byte that is not marked as a user's."""
    data, marks = result["text"].encode(), result["marks"]
    at = data.find(b"evil")
    while at >= 0:
        if "0" in marks[at : at + 4]:
            return "at byte %d: %r" % (at, data[at - 20 : at + 40])
        at = data.find(b"evil", at + 1)
    return None


def main():
    driver, folder = sys.argv[1:3]
    conversations = json.load(open(os.path.join(folder, "conversations.json")))
    templates = sorted(glob.glob(os.path.join(folder, "*.jinja")))
    cases = []
    for path in templates:
        text = open(path, newline="").read()
        for name, variables in conversations.items():
            base = {"bos_token": "<s>", "eos_token": "</s>", "tools": None, "documents": None}
            for prompt in (True, False):
                v = dict(base, add_generation_prompt=prompt, **variables)
                cases.append((os.path.basename(path), name, text, v))
    asked = json.dumps([{"template": t, "vars": v, "now": NOW} for _, _, t, v in cases])
    got = subprocess.run([driver], input=asked.encode(), stdout=subprocess.PIPE, check=True)
    env, bad, failed = environment(), 0, 0
    for (path, name, text, variables), result in zip(cases, json.loads(got.stdout)):
        want, error = expected(env, text, json.loads(json.dumps(variables)))
        why = None
        if (error is None) != ("text" in result):
            why = "expected %s\n  got      %s" % (error or repr(want), result)
        elif error is None and want != result["text"]:
            why = "expected %r\n  got      %r" % (want, result["text"])
        elif error is None:
            why = loses_marks(result)
        failed += error is not None
        if why:
            bad += 1
            print("%s, %s, add_generation_prompt %s:\n  %s" % (path, name, variables["add_generation_prompt"], why))
    print("%d templates, %d renderings, of which %d fail in both; %d differ (jinja2 %s)"
          % (len(templates), len(cases), failed, bad, getattr(jinja2, "__version__", "?")))
    sys.exit(1 if bad or len(cases) < 100 else 0)


if __name__ == "__main__":
    main()
