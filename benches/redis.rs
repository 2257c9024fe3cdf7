//! The Redis adapters against the same scripts by hand with the plain crate, in turns: exchanges of refresh tokens and counter hits.
//! `SOUK_TEST_REDIS_URL` names the server; without it nothing is measured. `SOUK_BENCH_ROUNDS` and `SOUK_BENCH_SECONDS` set the
//! rounds and their length.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::Script;
use redis::aio::MultiplexedConnection;
use souk::stores::TokenHash;
use souk::stores::counters::CounterStore;
use souk::stores::counters::redis::RedisCounters;
use souk::stores::redis::Server;
use souk::stores::sessions::redis::RedisSessions;
use souk::stores::sessions::{Rotation, Session, SessionStore};
use souk_domain::{SessionId, Timestamp, UserId};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const LIFE: Duration = Duration::from_secs(30 * 24 * 3_600);
const MINUTE: Duration = Duration::from_secs(60);
/// Callers at once.
const CALLERS: [usize; 3] = [1, 32, 128];
/// Connections of the plain crate, each of which takes any number of callers: as many as the adapter has.
const CONNECTIONS: usize = 4;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// What the scripts are made of, as the adapter puts them together.
fn rotation_by_hand() -> Script {
    Script::new(&format!(
        "local SLACK = 3600000\n{}{}{}",
        include_str!("../src/stores/redis/keep.lua"),
        include_str!("../src/stores/sessions/lua/sessions.lua"),
        include_str!("../src/stores/sessions/lua/rotate.lua")
    ))
}

struct World {
    prefix: String,
    sessions: RedisSessions,
    counters: RedisCounters,
    plain: Vec<MultiplexedConnection>,
    rotation: Script,
    hit: Script,
}

impl World {
    fn key(&self, name: &str, id: &[u8]) -> Vec<u8> {
        [self.prefix.as_bytes(), name.as_bytes(), id].concat()
    }

    async fn open_session(&self, name: &str) {
        let session = Session {
            id: SessionId::from_suffix(name),
            user: UserId::from_suffix(name),
            created_at: NOW,
            last_used_at: NOW,
            expires_at: NOW.plus(LIFE),
            user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0".into(),
            address: "192.0.2.1".into(),
        };
        self.sessions
            .open(&session, &TokenHash::of(&format!("{name}-0")))
            .await
            .expect("a session");
    }

    async fn rotate(&self, old: &TokenHash, new: &TokenHash) {
        let rotation = self.sessions.rotate(old, new, NOW, NOW.plus(LIFE)).await;
        assert!(matches!(rotation, Ok(Rotation::Rotated(_))));
    }

    async fn rotate_by_hand(&self, caller: usize, old: &TokenHash, new: &TokenHash) {
        let mut connection = self.plain[caller % CONNECTIONS].clone();
        let mut call = self.rotation.prepare_invoke();
        for table in [
            "sessions",
            "sessions:by-user",
            "sessions:by-expiry",
            "sessions:ended",
        ] {
            call.key(self.key(table, &[]));
        }
        call.key(self.key("token:", &old.0))
            .key(self.key("token:", &new.0))
            .arg(&new.0)
            .arg(NOW.as_millis())
            .arg(NOW.plus(LIFE).as_millis())
            .arg(NOW.as_millis() - 10_000);
        let (outcome, _): (u8, redis::Value) = call.invoke_async(&mut connection).await.expect("a rotation");
        assert_eq!(outcome, 1);
    }

    async fn hit_by_hand(&self, caller: usize, key: &str) {
        let mut connection = self.plain[caller % CONNECTIONS].clone();
        let starts_at = NOW.as_millis() - NOW.as_millis() % 60_000;
        let _: u64 = self
            .hit
            .key(self.key("hits:", key.as_bytes()))
            .arg(starts_at)
            .arg(starts_at + 60_000)
            .arg(1)
            .arg(120_000)
            .invoke_async(&mut connection)
            .await
            .expect("a hit");
    }
}

#[derive(Clone, Copy)]
enum Work {
    Rotations { by_hand: bool },
    Hits { by_hand: bool },
}

/// Operations in a second.
async fn rate(world: &Arc<World>, work: Work, callers: usize, length: Duration, round: &str) -> f64 {
    let done = Arc::new(AtomicU64::new(0));
    let mut running = Vec::new();
    for caller in 0..callers {
        if matches!(work, Work::Rotations { .. }) {
            world.open_session(&format!("{round}-{caller}")).await;
        }
    }
    let began = Instant::now();
    for caller in 0..callers {
        let (world, done) = (Arc::clone(world), Arc::clone(&done));
        let name = format!("{round}-{caller}");
        running.push(tokio::spawn(async move {
            let mut old = TokenHash::of(&format!("{name}-0"));
            for number in 1_u64.. {
                match work {
                    Work::Rotations { by_hand } => {
                        let new = TokenHash::of(&format!("{name}-{number}"));
                        if by_hand {
                            world.rotate_by_hand(caller, &old, &new).await;
                        } else {
                            world.rotate(&old, &new).await;
                        }
                        old = new;
                    }
                    Work::Hits { by_hand: true } => world.hit_by_hand(caller, &name).await,
                    Work::Hits { by_hand: false } => {
                        world.counters.hit(&name, NOW, MINUTE, 1).await.expect("a hit");
                    }
                }
                done.fetch_add(1, Ordering::Relaxed);
                if began.elapsed() >= length {
                    break;
                }
            }
        }));
    }
    for task in running {
        task.await.expect("no panic");
    }
    done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main]
async fn main() {
    let Ok(url) = std::env::var("SOUK_TEST_REDIS_URL") else {
        println!("skipped: SOUK_TEST_REDIS_URL is not set");
        return;
    };
    let prefix = format!("souk-bench-{}:", uuid::Uuid::new_v4());
    let server = Server::open(&format!("{url}?prefix={prefix}"))
        .await
        .expect("a server");
    let client = redis::Client::open(url).expect("a client");
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let mut plain = Vec::new();
    for _ in 0..CONNECTIONS {
        let connection = client.get_multiplexed_async_connection_with_config(&config).await;
        plain.push(connection.expect("a connection"));
    }
    let world = Arc::new(World {
        sessions: RedisSessions::new(&server),
        counters: RedisCounters::new(&server),
        rotation: rotation_by_hand(),
        hit: Script::new(include_str!("../src/stores/counters/lua/hit.lua")),
        plain,
        prefix: prefix.clone(),
    });
    let rounds = setting("SOUK_BENCH_ROUNDS", 5);
    let length = Duration::from_secs(setting("SOUK_BENCH_SECONDS", 2));
    for callers in CALLERS {
        for (what, adapter, hand) in [
            (
                "rotations",
                Work::Rotations { by_hand: false },
                Work::Rotations { by_hand: true },
            ),
            (
                "counter hits",
                Work::Hits { by_hand: false },
                Work::Hits { by_hand: true },
            ),
        ] {
            let (mut rates, mut ratios) = (Vec::new(), Vec::new());
            for round in 0..rounds {
                let ours = rate(&world, adapter, callers, length, &format!("{callers}-{round}-a")).await;
                let plain = rate(&world, hand, callers, length, &format!("{callers}-{round}-h")).await;
                rates.push(ours);
                ratios.push(ours / plain);
            }
            println!(
                "{what}, {callers} at once: {:.0}/s, {:.2} of the plain crate",
                median(rates),
                median(ratios)
            );
        }
    }
    let mut connection = world.plain[0].clone();
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS")
        .arg(format!("{prefix}*"))
        .query_async(&mut connection)
        .await
        .expect("keys");
    for part in keys.chunks(10_000) {
        let _: () = redis::cmd("UNLINK")
            .arg(part)
            .query_async(&mut connection)
            .await
            .expect("removed");
    }
}
