#!/usr/bin/env python3
"""Makes tests/data/words.json: the words that pre-tokenizers' patterns cut texts into, under another regular expression
engine than the one moxie uses.

Run from the root of the tree, with the Python package `tokenizers`, whose engine is Oniguruma:
    python3 tests/tokenizer/words.py > tests/data/words.json
Patterns are those of the publishers' tokenizer.json or tiktoken code, as llama.cpp's sources quote them. Only the list of
DeepSeek's cased letters is read from the table that is tested: it is 15 lines long.
"""
import json
import random
import re

import tokenizers
from tokenizers import Regex, pre_tokenizers

CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LEAD = r"[^\r\n\p{L}\p{N}]?"
SPACES = r"|\s+(?!\S)|\s+"
NEWLINES = r"|\s*[\r\n]+"
OTHER = r" ?[^\s\p{L}\p{N}]+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+|" + OTHER + SPACES


def cl100k(digits):
    return CONTRACTION + "|" + LEAD + r"\p{L}+|" + digits + "|" + OTHER + r"[\r\n]*" + NEWLINES + SPACES


def cased_words(more, after):
    """Words by their case; `more` narrows the sets of characters."""
    upper = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}" + more + "]"
    lower = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}" + more + "]"
    return LEAD + upper + "*" + lower + "+" + after + "|" + LEAD + upper + "+" + lower + "*" + after


def o200k(after, digits):
    return cased_words("", after) + "|" + digits + "|" + OTHER + r"[\r\n/]*" + NEWLINES + SPACES


def deepseek_cased():
    table = open("runtime/tokenizer/pretok_table.c").read().split("DEEPSEEK_CASED")[1].split("static")[0]
    text = "".join(re.findall(r'"(.*)"', table))
    return re.sub(r"\\\\x\{([0-9A-F]+)\}", lambda m: chr(int(m[1], 16)), text)


DEEPSEEK3 = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"""
             + NEWLINES + SPACES)
DEEPSEEK_CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
AFMOE_SCRIPTS = ("[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e00-\u0eff"
                 "\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+")

PATTERNS = {
    "llama-bpe": [cl100k(r"\p{N}{1,3}")],
    "qwen2": [cl100k(r"\p{N}")],
    "gpt-2": [GPT2],
    "refact": [r"\p{N}", GPT2],
    "gpt-4o": [o200k(CONTRACTION + "?", r"\p{N}{1,3}")],
    "tekken": [o200k("", r"\p{N}")],
    "deepseek-v3": [r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", DEEPSEEK3],
    "deepseek-llm": [r"[\r\n]", r"\s?[" + deepseek_cased() + "]+",
                     "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", r"\s+$", DEEPSEEK_CJK, r"\p{N}+"],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", DEEPSEEK_CJK, r"\p{N}"],
    "kimi-k2": [r"[\p{Han}]+|" + cased_words(r"&&[^\p{Han}]", CONTRACTION + "?") + r"|\p{N}{1,3}|" + OTHER + r"[\r\n]*"
                + NEWLINES + SPACES],
    "bailingmoe": [r"'(?i:[sdmt]|ll|ve|re)|" + LEAD + r"+\p{L}+|\p{N}|" + OTHER + r"+[\r\n]*|\s*[\r\n]" + SPACES],
    "seed-coder": [CONTRACTION + "|" + LEAD + r"\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+" + NEWLINES + SPACES],
    "exaone-moe": [CONTRACTION + "|" + LEAD + r"(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}|" + OTHER + r"[\r\n/]?|\s*[\r\n]"
                   + SPACES],
    "qwen35": [CONTRACTION + "|" + LEAD + r"[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + NEWLINES + SPACES],
    "cohere2moe": [r"\d{1,3}(?=(?:\d{3})*\b)", o200k(CONTRACTION + "?", r"\p{N}{1,3}")],
    "afmoe": [r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))", AFMOE_SCRIPTS, DEEPSEEK3],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
    "laguna": [r"[^\n]+|[\n]+", cl100k(r"\p{N}")],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
}

ATOMS = [
    "a", "b", "Ab", "THE", "'s", "'S", "'LL", "'ve", "'\u017f", "'", "1", "22", "333", "4444", "1234567", "\u0663",
    "\u00bd", "\u00b2", "\u2167", "\u3007", " ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\n\n", "\u00a0", "\u3000",
    "\u2003", "\u0085", "\u180e", "\u200b", "!", "?!", "...", "/", "//", "-", "_", "$", "+", "~", "`", "^", "|",
    "\u00e9", "e\u0301", "\u0301", "\u00dc", "\u00df", "\u041f\u0440\u0438\u0432\u0435\u0442",
    "\u041c\u0418\u0420", "\u4f60", "\u597d\u4e16\u754c", "\u3005", "\u303b", "\u3001", "\u3002", "\u3053\u3093",
    "\u30ab\u30bf", "\u30fc", "\uc548\ub155", "\u0939\u093f\u0902", "\u0e44\u0e17\u0e22", "\u0645\u0631", "\u01c5",
    "\u02b0", "\u00aa", "\U0001f680", "\U0001f44d\U0001f3fd", "\u200d", "\ufe0f", "\u00a9", "\u20ac", "\u00bc",
    "\u24b6", "\ufffd", "\U0001d400", "\u0e01", "\u0f40", "<|x|>", "x1y2", "_a", "#inc", "\\n", "\u2018q\u2019",
    "\uff5e", "\uff21", "\u10d0", "\uab30", "\uff11\uff12\uff13",
]

FIXED = ["It's they're we've I'm he'll I'd IT'S THEY'RE it'\u017f", "1 12 123 1234 12345678901", "  two  spaces ", "a\n\n b \r\n\tc\n",
         "CamelCase snake_case XMLHttpRequest", "for(int i=0;i<10;++i){x[i]+=3;}", "a/b\\c?d=e&f#g  https://example.org/x\n",
         "\u4f60\u597d,\u4e16\u754c\u30023\u5e74", "\u3053\u3093\u306b\u3061\u306f \u30ab\u30bf", "  \n  x", "    ", "\n \n \n"]
rnd = random.Random(8)
texts = FIXED + ["".join(rnd.choice(ATOMS) for _ in range(rnd.randint(2, 12))) for _ in range(68)]
words = {}
for pre, patterns in PATTERNS.items():
    split = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(p), "isolated") for p in patterns])
    words[pre] = [[len(w.encode()) for w, _ in split.pre_tokenize_str(t)] for t in texts]
lines = ['"%s": %s' % (pre, json.dumps(w, separators=(",", ":"))) for pre, w in words.items()]
print('{"made_by": "tokenizers %s",\n"texts": %s,\n"words": {\n%s\n}}' % (tokenizers.__version__, json.dumps(texts), ",\n".join(lines)))
