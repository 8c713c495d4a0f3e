//! Packet buffers: owned, one pointer wide, read and written without a call.

use std::fmt;
use std::ptr::NonNull;

use arrayvec::ArrayVec;

use crate::raw;
use crate::raw::RteMbuf;

/// Frames as they come from a queue and go to one.
pub type Burst = ArrayVec<Mbuf, 32>;

/// A packet buffer with one segment, owned: dropping it gives it back to its pool.
///
/// The frame is `data()`, from the Ethernet header on, without the frame check sequence.
/// What a buffer holds beyond it is stale bytes, never undefined.
#[repr(transparent)]
pub struct Mbuf(NonNull<RteMbuf>);

const _: () = assert!(size_of::<Option<Mbuf>>() == 8);

// SAFETY: an mbuf has one owner, and mempools take buffers back from any thread.
unsafe impl Send for Mbuf {}
// SAFETY: `&Mbuf` only reads.
unsafe impl Sync for Mbuf {}

impl Mbuf {
    /// The frame.
    #[inline(always)]
    pub fn data(&self) -> &[u8] {
        let raw = self.raw();
        // SAFETY: DPDK and the methods here keep data_off + data_len <= buf_len, the size of
        // the mapped, once zeroed memory at buf_addr, which the owner of the mbuf alone uses.
        unsafe {
            let start = raw.buf_addr.add(usize::from(raw.data_off));
            std::slice::from_raw_parts(start, usize::from(raw.data_len))
        }
    }

    /// The frame, to be changed in place.
    #[inline(always)]
    pub fn data_mut(&mut self) -> &mut [u8] {
        let raw = self.raw();
        // SAFETY: as in `data`; `&mut self` makes it the only view.
        unsafe {
            let start = raw.buf_addr.add(usize::from(raw.data_off));
            std::slice::from_raw_parts_mut(start, usize::from(raw.data_len))
        }
    }

    /// Bytes of the frame.
    #[inline(always)]
    #[expect(clippy::len_without_is_empty, reason = "no empty frame ever arrives")]
    pub fn len(&self) -> usize {
        usize::from(self.raw().data_len)
    }

    /// Bytes that [`Mbuf::prepend`] can still take.
    #[inline(always)]
    pub fn headroom(&self) -> usize {
        usize::from(self.raw().data_off)
    }

    /// Bytes that [`Mbuf::set_len`] can still add.
    #[inline(always)]
    pub fn tailroom(&self) -> usize {
        let raw = self.raw();
        usize::from(raw.buf_len) - usize::from(raw.data_off) - usize::from(raw.data_len)
    }

    /// Puts `n` stale bytes before the frame. False, and nothing done, without the headroom.
    #[inline(always)]
    #[must_use]
    pub fn prepend(&mut self, n: usize) -> bool {
        if n > self.headroom() {
            return false;
        }
        self.set(self.headroom() - n, self.len() + n);
        true
    }

    /// Takes `n` bytes off the front. False, and nothing done, when the frame is shorter.
    #[inline(always)]
    #[must_use]
    pub fn trim_front(&mut self, n: usize) -> bool {
        if n > self.len() {
            return false;
        }
        self.set(self.headroom() + n, self.len() - n);
        true
    }

    /// Makes the frame `n` bytes long, cutting its end or adding stale bytes to it. False,
    /// and nothing done, without the tailroom.
    #[inline(always)]
    #[must_use]
    pub fn set_len(&mut self, n: usize) -> bool {
        if n > self.len() + self.tailroom() {
            return false;
        }
        self.set(self.headroom(), n);
        true
    }

    /// Makes the frame `n` bytes long, cutting its end. False, and nothing done, when it is shorter.
    #[inline(always)]
    #[must_use]
    pub fn cut(&mut self, n: usize) -> bool {
        if n > self.len() {
            return false;
        }
        self.set(self.headroom(), n);
        true
    }

    /// Where in its buffer the frame begins, and how long it is: together at most `buf_len`, which has 16 bits.
    #[inline(always)]
    fn set(&mut self, headroom: usize, len: usize) {
        let raw = self.raw_mut();
        (raw.data_off, raw.data_len) = (headroom as u16, len as u16);
        raw.pkt_len = u32::from(raw.data_len);
    }

    /// The DPDK number of the port it was received on ([`Port::id`](crate::Port::id));
    /// 65535 in a fresh one.
    #[inline(always)]
    pub fn port(&self) -> u16 {
        self.raw().port
    }

    /// Asks for the first cache line of the frame.
    #[inline(always)]
    pub fn prefetch(&self) {
        hw::prefetch(self.data());
    }

    /// Whether the frame lies in this buffer alone; [`RxQueue::recv`](crate::RxQueue::recv)
    /// lets no other through.
    #[inline(always)]
    pub fn is_single_segment(&self) -> bool {
        self.raw().nb_segs == 1
    }

    /// # Safety
    /// `raw` is an mbuf that nobody else owns or will free.
    pub(crate) unsafe fn from_raw(raw: NonNull<RteMbuf>) -> Self {
        Self(raw)
    }

    #[inline(always)]
    fn raw(&self) -> &RteMbuf {
        // SAFETY: an owned mbuf is valid and no C code touches it.
        unsafe { self.0.as_ref() }
    }

    #[inline(always)]
    fn raw_mut(&mut self) -> &mut RteMbuf {
        // SAFETY: as in `raw`; `&mut self` makes it the only reference.
        unsafe { self.0.as_mut() }
    }
}

impl hw::Frame for Mbuf {
    #[inline(always)]
    fn data(&self) -> &[u8] {
        Self::data(self)
    }

    #[inline(always)]
    fn data_mut(&mut self) -> &mut [u8] {
        Self::data_mut(self)
    }

    #[inline(always)]
    fn prepend(&mut self, n: usize) -> bool {
        Self::prepend(self, n)
    }

    #[inline(always)]
    fn trim_front(&mut self, n: usize) -> bool {
        Self::trim_front(self, n)
    }

    #[inline(always)]
    fn set_len(&mut self, len: usize) -> bool {
        Self::set_len(self, len)
    }

    #[inline(always)]
    fn cut(&mut self, len: usize) -> bool {
        Self::cut(self, len)
    }

    #[inline(always)]
    fn prefetch(&self) {
        Self::prefetch(self);
    }
}

impl Drop for Mbuf {
    fn drop(&mut self) {
        // SAFETY: owned, and not used after.
        unsafe { raw::shim_mbuf_free(self.0.as_ptr()) };
    }
}

impl AsRef<[u8]> for Mbuf {
    fn as_ref(&self) -> &[u8] {
        self.data()
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mbuf")
            .field("port", &self.port())
            .field("headroom", &self.headroom())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Gives all frames of `burst` back to their pools, in one call.
#[inline]
pub fn free_bulk<const N: usize>(burst: &mut ArrayVec<Mbuf, N>) {
    let n = burst.len();
    if n == 0 {
        return;
    }
    // SAFETY: length 0 first, so the burst owns none of the mbufs that the call frees; the
    // first n slots hold them, and an Mbuf is a pointer to rte_mbuf (repr(transparent)).
    unsafe {
        burst.set_len(0);
        raw::rte_pktmbuf_free_bulk(burst.as_mut_ptr().cast(), n as u32);
    }
}
