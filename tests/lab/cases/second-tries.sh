#!/bin/bash
# A second try is for cases that say that they may starve, and not where a law is broken or a sum is wrong; without
# LAB_TRIES there is none. Made cases.
. "$(dirname "$0")/../lab.sh"

TRY=$(mktemp -d) || exit 1
trap 'rm -rf "$TRY"' EXIT
trap 'exit 143' INT TERM HUP

# made NAME MARK WORDS: a case that says these words and fails, the first time
made() {
    printf '#!/bin/bash\n# A made one.\n%s\n[ -e "$0.tried" ] && exit 0\ntouch "$0.tried"; echo "%s"; exit 1\n' "$2" "$3" \
        >"$TRY/tests/lab/cases/$1.sh"
}

# tried WANTED [LAB_TRIES]: what the last lines say then, without times
tried() {
    rm -f "$TRY"/tests/lab/cases/*.tried
    HUGE_DIR=/none POINTSMAN=/bin/true LAB_TRIES=${2:-} bash "$TRY/tests/lab/run" >"$TRY/out" 2>&1
    same "with ${2:-no} tries" "$1" "$(grep -E '^(passed only|[0-9]+ passed)' "$TRY/out" | paste -sd ';')"
}

mkdir -p "$TRY/scripts" "$TRY/tests/lab/cases"
cp "$REPO/scripts/lib.sh" "$TRY/scripts/" && cp "$LAB_HOME/run" "$TRY/tests/lab/" || fail "no copy of tests/lab/run"
echo 'exit 0' >"$TRY/tests/lab/matrix.sh"
mark='# May starve.'
made plain '' 'FAIL: no answer'
made starves "$mark" 'FAIL: no answer'
made right-sums "$mark" '     ok: sum of 1g up, damaged by nobody'
made silent "$mark" 'FAIL: the conservation law does not hold (holds, in, out): no status'
made law "$mark" 'FAIL: the conservation law does not hold (holds, in, out): true 7 8'
made sum "$mark" '   FAIL: sum of 100m up: wanted "1", got "2"'
made frame "$mark" '   FAIL: an upload was damaged'
made panic "$mark" "thread 'worker-0' panicked at engine"
mark+=$'\n# Mostly waits.'
made waits "$mark" 'FAIL: no answer'
made waits-wrong "$mark" '   FAIL: an upload was damaged'
tried '0 passed, 10 failed'
tried 'passed only by a second try: right-sums silent starves waits;4 passed, 6 failed' 2
# what waits has its first try beside others, and its second one alone
same "tries in their order" "waits law panic right-sums right-sums silent silent starves starves sum waits" \
    "$(sed -n 's/^\(ok\|FAIL\) *\([a-z-]*\) .*/\2/p' "$TRY/out" | grep -vE '^(plain|frame|waits-wrong)$' | xargs)"
