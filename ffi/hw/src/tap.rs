//! Frames to and from the kernel through a tap device (Linux, `Documentation/networking/tuntap.rst`).

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;

/// A tap device of the network namespace it was made in; gone when dropped.
#[derive(Debug)]
pub struct Tap(File);

impl Tap {
    /// Makes a tap device of this name.
    ///
    /// # Errors
    /// The kernel's: without the right to, without `/dev/net/tun`, or where the name is taken.
    /// `InvalidInput` where the name is none an interface can have.
    pub fn new(name: &str) -> io::Result<Self> {
        // SAFETY: all-zero bytes are a valid `ifreq`: integers, arrays of them, a null pointer.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        if name.is_empty() || name.len() >= request.ifr_name.len() || name.contains('\0') {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not an interface's name"));
        }
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
        let file = options.open("/dev/net/tun")?;
        // SAFETY: TUNSETIFF reads and writes one `ifreq`, which outlives the call.
        let done = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(Self(file)) }
    }

    /// Gives the kernel a frame as if the device had received it.
    ///
    /// # Errors
    /// The kernel's: while the device is down, above all.
    pub fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.0.write_all(frame)
    }

    /// The next frame that the kernel has sent by the device; none where there is none yet. What is
    /// longer than `room` is cut off.
    ///
    /// # Errors
    /// The kernel's.
    pub fn receive<'a>(&mut self, room: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        match self.0.read(room) {
            Ok(len) => Ok(Some(&room[..len])),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_interface_can_have() {
        for name in ["", "a\0b", "sixteen-bytes-xx"] {
            let error = Tap::new(name).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
    }
}
