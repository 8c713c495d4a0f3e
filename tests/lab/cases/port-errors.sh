#!/bin/bash
# A port that cannot be opened is explained: no such interface, no such PCI device, one that is not bound, or bound to
# a driver of the kernel, unknown driver.
LAB_SERVERS="fn1"
. "$(dirname "$0")/../lab.sh"

refused() { # DEVICE WORDS
    lab_config fullnat 4
    sed -i "0,/^device = .*/s||device = \"$1\"|" "$LAB_DIR/pointsman.toml"
    : >"$LAB_DIR/director.log"
    director_try 10 && fail "started with device $1"
    [[ $DIRECTOR_SAID == *"ended at once"* ]] || fail "$1: $DIRECTOR_SAID"
    grep -qiE "$2" "$DIRECTOR_LOG" || fail "$1: does not say /$2/: $(tail -n 3 "$DIRECTOR_LOG")"
    ok "$1: $(grep -iE "$2" "$DIRECTOR_LOG" | head -n 1)"
}

lab_up
need_binary
refused "net_af_packet0,iface=nosuch" "nosuch"
refused "net_nosuchdriver0" "nosuchdriver"
refused "0000:ff:1f.7" "0000:ff:1f.7"

# Of the machine's own PCI devices two that are no NICs (class 02), so that nothing is taken from anybody.
pci() { # yes|no: the first device that has a driver of the kernel, or has none
    local d
    for d in /sys/bus/pci/devices/*; do
        [ -e "$d/class" ] && [[ $(cat "$d/class") != 0x02* ]] || continue
        if { [ -e "$d/driver" ] && echo yes || echo no; } | grep -qx "$1"; then basename "$d" && return; fi
    done
}
if device=$(pci no) && [ -n "$device" ]; then
    refused "$device" "device $device: it is bound to no driver: .dpdk-devbind.py -b vfio-pci $device"
else
    not_tried "a device that is not bound: every PCI device of this machine is (ffi/dpdk-sys tries it on a made one)"
fi
if device=$(pci yes) && [ -n "$device" ]; then
    driver=$(basename "$(readlink "/sys/bus/pci/devices/$device/driver")")
    refused "$device" "device $device: the kernel's driver $driver has it: .*dpdk-devbind.py -b vfio-pci"
else
    not_tried "a device that the kernel has: this machine has none but NICs (ffi/dpdk-sys tries it on a made one)"
fi

# not root
chmod 644 "$LAB_DIR/pointsman.toml"
install -m 755 "$POINTSMAN" "$LAB_DIR/pointsman"
mkdir -m 777 "$LAB_DIR/nobody"
lab_config fullnat 4
sed -i "s|^socket = .*|socket = \"$LAB_DIR/nobody/s\"|" "$LAB_DIR/pointsman.toml"
timeout 10 ip netns exec "$LAB_P-dir" $(on_all_cores) setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all \
    "$LAB_DIR/pointsman" run -c "$LAB_DIR/pointsman.toml" >"$LAB_DIR/said" 2>&1
rc=$?
[ $rc != 0 ] && [ $rc != 124 ] || fail "a user who is not root was not refused (status $rc)"
grep -qiE 'root|permission' "$LAB_DIR/said" || fail "does not say that root is needed: $(tail -n 3 "$LAB_DIR/said")"
ok "not root: $(grep -iE 'root|permission' "$LAB_DIR/said" | tail -n 1)"
