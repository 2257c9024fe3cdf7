//! The hot paths in process: asking a live entity against a bare ractor call, durable reservations of one hot SKU
//! against a crowded one and ten thousand, deciding, the codec, and sealing.
//!
//! `cargo bench --bench engine`

#[path = "support/mod.rs"]
mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use futures::{StreamExt, stream};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use souk::actors::region::Region;
use souk::config::KEY_BYTES;
use souk::sealing::layout::layout;
use souk::sealing::{Key, Keyring};
use souk_domain::stock::{Stock, StockCommand, StockReply};
use souk_domain::{Aggregate, Cart, CartCommand, OrderId, Timestamp};
use support::{Rig, add, ask};
use tokio::runtime::Runtime;
use xxhash_rust::xxh3::xxh3_128;

/// Reservations under way at once in the bench of the hot SKU.
const BUYERS: usize = 256;
/// The SKUs over which they spread in another part of it.
const SKUS: usize = 10_000;
/// Reservations that stay open in a third part.
const OPEN: u64 = 2_000;

struct Bare;

enum BareMessage {
    Get(RpcReplyPort<u64>),
}

impl ractor::Message for BareMessage {}

impl Actor for Bare {
    type Msg = BareMessage;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Self::Msg>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(7)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        BareMessage::Get(port): BareMessage,
        state: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        port.send(*state)?;
        Ok(())
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn local_ask(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("ask");
    let bare = runtime.block_on(async { Actor::spawn(None, Bare, ()).await.expect("an actor").0 });
    group.bench_function("bare ractor call", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let limit = Some(Duration::from_secs(60));
            black_box(bare.call(BareMessage::Get, limit).await.expect("an answer"))
        });
    });
    let rig = runtime.block_on(Rig::start(1_000));
    runtime
        .block_on(rig.carts.ask("crt_bench", ask(add())))
        .expect("an answer");
    group.bench_function("local entity ask", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            black_box(
                rig.carts
                    .ask("crt_bench", ask(CartCommand::Get))
                    .await
                    .expect("an answer"),
            )
        });
    });
    group.finish();
}

/// As a shop names them: 32 hexadecimal digits of a hash.
fn order(number: u64) -> OrderId {
    OrderId::from_suffix(format_args!("{:032x}", xxh3_128(&number.to_le_bytes())))
}

/// Later than any run, spread over a quarter of an hour.
fn expiry(number: u64) -> Timestamp {
    const QUARTER: u64 = 15 * 60 * 1_000;
    let spread = i64::try_from(number * 997 % QUARTER).expect("fits");
    Timestamp::from_millis(4_000_000_000_000 + spread)
}

async fn stock_up(skus: &Region<Stock>, name: &str) {
    let command = StockCommand::Receive {
        reference: "bench".to_owned(),
        quantity: 1_000_000,
    };
    skus.ask(name, ask(command)).await.expect("a receipt");
}

/// Reserves one piece for an order.
async fn hold(skus: &Region<Stock>, name: &str, number: u64) {
    let reserve = StockCommand::Reserve {
        order: order(number),
        quantity: 1,
        expires_at: expiry(number),
    };
    let answer = skus.ask(name, ask(reserve)).await.expect("an answer");
    assert_eq!(answer.reply, StockReply::Done);
}

/// Reserves `count` times, [`BUYERS`] at once, each with an order of its own, and lets go again: one durable change
/// after another.
async fn reserve(skus: &Region<Stock>, names: &[String], first: u64, count: u64) -> Duration {
    let began = Instant::now();
    stream::iter(first..first + count)
        .for_each_concurrent(BUYERS, |number| async move {
            let name = &names[usize::try_from(number).expect("fits") % names.len()];
            hold(skus, name, number).await;
            let release = StockCommand::Release { order: order(number) };
            skus.ask(name, ask(release)).await.expect("an answer");
        })
        .await;
    began.elapsed()
}

fn hot_sku(criterion: &mut Criterion) {
    let runtime = runtime();
    let rig = runtime.block_on(Rig::start(100_000));
    let one = vec!["HOT".to_owned()];
    let crowded = vec!["CROWDED".to_owned()];
    let many: Vec<String> = (0..SKUS).map(|number| format!("SKU-{number}")).collect();
    runtime.block_on(async {
        stream::iter(one.iter().chain(&crowded).chain(&many))
            .for_each_concurrent(BUYERS, |name| stock_up(&rig.skus, name))
            .await;
        stream::iter(0..OPEN)
            .for_each_concurrent(BUYERS, |number| hold(&rig.skus, &crowded[0], number))
            .await;
    });
    let mut next = OPEN;
    let mut group = criterion.benchmark_group("durable reservation and release");
    group.sample_size(20).measurement_time(Duration::from_secs(10));
    for (name, names) in [
        ("one hot SKU", &one),
        ("one hot SKU with 2,000 open reservations", &crowded),
        ("10,000 SKUs", &many),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let first = next;
                next += iterations;
                runtime.block_on(reserve(&rig.skus, names, first, iterations))
            });
        });
    }
    group.finish();
}

fn deciding(criterion: &mut Criterion) {
    let add = add();
    let cart = Cart::initial("crt_bench");
    let at = Timestamp::from_millis(0);
    criterion.bench_function("decide add-to-cart", |bencher| {
        bencher.iter(|| black_box(cart.decide(black_box(&add), at)));
    });
    criterion.bench_function("encode and decode add-to-cart", |bencher| {
        bencher.iter(|| {
            let bytes = souk_wire::encode(black_box(&add)).expect("bytes");
            black_box(souk_wire::decode::<CartCommand>(black_box(&bytes)).expect("a command"))
        });
    });
}

/// What sealing adds to a row of the payments store, to a kept reply, and to a row that lies open.
fn sealing(criterion: &mut Criterion) {
    let key = Key::new("bench", &[1; KEY_BYTES]).expect("a key");
    let keyring = Keyring::new(key, Vec::new());
    let payment = br#"{"id":"pay_1","instruction":{"gateway":"sandbox","token":"tok_ok"},"reference":"sbx_0123456789abcdef"}"#;
    for (store, content) in [("payments", payment.to_vec()), ("idempotency", vec![b' '; 2_048])] {
        let layout = layout(store).expect("a store that is sealed");
        let sealed = layout
            .seal(&keyring, "row", &content)
            .expect("sealed")
            .expect("something");
        criterion.bench_function(&format!("seal a row of {store}"), |bencher| {
            bencher.iter(|| layout.seal(&keyring, "row", black_box(&content)));
        });
        criterion.bench_function(&format!("open a row of {store}"), |bencher| {
            bencher.iter(|| layout.open(&keyring, "row", black_box(&sealed)));
        });
    }
}

criterion_group!(benches, local_ask, hot_sku, deciding, sealing);
criterion_main!(benches);
