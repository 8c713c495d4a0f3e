//! What a `net_memif` server leaves behind when it is killed: the file of its socket, on which DPDK does
//! not bind again.

use super::open::argument;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;

/// Removes the file of the socket that this device will serve on, where it is one and nobody listens.
pub(super) fn clear(device: &str) {
    let is = |key, value| argument(device, key) == Some(value);
    // By default a memif is a client, and its socket has no file.
    let serves = is("role", "server") || is("role", "master");
    if !device.starts_with("net_memif") || !serves || !is("socket-abstract", "no") {
        return;
    }
    let Some(path) = argument(device, "socket") else { return };
    let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    // One who listens there says that he wants packets, not a stream.
    let refused = |e: &std::io::Error| e.kind() == ErrorKind::ConnectionRefused;
    if is_socket && UnixStream::connect(path).as_ref().is_err_and(refused) {
        // Where that fails, DPDK says that it cannot bind.
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn only_a_socket_without_a_listener_is_cleared_and_only_for_its_server() {
        let path = std::env::temp_dir().join(format!("pointsman-memif-{}", std::process::id()));
        let name = path.display();
        let served = format!("net_memif0,role=server,socket={name},socket-abstract=no");
        let listener = UnixListener::bind(&path).unwrap();
        clear(&served);
        assert!(path.exists(), "somebody listens");
        drop(listener);
        clear(&served.replace("server", "client"));
        clear(&served.replace("=no", "=yes"));
        clear(&served.replace("net_memif", "net_tap"));
        assert!(path.exists(), "another one's");
        clear(&served);
        assert!(!path.exists());
        fs::write(&path, "a file").unwrap();
        clear(&served);
        assert!(path.exists(), "no socket");
        fs::remove_file(path).unwrap();
    }
}
