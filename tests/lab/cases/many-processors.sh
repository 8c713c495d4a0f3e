#!/bin/bash
# The lab's network can be made on machines of any size: the bitmap of processors is in the groups of 32 bits that the
# kernel takes and gives.
. "$(dirname "$0")/../lab.sh"

f=ffffffff
while read -r n map; do
    same "$n processors" "$map" "$(processors "$n")"
done <<END
1 1
2 3
31 7fffffff
32 $f
33 1,$f
63 7fffffff,$f
64 $f,$f
65 1,$f,$f
96 $f,$f,$f
97 1,$f,$f,$f
128 $f,$f,$f,$f
END
lab_traps
make_ns cl && ip -n "$LAB_P-cl" link add c0 type veth peer name c1 && keep_order cl c0 || fail "this machine's is refused"
got=$(in_ns cl cat /sys/class/net/c0/queues/rx-0/rps_cpus)
same "processors of this machine, as the kernel gives them" "$(nproc --all)" \
    "$(python3 -c 'import sys; print(bin(int(sys.argv[1].replace(",", ""), 16)).count("1"))' "$got")"
