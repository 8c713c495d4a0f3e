//! TCP's states, written as tables that are read as they stand.

/// What a segment says, by the bit that counts.
const COLUMNS: [&str; 4] = ["SYN", "FIN", "ACK", "RST"];

const FROM_CLIENT: &str = "
    NONE         SYN_RECV     CLOSE       ESTABLISHED  CLOSE
    ESTABLISHED  ESTABLISHED  CLOSE_WAIT  ESTABLISHED  CLOSE
    SYN_SENT     ESTABLISHED  SYN_SENT    SYN_SENT     CLOSE
    SYN_RECV     SYN_RECV     TIME_WAIT   ESTABLISHED  SYN_RECV
    FIN_WAIT     SYN_RECV     TIME_WAIT   FIN_WAIT     CLOSE
    TIME_WAIT    SYN_RECV     TIME_WAIT   TIME_WAIT    CLOSE
    CLOSE        SYN_RECV     CLOSE       CLOSE        CLOSE
    CLOSE_WAIT   SYN_RECV     CLOSE_WAIT  CLOSE_WAIT   CLOSE
    LAST_ACK     SYN_RECV     LAST_ACK    CLOSE        LAST_ACK
    LISTEN       SYN_RECV     LISTEN      LISTEN       LISTEN
    SYNACK       SYN_RECV     TIME_WAIT   ESTABLISHED  SYN_RECV";

const FROM_DEST: &str = "
    NONE         SYN_SENT     TIME_WAIT   ESTABLISHED  CLOSE
    ESTABLISHED  ESTABLISHED  FIN_WAIT    ESTABLISHED  CLOSE
    SYN_SENT     SYN_SENT     SYN_SENT    SYN_SENT     SYN_SENT
    SYN_RECV     SYN_RECV     TIME_WAIT   ESTABLISHED  CLOSE
    FIN_WAIT     SYN_SENT     FIN_WAIT    FIN_WAIT     CLOSE
    TIME_WAIT    SYN_SENT     TIME_WAIT   TIME_WAIT    TIME_WAIT
    CLOSE        SYN_SENT     CLOSE       CLOSE        CLOSE
    CLOSE_WAIT   SYN_SENT     TIME_WAIT   CLOSE_WAIT   CLOSE
    LAST_ACK     SYN_SENT     LAST_ACK    LAST_ACK     CLOSE
    LISTEN       LISTEN       LISTEN      ESTABLISHED  CLOSE
    SYNACK       SYN_RECV     TIME_WAIT   ESTABLISHED  CLOSE";

/// Where the dest's segments do not pass.
const ONE_WAY: &str = "
    NONE         SYN_RECV     CLOSE       ESTABLISHED  CLOSE
    ESTABLISHED  ESTABLISHED  FIN_WAIT    ESTABLISHED  CLOSE
    SYN_SENT     ESTABLISHED  SYN_SENT    SYN_SENT     CLOSE
    SYN_RECV     SYN_RECV     TIME_WAIT   ESTABLISHED  SYN_RECV
    FIN_WAIT     SYN_RECV     FIN_WAIT    FIN_WAIT     CLOSE
    TIME_WAIT    SYN_RECV     TIME_WAIT   TIME_WAIT    CLOSE
    CLOSE        SYN_RECV     CLOSE       CLOSE        CLOSE
    CLOSE_WAIT   SYN_RECV     CLOSE_WAIT  CLOSE_WAIT   CLOSE
    LAST_ACK     SYN_RECV     LAST_ACK    CLOSE        LAST_ACK
    LISTEN       SYN_RECV     LISTEN      LISTEN       LISTEN
    SYNACK       SYN_RECV     TIME_WAIT   ESTABLISHED  CLOSE";

/// Seconds that conns live without a packet: odd, so that none ends with a template.
pub const TIMEOUTS: [(&str, u64); 11] = [
    ("NONE", 3),
    ("ESTABLISHED", 31),
    ("SYN_SENT", 21),
    ("SYN_RECV", 11),
    ("FIN_WAIT", 15),
    ("TIME_WAIT", 13),
    ("CLOSE", 5),
    ("CLOSE_WAIT", 17),
    ("LAST_ACK", 7),
    ("LISTEN", 19),
    ("SYNACK", 9),
];

/// Who sent a segment, as far as the director sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    /// The client, to a dest whose answers pass.
    Client,
    /// The dest.
    Dest,
    /// The client, to a dest whose answers go another way.
    ClientAlone,
}

/// The state after a segment that says `what` ("SYN", "FIN", "ACK" or "RST").
///
/// # Panics
/// Where there is no such state, or a segment says something else.
pub fn next(from: From, state: &str, what: &str) -> &'static str {
    let table = match from {
        From::Client => FROM_CLIENT,
        From::Dest => FROM_DEST,
        From::ClientAlone => ONE_WAY,
    };
    let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row.first() == Some(&state)).expect("all states have a row");
    let column = COLUMNS.iter().position(|name| *name == what).expect("one of four");
    row[column + 1]
}

/// How long a conn lives in a state.
///
/// # Panics
/// Where there is no such state.
pub fn timeout(state: &str) -> u64 {
    TIMEOUTS.iter().find(|(name, _)| *name == state).expect("all states have one").1
}

/// Whether a conn in it counts as active.
pub fn is_active(state: &str) -> bool {
    matches!(state, "ESTABLISHED" | "SYN_SENT" | "SYN_RECV" | "SYNACK")
}
