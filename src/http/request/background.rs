//! Work that continues after its client has disconnected. It keeps the admission permit of its request, so that it is
//! limited like requests in flight, and a node waits for it before it ends.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::Extensions;
use axum::http::request::Parts;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::http::edge::admission::Permit;
use crate::http::edge::problem::{self, Problem};
use crate::http::request::front::{Front, SharedFront};

/// Spawns the background work of a request.
#[derive(Clone)]
pub(crate) struct Background {
    tasks: TaskTracker,
    permit: Option<Permit>,
}

impl Background {
    /// For a request with these extensions.
    pub(crate) fn of(front: &Front, extensions: &Extensions) -> Self {
        Self {
            tasks: front.background.clone(),
            permit: extensions.get().cloned(),
        }
    }

    /// Runs work behind the reply.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let permit = self.permit.clone();
        let work = async move {
            let _permit = permit;
            work.await
        };
        self.tasks.spawn(work.in_current_span())
    }

    /// Runs work to its end, whether or not the client waits for it.
    ///
    /// # Errors
    /// Errors of the work; 500 where it panicked.
    pub(crate) async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        self.spawn(work)
            .await
            .unwrap_or_else(|_| Err(Problem::new(problem::INTERNAL)))
    }
}

impl FromRequestParts<SharedFront> for Background {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, front: &SharedFront) -> Result<Self, Infallible> {
        Ok(Self::of(front, &parts.extensions))
    }
}
