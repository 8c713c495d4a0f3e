// tc (clsact): puts the client into a VLAN where the kernel has no 8021q. `push` on egress tags every
// frame, `pop` on ingress takes the tag off and drops frames of another VLAN or of none.
// Self-contained on purpose, as decap.c. -DVLAN=100 gives the number.

typedef unsigned int u32;
typedef unsigned short u16;

struct __sk_buff {
    u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto;
    u32 rest[40];
};

enum { TC_ACT_OK = 0, TC_ACT_SHOT = 2, ETH_8021Q_BE = 0x0081 };

#define SEC(name) __attribute__((section(name), used))

static long (*bpf_skb_vlan_push)(struct __sk_buff *, u16, u16) = (void *)18;
static long (*bpf_skb_vlan_pop)(struct __sk_buff *) = (void *)19;

SEC("tc/push") int push(struct __sk_buff *s) {
    return bpf_skb_vlan_push(s, ETH_8021Q_BE, VLAN) ? TC_ACT_SHOT : TC_ACT_OK;
}

SEC("tc/pop") int pop(struct __sk_buff *s) {
    if (!s->vlan_present || (s->vlan_tci & 0xfff) != VLAN)
        return TC_ACT_SHOT;
    return bpf_skb_vlan_pop(s) ? TC_ACT_SHOT : TC_ACT_OK;
}

char _license[] SEC("license") = "GPL";
