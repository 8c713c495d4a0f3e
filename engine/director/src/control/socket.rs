//! The Unix socket: one line of JSON asks, one line of JSON answers.
//!
//! `{"command":"status"}`, `{"command":"reload"}`, `{"command":"announce","vip":"10.1.0.100"}`,
//! `{"command":"pid"}`; what fails is answered `{"error":"..."}`. Only
//! `{"command":"conns","filter":["state=ESTABLISHED"],"limit":100}` is answered by several lines,
//! `{"conns":[...]}` and in the end `{"end":{"more":0}}`. Each client has a thread with
//! timeouts and there are at most `MAX_CLIENTS`, so one that is slow or sends rubbish harms
//! nobody. What only the control thread can answer reaches it through a channel.

use super::listing::Listing;
use super::listing::Piece;
use crossbeam::channel::Receiver;
use crossbeam::channel::RecvTimeoutError;
use crossbeam::channel::Sender;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;
use std::fs;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// Clients served at once; more are told to come again.
pub const MAX_CLIENTS: usize = 16;
/// Longest request, in bytes.
pub const MAX_REQUEST: usize = 4096;
/// How long a client may take for its request, and again for taking the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the control thread may take. A reload reads a file and waits for the workers.
const ANSWER: Duration = Duration::from_secs(10);
/// What is said when the control thread has ended its work or is about to.
pub(super) const STOPPING: &str = "pointsman is stopping";

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// All there is to know.
    Status,
    /// Read the file again.
    Reload,
    /// Announce a VIP, or all of them.
    Announce {
        /// Which.
        vip: Option<IpAddr>,
    },
    /// Conns.
    Conns {
        /// The words of the filter; all must hold.
        #[serde(default)]
        filter: Vec<String>,
        /// How many at most; 0: all.
        limit: u64,
    },
    /// Who is there.
    Pid,
}

/// What the control thread answers.
pub enum Answer {
    /// One line.
    Value(Value),
    /// What the client's thread is to list.
    Conns(Box<Listing>),
}

/// A request on its way to the control thread.
pub struct Asked {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes; an error becomes `{"error": ...}`.
    pub answer: Sender<Result<Answer, String>>,
}

/// The socket, ours alone. Removed when dropped, unless somebody has put another in its place.
#[derive(Debug)]
pub struct Socket {
    listener: Option<UnixListener>,
    path: PathBuf,
    inode: u64,
}

impl Socket {
    /// Binds the socket, mode 0660, in a directory that is made with mode 0750 if missing. The
    /// socket of a process that is gone is replaced.
    ///
    /// # Errors
    /// In words: another pointsman is running (with its pid), something else lies there, or no
    /// permission.
    pub fn bind(path: &Path) -> Result<Self, String> {
        let at = |what: &str, e: &io::Error| format!("{}: cannot {what}: {e}", path.display());
        refuse_if_taken(path)?;
        if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty() && !d.exists()) {
            let made = fs::DirBuilder::new().recursive(true).mode(0o750).create(dir);
            made.map_err(|e| at("make its directory", &e))?;
        }
        // Bound under another name and then moved: at no moment does a socket with a wrong mode
        // stand at `path`, and a stale one is replaced in one step.
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        let temporary = PathBuf::from(name);
        let _ = fs::remove_file(&temporary);
        let listener = UnixListener::bind(&temporary).map_err(|e| at("bind the socket", &e))?;
        let moved = fs::set_permissions(&temporary, fs::Permissions::from_mode(0o660))
            .and_then(|()| fs::rename(&temporary, path))
            .and_then(|()| fs::symlink_metadata(path));
        let meta = moved.map_err(|e| {
            let _ = fs::remove_file(&temporary);
            at("put the socket in its place", &e)
        })?;
        Ok(Self { listener: Some(listener), path: path.to_owned(), inode: meta.ino() })
    }

    /// Serves clients on threads of its own; requests come out of the receiver. The threads end
    /// with the process.
    ///
    /// # Errors
    /// No thread to be had, or called twice.
    pub fn serve(&mut self) -> io::Result<Receiver<Asked>> {
        let listener = self.listener.take().ok_or_else(|| io::Error::other("served already"))?;
        let (asked, requests) = crossbeam::channel::bounded(MAX_CLIENTS);
        std::thread::Builder::new()
            .name("socket".into())
            .spawn(move || accept(&listener, &asked))?;
        Ok(requests)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|m| m.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Asks a running director.
///
/// # Errors
/// In words: nobody there, no permission, or what the director answered as an error.
pub fn ask(path: &Path, request: &Request) -> Result<Value, String> {
    let shown = path.display();
    let mut stream = connect(path)?;
    let lost = |e: io::Error| format!("{shown}: no answer: {e}");
    // An answer may come without the request having been read: too many clients.
    let written = write_request(&mut stream, request);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    if answer.is_empty() {
        written.and(read.map(|_| ())).map_err(lost)?;
    }
    let value: Value = serde_json::from_slice(&answer)
        .map_err(|e| format!("{shown}: unreadable answer (another version?): {e}"))?;
    match value.get("error").and_then(Value::as_str) {
        Some(error) => Err(error.to_owned()),
        None => Ok(value),
    }
}

/// Asks a running director for something that it answers in pieces; `take` gets them as they come,
/// and may say that it wants no more.
///
/// # Errors
/// As `ask`, and where the answer ends before its end.
pub fn ask_pieces(
    path: &Path,
    request: &Request,
    mut take: impl FnMut(Piece) -> bool,
) -> Result<(), String> {
    let shown = path.display();
    let mut stream = connect(path)?;
    let lost = |e: io::Error| format!("{shown}: no answer: {e}");
    let written = write_request(&mut stream, request);
    let mut lines = BufReader::new(stream).lines();
    let Some(first) = lines.next() else {
        written.map_err(lost)?;
        return Err(format!("{shown}: no answer"));
    };
    for line in std::iter::once(first).chain(lines) {
        let piece = serde_json::from_str(&line.map_err(lost)?);
        match piece.map_err(|e| format!("{shown}: unreadable answer (another version?): {e}"))? {
            Piece::Error(why) => return Err(why),
            end @ Piece::End { .. } => {
                take(end);
                return Ok(());
            }
            piece => {
                if !take(piece) {
                    return Ok(());
                }
            }
        }
    }
    Err(format!("{shown}: the answer ends in the middle"))
}

fn connect(path: &Path) -> Result<UnixStream, String> {
    let shown = path.display();
    let stream = UnixStream::connect(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => {
            format!("pointsman is not running? (no socket at {shown}; -s PATH names another)")
        }
        io::ErrorKind::ConnectionRefused => {
            format!("pointsman is not running (the socket at {shown} is a dead process's)")
        }
        io::ErrorKind::PermissionDenied => {
            format!("{shown}: no permission: ask as its owner or a member of its group")
        }
        _ => format!("{shown}: {e}"),
    })?;
    let limit = Some(ANSWER + PATIENCE);
    let set = stream.set_read_timeout(limit).and_then(|()| stream.set_write_timeout(limit));
    set.map_err(|e| format!("{shown}: {e}"))?;
    Ok(stream)
}

fn write_request(stream: &mut UnixStream, request: &Request) -> io::Result<()> {
    let line = serde_json::to_string(request).map_err(io::Error::other)? + "\n";
    stream.write_all(line.as_bytes())
}

fn refuse_if_taken(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    if !meta.file_type().is_socket() {
        return Err(format!("{shown}: exists and is no socket: move it away"));
    }
    match UnixStream::connect(path) {
        Ok(stream) => {
            let pid = ask_pid(stream).map_or(String::new(), |pid| format!(" (pid {pid})"));
            Err(format!(
                "another pointsman is running{pid} on {shown}: stop it, or give this one another \
                 director.socket"
            ))
        }
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(format!("{shown}: cannot tell whether another pointsman is running: {e}")),
    }
}

fn ask_pid(mut stream: UnixStream) -> Option<u64> {
    let limit = Some(Duration::from_millis(500));
    stream.set_read_timeout(limit).ok()?;
    stream.set_write_timeout(limit).ok()?;
    stream.write_all(b"{\"command\":\"pid\"}\n").ok()?;
    let mut answer = [0; 256];
    let n = stream.read(&mut answer).ok()?;
    serde_json::from_slice::<Value>(&answer[..n]).ok()?.get("pid")?.as_u64()
}

fn accept(listener: &UnixListener, asked: &Sender<Asked>) {
    let clients = Arc::new(());
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // No descriptor left: those in use come back as clients time out.
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        if Arc::strong_count(&clients) > MAX_CLIENTS {
            let _ = reply(&stream, &json!({"error": "too many clients at once, ask again"}));
            continue;
        }
        let (place, asked) = (Arc::clone(&clients), asked.clone());
        let thread = std::thread::Builder::new().name("client".into());
        // Without a thread the client finds its connection closed.
        let _ = thread.spawn(move || {
            client(&stream, &asked);
            drop(place);
        });
    }
}

fn client(stream: &UnixStream, asked: &Sender<Asked>) {
    let answer = match read_request(stream) {
        Ok(Some(Request::Pid)) => Ok(Answer::Value(json!({"pid": std::process::id()}))),
        Ok(Some(request)) => pass_on(request, asked),
        Ok(None) => return,
        Err(error) => Err(error),
    };
    let answer = match answer {
        Ok(Answer::Conns(listing)) => return write_pieces(stream, *listing),
        Ok(Answer::Value(value)) => value,
        Err(error) => json!({"error": error}),
    };
    let _ = reply(stream, &answer);
}

/// A list as it comes; a client that left, or takes nothing for `PATIENCE`, ends it.
fn write_pieces(mut stream: &UnixStream, listing: Listing) {
    if stream.set_write_timeout(Some(PATIENCE)).is_err() {
        return;
    }
    listing.run(|piece| {
        let line = serde_json::to_string(&piece).map(|line| line + "\n");
        line.is_ok_and(|line| stream.write_all(line.as_bytes()).is_ok())
    });
    let _ = stream.shutdown(std::net::Shutdown::Write);
}

/// The request line; none where the client left without a word.
fn read_request(mut stream: &UnixStream) -> Result<Option<Request>, String> {
    let deadline = Instant::now() + PATIENCE;
    let mut line = Vec::new();
    let mut piece = [0; 512];
    while !line.contains(&b'\n') {
        // The limit is for the whole line: a byte now and then does not keep a place.
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return Err("no request line in time".into());
        }
        match stream.read(&mut piece) {
            Ok(0) if line.is_empty() => return Ok(None),
            Ok(0) => break,
            Ok(n) => line.extend_from_slice(&piece[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err("no request line in time".into()),
        }
        if line.len() > MAX_REQUEST {
            return Err(format!("request longer than {MAX_REQUEST} bytes"));
        }
    }
    let end = line.iter().position(|b| *b == b'\n').unwrap_or(line.len());
    serde_json::from_slice(&line[..end]).map(Some).map_err(|e| format!("not a request: {e}"))
}

fn pass_on(request: Request, asked: &Sender<Asked>) -> Result<Answer, String> {
    let (answer, answered) = crossbeam::channel::bounded(1);
    let late = "the control thread does not answer; is it busy with a reload?";
    let sent = asked.send_timeout(Asked { request, answer }, ANSWER);
    sent.map_err(|e| if e.is_timeout() { late } else { STOPPING }.to_owned())?;
    match answered.recv_timeout(ANSWER) {
        Ok(said) => said,
        Err(RecvTimeoutError::Timeout) => Err(late.into()),
        Err(RecvTimeoutError::Disconnected) => Err(STOPPING.into()),
    }
}

fn reply(mut stream: &UnixStream, answer: &Value) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = answer.to_string();
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    stream.shutdown(std::net::Shutdown::Write)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("pointsman-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    /// A served socket whose control thread answers each request with itself.
    fn served(path: &Path) -> Socket {
        let mut socket = Socket::bind(path).unwrap();
        let requests = socket.serve().unwrap();
        std::thread::spawn(move || {
            for asked in requests {
                let echo = serde_json::to_value(&asked.request).map_err(|e| e.to_string());
                let refused = Err("no such VIP".to_owned());
                let is_announce = matches!(asked.request, Request::Announce { .. });
                let answer = if is_announce { refused } else { echo };
                let _ = asked.answer.send(answer.map(Answer::Value));
            }
        });
        socket
    }

    fn send(path: &Path, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(path).unwrap();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    #[test]
    fn owner_and_group_only() {
        let dir = dir("mode");
        let path = dir.join("p.sock");
        let socket = Socket::bind(&path).unwrap();
        let mode = |p: &Path| fs::metadata(p).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(&dir)), (0o660, 0o750));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        drop(socket);
        assert!(!path.exists());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_dead_process_socket_is_replaced_and_a_live_one_refused() {
        let dir = dir("stale");
        let path = dir.join("p.sock");
        let mut dead = Socket::bind(&path).unwrap();
        drop(dead.listener.take());
        std::mem::forget(dead);
        assert!(path.exists());
        let error = ask(&path, &Request::Status).unwrap_err();
        assert!(error.contains("not running"), "{error}");
        let live = served(&path);
        let error = Socket::bind(&path).unwrap_err();
        let expected = format!("another pointsman is running (pid {})", std::process::id());
        assert!(error.starts_with(&expected), "{error}");
        drop(live);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let dir = dir("file");
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("p.sock");
        fs::write(&path, "mine").unwrap();
        assert!(Socket::bind(&path).unwrap_err().contains("is no socket"));
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn nobody_there_is_said_so() {
        let error = ask(Path::new("/nonexistent/p.sock"), &Request::Status).unwrap_err();
        assert!(error.starts_with("pointsman is not running? (no socket at /nonex"), "{error}");
    }

    #[test]
    fn questions_are_answered_and_refusals_are_errors() {
        let dir = dir("ask");
        let path = dir.join("p.sock");
        let _socket = served(&path);
        assert_eq!(ask(&path, &Request::Status).unwrap(), json!({"command": "status"}));
        assert_eq!(ask(&path, &Request::Pid).unwrap(), json!({"pid": std::process::id()}));
        let vip = Some("10.1.0.100".parse().unwrap());
        assert_eq!(ask(&path, &Request::Announce { vip }).unwrap_err(), "no such VIP");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn who_asks_while_the_director_stops_is_told_so_at_once() {
        let dir = dir("stopping");
        let path = dir.join("p.sock");
        let mut socket = Socket::bind(&path).unwrap();
        drop(socket.serve().unwrap());
        let begun = Instant::now();
        assert_eq!(ask(&path, &Request::Status).unwrap_err(), STOPPING);
        assert!(begun.elapsed() < ANSWER);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn garbage_and_oversize_are_refused_and_harm_nobody() {
        let dir = dir("garbage");
        let path = dir.join("p.sock");
        let _socket = served(&path);
        assert!(send(&path, b"hello\n").contains("not a request"));
        assert!(send(&path, &[0xff; 100]).contains("not a request"));
        assert!(send(&path, b"{\"command\":\"announce\",\"vipp\":null}\n").contains("vipp"));
        assert!(send(&path, &[b'x'; MAX_REQUEST + 600]).contains("longer than"));
        assert_eq!(send(&path, b""), "");
        assert!(ask(&path, &Request::Status).is_ok());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_seventeenth_client_at_once_is_told_so() {
        let dir = dir("many");
        let path = dir.join("p.sock");
        let _socket = served(&path);
        let silent: Vec<_> =
            (0..MAX_CLIENTS).map(|_| UnixStream::connect(&path).unwrap()).collect();
        let error = ask(&path, &Request::Status).unwrap_err();
        assert!(error.contains("too many clients"), "{error}");
        drop(silent);
        let again = || {
            std::thread::sleep(Duration::from_millis(10));
            ask(&path, &Request::Status).is_ok()
        };
        assert!((0..100).any(|_| again()));
        fs::remove_dir_all(&dir).unwrap();
    }
}
