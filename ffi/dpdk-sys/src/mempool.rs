//! Pools of packet buffers.

use std::ffi::CString;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::eal::Eal;
use crate::error::Error;
use crate::mbuf::Mbuf;
use crate::raw;
use crate::raw::RteMempool;

/// `RTE_PKTMBUF_HEADROOM`; shim.c asserts it.
pub(crate) const HEADROOM: u16 = 128;
/// Ethernet header and two 802.1Q tags.
pub(crate) const L2: u16 = 14 + 4 + 4;
/// Buffers each registered thread keeps to itself.
const CACHE: u32 = 256;

/// The `data_room` a pool needs for frames of a port with this MTU (bytes of IP datagram).
///
/// Headroom, Ethernet header and two tags included, with room for what `net_af_packet` keeps
/// in front of a frame in its own ring, and never less than the 2176 bytes that drivers
/// count on. For an MTU of up to 64,000.
pub const fn data_room(mtu: u16) -> u16 {
    let room = HEADROOM as usize + af_packet_frame(mtu);
    if room > u16::MAX as usize { u16::MAX } else { room as u16 }
}

/// `framesz` of a `net_af_packet` device: what the kernel puts before a frame, and the frame.
/// The driver wants mbufs as large.
pub(crate) const fn af_packet_frame(mtu: u16) -> usize {
    // packet(7): the frame begins at TPACKET_ALIGN(TPACKET2_HDRLEN + 16) = 80 at the latest. With
    // multiples of 512, 8 frames are whole pages.
    let need = (80 + L2 as usize + mtu as usize).next_multiple_of(512);
    if need < 2048 { 2048 } else { need }
}

/// A pool of packet buffers; clones are the same pool. Keeps the EAL.
#[derive(Clone)]
pub struct Mempool(Arc<Pool>);

struct Pool {
    raw: NonNull<RteMempool>,
    data_room: u16,
    eal: Eal,
}

// SAFETY: mempools are made multi-producer, multi-consumer: all calls on a live one are
// thread-safe, and `retire` frees it only once nothing uses it.
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Pool {}

impl Mempool {
    /// A pool of `count` buffers with `data_room` bytes each (see [`data_room`]), headroom
    /// included. 2^n - 1 buffers use memory best.
    ///
    /// Each registered thread may keep up to 384 free ones in its cache (fewer in pools of less
    /// than 512), so add that per worker to what rings and frames in flight need.
    ///
    /// # Errors
    /// A name used already or too long (over 25 bytes), or not enough memory.
    pub fn new(eal: &Eal, name: &str, count: u32, data_room: u16) -> Result<Self, Error> {
        const CALL: &str = "rte_pktmbuf_pool_create";
        let c_name = CString::new(name)
            .map_err(|_| Error::new(CALL, libc::EINVAL, "a pool's name holds a zero byte"))?;
        if data_room < HEADROOM {
            let text = format!("pool {name}: data room {data_room} is less than the headroom");
            return Err(Error::new(CALL, libc::EINVAL, text));
        }
        let cache = CACHE.min(count / 2);
        // SAFETY: the EAL is up, and the name lives through the call.
        let raw = unsafe {
            let name = c_name.as_ptr();
            if eal.wants_no_gaps() {
                raw::shim_pool_without_gaps(name, count, cache, data_room)
            } else {
                raw::rte_pktmbuf_pool_create(name, count, cache, 0, data_room, -1)
            }
        };
        let raw = NonNull::new(raw).ok_or_else(|| {
            Error::from_rte_errno(CALL).hint(|errno| explain(errno, name, count, data_room, eal))
        })?;
        Ok(Self(Arc::new(Pool { raw, data_room, eal: eal.clone() })))
    }

    /// A buffer with an empty frame and 128 bytes of headroom; None when all are out.
    #[inline]
    pub fn alloc(&self) -> Option<Mbuf> {
        // SAFETY: the pool is alive, and a fresh mbuf is the caller's alone.
        unsafe {
            let raw = raw::shim_mbuf_alloc(self.0.raw.as_ptr());
            NonNull::new(raw).map(|raw| Mbuf::from_raw(raw))
        }
    }

    /// Buffers in the pool and in the threads' caches. Exact when no thread takes or gives.
    pub fn available(&self) -> u32 {
        // SAFETY: the pool is alive.
        unsafe { raw::rte_mempool_avail_count(self.0.raw.as_ptr()) }
    }

    /// Buffers it was made with.
    pub fn capacity(&self) -> u32 {
        // SAFETY: the pool is alive.
        unsafe { raw::shim_pool_size(self.0.raw.as_ptr()) }
    }

    /// The longest frame one of its buffers holds behind the headroom.
    pub fn frame_room(&self) -> usize {
        usize::from(self.0.data_room - HEADROOM)
    }

    pub(crate) fn as_ptr(&self) -> *mut RteMempool {
        self.0.raw.as_ptr()
    }
}

impl fmt::Debug for Mempool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mempool")
            .field("capacity", &self.capacity())
            .field("available", &self.available())
            .finish_non_exhaustive()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.eal.retire(self.raw);
    }
}

/// Whether all buffers are back.
///
/// # Safety
/// `pool` is a live mempool from which nothing allocates, and no thread but this one frees
/// through a cache: a cache being flushed counts twice for a moment.
pub(crate) unsafe fn is_whole(pool: NonNull<RteMempool>) -> bool {
    // SAFETY: the caller's promise.
    unsafe { raw::rte_mempool_avail_count(pool.as_ptr()) == raw::shim_pool_size(pool.as_ptr()) }
}

fn explain(errno: i32, name: &str, count: u32, data_room: u16, eal: &Eal) -> String {
    // 128 for the mbuf, 64 for the mempool's header, up to 128 of odd-line padding.
    let bytes = u64::from(count) * (u64::from(data_room) + 320);
    let mib = bytes.div_ceil(1 << 20);
    match errno {
        libc::EEXIST => format!("pool {name}: there is one of this name"),
        libc::ENAMETOOLONG => format!("pool {name}: the name is longer than 25 bytes"),
        // No memory for the pool's head, or for its buffers.
        libc::ENOMEM | libc::ENOBUFS => format!(
            "pool {name}: {count} buffers need about {mib} MiB, more than is left of the \
             {} MiB DPDK was given: raise its memory, or make less or smaller buffers",
            eal.memory_mib()
        ),
        _ => format!("pool {name}: {count} buffers of {data_room} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms() {
        assert_eq!(data_room(1500), 2176);
        assert_eq!(data_room(1946), 2176);
        assert_eq!(data_room(1947), 2560 + 128);
        assert_eq!(data_room(9000), 9216 + 128);
        for mtu in [68, 1500, 1946, 1947, 4000, 9000, 64_000] {
            assert!(u32::from(data_room(mtu)) >= u32::from(mtu) + 128 + 22, "{mtu}");
        }
    }
}
