//! Messages of TDS 7.4, the protocol of SQL Server, as far as a client without TLS and MARS needs them.
//!
//! The numbers are those of the specification MS-TDS. On messages that are not known here it panics, which ends the
//! connection.

use super::{Answer, Cell, Column, Kind, Request, Type};

// Kinds of messages.
const BATCH: u8 = 1;
const RPC: u8 = 3;
const CANCEL: u8 = 6;
const TRANSACTION: u8 = 14;
const LOGIN: u8 = 16;
pub(super) const PRELOGIN: u8 = 18;

/// The answer to PRELOGIN: VERSION and ENCRYPTION, each with offset and length, and then 16.0 and "not supported".
pub(super) const PRELOGIN_OPTIONS: [u8; 18] = [0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xff, 16, 0, 0, 0, 0, 0, 2];

const MIN_PACKET_BYTES: usize = 512;
const MAX_PACKET_BYTES: usize = 32767;

/// The number of the procedure `sp_executesql`.
const SP_EXECUTESQL: usize = 10;

// Types of parameters and columns.
const NULL: u8 = 0x1f;
const INT: u8 = 0x26;
const BIT: u8 = 0x68;
const VARBINARY: u8 = 0xa5;
const NVARCHAR: u8 = 0xe7;

/// The length of the types `nvarchar(max)` and `varbinary(max)`, and of a NULL of the shorter types.
const MAX_LENGTH: u16 = 0xffff;
/// Values of the `max` types are sent in chunks of this size.
const CHUNK_BYTES: usize = 8000;
/// SQL_Latin1_General_CP1_CI_AS.
const COLLATION: [u8; 5] = [0x09, 0x04, 0xd0, 0x00, 0x34];

// Tokens of an answer.
const RETURN_STATUS: u8 = 0x79;
const COLUMNS: u8 = 0x81;
const ERROR: u8 = 0xaa;
const LOGIN_ACK: u8 = 0xad;
const ROW: u8 = 0xd1;
const ENV_CHANGE: u8 = 0xe3;
/// The end of a statement of a batch, of a statement of a procedure, and of a procedure.
const DONE: u8 = 0xfd;
const DONE_IN_PROC: u8 = 0xff;
const DONE_PROC: u8 = 0xfe;

// Flags of these three.
const MORE: u16 = 0x01;
const FAILED: u16 = 0x02;
const COUNT: u16 = 0x10;
const ATTENTION: u16 = 0x20;

// What of the connection changes by ENV_CHANGE.
const ENV_DATABASE: u8 = 1;
const ENV_PACKET_SIZE: u8 = 4;
const ENV_BEGIN: u8 = 8;
const ENV_COMMIT: u8 = 9;
const ENV_ROLLBACK: u8 = 10;

const TDS_7_4: [u8; 4] = [0x74, 0, 0, 4];
/// The server ends the connection after errors of this class and above.
const FATAL_CLASS: u8 = 20;

impl Request {
    pub(super) fn parse(connection: usize, kind: u8, message: &[u8]) -> Self {
        let mut request = Self {
            connection,
            kind: Kind::Attention,
            text: String::new(),
            declaration: String::new(),
            parameters: Vec::new(),
            transaction: 0,
            packet_bytes: 0,
        };
        let mut rest = Reader(message);
        if matches!(kind, BATCH | RPC | TRANSACTION) {
            // ALL_HEADERS. Without MARS there is one header: its length and type, and the transaction.
            let length = rest.number(4) - 4;
            let mut headers = Reader(rest.bytes(length));
            headers.bytes(6);
            request.transaction = headers.number(8) as u64;
        }
        match kind {
            BATCH => {
                request.kind = Kind::Batch;
                request.text = text(rest.0);
            }
            RPC => {
                request.kind = Kind::Rpc;
                // No name, but a number.
                assert_eq!([rest.number(2), rest.number(2)], [0xffff, SP_EXECUTESQL]);
                let _options = rest.number(2);
                for part in [&mut request.text, &mut request.declaration] {
                    let Cell::Text(value) = rest.parameter() else {
                        panic!("sp_executesql without text");
                    };
                    *part = value;
                }
                while !rest.0.is_empty() {
                    request.parameters.push(rest.parameter());
                }
            }
            TRANSACTION => {
                request.kind = Kind::Transaction;
                let action = match rest.number(2) {
                    5 => "BEGIN",
                    7 => "COMMIT",
                    8 => "ROLLBACK",
                    9 => "SAVE",
                    action => panic!("an unknown request {action} to the transaction manager"),
                };
                request.text = action.to_owned();
            }
            LOGIN => {
                request.kind = Kind::Login;
                let number = |at, width| Reader(&message[at..]).number(width);
                request.packet_bytes = number(8, 4).clamp(MIN_PACKET_BYTES, MAX_PACKET_BYTES);
                let (start, units) = (number(68, 2), number(70, 2));
                request.text = text(&message[start..start + 2 * units]);
            }
            CANCEL => {}
            _ => panic!("an unknown message of type {kind}"),
        }
        request
    }
}

/// What is left of a message. Numbers are little-endian.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(count);
        self.0 = rest;
        bytes
    }

    fn number(&mut self, width: usize) -> usize {
        let bytes = self.bytes(width).iter().rev();
        bytes.fold(0, |number, byte| number << 8 | usize::from(*byte))
    }

    /// The value of a parameter, after its name and flags.
    fn parameter(&mut self) -> Cell {
        let units = self.number(1);
        self.bytes(2 * units + 1);
        match self.number(1) as u8 {
            NULL => Cell::Null,
            INT | BIT => {
                let (_, width) = (self.number(1), self.number(1));
                match self.bytes(width) {
                    [] => Cell::Null,
                    // Of the integers only tinyint has no sign.
                    [byte] => Cell::Number(i64::from(*byte)),
                    bytes => {
                        let unused = 64 - 8 * width;
                        Cell::Number((Reader(bytes).number(width) << unused) as i64 >> unused)
                    }
                }
            }
            NVARCHAR => {
                let length = self.number(2);
                self.bytes(COLLATION.len());
                self.value(length)
                    .map_or(Cell::Null, |value| Cell::Text(text(&value)))
            }
            VARBINARY => {
                let length = self.number(2);
                self.value(length).map_or(Cell::Null, Cell::Binary)
            }
            kind => panic!("a parameter of the unknown type {kind:#x}"),
        }
    }

    /// A value of a type of this length.
    fn value(&mut self, length: usize) -> Option<Vec<u8>> {
        if length != usize::from(MAX_LENGTH) {
            let length = self.number(2);
            return (length != usize::from(MAX_LENGTH)).then(|| self.bytes(length).to_vec());
        }
        if self.number(8) == usize::MAX {
            return None;
        }
        let mut value = Vec::new();
        loop {
            match self.number(4) {
                0 => return Some(value),
                length => value.extend(self.bytes(length)),
            }
        }
    }
}

/// What follows an answer.
pub(super) enum End {
    /// The next request.
    Whole,
    /// The end of the connection.
    Fatal,
    /// Nothing, though the answer is not whole.
    Silence,
    /// The end of the connection, though the answer is not whole.
    Break,
    /// The same, in the middle of the token that begins here.
    BreakWithin(usize),
}

/// An answer in tokens.
pub(super) struct Reply<'a> {
    request: &'a Request,
    tokens: Vec<u8>,
}

impl<'a> Reply<'a> {
    /// The tokens of this answer, and what follows them.
    pub(super) fn to(request: &'a Request, answer: Answer) -> (Vec<u8>, End) {
        let tokens = Vec::new();
        let mut reply = Self { request, tokens };
        match (request.kind, &answer) {
            (Kind::Login, Answer::Done) => reply.login(),
            (Kind::Transaction, Answer::Done) => reply.transaction(),
            _ => {}
        }
        let end = reply.add(answer);
        if request.kind == Kind::Rpc && matches!(end, End::Whole | End::Fatal) {
            reply.tokens.extend([RETURN_STATUS, 0, 0, 0, 0]);
            reply.done(DONE_PROC, 0, 0);
        }
        (reply.tokens, end)
    }

    fn add(&mut self, answer: Answer) -> End {
        let is_rpc = self.request.kind == Kind::Rpc;
        let done = if is_rpc { DONE_IN_PROC } else { DONE };
        let more = if is_rpc { MORE } else { 0 };
        match answer {
            Answer::Rows(columns, rows) => {
                self.columns(&columns);
                rows.iter().for_each(|row| self.row(&columns, row));
                self.done(done, more | COUNT, rows.len() as u64);
            }
            Answer::Done => match self.request.kind {
                // A procedure ends with a token of its own.
                Kind::Rpc => {}
                Kind::Attention => self.done(DONE, ATTENTION, 0),
                _ => self.done(DONE, more, 0),
            },
            Answer::Error {
                number,
                state,
                class,
                message,
            } => {
                self.error(number, state, class, message);
                if class >= FATAL_CLASS || self.request.kind == Kind::Login {
                    self.done(done, FAILED | if is_rpc { MORE } else { 0 }, 0);
                    return End::Fatal;
                }
                self.done(done, more | FAILED, 0);
            }
            Answer::Break => return End::Break,
            Answer::BreakWithin(columns, rows) => {
                let mut last = self.tokens.len();
                self.columns(&columns);
                for row in &rows {
                    last = self.tokens.len();
                    self.row(&columns, row);
                }
                return End::BreakWithin(last);
            }
            Answer::Silence => return End::Silence,
        }
        End::Whole
    }

    fn login(&mut self) {
        let database = &self.request.text;
        let database = if database.is_empty() { "master" } else { database };
        self.environment(ENV_DATABASE, &counted(database), &counted("master"));
        let program = [&[1], &TDS_7_4[..], &counted("Peer"), &[16, 0, 0, 0]];
        self.sized(LOGIN_ACK, &program.concat());
        let size = self.request.packet_bytes.to_string();
        self.environment(ENV_PACKET_SIZE, &counted(&size), &counted(&size));
    }

    fn transaction(&mut self) {
        let transaction = [&[8], &(self.request.connection as u64 + 1).to_le_bytes()[..]].concat();
        match self.request.text.as_str() {
            "BEGIN" => self.environment(ENV_BEGIN, &transaction, &[0]),
            "COMMIT" => self.environment(ENV_COMMIT, &[0], &transaction),
            "ROLLBACK" => self.environment(ENV_ROLLBACK, &[0], &transaction),
            _ => {}
        }
    }

    fn environment(&mut self, kind: u8, new: &[u8], old: &[u8]) {
        self.sized(ENV_CHANGE, &[&[kind], new, old].concat());
    }

    fn error(&mut self, number: u32, state: u8, class: u8, message: &str) {
        let message = utf16(message);
        let units = u16::try_from(message.len() / 2).unwrap();
        let mut body = number.to_le_bytes().to_vec();
        body.extend([state, class]);
        body.extend(units.to_le_bytes());
        body.extend(message);
        // The server, no procedure, and the line.
        body.extend([counted("Peer"), counted(""), 1_u32.to_le_bytes().to_vec()].concat());
        self.sized(ERROR, &body);
    }

    fn done(&mut self, token: u8, status: u16, count: u64) {
        self.tokens.push(token);
        self.tokens.extend(status.to_le_bytes());
        // Of which command is not said.
        self.tokens.extend([0, 0]);
        self.tokens.extend(count.to_le_bytes());
    }

    fn columns(&mut self, columns: &[Column]) {
        let count = u16::try_from(columns.len()).unwrap();
        self.tokens.push(COLUMNS);
        self.tokens.extend(count.to_le_bytes());
        for (name, kind) in columns {
            // No user type; nullable.
            self.tokens.extend([0, 0, 0, 0, 1, 0]);
            let [low, high] = MAX_LENGTH.to_le_bytes();
            self.tokens.extend(match kind {
                Type::BigInt => vec![INT, 8],
                Type::Text => [&[NVARCHAR, low, high], &COLLATION[..]].concat(),
            });
            self.tokens.extend(counted(name));
        }
    }

    fn row(&mut self, columns: &[Column], row: &[Cell]) {
        assert_eq!(columns.len(), row.len());
        self.tokens.push(ROW);
        for ((name, kind), cell) in columns.iter().zip(row) {
            match (kind, cell) {
                (Type::BigInt, Cell::Null) => self.tokens.push(0),
                (Type::BigInt, Cell::Number(number)) => {
                    self.tokens.push(8);
                    self.tokens.extend(number.to_le_bytes());
                }
                (Type::Text, Cell::Null) => self.tokens.extend(u64::MAX.to_le_bytes()),
                (Type::Text, Cell::Text(text)) => self.chunks(&utf16(text)),
                (kind, cell) => panic!("column {name} is {kind:?}, but the value {cell:?}"),
            }
        }
    }

    fn chunks(&mut self, value: &[u8]) {
        self.tokens.extend((value.len() as u64).to_le_bytes());
        for chunk in value.chunks(CHUNK_BYTES) {
            self.tokens.extend((chunk.len() as u32).to_le_bytes());
            self.tokens.extend(chunk);
        }
        self.tokens.extend([0; 4]);
    }

    /// A token with its length in front.
    fn sized(&mut self, token: u8, body: &[u8]) {
        let length = u16::try_from(body.len()).unwrap();
        self.tokens.push(token);
        self.tokens.extend(length.to_le_bytes());
        self.tokens.extend(body);
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A text with its length in front.
fn counted(text: &str) -> Vec<u8> {
    let text = utf16(text);
    [&[u8::try_from(text.len() / 2).unwrap()], &text[..]].concat()
}

fn text(utf16: &[u8]) -> String {
    let units = utf16.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit));
    String::from_utf16(&units.collect::<Vec<_>>()).unwrap()
}
