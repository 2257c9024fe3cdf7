use std::sync::mpsc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

fn settings() -> PasswordSettings {
    PasswordSettings {
        memory_kib: 64,
        passes: 1,
        queue: 2,
        // Never reached by a test that passes.
        patience: Duration::from_secs(600),
        ..PasswordSettings::default()
    }
}

fn passwords() -> Passwords {
    Passwords::start(settings()).unwrap()
}

/// Keeps the one worker busy until the sender that comes back is dropped.
fn occupy(passwords: &Passwords) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let (begin, begun) = mpsc::channel();
    passwords
        .pool
        .submit(move |_| {
            begin.send(()).unwrap();
            let _ = held.recv();
        })
        .unwrap();
    begun.recv().unwrap();
    release
}

#[test]
fn defaults_follow_owasp() {
    let defaults = PasswordSettings::default();
    assert_eq!(
        (defaults.memory_kib, defaults.passes, defaults.lanes),
        (19_456, 2, 1)
    );
    assert_eq!((defaults.workers, defaults.queue), (1, 64));
}

#[test]
fn only_the_hashed_password_verifies() {
    let passwords = passwords();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    TestRunner::new(Config::with_cases(32))
        .run(&(".{0,128}", ".{0,128}"), |(password, other)| {
            runtime.block_on(async {
                let stored = passwords.hash(&password).await.unwrap();
                prop_assert!(passwords.verify(&password, &stored).await.unwrap());
                prop_assert_eq!(
                    passwords.verify(&other, &stored).await.unwrap(),
                    password == other
                );
                prop_assert!(!stored.contains(&password) || password.len() < 3);
                Ok(())
            })
        })
        .unwrap();
}

#[tokio::test]
async fn verifies_hashes_of_other_programs() {
    let passwords = passwords();
    let stored = passwords.hash("correct horse").await.unwrap();
    assert!(
        stored.starts_with("$argon2id$v=19$m=64,t=1,p=1$"),
        "{stored} is no PHC string"
    );
    assert_ne!(
        stored,
        passwords.hash("correct horse").await.unwrap(),
        "every hash has its own salt"
    );
    // By the crate's own way, which shares neither memory nor parsing with ours; and its memory is more than a worker has.
    let reference = argon2::PasswordHasher::hash_password_with_salt(
        &Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(128, 3, 2, None).unwrap(),
        ),
        b"correct horse",
        b"0123456789abcdef",
    )
    .unwrap()
    .to_string();
    assert!(passwords.verify("correct horse", &reference).await.unwrap());
    assert!(!passwords.verify("correct horsf", &reference).await.unwrap());
}

#[tokio::test]
async fn no_password_verifies_for_nobody() {
    let passwords = passwords();
    passwords.verify_nobody("correct horse").await.unwrap();
    assert!(
        !passwords
            .compare("correct horse", passwords.nobody.clone())
            .await
            .unwrap()
    );
    assert_eq!(
        passwords.nobody.params, passwords.params,
        "as much work as for somebody"
    );
}

#[tokio::test]
async fn other_parameters_need_a_rehash() {
    let old = passwords();
    let new = Passwords::start(PasswordSettings {
        passes: 2,
        ..settings()
    })
    .unwrap();
    let stored = old.hash("correct horse").await.unwrap();
    assert!(!old.needs_rehash(&stored));
    assert!(new.needs_rehash(&stored));
    assert!(
        new.verify("correct horse", &stored).await.unwrap(),
        "an old hash still counts"
    );
    let renewed = new.hash("correct horse").await.unwrap();
    assert!(!new.needs_rehash(&renewed));
    assert!(new.needs_rehash("not a hash"));
}

#[tokio::test]
async fn damaged_hashes_are_rejected_cheaply() {
    let passwords = passwords();
    let good = passwords.hash("correct horse").await.unwrap();
    for bad in [
        String::new(),
        "correct horse".to_owned(),
        good.replace("argon2id", "argon2i"),
        good.replace("v=19", "v=16"),
        good.replace("m=64", "m=4294967295"),
        good.replace("t=1", "t=4294967295"),
        good.replace("p=1", "p=4294967295"),
        good.replace("m=64,", ""),
        good.rsplit_once('$').unwrap().0.to_owned(),
    ] {
        let refused = passwords.verify("correct horse", &bad).await;
        assert!(
            matches!(refused, Err(PasswordError::Stored(_))),
            "{bad:?} gave {refused:?}"
        );
    }
}

#[tokio::test]
async fn a_full_queue_is_busy_at_once() {
    let passwords = passwords();
    let release = occupy(&passwords);
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let passwords = passwords.clone();
            tokio::spawn(async move { passwords.hash("correct horse").await })
        })
        .collect();
    // The runtime of the test has one thread: both are in the line when this task runs again.
    tokio::task::yield_now().await;
    let refused = passwords.verify_nobody("correct horse").await;
    assert!(matches!(refused, Err(PasswordError::Busy)), "{refused:?}");
    assert!(refused.unwrap_err().is_transient());
    drop(release);
    for each in waiting {
        each.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_job_that_waited_too_long_is_dropped() {
    let passwords = Passwords::start(PasswordSettings {
        patience: Duration::ZERO,
        ..settings()
    })
    .unwrap();
    let late = passwords
        .run("correct horse", |_, _| -> Result<(), _> {
            unreachable!("it came too late")
        })
        .await;
    assert!(matches!(late, Err(PasswordError::TooLate)), "{late:?}");
}

#[tokio::test]
async fn an_abandoned_job_is_skipped() {
    let passwords = passwords();
    let release = occupy(&passwords);
    let (tell, told) = mpsc::channel::<()>();
    let abandoned = tokio::spawn({
        let passwords = passwords.clone();
        async move {
            passwords
                .run("correct horse", move |_, _| {
                    let _ = tell.send(());
                    Ok(())
                })
                .await
        }
    });
    tokio::task::yield_now().await;
    abandoned.abort();
    assert!(abandoned.await.unwrap_err().is_cancelled());
    drop(release);
    passwords.hash("correct horse").await.unwrap();
    assert!(told.recv().is_err(), "the job was dropped without being run");
}

#[tokio::test]
async fn long_passwords_are_refused() {
    let passwords = passwords();
    let long = "x".repeat(PASSWORD_LIMIT + 1);
    let stored = passwords.hash(&long[..PASSWORD_LIMIT]).await.unwrap();
    assert!(matches!(passwords.hash(&long).await, Err(PasswordError::TooLong)));
    assert!(matches!(
        passwords.verify(&long, &stored).await,
        Err(PasswordError::TooLong)
    ));
    assert!(matches!(
        passwords.verify_nobody(&long).await,
        Err(PasswordError::TooLong)
    ));
}

#[test]
fn invalid_settings_are_refused() {
    for bad in [
        PasswordSettings {
            workers: 0,
            ..settings()
        },
        PasswordSettings {
            queue: 0,
            ..settings()
        },
        PasswordSettings {
            memory_kib: 7,
            ..settings()
        },
        PasswordSettings {
            passes: 0,
            ..settings()
        },
        PasswordSettings {
            lanes: 0,
            ..settings()
        },
        PasswordSettings {
            lanes: u32::MAX,
            ..settings()
        },
    ] {
        assert!(Passwords::start(bad.clone()).is_err(), "{bad:?} was accepted");
    }
}
