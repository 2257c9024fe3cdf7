//! One connection to the server, which a task of its own keeps up. Commands are never repeated here: whoever sent one that was
//! cut off has to know.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, PushInfo, PushKind, RedisError, ServerErrorKind};
use souk_retry::Backoff;
use tokio::sync::watch;
use tokio::time::Instant;

/// Time limit of connecting, with TLS and authentication.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Pauses between attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Commands that may be queued for the connection: as many as may be in flight at all.
const QUEUE: usize = super::IN_FLIGHT_LIMIT;

/// A connection that is up.
#[derive(Clone)]
pub(super) struct Up {
    pub(super) connection: MultiplexedConnection,
    /// Counts the connections of this lane.
    number: u64,
}

/// Why there is no connection.
#[derive(Clone)]
pub(super) struct Down {
    since: Instant,
    /// The failure of the last attempt; `None` before the first one.
    cause: Option<Arc<RedisError>>,
}

/// There is no connection.
#[derive(Debug, thiserror::Error)]
#[error("not connected")]
pub(super) struct NotConnected(#[source] Option<Arc<RedisError>>);

impl NotConnected {
    /// Whether the server was reached and refused us.
    pub(super) fn is_refusal(&self) -> bool {
        self.0.as_deref().is_some_and(is_refusal)
    }
}

/// A server that is still loading its log refuses commands too, but not for long.
fn is_refusal(error: &RedisError) -> bool {
    !error.is_io_error() && error.kind() != ErrorKind::Server(ServerErrorKind::BusyLoading)
}

/// One connection at a time.
pub(super) struct Lane {
    state: watch::Receiver<Result<Up, Down>>,
    /// The number of the last connection that was found to be lost.
    lost: watch::Sender<u64>,
}

impl Lane {
    /// Connects in the background, until it is dropped.
    pub(super) fn start(client: Client) -> Self {
        let down = Down {
            since: Instant::now(),
            cause: None,
        };
        let (publish, state) = watch::channel(Err(down));
        let (lost, _) = watch::channel(0);
        let finder = lost.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = publish.closed() => {}
                () = keep_connected(&client, &publish, &finder) => {}
            }
        });
        Self { state, lost }
    }

    /// Whether it is connected at this moment.
    pub(super) fn is_up(&self) -> bool {
        self.state.borrow().is_ok()
    }

    /// The connection, once there is one. Waits until `deadline`, but not for one that has been lost for longer than `patience`
    /// already.
    pub(super) async fn up(&self, patience: Duration, deadline: Instant) -> Result<Up, NotConnected> {
        let mut state = self.state.clone();
        loop {
            let limit = match &*state.borrow_and_update() {
                Ok(up) => return Ok(up.clone()),
                Err(down) => deadline.min(down.since + patience),
            };
            if !matches!(tokio::time::timeout_at(limit, state.changed()).await, Ok(Ok(()))) {
                let cause = state.borrow().as_ref().err().and_then(|down| down.cause.clone());
                return Err(NotConnected(cause));
            }
        }
    }

    /// Waits for the first connection until `deadline`; an attempt that the server refused ends the wait.
    pub(super) async fn opened(&self, deadline: Instant) -> Result<(), NotConnected> {
        let mut state = self.state.clone();
        let decided = state.wait_for(|state| match state {
            Ok(_) => true,
            Err(down) => down.cause.as_deref().is_some_and(is_refusal),
        });
        let decided = tokio::time::timeout_at(deadline, decided).await;
        match decided {
            Ok(Ok(state)) if state.is_ok() => return Ok(()),
            // Which borrows the state.
            other => drop(other),
        }
        let cause = self
            .state
            .borrow()
            .as_ref()
            .err()
            .and_then(|down| down.cause.clone());
        Err(NotConnected(cause))
    }

    /// Has this connection replaced. Whoever waits for a reply on it may still get it.
    pub(super) fn lose(&self, up: &Up) {
        lose(&self.lost, up.number);
    }
}

fn lose(lost: &watch::Sender<u64>, number: u64) {
    lost.send_if_modified(|last| {
        let is_newer = *last < number;
        *last = number.max(*last);
        is_newer
    });
}

async fn keep_connected(
    client: &Client,
    publish: &watch::Sender<Result<Up, Down>>,
    lost: &watch::Sender<u64>,
) {
    let mut losses = lost.subscribe();
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    for number in 1.. {
        let connection = connect(client, publish, &mut backoff, number, lost).await;
        let up_since = Instant::now();
        drop(publish.send_replace(Ok(Up { connection, number })));
        // The sender lives as long as this.
        let _ = losses.wait_for(|last| *last >= number).await;
        // With it ends the lost connection, unless somebody still waits for a reply.
        drop(publish.send_replace(Err(Down {
            since: Instant::now(),
            cause: None,
        })));
        tracing::warn!(server = %client.get_connection_info().addr(), "connection to Redis lost; reconnecting");
        // A server that accepts connections and ends them at once is not asked without a pause either.
        if up_since.elapsed() > LONGEST_PAUSE {
            backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        } else {
            tokio::time::sleep(backoff.next_pause()).await;
        }
    }
}

async fn connect(
    client: &Client,
    publish: &watch::Sender<Result<Up, Down>>,
    backoff: &mut Backoff,
    number: u64,
    lost: &watch::Sender<u64>,
) -> MultiplexedConnection {
    loop {
        let lost = lost.clone();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE)
            .set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    lose(&lost, number);
                }
                Ok::<(), ()>(())
            });
        match client.get_multiplexed_async_connection_with_config(&config).await {
            Ok(connection) => return connection,
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "can't connect to Redis");
                publish.send_modify(|state| {
                    if let Err(down) = state {
                        down.cause = Some(Arc::new(error));
                    }
                });
            }
        }
        tokio::time::sleep(backoff.next_pause()).await;
    }
}
