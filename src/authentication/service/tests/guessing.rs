//! A simulated day on which somebody guesses the password of an account: its owner signs in at any time, from networks that
//! the shop knows and from new ones, and no more guesses are answered than the documents say.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicI64;

use super::*;
use crate::gateways::mail::{Email, MailError, Mailer};

/// The figures of docs/configuration.md, "Guessed passwords".
const STRANGERS_A_DAY: u64 = 200;
const STRANGERS_A_QUARTER: u64 = 50;
const ONE_NETWORK_A_DAY: u64 = 50;

/// Wrong logins of an hour: five each minute, one of ten from the owner's own network.
const AN_HOUR: u64 = 300;
const A_MINUTE: u64 = AN_HOUR / 60;
const AT_HOME: u64 = 10;

const MINUTE_MILLIS: i64 = 60_000;
/// Midnight after `NOW`, in UTC.
const MIDNIGHT: i64 = NOW.as_millis() + 14 * 60 * MINUTE_MILLIS;
const HOME: &str = "192.0.2.1";

/// Keeps the latest e-mail.
#[derive(Default)]
struct Inbox(Mutex<Option<String>>);

#[async_trait]
impl Mailer for Inbox {
    async fn send(&self, email: &Email) -> Result<(), MailError> {
        *self.0.lock().unwrap() = Some(email.text.clone());
        Ok(())
    }

    async fn forget(&self, _: &EmailAddress) -> Result<(), MailError> {
        unreachable!("nothing is erased")
    }
}

impl Inbox {
    /// The code of the latest e-mail: the line without a blank.
    fn code(&self) -> Option<String> {
        let text = self.0.lock().unwrap().clone()?;
        let code = |line: &&str| line.len() > 20 && !line.contains(' ');
        text.lines().find(code).map(str::to_owned)
    }
}

struct Day {
    accounts: Arc<Accounts>,
    inbox: Arc<Inbox>,
    now: Arc<AtomicI64>,
    password: String,
    resets: u64,
    logins: u64,
    /// Guesses that were answered, by the owner's resets before them, whether in the owner's network, and the quarter of an
    /// hour.
    answered: BTreeMap<(u64, bool, i64), u64>,
    /// Keeps the folder of the stores.
    _mailer: Arc<dyn Mailer>,
}

impl Day {
    async fn begin() -> Self {
        let (accounts, _, _) = service().await;
        let mut accounts = Arc::into_inner(accounts).unwrap();
        let (inbox, now) = (Arc::new(Inbox::default()), Arc::new(AtomicI64::new(MIDNIGHT)));
        let mailer = std::mem::replace(&mut accounts.mailer, Arc::clone(&inbox) as Arc<dyn Mailer>);
        let clock = Arc::clone(&now);
        accounts.clock = Arc::new(move || Timestamp::from_millis(clock.load(Ordering::Relaxed)));
        // The day is long enough without the work of real hashes.
        accounts.passwords = Passwords::start(PasswordSettings {
            memory_kib: 8,
            passes: 1,
            ..PasswordSettings::default()
        })
        .unwrap();
        Self {
            accounts: Arc::new(accounts),
            inbox,
            now,
            password: PASSWORD.to_owned(),
            resets: 0,
            logins: 0,
            answered: BTreeMap::new(),
            _mailer: mailer,
        }
    }

    /// A minute of guessing, all at once.
    async fn guess(&mut self, minute: u64) {
        let guesses = (minute * A_MINUTE..(minute + 1) * A_MINUTE).map(|number| {
            let is_home = number.is_multiple_of(AT_HOME);
            let address = if is_home {
                HOME.to_owned()
            } else {
                format!("10.{}.{}.{}", number % 7, number / 250, number % 250)
            };
            let accounts = &self.accounts;
            async move {
                let (key, device) = (ada().1, device(&address));
                let guess = accounts.login(&key, "not this one, either", &device);
                (is_home, guess.await)
            }
        });
        for (is_home, outcome) in join_all(guesses).await {
            match outcome {
                Err(AccountError::BadCredentials) => {
                    let quarter = i64::try_from(minute / 15).unwrap();
                    *self.answered.entry((self.resets, is_home, quarter)).or_default() += 1;
                }
                Err(AccountError::Throttled { .. }) => {}
                other => panic!("{:?}", other.map(drop)),
            }
        }
        // It costs nothing to have the shop send the owner e-mails.
        if minute.is_multiple_of(5) {
            self.accounts.forgot_password(&ada().1).await.unwrap();
        }
    }

    /// The owner signs in: by the password, or where that has to wait, by the code of the newest e-mail.
    async fn sign_in(&mut self, address: &str) {
        let device = device(address);
        match self.accounts.login(&ada().1, &self.password, &device).await {
            Ok(_) => self.logins += 1,
            Err(AccountError::Throttled { .. }) => {
                self.accounts.forgot_password(&ada().1).await.unwrap();
                let code = self.inbox.code().expect("an e-mail");
                let password = format!("a long sentence, number {}", self.resets);
                let opened = self.accounts.reset_password(&code, &password, &device).await;
                let opened = opened.unwrap_or_else(|error| panic!("from {address}: {error}"));
                assert_eq!(opened.account.email, ada().0);
                self.password = password;
                self.resets += 1;
            }
            Err(error) => panic!("from {address}: {error}"),
        }
    }

    async fn run(&mut self, owner_travels: bool) {
        for minute in 0..24 * 60 {
            let now = MIDNIGHT + i64::try_from(minute).unwrap() * MINUTE_MILLIS;
            self.now.store(now, Ordering::Relaxed);
            self.guess(minute).await;
            let (hour, into) = (minute / 60, minute % 60);
            // At another minute of each hour, and twice from new networks.
            let at = |offset: u64| owner_travels && into == (hour * 7 + offset) % 60;
            if at(0) {
                self.sign_in(HOME).await;
            }
            if at(11) {
                self.sign_in(&format!("203.0.113.{hour}")).await;
            }
            if at(13) {
                self.sign_in(&format!("203.0.113.{}", 100 + hour)).await;
            }
        }
    }

    /// Answered guesses for which `of` has a group, by group.
    fn by<K: Ord>(&self, of: impl Fn(&(u64, bool, i64)) -> Option<K>) -> BTreeMap<K, u64> {
        let mut sums = BTreeMap::new();
        for (key, count) in &self.answered {
            if let Some(group) = of(key) {
                *sums.entry(group).or_default() += count;
            }
        }
        sums
    }

    fn total(&self) -> u64 {
        self.answered.values().sum()
    }

    /// Compares the answered guesses with the documented limits: they hold until the owner resets the password.
    fn check(&self) {
        let hours = self.by(|(_, _, quarter)| Some(quarter / 4));
        println!(
            "{} guesses of {} answered, by hour {:?}; the owner signed in {} times by password, {} times by e-mail",
            self.total(),
            24 * AN_HOUR,
            hours.values().collect::<Vec<_>>(),
            self.logins,
            self.resets
        );
        let at_most = |what: &str, limit: u64, counts: Vec<u64>| {
            let most = counts.into_iter().max().unwrap_or_default();
            println!("{what}: at most {most}, documented {limit}");
            assert!(
                most <= limit,
                "{what}: {most} guesses answered, documented {limit}"
            );
        };
        let strangers = self.by(|(resets, home, _)| (!home).then_some(*resets));
        at_most(
            "strangers, a day and password",
            STRANGERS_A_DAY,
            strangers.into_values().collect(),
        );
        let quarters = self.by(|(resets, home, quarter)| (!home).then_some((*resets, *quarter)));
        at_most(
            "strangers, a quarter",
            STRANGERS_A_QUARTER,
            quarters.into_values().collect(),
        );
        let home = self.by(|(resets, home, _)| home.then_some(*resets));
        at_most(
            "the owner's network, a day",
            ONE_NETWORK_A_DAY,
            home.into_values().collect(),
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_guessing_locks_no_owner_out() {
    let mut day = Day::begin().await;
    day.run(true).await;
    day.check();
    assert_eq!(day.logins + day.resets, 3 * 24);
    assert!(day.logins > 0 && day.resets > 0, "both ways are tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_guessing_gets_no_further() {
    let mut day = Day::begin().await;
    day.run(false).await;
    day.check();
    // Failures in the owner's network count against strangers too.
    let most = STRANGERS_A_DAY + ONE_NETWORK_A_DAY;
    assert!(day.total() <= most, "{} guesses answered", day.total());
}
