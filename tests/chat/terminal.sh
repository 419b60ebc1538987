# The chat at a real terminal, which tmux is: typing, pasting, several lines, stopping while reading and while
# answering, another size, suspending, leaving in every way. The terminal's settings are compared before and after.
# Every step waits for what must be on the screen.
. "$(dirname "$0")/../cli/lib.sh"
if ! command -v tmux >/dev/null; then
    echo 'skipped: tmux is not installed'
    exit 77
fi
rm -rf "${WORK:?}"/*
DEMO=$DATA/demo/moxie-demo-Q4_K_M.gguf
unset TMUX
export XDG_STATE_HOME=$WORK/state LC_ALL=C.UTF-8
socket=$(mktemp -u /tmp/moxie-tmux-XXXXXX) # a socket's path has 108 bytes
t() { tmux -u -S "$socket" -f /dev/null "$@"; }
trap 't kill-server 2>/dev/null; rm -f "$socket"' EXIT
# the server stays when its last session ends: a new one would meet it while it leaves
t start-server \; set-option -s exit-empty off

screen() { t capture-pane -pJ -S -; }
keys() { t send-keys "$@"; }
enter() { t send-keys -l -- "$1" && t send-keys Enter; }
waits() { # WHAT COMMAND...: the command succeeds within 20 s
    local what=$1 i
    shift
    checks=$((checks + 1))
    for i in $(seq 400); do
        "$@" && return
        sleep 0.05
    done
    last="keys at the terminal" rc= fail "$what"
    screen | sed 's/^/  | /' | grep -v '^  | *$' | tail -15
    t has-session -t chat || finish # without a terminal every step would wait in vain
}
on_screen() { screen | grep -qF -e "$1"; }
shows() { waits "the screen has: $1" on_screen "$1"; }
lines_below() { [ "$(screen | sed -n "/$1/,\$p" | grep -c .)" -gt "$2" ]; }

# shell COMMAND [-m]: in a new terminal, between two `stty -g`; -m: with job control
shell() {
    t kill-session -t chat 2>/dev/null
    t new-session -d -s chat -x 100 -y 40 env PS1='$ ' HISTFILE= bash --norc --noprofile -i
    shows '$ '
    enter "set ${2:-+m}; ulimit -c 0; stty -g >before.txt; echo \"set\"up"
    shows 'setup'
    enter "clear; $1"
}
at_shell() { screen | grep . | tail -1 | grep -q '\$ *$'; }
n_left=0
left() { # CODE: the shell is back, and the terminal as it was
    waits "the shell is back" at_shell
    enter 'echo "exit" code $?; stty -g >after.txt; echo "do"ne'
    shows "exit code $1"
    shows done
    n_left=$((n_left + 1))
    check "the terminal's settings after leaving ($n_left)" cmp -s before.txt after.txt
}
child() { pgrep -P "$(t display-message -p -t chat '#{pane_pid}')" | head -1; }
saved() { # FILE: the conversation as JSON
    rm -f "$1"
    enter "/save $1"
    waits "$1 is written" test -s "$1"
}
is_stopped() { [ "$(screen | grep . | tail -2 | sed 's/ *$//; s/^.*Stopped.*/Stopped/' | tr '\n' ' ')" = 'Stopped $ ' ]; }

## typing, an answer and its figures; another turn reads only what is new; commands
shell "$MOXIE run $DEMO --ram-experts 40% -n 24 --verbose"
shows 'type a message'
enter 'Continue the story: Once upon a time'
shows '24 tok |'
enter 'And then?'
shows '>>> And then?'
waits "two answers" sh -c "[ \$(tmux -u -S $socket capture-pane -pJ -S - | grep -c '24 tok |') = 2 ]"
check "the first turn was not read again" \
    test "$(screen | grep -o '[0-9]* reused' | tail -1 | cut -d' ' -f1)" -gt 40
enter '/halp'
shows 'did you mean /help?'
enter '/ctx'
shows 'of 512 tokens'
enter '/experts'
shows 'fewest hits'
enter '/set temp 0.5'
shows 'temp               0.5'
enter '/set tmep 1'
shows 'did you mean temp?'
enter '/show'
shows 'template  mistral'
saved chat.json
check "chat.json is JSON" "$JSONQ" chat.json
same "the first message" "$(json messages.0.content chat.json)" 'Continue the story: Once upon a time'
same "is a question" "$(json messages.0.role chat.json)" user
same "its answer has its tokens" "$(json messages.1.tokens chat.json | tr , '\n' | grep -c '[0-9]')" 24
enter '/undo'
shows 'forgotten; 1 left'
enter '/clear'
shows 'a new conversation'
enter '/undo'
shows 'nothing to undo'
enter '/load chat.json'
shows '4 messages loaded'
saved again.json
check "what was loaded is what was saved" cmp -s chat.json again.json
echo mine >mine.txt
enter '/save mine.txt'
shows 'is no saved chat: it is not replaced'
enter '/retry'
waits "a third answer" sh -c "[ \$(tmux -u -S $socket capture-pane -pJ -S - | grep -c '24 tok |') = 3 ]"
enter '/bye'
left 0

## several lines, pasted text, keys
shell "$MOXIE run $DEMO --ram-experts 40% -n 4" -m
shows 'type a message'
enter '"""one'
shows '... '
enter 'two"""'
waits "an answer" lines_below 'two"""' 2
enter 'three\'
enter 'four'
waits "an answer" lines_below 'four' 2
printf 'line one\nline two \303\274\nline three' >paste.txt
t load-buffer paste.txt
t paste-buffer -p
shows 'line three'
keys -l ' end'
shows 'line three end'
keys Home
keys -l '>'
shows '>>> >line one'
# another size, back, and on with the same line
t resize-window -t chat -x 50 -y 20
shows 'line three end'
t resize-window -t chat -x 100 -y 40
keys End
keys -l '.'
shows 'line three end.'
# suspended at the prompt: the shell's settings are its own; then on with the same line
keys C-z
waits "it is suspended" is_stopped
enter 'stty -g >suspended.txt; echo "sus"pended'
shows suspended
check "settings while suspended" cmp -s before.txt suspended.txt
enter fg
waits "the line is back" sh -c "[ \$(tmux -u -S $socket capture-pane -pJ -S - | grep -c 'line three end.') -ge 2 ]"
keys -l ' and more'
shows 'line three end. and more'
keys Enter
waits "an answer" lines_below 'three end. and more' 2
saved lines.json
same "a block" "$(json messages.0.content lines.json)" 'one\ntwo'
same "a backslash" "$(json messages.2.content lines.json)" 'three\nfour'
same "pasted, edited, resized, suspended" "$(json messages.4.content lines.json)" \
    '>line one\nline two ü\nline three end. and more'
# Ctrl-C drops a line, then says how to leave; history
keys -l 'not this'
shows 'not this'
keys C-c
shows 'not this^C'
keys Up
shows '>>> /save lines.json'
keys C-c
keys C-c
shows 'Ctrl-C again'
keys -l ' secret'
keys Enter
waits "an answer" lines_below 'secret' 2
keys C-d
left 0
history=$XDG_STATE_HOME/moxie/history
same "the history is its owner's" "$(stat -c %a "$history")" 600
check "it has what was typed" grep -qx 'one\\ntwo' "$history"
check "but not what began with a space" sh -c "! grep -q secret '$history'"

## stopped while answering: kept; while reading: not
shell "$MOXIE run $DEMO --ctx 40000 --temp 1 --logit-bias 2=-10000 --no-history"
shows 'type a message'
enter 'Continue the story: Once'
waits "it answers" lines_below 'Continue the story: Once' 3
keys C-c
shows '[stopped]'
saved stopped.json
same "what there was of it is kept" "$(json messages.1.stopped stopped.json)" true
check "its text" test "$(json messages.1.content stopped.json | wc -c)" -gt 100
for _ in $(seq 400); do echo 'It was the best of times, it was the worst of times, it was the age of wisdom.'; done >long.txt
enter '/file long.txt What is this?'
shows 'reading prompt'
keys C-c
shows 'stopped while reading'
saved read.json
check "that message is not part of it" cmp -s stopped.json read.json
# what is typed while it answers is kept for later
t clear-history
enter 'And then?'
waits "it answers" lines_below 'And then?' 3
enter '/ctx'
keys C-c
shows 'of 40000 tokens'
# twice Ctrl-C leaves
keys C-c
shows 'Ctrl-C again'
keys C-c
left 130
same "no history of this one" "$(grep -c 'Continue the story: Once$' "$history")" 0

## suspended while answering
shell "$MOXIE run $DEMO --ctx 40000 --temp 1 --logit-bias 2=-10000 --no-history" -m
shows 'type a message'
enter 'Continue the story: Once'
waits "it answers" lines_below 'Continue the story: Once' 3
keys C-z
waits "it is suspended" is_stopped
enter 'stty -g >suspended.txt; echo "sus"pended'
shows suspended
check "settings while suspended" cmp -s before.txt suspended.txt
enter fg
keys C-c
shows '[stopped]'
keys C-d
left 0

## ended by signals, at the prompt and while answering
for signal in TERM:143 HUP:129 QUIT:131; do
    for when in prompt answer; do
        shell "$MOXIE run $DEMO --ctx 20000 --temp 1 --logit-bias 2=-10000 --no-history"
        shows 'type a message'
        if [ $when = answer ]; then
            enter 'Continue the story: Once'
            waits "it answers" lines_below 'Continue the story: Once' 3
        else
            keys -l 'half a line'
            shows 'half a line'
        fi
        kill -s ${signal%:*} "$(child)"
        left ${signal#*:}
    done
done

## a full context: both numbers; with shift the oldest turns go, and it is said
shell "$MOXIE run $DEMO --ctx 96 -n 16 --no-history"
shows 'type a message'
enter 'Continue the story: Once upon a time there was a king'
enter 'Continue the story: He had three sons'
enter 'Continue the story: The youngest of them'
enter 'Continue the story: And then one day'
shows 'tokens and one for an answer, the context has 96'
enter '/set overflow shift'
shows 'overflow           shift'
enter 'Continue the story: And then one day'
shows 'context of 96 tokens full: the oldest'
shows 'are read again'
enter '/bye'
left 0
finish
