//! A server that answers as a test says, for what a real one does not do when asked: fail, break off, say nothing.

mod tds;

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::tds::{End, PRELOGIN, PRELOGIN_OPTIONS, Reply};

/// The longest request that is read.
const MAX_REQUEST_BYTES: usize = 64 * 1024 * 1024;
/// The size of packets until a login agrees on another one.
const FIRST_PACKET_BYTES: usize = 4096;
const HEADER_BYTES: usize = 8;
/// The kind of a packet of an answer.
const RESULT: u8 = 4;
/// The status of the last packet of a message.
const END_OF_MESSAGE: u8 = 1;

/// Plays SQL Server until it is dropped. Dropping it panics if one of its connections has: the client has seen that
/// as a connection that broke, which may be what the test expects.
pub struct Peer {
    port: u16,
    seen: watch::Receiver<Seen>,
    _tasks: JoinSet<()>,
}

/// What came in so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// All but logins, in the order of their arrival.
    pub requests: Vec<Request>,
    /// How many connections there were.
    pub opened: usize,
    /// How many of them have ended, on either side.
    pub closed: usize,
    has_panicked: bool,
}

/// A request of a client.
#[derive(Clone, Debug)]
pub struct Request {
    /// The number of its connection, from zero.
    pub connection: usize,
    pub kind: Kind,
    /// The statements; of a login the name of the database; of the transaction manager `BEGIN` and the like.
    pub text: String,
    /// The declaration of the parameters of `sp_executesql`, such as `@P1 bigint`.
    pub declaration: String,
    /// Their values.
    pub parameters: Vec<Cell>,
    /// The transaction that the client believes to be in, or 0.
    pub transaction: u64,
    /// The packet size that a login asks for.
    packet_bytes: usize,
}

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Login,
    Batch,
    /// A call of `sp_executesql`.
    Rpc,
    /// A request to the transaction manager.
    Transaction,
    /// The client gives up its request. It is always acknowledged.
    Attention,
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A result set.
    Rows(Vec<Column>, Vec<Vec<Cell>>),
    /// Success without a result or count, as under `SET NOCOUNT ON`. It accepts a login.
    Done,
    /// The statement failed. An error of class 20 and above ends the connection.
    Error {
        number: u32,
        state: u8,
        class: u8,
        message: &'static str,
    },
    /// The connection ends here, between two packets.
    Break,
    /// The connection ends within the last of these rows, in the middle of a packet. Those before it were sent.
    BreakWithin(Vec<Column>, Vec<Vec<Cell>>),
    /// Nothing more comes of this answer. The connection stays.
    Silence,
}

/// Name and type.
pub type Column = (&'static str, Type);

/// The type of a column. Each of them can be NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    BigInt,
    /// `nvarchar(max)`.
    Text,
}

/// The value of a column or a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    Null,
    /// Of any integer type, or `bit`.
    Number(i64),
    Text(String),
    Binary(Vec<u8>),
}

type Script = dyn Fn(&Request) -> Answer + Send + Sync;

impl Peer {
    /// Signs everybody in, and answers each request as `answer` says.
    pub async fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_with_login(|_| Answer::Done, answer).await
    }

    /// The same, where `login` says who is signed in: an error refuses the login and ends the connection.
    pub async fn start_with_login(
        login: impl Fn(&Request) -> Answer + Send + Sync + 'static,
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let script: Arc<Script> = Arc::new(move |request| match request.kind {
            Kind::Login => login(request),
            _ => answer(request),
        });
        let seen = Arc::new(watch::Sender::default());
        let receiver = seen.subscribe();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                seen.send_modify(|seen: &mut Seen| seen.opened += 1);
                let connection = Connection {
                    number,
                    stream,
                    packet_bytes: FIRST_PACKET_BYTES,
                    script: Arc::clone(&script),
                    seen: Arc::clone(&seen),
                };
                // The client may close its end at any time, which is what a test is about.
                connections.spawn(async move { drop(connection.serve().await) });
            }
        });
        Self {
            port,
            seen: receiver,
            _tasks: tasks,
        }
    }

    /// Where it listens on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// All requests so far but logins.
    pub fn requests(&self) -> Vec<Request> {
        self.seen.borrow().requests.clone()
    }

    /// How many connections were opened so far.
    pub fn connections(&self) -> usize {
        self.seen.borrow().opened
    }

    /// Waits until this is true of what came in.
    pub async fn wait_for(&self, is_true: impl FnMut(&Seen) -> bool) {
        self.seen.clone().wait_for(is_true).await.unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let has_panicked = self.seen.borrow().has_panicked;
        assert!(
            !has_panicked || thread::panicking(),
            "a connection of the peer panicked"
        );
    }
}

struct Connection {
    number: usize,
    stream: TcpStream,
    packet_bytes: usize,
    script: Arc<Script>,
    seen: Arc<watch::Sender<Seen>>,
}

impl Connection {
    async fn serve(mut self) -> io::Result<()> {
        loop {
            let (kind, message) = self.receive().await?;
            if kind == PRELOGIN {
                self.send(&PRELOGIN_OPTIONS, true).await?;
                continue;
            }
            let request = Request::parse(self.number, kind, &message);
            if request.kind != Kind::Login {
                self.seen.send_modify(|seen| seen.requests.push(request.clone()));
            }
            let answer = match request.kind {
                Kind::Attention => Answer::Done,
                _ => (self.script)(&request),
            };
            let (tokens, end) = Reply::to(&request, answer);
            match end {
                End::Whole => self.send(&tokens, true).await?,
                End::Fatal => return self.send(&tokens, true).await,
                End::Silence => self.send(&tokens, false).await?,
                End::Break => return self.send(&tokens, false).await,
                End::BreakWithin(last) => {
                    self.send(&tokens[..last], false).await?;
                    let packets = self.packets(&tokens[last..], true);
                    return self.stream.write_all(&packets[..packets.len() / 2]).await;
                }
            }
            if request.kind == Kind::Login {
                self.packet_bytes = request.packet_bytes;
            }
        }
    }

    /// The next message of the client, from all its packets.
    async fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut message = Vec::new();
        loop {
            let mut header = [0; HEADER_BYTES];
            self.stream.read_exact(&mut header).await?;
            let [kind, status, high, low, ..] = header;
            let start = message.len();
            let length = usize::from(u16::from_be_bytes([high, low]));
            message.resize(start + length - HEADER_BYTES, 0);
            assert!(message.len() <= MAX_REQUEST_BYTES, "the request is too long");
            self.stream.read_exact(&mut message[start..]).await?;
            if status & END_OF_MESSAGE != 0 {
                return Ok((kind, message));
            }
        }
    }

    async fn send(&mut self, tokens: &[u8], is_end: bool) -> io::Result<()> {
        let packets = self.packets(tokens, is_end);
        self.stream.write_all(&packets).await
    }

    fn packets(&self, tokens: &[u8], is_end: bool) -> Vec<u8> {
        let mut packets = Vec::new();
        let mut parts = tokens.chunks(self.packet_bytes - HEADER_BYTES).peekable();
        while let Some(part) = parts.next() {
            let is_last = is_end && parts.peek().is_none();
            let status = if is_last { END_OF_MESSAGE } else { 0 };
            let [high, low] = u16::try_from(HEADER_BYTES + part.len()).unwrap().to_be_bytes();
            packets.extend([RESULT, status, high, low, 0, 0, 1, 0]);
            packets.extend(part);
        }
        packets
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.seen.send_modify(|seen| {
            seen.closed += 1;
            seen.has_panicked |= thread::panicking();
        });
    }
}
