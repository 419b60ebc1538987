# The same through the program: greedy tokens of `run`, fed to `logits`, give the same hash, from any split.
. "$(dirname "$0")/../cli/lib.sh"
DEMO=$DATA/demo/moxie-demo-Q4_K_M.gguf

first=
while read -r options; do
    # run computes the answer one token at a time, logits all tokens in micro-batches
    run run "$DEMO" --raw -p 'It was a bright cold day' -n 48 --all-logits --json $options
    exits 0
    tokens=$(json tokens)
    hash=$(json logits_xxh3)
    echo "$tokens" | tr -d '[]' | tr ',' ' ' >ids.txt
    run logits "$DEMO" --tokens ids.txt --json $options
    exits 0
    same "logits give the hash of run ($options)" "$(json logits_xxh3)" "$hash"
    same "the same tokens and hash as every other split ($options)" "$tokens $hash" "${first:=$tokens $hash}"
done <<'SPLITS'
--ram-experts 100% --io pread --threads 2
--ram min --io uring --threads 1 --batch 7
--ram-experts 25% --isa scalar --batch 1 --policy lru
--ram-experts 50% --isa avx2 --look-ahead off --policy static --threads 3
--ram-experts 40% --batch 64 --policy lfu --record trace.bin
--ram-experts 13 --verify always --threads 5
SPLITS
finish
