#!/bin/bash
# Each worker runs on the core that `cores` gives it, in the file's order, and on no other; the control thread on
# `control_core`. /proc/PID/task/TID/status says so.
LAB_SERVERS="fn1"
LAB_WORKERS=2
. "$(dirname "$0")/../lab.sh"

allowed() { # THREAD_NAME -> the cores its only thread may run on
    local task
    for task in "/proc/$DIRECTOR_PID"/task/*; do
        [[ $(cat "$task/comm") == "$1" ]] || continue
        awk '$1 == "Cpus_allowed_list:" {print $2}' "$task/status"
    done
}

lab_up
lab_config fullnat all
cores=$(sed -n 's/^cores = \[\(.*\)\]/\1/p' "$LAB_DIR/pointsman.toml")
one=${cores%,*} two=${cores#*, }
for order in "$one $two" "$two $one"; do
    read -r first second <<<"$order"
    sed -i "s/^cores = .*/cores = [$first, $second]/" "$LAB_DIR/pointsman.toml"
    director_start
    answers fullnat 4
    same "cores [$first, $second]: worker 0 may run on" "$first" "$(allowed worker-0)"
    same "cores [$first, $second]: worker 1 may run on" "$second" "$(allowed worker-1)"
    director_stop
done
sed -i "s/^cores = .*/cores = [$two]\ncontrol_core = $one/" "$LAB_DIR/pointsman.toml"
director_start
answers fullnat 4
same "cores [$two], control_core $one: worker 0 may run on" "$two" "$(allowed worker-0)"
same "cores [$two], control_core $one: the control thread may run on" "$one" "$(allowed pointsman)"
director_stop
