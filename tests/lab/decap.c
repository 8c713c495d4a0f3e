// XDP: takes the outer headers off IP-in-IP frames (RFC 2003, RFC 2473), GRE (RFC 2784) and GUE to port 6080, so that a
// server whose kernel has no such devices can stand behind a tunnelling director. It looks at no checksum.
// Outer packets with IPv4 options, fragments and extension headers pass untouched (the kernel
// then drops them): what our director sends has none of them.
// Self-contained on purpose: no kernel or libbpf headers, only `clang -target bpf`.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;

struct xdp_md {
    u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};

enum { XDP_DROP = 1, XDP_PASS = 2 };
enum { ETH = 14, IP4 = 20, IP6 = 40, PROTO_IPIP = 4, PROTO_IPV6 = 41, PROTO_UDP = 17, PROTO_GRE = 47, GUE = 6080 };

#define SEC(name) __attribute__((section(name), used))
#define HTONS(x) ((u16)((((x) & 0xff) << 8) | ((x) >> 8)))

static long (*bpf_xdp_adjust_head)(struct xdp_md *, int) = (void *)44;

struct eth {
    u8 dst[6], src[6];
    u16 type;
};

// frags: links with jumbo MTU take no other XDP program
SEC("xdp.frags") int decap(struct xdp_md *x) {
    u8 *d = (u8 *)(long)x->data, *end = (u8 *)(long)x->data_end;
    struct eth keep;
    int outer;
    u8 inner;

    if (d + ETH + IP4 > end)
        return XDP_PASS;
    keep = *(struct eth *)d;
    if (keep.type == HTONS(0x0800)) {
        u16 fragment = *(u16 *)(d + ETH + 6) & HTONS(0x3fff);
        inner = d[ETH + 9];
        if (d[ETH] != 0x45 || fragment)
            return XDP_PASS;
        outer = IP4;
    } else if (keep.type == HTONS(0x86dd)) {
        if (d + ETH + IP6 > end)
            return XDP_PASS;
        inner = d[ETH + 6];
        outer = IP6;
    } else {
        return XDP_PASS;
    }
    if (inner == PROTO_UDP) {
        // version 0, no options, no flags
        if (d + ETH + outer + 12 > end || *(u16 *)(d + ETH + outer + 2) != HTONS(GUE) || d[ETH + outer + 8] ||
            *(u16 *)(d + ETH + outer + 10))
            return XDP_PASS;
        inner = d[ETH + outer + 9];
        outer += 12;
    } else if (inner == PROTO_GRE) {
        u16 type;
        if (d + ETH + outer + 4 > end)
            return XDP_PASS;
        type = *(u16 *)(d + ETH + outer + 2);
        inner = type == HTONS(0x0800) ? PROTO_IPIP : type == HTONS(0x86dd) ? PROTO_IPV6 : 0;
        outer += d[ETH + outer] & 0x80 ? 8 : 4;
    }
    if (inner == PROTO_IPIP)
        keep.type = HTONS(0x0800);
    else if (inner == PROTO_IPV6)
        keep.type = HTONS(0x86dd);
    else
        return XDP_PASS;
    if (bpf_xdp_adjust_head(x, outer))
        return XDP_DROP;
    d = (u8 *)(long)x->data;
    end = (u8 *)(long)x->data_end;
    if (d + ETH > end)
        return XDP_DROP;
    *(struct eth *)d = keep;
    return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
