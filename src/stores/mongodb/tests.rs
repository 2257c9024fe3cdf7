//! URLs, and what errors mean.

use mongodb::bson::{self, doc};
use mongodb::error::{CommandError, Error, ErrorKind};

use super::*;

#[tokio::test]
async fn a_url_can_not_weaken_what_is_promised() {
    let url = "mongodb://ann:p%40ss@a.example:27018,b.example/shop?replicaSet=one&readPreference=nearest&w=1\
        &readConcernLevel=local&maxPoolSize=900&connectTimeoutMS=99000&serverSelectionTimeoutMS=99000";
    let options = options("carts", url).await.unwrap();
    assert_eq!(options.hosts.len(), 2);
    assert_eq!(options.default_database.as_deref(), Some("shop"));
    assert_eq!(options.app_name.as_deref(), Some("souk carts"));
    assert!(matches!(
        options.selection_criteria,
        Some(SelectionCriteria::ReadPreference(ReadPreference::Primary))
    ));
    let concern = options.write_concern.unwrap();
    assert_eq!(
        (concern.w, concern.journal),
        (Some(Acknowledgment::Majority), Some(true))
    );
    assert_eq!(options.max_pool_size, Some(CONNECTIONS));
    assert_eq!(options.connect_timeout, Some(CONNECT_LIMIT));
    assert_eq!(options.server_selection_timeout, Some(SELECTION_LIMIT));
}

#[tokio::test]
async fn other_urls_are_refused_without_their_password() {
    for url in [
        "mongodb://ann:secret@",
        "mongodb://ann:secret@host:port",
        "mongodb://ann:secret@host/shop?tls=true&tlsAllowInvalidCertificates=true",
        "mongodb://ann:secret@host/shop?tls=true&tlsInsecure=true",
        "mongodb+srv://ann:secret@host.example/shop",
        "mysql://ann:secret@host",
    ] {
        let error = options("carts", url).await.err().unwrap();
        assert!(matches!(error, StoreError::Refused { .. }), "{url}: {error:?}");
        assert!(!format!("{error:?}").contains("secret"), "{url}: {error:?}");
    }
}

#[test]
fn errors_of_the_server_say_whether_something_was_written() {
    let command = |code: i32| -> Error {
        let error = doc! { "code": code, "codeName": "Name", "errmsg": "message" };
        let error: CommandError = bson::deserialize_from_document(error).unwrap();
        ErrorKind::Command(error).into()
    };
    let broken = || Error::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
    let is_unavailable = |error: &StoreError| matches!(error, StoreError::Unavailable { .. });
    let is_unknown = |error: &StoreError| matches!(error, StoreError::OutcomeUnknown { .. });
    for code in [10_107, 13_435, 189, 91, 50, 11_602] {
        assert!(
            is_unavailable(&failed("carts", Effect::Read, command(code))),
            "{code}"
        );
        // Some of several may be written.
        assert!(
            is_unknown(&failed("carts", Effect::Writes, command(code))),
            "{code}"
        );
    }
    assert!(is_unavailable(&failed("carts", Effect::Write, command(10_107))));
    // It may have stopped to be the primary after the write, or been too slow to acknowledge it.
    for code in [189, 50, 91] {
        assert!(
            is_unknown(&failed("carts", Effect::Write, command(code))),
            "{code}"
        );
    }
    for code in [2, 9, 13, 121] {
        for effect in [Effect::Read, Effect::Write, Effect::Writes] {
            let error = failed("carts", effect, command(code));
            assert!(matches!(error, StoreError::Refused { .. }), "{code}: {error:?}");
        }
    }
    assert!(is_unavailable(&failed("carts", Effect::Read, broken())));
    assert!(is_unknown(&failed("carts", Effect::Write, broken())));
}
