//! What an error of the server means, by its number.

use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;

use crate::stores::sql_pool::Meaning;

/// The session is over; after an error in a commit nobody knows what became of it.
const FATAL: &[u16] = &[
    1053, // ER_SERVER_SHUTDOWN
    1152, // ER_ABORTING_CONNECTION
    1153, // ER_NET_PACKET_TOO_LARGE
    1154, 1155, 1156, 1157, 1158, 1159, 1160, 1161, // ER_NET_…
    1180, // ER_ERROR_DURING_COMMIT
    1184, // ER_NEW_ABORTING_CONNECTION
    1927, // ER_CONNECTION_KILLED
    4031, // ER_CLIENT_INTERACTION_TIMEOUT
];

/// Another was faster, and the repetition sees what it wrote.
const LOST_RACES: &[u16] = &[
    1020, // ER_CHECKREAD
    1062, // ER_DUP_ENTRY
    1205, // ER_LOCK_WAIT_TIMEOUT
    1213, // ER_LOCK_DEADLOCK
];

/// Of the state of the server.
const PASSING: &[u16] = &[
    1020, 1205, 1213, // lost races
    1021, // ER_DISK_FULL
    1037, 1038, 1041, // out of memory
    1040, 1203, 1226, // too many connections
    1047, // ER_UNKNOWN_COM_ERROR: a node of a cluster that is not ready
    1114, // ER_RECORD_FILE_FULL
    1290, 1792, 1836, // it only reads
    1317, // ER_QUERY_INTERRUPTED
    1637, // ER_TOO_MANY_CONCURRENT_TRXS
    1969, 3024, // past the time limit of a statement
];

fn number(error: &(dyn DatabaseError + 'static)) -> Option<u16> {
    let error = error.try_downcast_ref::<MySqlDatabaseError>();
    error.map(MySqlDatabaseError::number)
}

/// What it says.
pub(super) fn meaning(error: &(dyn DatabaseError + 'static)) -> Meaning {
    match number(error) {
        None => Meaning::Broken,
        Some(number) if FATAL.contains(&number) => Meaning::Broken,
        Some(number) if PASSING.contains(&number) => Meaning::Passing,
        Some(_) => Meaning::Refused,
    }
}

/// Whether the transaction may be repeated.
pub(super) fn is_lost_race(error: &(dyn DatabaseError + 'static)) -> bool {
    number(error).is_some_and(|number| LOST_RACES.contains(&number))
}
