//! The kernel's interface behind a port: what the virtual drivers do not tell or do.

use std::ffi::CString;
use std::io;
use std::mem::zeroed;

/// Whether this network namespace has an interface of that name.
pub(crate) fn exists(name: &str) -> bool {
    // SAFETY: reads the string.
    CString::new(name).is_ok_and(|name| unsafe { libc::if_nametoindex(name.as_ptr()) } != 0)
}

/// Whether the interface is up and has a carrier.
pub(crate) fn is_running(index: u32) -> io::Result<bool> {
    let mut request = request_for(index)?;
    ask(libc::SIOCGIFFLAGS, &mut request)?;
    // SAFETY: the kernel has filled in the flags.
    let flags = i32::from(unsafe { request.ifr_ifru.ifru_flags });
    let both = libc::IFF_UP | libc::IFF_RUNNING;
    Ok(flags & both == both)
}

/// Sets the interface's MTU.
pub(crate) fn set_mtu(index: u32, mtu: u16) -> io::Result<()> {
    let mut request = request_for(index)?;
    request.ifr_ifru.ifru_mtu = i32::from(mtu);
    ask(libc::SIOCSIFMTU, &mut request)
}

fn request_for(index: u32) -> io::Result<libc::ifreq> {
    // SAFETY: all-zero bytes are an ifreq, whose name has the IF_NAMESIZE bytes asked for.
    unsafe {
        let mut request: libc::ifreq = zeroed();
        if libc::if_indextoname(index, request.ifr_name.as_mut_ptr()).is_null() {
            return Err(io::Error::last_os_error());
        }
        Ok(request)
    }
}

fn ask(what: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: a socket of our own, open for one ioctl that takes an ifreq.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        let code = libc::ioctl(socket, what as _, std::ptr::from_mut(request));
        let result = if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
        libc::close(socket);
        result
    }
}
