//! What an error of the driver or of the server means.

use tiberius::error::Error;

use crate::stores::sql_pool::Meaning;

/// The server ends a session with an error of this class, or of a higher one.
const FATAL_CLASS: u8 = 20;

/// The session is over, whatever their class.
const FATAL: &[u32] = &[
    596,    // the session is being killed
    6_001,  // shutdown
    6_002,  // shutdown
    6_005,  // shutdown
    17_148, // shutdown
];

/// Our own: another transaction holds the lock of a name.
pub(super) const NAME_IS_LOCKED: u32 = 51_222;

/// The server ended the transaction in favour of another, or its row is there by now: the repetition sees what that wrote.
const LOST_RACES: &[u32] = &[
    1_205, // victim of a deadlock
    1_222, // waited too long for a lock
    2_601, // a row with this key in a unique index
    2_627, // a row with this key
    3_960, // changed since the snapshot
    NAME_IS_LOCKED,
];

/// Of the state of the server.
const PASSING: &[u32] = &[
    1_205,
    1_222,
    3_960,
    NAME_IS_LOCKED,
    701,
    802,
    8_645,
    8_651, // no memory
    845,   // waited too long for a page
    1_105,
    9_002, // a file or the log is full
    3_906, // the database only reads
    976,
    978,
    983, // the replica is not the primary
    924,
    927,
    941,
    942,
    945,
    4_060, // the database is not open
    10_928,
    10_929,
    40_197,
    40_501,
    40_613,
    49_918,
    49_919,
    49_920, // Azure: it moves, or is overloaded
];

/// What it says.
pub(super) fn meaning(error: &Error) -> Meaning {
    match error {
        Error::Server(token) if token.class() >= FATAL_CLASS || FATAL.contains(&token.code()) => {
            Meaning::Broken
        }
        Error::Server(token) if PASSING.contains(&token.code()) => Meaning::Passing,
        Error::Server(_) | Error::BulkInput(_) => Meaning::Refused,
        Error::Conversion(_) | Error::ParseInt(_) => Meaning::Unintelligible,
        _ => Meaning::Broken,
    }
}

/// Whether the transaction may be repeated.
pub(super) fn is_lost_race(error: &Error) -> bool {
    error.code().is_some_and(|code| LOST_RACES.contains(&code))
}
