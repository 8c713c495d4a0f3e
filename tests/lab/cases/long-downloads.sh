#!/bin/bash
# Conns of every method carry some megabytes each way at the same time, undamaged.
# May starve.
. "$(dirname "$0")/../lab.sh"

lab_up
lab_config all all
director_start
head -c 30000000 /dev/urandom >"$LAB_DIR/upload"
mkdir -p "$LAB_FILES" && cp "$LAB_DIR/upload" "$LAB_FILES/part-$LAB_P"
sum=$(sum_of <"$LAB_DIR/upload")
transfer() { # METHOD FAMILY
    local down
    down=$(in_ns cl curl -sS --max-time 30 "$(url "$1" "$2")/files/part-$LAB_P" | sum_of)
    [ "$down" = "$sum" ] || fail "$1 v$2: the download was damaged"
    in_ns cl curl -sS --max-time 30 -o /dev/null -T "$LAB_DIR/upload" "$(url "$1" "$2")/up/$1-$2" ||
        fail "$1 v$2: the upload failed"
    cmp "$LAB_DIR/upload" "$LAB_DIR"/*/up/"$1-$2" || fail "$1 v$2: the upload was damaged"
}
pids=()
for m in fullnat nat dr tunnel; do for f in 4 6; do
    transfer $m $f &
    pids+=($!)
done; done
rc=0
for pid in "${pids[@]}"; do wait "$pid" || rc=1; done
rm -f "$LAB_FILES/part-$LAB_P"
same "all eight transfers" 0 $rc
