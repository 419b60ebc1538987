#!/usr/bin/env python3
"""Makes tests/data/strips.json: what the original library makes of whitespace behind Phi-3's special tokens.

Run from the root of the tree, with the Python packages `tokenizers` and `gguf`:
    python3 tests/tokenizer/strips.py > tests/data/strips.json
The vocabulary is phimoe-a's. Its pieces and scores become the merges of the library's BPE as its users' converter makes
them; the special tokens have the attributes of the published Phi-3.5-MoE, which a GGUF does not hold.
"""
import json

from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, models, normalizers

CONTROL, KEEP = 3, ("<unk>", "<s>", "<|endoftext|>")
MARKS = ["<s>", "</s>", "<|user|>", "<|end|>", "<|assistant|>", "<|system|>"]
SPACES = ["", " ", "\n", "  \n\t ", "\u00a0", "\u3000 \u2003", "\u200b", "\r\n\r\n", "\x0b\x0c\x85", "\u2028\u180e"]


def load():
    fields = GGUFReader("tests/data/models/phimoe-a.gguf").fields
    array = lambda key: fields["tokenizer.ggml." + key].contents()
    pieces, scores, types = array("tokens"), array("scores"), array("token_type")
    ids = {piece: i for i, piece in enumerate(pieces)}
    merges = []
    for i, piece in enumerate(pieces):
        if types[i] == 1:
            cuts = [(piece[:k], piece[k:]) for k in range(1, len(piece)) if piece[:k] in ids and piece[k:] in ids]
            merges += [(-scores[i], n, cut) for n, cut in enumerate(sorted(cuts, key=lambda c: (ids[c[0]], ids[c[1]])))]
    merges = [cut for _, _, cut in sorted(merges, key=lambda m: m[0])]
    t = Tokenizer(models.BPE(ids, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    t.add_special_tokens([AddedToken(p, rstrip=p not in KEEP, normalized=False)
                          for p, kind in zip(pieces, types) if kind == CONTROL])
    return t


def texts():
    for mark in MARKS:
        for space in SPACES:
            yield mark + space + "two words"
            yield "before" + space + mark + space
    yield "<|system|>\nBe short.<|end|>\n<|user|>\n  Hello there<|end|>\n<|assistant|>\n"
    yield "<s> <s>  <|end|> \n <|end|>\n\n\n"


if __name__ == "__main__":
    tokenizer = load()
    print("[\n" + ",\n".join(json.dumps({"text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids})
                             for text in texts()) + "\n]")
