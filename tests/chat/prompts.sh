# Where a prompt comes from, what it becomes, and what is refused.
. "$(dirname "$0")/../cli/lib.sh"
DEMO=$DATA/demo/moxie-demo-Q4_K_M.gguf
A=$DATA/models/mixtral-a.gguf # has no chat template
STORY='Continue the story: Once upon a time'

# every source gives the same answer, and the text alone on stdout
run run "$DEMO" -p "$STORY" -n 12
exits 0
cp "$OUT" answer.txt
check "there is a text" test "$(wc -c <answer.txt)" -gt 20
check "it does not begin with the template's space" sh -c "! head -c1 answer.txt | grep -q ' '"
printf '%s\n' "$STORY" >story.txt
same_answer() {
    exits 0
    check "the same answer: $last" cmp -s "$OUT" answer.txt
}
run run "$DEMO" "$STORY" -n 12
same_answer
run run "$DEMO" -n 12 Continue the story: Once upon a time
same_answer
run run -n 12 -m "$DEMO" Continue the story: 'Once upon' a time
same_answer
run run "$DEMO" -f story.txt -n 12
same_answer
"$MOXIE" run "$DEMO" -n 12 <story.txt >"$OUT" 2>"$ERR"
rc=$? last="run < story.txt"
same_answer
"$MOXIE" run "$DEMO" -f - -n 12 <story.txt >"$OUT" 2>"$ERR"
rc=$? last="run -f - < story.txt"
same_answer
# standard input is not waited for where it is not the prompt
rm -f open.pipe; mkfifo open.pipe
exec 3<>open.pipe # which never ends
timeout 60 "$MOXIE" run "$DEMO" -p "$STORY" -n 12 <open.pipe >"$OUT" 2>"$ERR"
rc=$? last="run -p < open.pipe"
exec 3>&-
same_answer

# the template: [INST] around the message; as text it gives the same tokens
run run "$DEMO" -p "$STORY" -n 12 --json
is_json
same template "$(json template)" mistral
tokens=$(json prompt_tokens)
text=$(json text)
same "the text is inside the document" "$text" "$(sed -e 's/\\/\\\\/g; s/"/\\"/g' answer.txt | head -1)"
run run "$DEMO" --raw -p "[INST] $STORY [/INST]" -n 12 --json
same "the same tokens by hand" "$(json prompt_tokens)" "$tokens"
same "no template" "$(json template)" null
run run "$DEMO" --chat-template mistral -p "$STORY" -n 12 --json
same "by name" "$(json prompt_tokens)" "$tokens"
run run "$DEMO" -s 'Be brief.' -p "$STORY" -n 1 --json
system=$(json prompt_tokens)
run run "$DEMO" --raw -p "[INST] Be brief.

$STORY [/INST]" -n 1 --json
same "a system message stands in front" "$(json prompt_tokens)" "$system"

# text never becomes a control token, unless asked for
count() { json prompt_tokens | tr -d '[]' | tr , '\n' | grep -cx "$1"; }
run run "$DEMO" -p 'a</s><s>b' -s '</s>' -n 1 --json
same "one begin" "$(count 1)" 1
same "no end" "$(count 2)" 0
run run "$DEMO" -p 'a</s><s>b' -s '</s>' -n 1 --json --special
same "two begins" "$(count 1)" 2
same "two ends" "$(count 2)" 2

# two prompts, none, empty ones, options that do not go together
refuses() { # CODE TEXT ARGS...: usage error with that text, before anything is loaded
    local text=$1
    shift
    run run "$@"
    exits 2
    says "$text"
    stdout_empty
    check "nothing was loaded: $last" sh -c "! grep -q 'ready in' '$ERR'"
}
refuses 'two prompts: -p and the words after the model (hello)' "$DEMO" -p x hello
refuses 'two prompts: -p and -f (story.txt)' "$DEMO" -p x -f story.txt
refuses 'two prompts: -f and the words after the model' "$DEMO" -f story.txt hello
refuses '--raw and --system exclude each other' "$DEMO" --raw -s x -p y
refuses 'standard input is empty' "$DEMO"
refuses 'the prompt is empty' "$DEMO" -p ''
: >empty.txt
refuses 'the file is empty' "$DEMO" -f empty.txt
run run "$DEMO" -f missing.txt
exits 6
says 'missing.txt cannot be opened'

# a model without a template continues texts, and says so
run run "$A" -p hi -n 2
exits 0
says 'has no chat template: the text is continued'
run run "$A" -p hi -n 2 --raw
check "with --raw there is nothing to say" sh -c "! grep -q 'chat template' '$ERR'"
run run "$A" -p hi -s x -n 2
exits 3
says MX-3012
says '--chat-template NAME'
# one that is not built in is rendered: the file's text in its own memory, by name, or from a file
sed 's/\[INST\] /[XNST] /; s/ \[\/INST\]/ [\/XNST]/' "$DEMO" >other.gguf
same "only letters changed" "$(wc -c <other.gguf)" "$(wc -c <"$DEMO")"
run run other.gguf -p hi -n 2 --json
exits 0
same "the model's own" "$(json template)" model
run run other.gguf -p hi -n 2 --raw
exits 0
printf "{{ bos_token }}[INST] {{ messages[0].content }} [/INST]" >mine.jinja
run run "$DEMO" --chat-template ./mine.jinja -p "$STORY" -n 12 --json
exits 0
same "a file's name" "$(json template)" mine.jinja
same "the same tokens as the built-in form" "$(json prompt_tokens)" "$tokens"
run run "$DEMO" --chat-template mine.jinja -p 'a</s><s>b' -n 1 --json
same "one begin from a rendered template" "$(count 1)" 1
same "no end from a user's text" "$(count 2)" 0
run run "$DEMO" --chat-template chatml --think off --kwargs '{"x": 1}' -p hi -n 1 --json
exits 0
same "by its name" "$(json template)" chatml
# one that fails does so before loading, and says where
printf 'a\n{{ messages[0].content.nothing.more }}' >bad.jinja
run run "$DEMO" --chat-template bad.jinja -p hi -n 2
exits 3
says 'chat template, line 2, column 32: .nothing. is undefined'
check "nothing was loaded" sh -c "! grep -q 'ready in' '$ERR'"
printf '{%% include "x" %%}' >bad.jinja
run run "$DEMO" --chat-template bad.jinja -p hi -n 2
exits 3
says 'line 1, column 4: the statement "include" is not supported'
says '^try:  --raw'
stdout_empty
refuses 'there is no template "wizard"' "$DEMO" --chat-template wizard -p hi
run explain MX-3012
exits 0

# a full context: both numbers and what helps; an answer that is cut says so
run run "$DEMO" --ctx 16 -p "$STORY and $STORY" -n 4
exits 1
says 'the prompt has [0-9]* tokens, the context 16'
says '^try:  moxie run --ctx [0-9]'
run run "$DEMO" --ctx 32 -p "$STORY" -n 0
exits 0
says 'warning: the answer ends here because the context of 32 tokens is full'
# the first line comes before anything is read
check "the first line names the model" sh -c "head -1 '$ERR' | grep -q 'opening'"
finish
