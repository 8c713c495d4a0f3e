//! The C side as it is: real symbols of libdpdk, the shim's functions, and the first line of
//! `rte_mbuf`. `shim.c` asserts the same offsets against DPDK's own headers.

use std::ffi::c_char;
use std::ffi::c_int;
use std::ffi::c_uint;
use std::mem::offset_of;

/// `struct rte_mbuf`: the fields touched from Rust. The rest depends on how DPDK was built.
#[repr(C, align(64))]
pub(crate) struct RteMbuf {
    pub(crate) buf_addr: *mut u8,
    buf_iova_or_next: u64,
    pub(crate) data_off: u16,
    pub(crate) refcnt: u16,
    pub(crate) nb_segs: u16,
    pub(crate) port: u16,
    pub(crate) ol_flags: u64,
    pub(crate) packet_type: u32,
    pub(crate) pkt_len: u32,
    pub(crate) data_len: u16,
    pub(crate) vlan_tci: u16,
    pub(crate) hash: [u16; 4],
    vlan_tci_outer: u16,
    pub(crate) buf_len: u16,
    rest: [u64; 9],
}

const _: () = {
    assert!(offset_of!(RteMbuf, buf_addr) == 0);
    assert!(offset_of!(RteMbuf, data_off) == 16);
    assert!(offset_of!(RteMbuf, refcnt) == 18);
    assert!(offset_of!(RteMbuf, nb_segs) == 20);
    assert!(offset_of!(RteMbuf, port) == 22);
    assert!(offset_of!(RteMbuf, ol_flags) == 24);
    assert!(offset_of!(RteMbuf, packet_type) == 32);
    assert!(offset_of!(RteMbuf, pkt_len) == 36);
    assert!(offset_of!(RteMbuf, data_len) == 40);
    assert!(offset_of!(RteMbuf, vlan_tci) == 42);
    assert!(offset_of!(RteMbuf, hash) == 44);
    assert!(offset_of!(RteMbuf, buf_len) == 54);
    assert!(size_of::<RteMbuf>() == 128);
};

/// `struct rte_mempool`, only ever handled by address.
#[repr(C)]
pub(crate) struct RteMempool {
    opaque: [u8; 0],
}

/// `struct shim_port_info` of shim.c.
#[derive(Default)]
#[repr(C)]
pub(crate) struct PortInfo {
    pub(crate) driver: *const c_char,
    pub(crate) rss_types: u64,
    pub(crate) max_frame: u32,
    pub(crate) interface_index: u32,
    pub(crate) numa_socket: i32,
    pub(crate) min_mtu: u16,
    pub(crate) max_mtu: u16,
    pub(crate) max_rx_queues: u16,
    pub(crate) max_tx_queues: u16,
    pub(crate) reta_size: u16,
    pub(crate) rss_key_size: u16,
}
const _: () = assert!(size_of::<PortInfo>() == 40);

unsafe extern "C" {
    pub(crate) fn rte_version() -> *const c_char;
    pub(crate) fn rte_eal_init(argc: c_int, argv: *mut *mut c_char) -> c_int;
    pub(crate) fn rte_eal_cleanup() -> c_int;
    pub(crate) fn rte_thread_register() -> c_int;
    pub(crate) fn rte_thread_unregister();
    pub(crate) fn rte_dev_probe(devargs: *const c_char) -> c_int;

    pub(crate) fn rte_pktmbuf_pool_create(
        name: *const c_char,
        n: c_uint,
        cache_size: c_uint,
        priv_size: u16,
        data_room_size: u16,
        socket_id: c_int,
    ) -> *mut RteMempool;
    pub(crate) fn rte_mempool_free(pool: *mut RteMempool);
    pub(crate) fn rte_mempool_avail_count(pool: *const RteMempool) -> c_uint;
    pub(crate) fn rte_pktmbuf_free_bulk(mbufs: *mut *mut RteMbuf, count: c_uint);

    pub(crate) fn rte_eth_dev_get_port_by_name(name: *const c_char, port: *mut u16) -> c_int;
    pub(crate) fn rte_eth_dev_adjust_nb_rx_tx_desc(port: u16, rx: *mut u16, tx: *mut u16) -> c_int;
    pub(crate) fn rte_eth_dev_start(port: u16) -> c_int;
    pub(crate) fn rte_eth_dev_stop(port: u16) -> c_int;
    pub(crate) fn rte_eth_dev_close(port: u16) -> c_int;
    pub(crate) fn rte_eth_dev_set_mtu(port: u16, mtu: u16) -> c_int;
    pub(crate) fn rte_eth_promiscuous_enable(port: u16) -> c_int;
    pub(crate) fn rte_eth_promiscuous_disable(port: u16) -> c_int;
    pub(crate) fn rte_eth_allmulticast_enable(port: u16) -> c_int;

    pub(crate) fn shim_errno() -> c_int;
    pub(crate) fn shim_log_capture() -> c_int;
    pub(crate) fn shim_log_capture_xdp();
    pub(crate) fn shim_rx_burst(port: u16, queue: u16, mbufs: *mut *mut RteMbuf, n: u16) -> u16;
    pub(crate) fn shim_tx_burst(port: u16, queue: u16, mbufs: *mut *mut RteMbuf, n: u16) -> u16;
    pub(crate) fn shim_mbuf_alloc(pool: *mut RteMempool) -> *mut RteMbuf;
    pub(crate) fn shim_mbuf_free(mbuf: *mut RteMbuf);
    pub(crate) fn shim_pool_without_gaps(
        name: *const c_char,
        n: c_uint,
        cache_size: c_uint,
        data_room_size: u16,
    ) -> *mut RteMempool;
    pub(crate) fn shim_pool_size(pool: *const RteMempool) -> u32;
    pub(crate) fn shim_port_info(port: u16, out: *mut PortInfo) -> c_int;
    pub(crate) fn shim_port_configure(
        port: u16,
        rx_queues: u16,
        tx_queues: u16,
        mtu: u16,
        rss_types: u64,
    ) -> c_int;
    pub(crate) fn shim_rss_four_tuple() -> u64;
    pub(crate) fn shim_rx_queue_setup(
        port: u16,
        queue: u16,
        ring: u16,
        pool: *mut RteMempool,
    ) -> c_int;
    pub(crate) fn shim_tx_queue_setup(port: u16, queue: u16, ring: u16) -> c_int;
    pub(crate) fn shim_port_mac(port: u16, out: *mut [u8; 6]) -> c_int;
    pub(crate) fn shim_port_link(port: u16, up: *mut u32, speed_mbps: *mut u32) -> c_int;
    pub(crate) fn shim_port_stats(port: u16, out: *mut [u64; 8]) -> c_int;
    pub(crate) fn shim_port_multicast(port: u16, macs: *const u8, n: u32) -> c_int;
}
