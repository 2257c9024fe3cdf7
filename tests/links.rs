//! Links between processes: order, throughput, a peer that is stopped, one that is killed, one that fails.
//!
//! ractor's registries are global to a process, so two nodes need two of them: this binary runs itself again as the peer.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ractor::{Actor, ActorRef};
use rustix::process::{Pid, Signal, kill_process};
use souk::config::Transport;
use souk_cluster::certificates::{generate, load_directory};
use souk_cluster::frames::{FRAME_BYTES, Item};
use souk_cluster::key::ClusterKey;
use souk_cluster::lanes::{Links, QUEUE_BYTES, SendError, WINDOW_BYTES};
use souk_cluster::peers::{LinkEvent, Peer, Peers, PeersArguments, PeersMessage};
use souk_cluster::transport::{StreamLimits, TransportSettings};
use souk_cluster::view::NodeIdentity;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// More than any step takes on a busy machine; a step that fails, fails by it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Above the longest pause between ractor's pings, and more than a busy machine takes to fill the lane of a stopped peer:
/// its link must stand until then.
const IDLE: Duration = Duration::from_secs(20);

/// How long a lane that is full stays so, at least.
const FULL_FOR: Duration = Duration::from_secs(2);

const PEER_NAME: &str = "SOUK_LINKS_TEST_NAME";
const PEER_FOLDER: &str = "SOUK_LINKS_TEST_FOLDER";
const PEER_OTHER: &str = "SOUK_LINKS_TEST_OTHER";
const ADDRESS: &str = "ADDRESS=";

/// The first byte of an item.
const COUNT: u8 = 0;
const REPORT: u8 = 1;
const PANIC: u8 = 2;
const FILL: u8 = 3;

fn identity(name: &str) -> NodeIdentity {
    NodeIdentity {
        name: name.to_owned(),
        incarnation: 1,
    }
}

/// An item: kind, number, and as many bytes more.
fn item(kind: u8, number: u64, more: usize) -> Item {
    let mut bytes = vec![kind];
    bytes.extend(number.to_be_bytes());
    bytes.resize(bytes.len() + more, 7);
    Item(bytes)
}

fn parse(item: &Item) -> (u8, u64) {
    (item.0[0], u64::from_be_bytes(item.0[1..9].try_into().unwrap()))
}

struct Node {
    links: Links,
    peers: ActorRef<PeersMessage>,
    address: SocketAddr,
    events: mpsc::UnboundedReceiver<LinkEvent>,
}

async fn node(
    name: &str,
    folder: &Path,
    sink: impl Fn(&NodeIdentity, Vec<Item>) + Send + Sync + 'static,
) -> Node {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let links = Links::new(Arc::new(sink));
    let (sender, events) = mpsc::unbounded_channel();
    let arguments = PeersArguments {
        identity: identity(name),
        listener,
        tls: load_directory(folder, name).unwrap(),
        key: ClusterKey::new("the cluster's secret").unwrap(),
        settings: TransportSettings {
            stream: StreamLimits {
                idle: IDLE,
                write_stall: IDLE,
            },
            ..TransportSettings::from(&Transport::default())
        },
        links: links.clone(),
        events: Arc::new(move |event| drop(sender.send(event))),
    };
    let (peers, _) = Actor::spawn(None, Peers, arguments).await.unwrap();
    Node {
        links,
        peers,
        address,
        events,
    }
}

impl Node {
    fn want(&self, peers: &[(&str, SocketAddr)]) {
        let wanted = peers
            .iter()
            .map(|(name, address)| Peer {
                identity: identity(name),
                address: *address,
            })
            .collect();
        self.peers.cast(PeersMessage::Wanted(wanted)).unwrap();
    }

    /// Waits for this event and gives the time it took; events that do not matter here are passed over.
    async fn expect(&mut self, expected: LinkEvent) -> Duration {
        let begun = Instant::now();
        let found = timeout(PATIENCE, async {
            while let Some(event) = self.events.recv().await {
                if event == expected {
                    return;
                }
            }
        });
        assert!(found.await.is_ok(), "no {expected:?}");
        begun.elapsed()
    }

    async fn send(&self, to: &str, item: Item) {
        let begun = Instant::now();
        loop {
            match self.links.send(to, item.clone()) {
                Ok(()) => return,
                Err(SendError::Busy) if begun.elapsed() < PATIENCE => tokio::task::yield_now().await,
                Err(error) => panic!("to {to}: {error}"),
            }
        }
    }
}

fn up(name: &str) -> LinkEvent {
    LinkEvent::Up { peer: identity(name) }
}

fn down(name: &str, refused: bool) -> LinkEvent {
    LinkEvent::Down {
        peer: identity(name),
        refused,
    }
}

/// The other process. It is killed when the test ends, however that ends.
struct OtherProcess {
    child: Child,
    address: SocketAddr,
}

impl OtherProcess {
    fn start(name: &str, folder: &Path, other: SocketAddr) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["the_peer", "--exact", "--nocapture"])
            .env(PEER_NAME, name)
            .env(PEER_FOLDER, folder)
            .env(PEER_OTHER, other.to_string())
            // It panics on purpose.
            .env("RUST_BACKTRACE", "0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let address = output
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.split_once(ADDRESS)?.1.trim().parse().ok())
            .unwrap();
        Self { child, address }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for OtherProcess {
    fn drop(&mut self) {
        // Nothing is sent to a process that was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test by itself: what the other process runs. Counts items and reports the count when asked for it, or a
/// count that nobody expects where the order was broken.
#[test]
fn the_peer() {
    let Ok(name) = env::var(PEER_NAME) else { return };
    let folder = env::var(PEER_FOLDER).unwrap();
    let other: SocketAddr = env::var(PEER_OTHER).unwrap().parse().unwrap();
    runtime().block_on(async {
        let (reports, mut due) = mpsc::unbounded_channel();
        let next = AtomicU64::default();
        let peer = node(&name, Path::new(&folder), move |from, items| {
            assert_eq!(from, &identity("n2"));
            for item in &items {
                let (kind, number) = parse(item);
                match kind {
                    COUNT => {
                        let _ =
                            next.compare_exchange(number, number + 1, Ordering::Relaxed, Ordering::Relaxed);
                    }
                    REPORT => reports.send(next.swap(0, Ordering::Relaxed)).unwrap(),
                    PANIC => panic!("as the test wants it"),
                    _ => {}
                }
            }
        })
        .await;
        peer.want(&[("n2", other)]);
        println!("{ADDRESS}{}", peer.address);
        while let Some(count) = due.recv().await {
            peer.send("n2", item(REPORT, count, 0)).await;
        }
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn links_between_processes() {
    // Whatever a peer or a stranger does is no error of this node.
    let errors = Log::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::ERROR)
        .with_writer({
            let errors = errors.clone();
            move || errors.clone()
        })
        .init();
    // One test, one node: see above.
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        generate(folder.path(), &["n1", "n2", "n3"], jiff::Timestamp::now()).unwrap();
        let (reports, mut reported) = mpsc::unbounded_channel();
        let mut n2 = node("n2", folder.path(), move |_: &NodeIdentity, items| {
            for item in &items {
                reports.send(parse(item)).unwrap();
            }
        })
        .await;

        // n2 sorts last, so it dials n1.
        let n1 = OtherProcess::start("n1", folder.path(), n2.address);
        assert_eq!(n2.links.send("n1", item(COUNT, 0, 0)), Err(SendError::NoLink));
        n2.want(&[("n1", n1.address), ("n2", n2.address)]);
        n2.expect(up("n1")).await;
        assert_eq!(n2.links.peers(), [identity("n1")]);
        order_and_throughput(&n2, &mut reported).await;
        a_stopped_peer_fills_its_lane_and_no_memory(&n2, &n1, &mut reported).await;

        garbage_leaves_nothing_behind(&n2).await;

        // A part of the other node fails: the link is made anew.
        n2.send("n1", item(PANIC, 0, 0)).await;
        n2.expect(down("n1", false)).await;
        n2.expect(up("n1")).await;
        order_and_throughput(&n2, &mut reported).await;

        // Stopped for longer than a link may be silent.
        n1.signal(Signal::STOP);
        let silent = n2.expect(down("n1", false)).await;
        // Not by the limits of a dead connection, which are minutes.
        assert!(silent < IDLE + Duration::from_secs(30), "{silent:?}");
        assert_eq!(n2.links.send("n1", item(COUNT, 0, 0)), Err(SendError::NoLink));
        n1.signal(Signal::CONT);
        n2.expect(up("n1")).await;
        killed(&mut n2, n1, "n1").await;

        // The other way round: n3 dials, and n2 only knocks.
        let n3 = OtherProcess::start("n3", folder.path(), n2.address);
        n2.want(&[("n3", n3.address)]);
        n2.expect(up("n3")).await;
        n2.send("n3", item(COUNT, 0, 0)).await;
        n2.send("n3", item(REPORT, 0, 0)).await;
        assert_eq!(next_report(&mut reported).await, (REPORT, 1));
        killed(&mut n2, n3, "n3").await;

        // No longer wanted: no link, though the node is there.
        let n3 = OtherProcess::start("n3", folder.path(), n2.address);
        n2.want(&[("n3", n3.address)]);
        n2.expect(up("n3")).await;
        n2.want(&[]);
        n2.expect(down("n3", false)).await;
        assert!(n2.links.peers().is_empty());
    });
    let errors = errors.0.lock().unwrap();
    assert!(errors.is_empty(), "{}", String::from_utf8_lossy(&errors));
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The peer's next report. A peer that has died, or that could not answer, shows here and not as a test that hangs.
async fn next_report(reported: &mut mpsc::UnboundedReceiver<(u8, u64)>) -> (u8, u64) {
    timeout(PATIENCE, reported.recv())
        .await
        .expect("the peer reports in time")
        .expect("this node takes what comes in")
}

async fn garbage_leaves_nothing_behind(n2: &Node) {
    let before = open_files();
    for round in 0..200u8 {
        let mut stream = TcpStream::connect(n2.address).await.unwrap();
        // The listener may have closed it by now.
        let _ = stream.write_all(&vec![round; usize::from(round) * 16]).await;
    }
    let gone = timeout(PATIENCE, async {
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        while open_files() > before {
            pace.tick().await;
        }
    });
    assert!(
        gone.await.is_ok(),
        "{} files are open, {before} were",
        open_files()
    );
    assert!(n2.links.is_up(&identity("n1")));
}

async fn order_and_throughput(n2: &Node, reported: &mut mpsc::UnboundedReceiver<(u8, u64)>) {
    const EACH: u64 = 50_000;
    let begun = Instant::now();
    for number in 0..EACH {
        n2.send("n1", item(COUNT, number, 64)).await;
    }
    n2.send("n1", item(REPORT, 0, 0)).await;
    assert_eq!(next_report(reported).await, (REPORT, EACH));
    let rate = EACH as f64 / begun.elapsed().as_secs_f64();
    println!("{rate:.0} items a second");
    assert!(rate > 1000.0);
}

async fn a_stopped_peer_fills_its_lane_and_no_memory(
    n2: &Node,
    n1: &OtherProcess,
    reported: &mut mpsc::UnboundedReceiver<(u8, u64)>,
) {
    const BYTES: usize = 100_000;
    /// A frame more than the window, and the item that is looked at.
    const LIMIT: usize = QUEUE_BYTES + WINDOW_BYTES + 2 * FRAME_BYTES;
    /// What is on its way is there several times: encoded, in ractor's buffers, in the TLS session.
    const COPIES: usize = 4;

    let before = resident_bytes();
    n1.signal(Signal::STOP);
    let stopped = Instant::now();
    let mut sent = 0;
    let mut full = false;
    let large = item(FILL, 0, BYTES);
    // For a while even when full, for the bound to be one; and until full, which a busy machine may take longer for.
    while stopped.elapsed() < FULL_FOR || !full {
        assert!(stopped.elapsed() < IDLE, "the lane does not fill up");
        let sending = n2.links.send("n1", large.clone());
        full = sending == Err(SendError::Busy);
        match sending {
            Ok(()) => sent += BYTES,
            Err(error) => assert_eq!(error, SendError::Busy),
        }
        tokio::task::yield_now().await;
    }
    // What the system's own socket buffers took comes on top: a few megabytes.
    assert!(sent < LIMIT + 16 * 1024 * 1024, "{sent}");
    let grown = resident_bytes().saturating_sub(before);
    println!("stopped: {sent} bytes taken, {grown} bytes more memory");
    assert!(grown < sent + COPIES * WINDOW_BYTES, "{grown}");
    n1.signal(Signal::CONT);
    // All that was taken goes through, in order: the report comes after it.
    n2.send("n1", item(REPORT, 0, 0)).await;
    assert_eq!(next_report(reported).await, (REPORT, 0));
}

async fn killed(n2: &mut Node, mut other: OtherProcess, name: &str) {
    let begun = Instant::now();
    other.child.kill().unwrap();
    n2.expect(down(name, false)).await;
    let noticed = begun.elapsed();
    n2.expect(down(name, true)).await;
    println!(
        "killed: noticed after {noticed:?}, known to be gone after {:?}",
        begun.elapsed()
    );
    // By what the system says of its connection and its port, and not by a silence.
    assert!(begun.elapsed() < IDLE / 2, "{:?}", begun.elapsed());
    other.child.wait().unwrap();
}
