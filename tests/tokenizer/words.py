#!/usr/bin/env python3
"""Makes tests/data/words.json: what the publishers' own pre-tokenizer patterns cut texts into.

Run from the root of the tree, with the Python package `tokenizers` (its regular expressions are Oniguruma's, not PCRE2's):
    python3 tests/tokenizer/words.py > tests/data/words.json
Patterns as in the publishers' tokenizer.json or tiktoken code. Only the long list of DeepSeek's cased letters is read from
the table that is tested.
"""
import json
import random
import re

import tokenizers
from tokenizers import Regex, pre_tokenizers

C="(?i:'s|'t|'re|'ve|'m|'ll|'d)"
ll3=C+r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
qw=ll3.replace('{1,3}','')
g2=r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
o2=r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"+C+r"?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"+C+r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
tk=o2.replace(C+'?','').replace('{1,3}','')
ds3=r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
cjk="[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
cased=''.join(re.findall(r'"(.*)"',open('runtime/tokenizer/pretok_table.c').read().split('DEEPSEEK_CASED')[1].split('static')[0]))
cased=re.sub(r'\\\\x\{([0-9A-F]+)\}',lambda m:chr(int(m[1],16)),cased)
kl=r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"+C+r"?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"+C+r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
R={'llama-bpe':[ll3],'qwen2':[qw],'gpt-2':[g2],'refact':[r'\p{N}',g2],'gpt-4o':[o2],'tekken':[tk],
'deepseek-v3':[r'\p{N}{1,3}',"[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",ds3],
'deepseek-llm':[r'[\r\n]',r'\s?['+cased+']+',"\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",r'\s+$',cjk,r'\p{N}+'],
'deepseek-coder':[r'[\r\n]',r'\s?\p{L}+',r'\s?\p{P}+',cjk,r'\p{N}'],
'kimi-k2':[r"[\p{Han}]+|"+kl],
'bailingmoe':[r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"],
'seed-coder':[C+r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"],
'exaone-moe':[C+r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"],
'qwen35':[C+r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
'cohere2moe':[r"\d{1,3}(?=(?:\d{3})*\b)",o2],
'afmoe':[r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))","[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-ゟ゠-ヿ\uff65-ﾟ\u2f00-\u2fdfก-\u0eff\u0e00-\u0e01\u1780-\u17ff\u1000-႟ꩠ-ꩿꧠ-\ua9ff가-\ud7afᄀ-ᇿ]+",ds3],
'falcon':[r"[\p{P}\$\+<=>\^~\|`]+",g2,"[0-9][0-9][0-9]"],
'laguna':[r"[^\n]+|[\n]+",qw],
'default':[r"[\p{P}\$\+<=>\^~\|]+",g2,r"\p{N}+","[0-9][0-9][0-9]"],
}

rnd = random.Random(8)
atoms=["a","b","Ab","THE","'s","'S","'LL","'ve","'\u017f","'","1","22","333","4444","1234567","\u0663","½","²","Ⅷ","\u3007"," ","  ","   ","\t","\n","\r\n","\r","\n\n","\u00a0","\u3000","\u2003","\u0085","\u180e","\u200b","!","?!","...","/","//","-","_","$","+","~","`","^","|","é","e\u0301","\u0301","Ü","ß","Привет","МИР","你","好世界","々","〻","、","。","こん","カタ","ー","안녕","हिं","ไทย","مر","ǅ","ʰ","ª","🚀","👍🏽","\u200d","\ufe0f","©","€","¼","Ⓐ","\ufffd","\U0001d400","\u0e01","\u0f40","<|x|>","x1y2","_a","#inc","\\n","‘q’","～","Ａ","\u10d0","\uab30","１２３"]

fixed = ["It's they're we've I'm he'll I'd IT'S THEY'RE it'\u017f", "1 12 123 1234 12345678901", "  two  spaces ", "a\n\n b \r\n\tc\n",
         "CamelCase snake_case XMLHttpRequest", "for(int i=0;i<10;++i){x[i]+=3;}", "a/b\\c?d=e&f#g  https://example.org/x\n",
         "\u4f60\u597d,\u4e16\u754c\u30023\u5e74", "\u3053\u3093\u306b\u3061\u306f \u30ab\u30bf", "  \n  x", "    ", "\n \n \n"]
texts = fixed + ["".join(rnd.choice(atoms) for _ in range(rnd.randint(2, 12))) for _ in range(68)]
words = {}
for pre, patterns in R.items():
    split = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(p), "isolated") for p in patterns])
    words[pre] = [[len(w.encode()) for w, _ in split.pre_tokenize_str(t)] for t in texts]
lines = ['"%s": %s' % (pre, json.dumps(w, separators=(",", ":"))) for pre, w in words.items()]
print('{"made_by": "tokenizers %s",\n"texts": %s,\n"words": {\n%s\n}}' % (tokenizers.__version__, json.dumps(texts), ",\n".join(lines)))
