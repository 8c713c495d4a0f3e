/* What Rust cannot call by itself: DPDK's inline functions and macros, and structs whose
 * layout changes from release to release. Only things done once per burst or less cross
 * here; the mbuf fields used per packet are mirrored in src/raw.rs, and the assertions
 * below hold the two together. Compiles unchanged against 22.11, 23.11, 24.11 and 25.11. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>

#define FIELD(name, offset, bytes) \
    _Static_assert(offsetof(struct rte_mbuf, name) == (offset), #name " has moved"); \
    _Static_assert(sizeof(((struct rte_mbuf *)0)->name) == (bytes), #name " has changed")
FIELD(buf_addr, 0, 8);
FIELD(data_off, 16, 2);
FIELD(refcnt, 18, 2);
FIELD(nb_segs, 20, 2);
FIELD(port, 22, 2);
FIELD(ol_flags, 24, 8);
FIELD(packet_type, 32, 4);
FIELD(pkt_len, 36, 4);
FIELD(data_len, 40, 2);
FIELD(vlan_tci, 42, 2);
FIELD(hash, 44, 8);
FIELD(buf_len, 54, 2);
_Static_assert(sizeof(struct rte_mbuf) == 128, "rte_mbuf has grown");
_Static_assert(RTE_PKTMBUF_HEADROOM == 128, "data_room() in mempool.rs counts on 128");

/* Packets: one call per burst. */

uint16_t shim_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n)
{
    return rte_eth_rx_burst(port, queue, mbufs, n);
}

uint16_t shim_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n)
{
    return rte_eth_tx_burst(port, queue, mbufs, n);
}

struct rte_mbuf *shim_mbuf_alloc(struct rte_mempool *pool)
{
    return rte_pktmbuf_alloc(pool);
}

void shim_mbuf_free(struct rte_mbuf *mbuf)
{
    rte_pktmbuf_free(mbuf);
}

/* A pool whose buffers lie one behind the other, without gaps and in one piece, for net_af_xdp. It
 * registers the pool's memory with the kernel as "first address, buffers times size". DPDK's own
 * pools leave a gap wherever a buffer would cross a page, so with hugepages some of the last
 * buffers, and with small pages two of five, lie behind what the kernel was told of: it takes them
 * out of the fill ring, drops them, and the ring runs dry (22.11, xdp_umem_configure). */
struct rte_mempool *shim_pool_without_gaps(const char *name, unsigned int n, unsigned int cache,
                                           uint16_t data_room)
{
    struct rte_pktmbuf_pool_private room = {.mbuf_data_room_size = data_room};
    /* No device address: every port of such a pool copies by the processor. */
    struct rte_mempool *pool = rte_mempool_create_empty(
        name, n, sizeof(struct rte_mbuf) + data_room, cache, sizeof(room), SOCKET_ID_ANY,
        RTE_MEMPOOL_F_NO_IOVA_CONTIG);
    if (pool == NULL)
        return NULL;
    int failed = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL);
    if (!failed) {
        rte_pktmbuf_pool_init(pool, &room);
        failed = rte_mempool_populate_default(pool);
    }
    if (failed < 0 || pool->nb_mem_chunks != 1) {
        rte_mempool_free(pool);
        rte_errno = failed < 0 ? -failed : ENOMEM;
        return NULL;
    }
    rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
    return pool;
}

uint32_t shim_pool_size(const struct rte_mempool *pool)
{
    return pool->size;
}

int shim_errno(void)
{
    return rte_errno;
}

/* Ports. Every function gives 0 or a negative errno, as ethdev does. */

struct shim_port_info {
    const char *driver;
    uint64_t rss_types;
    uint32_t max_frame;
    uint32_t interface_index;
    int32_t numa_socket;
    uint16_t min_mtu, max_mtu;
    uint16_t max_rx_queues, max_tx_queues;
    uint16_t reta_size;
    uint16_t rss_key_size;
};
_Static_assert(sizeof(struct shim_port_info) == 40, "mirrored in src/raw.rs");

int shim_port_info(uint16_t port, struct shim_port_info *out)
{
    struct rte_eth_dev_info info;
    int failed = rte_eth_dev_info_get(port, &info);
    if (failed)
        return failed;
    *out = (struct shim_port_info){
        .driver = info.driver_name,
        .rss_types = info.flow_type_rss_offloads,
        .max_frame = info.max_rx_pktlen,
        .interface_index = info.if_index,
        .numa_socket = rte_eth_dev_socket_id(port),
        .min_mtu = info.min_mtu,
        .max_mtu = info.max_mtu,
        .max_rx_queues = info.max_rx_queues,
        .max_tx_queues = info.max_tx_queues,
        .reta_size = info.reta_size,
        .rss_key_size = info.hash_key_size,
    };
    return 0;
}

/* All offloads off: what we forward has the checksums we wrote, and one segment. */
int shim_port_configure(uint16_t port, uint16_t rx_queues, uint16_t tx_queues, uint16_t mtu,
                        uint64_t rss_types)
{
    struct rte_eth_conf conf;
    memset(&conf, 0, sizeof(conf));
    conf.rxmode.mtu = mtu;
    if (rss_types != 0) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = rss_types;
    }
    return rte_eth_dev_configure(port, rx_queues, tx_queues, &conf);
}

/* The kinds of frames that receive-side scaling by addresses and ports covers. */
uint64_t shim_rss_four_tuple(void)
{
    return RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_SCTP;
}

int shim_rx_queue_setup(uint16_t port, uint16_t queue, uint16_t ring, struct rte_mempool *pool)
{
    struct rte_eth_dev_info info;
    int failed = rte_eth_dev_info_get(port, &info);
    if (failed)
        return failed;
    struct rte_eth_rxconf conf = info.default_rxconf;
    conf.offloads = 0;
    return rte_eth_rx_queue_setup(port, queue, ring, rte_eth_dev_socket_id(port), &conf, pool);
}

/* RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE stays off: it wants every frame of a queue to come from
 * one pool, and a director forwards frames from one port's pool out of another port. */
int shim_tx_queue_setup(uint16_t port, uint16_t queue, uint16_t ring)
{
    struct rte_eth_dev_info info;
    int failed = rte_eth_dev_info_get(port, &info);
    if (failed)
        return failed;
    struct rte_eth_txconf conf = info.default_txconf;
    conf.offloads = 0;
    return rte_eth_tx_queue_setup(port, queue, ring, rte_eth_dev_socket_id(port), &conf);
}

int shim_port_mac(uint16_t port, uint8_t out[6])
{
    struct rte_ether_addr mac;
    int failed = rte_eth_macaddr_get(port, &mac);
    if (!failed)
        memcpy(out, mac.addr_bytes, 6);
    return failed;
}

int shim_port_link(uint16_t port, uint32_t *up, uint32_t *speed_mbps)
{
    struct rte_eth_link link;
    memset(&link, 0, sizeof(link));
    int failed = rte_eth_link_get_nowait(port, &link);
    *up = link.link_status == RTE_ETH_LINK_UP;
    *speed_mbps = link.link_speed;
    return failed;
}

int shim_port_stats(uint16_t port, uint64_t out[8])
{
    struct rte_eth_stats s;
    int failed = rte_eth_stats_get(port, &s);
    if (failed)
        return failed;
    const uint64_t values[8] = {s.ipackets, s.opackets, s.ibytes,  s.obytes,
                                s.imissed,  s.ierrors,  s.oerrors, s.rx_nombuf};
    memcpy(out, values, sizeof(values));
    return 0;
}

int shim_port_multicast(uint16_t port, const uint8_t *macs, uint32_t n)
{
    _Static_assert(sizeof(struct rte_ether_addr) == 6, "an array of them is 6 n bytes");
    /* Aligned to 2 as rte_ether_addr must be, which the caller's bytes need not be. */
    struct rte_ether_addr list[256];
    if (n > RTE_DIM(list))
        return -ENOSPC;
    memcpy(list, macs, 6 * (size_t)n);
    return rte_eth_dev_set_mc_addr_list(port, list, n);
}

/* The log: every line goes to Rust, nothing to stderr or syslog. */

extern void pointsman_dpdk_log(const char *text, size_t bytes);

static ssize_t log_write(void *cookie, const char *text, size_t bytes)
{
    (void)cookie;
    pointsman_dpdk_log(text, bytes);
    return bytes;
}

int shim_log_capture(void)
{
    cookie_io_functions_t to_rust = {.write = log_write};
    FILE *stream = fopencookie(NULL, "w", to_rust);
    return stream == NULL ? -1 : rte_openlog_stream(stream);
}

static int library_print(int level, const char *format, va_list args)
{
    char line[512];
    if (level > 0) /* 0 warns; 1 tells how each section of an object file is taken */
        return 0;
    int bytes = vsnprintf(line, sizeof(line), format, args);
    if (bytes > 0)
        pointsman_dpdk_log(line, (size_t)bytes < sizeof(line) ? (size_t)bytes : sizeof(line) - 1);
    return bytes;
}

/* The af_xdp driver's two libraries write to stderr by themselves, where they are loaded. */
void shim_log_capture_xdp(void)
{
    static const char *const names[2][2] = {{"libxdp.so.1", "libxdp_set_print"},
                                            {"libbpf.so.1", "libbpf_set_print"}};
    for (int i = 0; i < 2; i++) {
        void *library = dlopen(names[i][0], RTLD_LAZY | RTLD_NOLOAD);
        if (library == NULL)
            continue;
        void *(*set_print)(int (*)(int, const char *, va_list));
        *(void **)&set_print = dlsym(library, names[i][1]);
        if (set_print != NULL)
            set_print(library_print);
        dlclose(library);
    }
}
