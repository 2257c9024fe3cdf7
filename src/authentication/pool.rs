//! A thread pool for CPU-bound work, behind a bounded queue.
//!
//! Work of tens of milliseconds on the runtime's threads would delay every shopper's request. Here it has threads of its own
//! with a low priority, and is refused at once when the queue is full.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The niceness of the workers; the runtime's threads have 0.
const NICENESS: i32 = 10;

/// The queue is full: retry later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

type Job<S> = Box<dyn FnOnce(&mut S) + Send>;

/// Workers that each own a state of type `S`. Clones share them; they end when the last clone is dropped and the queue is
/// empty.
pub struct Pool<S> {
    queue: SyncSender<Job<S>>,
}

impl<S> Clone for Pool<S> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
        }
    }
}

impl<S: 'static> Pool<S> {
    /// Starts `workers` threads of that name, each with a state of its own, and a queue of `capacity` jobs.
    ///
    /// # Errors
    /// Where the system refuses a thread.
    pub fn start(
        name: &str,
        workers: usize,
        capacity: usize,
        state: impl Fn() -> S + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(capacity);
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..workers {
            let (state, jobs) = (state.clone(), Arc::clone(&jobs));
            thread::Builder::new().name(name.to_owned()).spawn(move || {
                lower_priority();
                work(&mut state(), &jobs);
            })?;
        }
        Ok(Self { queue })
    }

    /// Queues a job.
    ///
    /// # Errors
    /// [`Full`]; the job is dropped.
    pub fn submit(&self, job: impl FnOnce(&mut S) + Send + 'static) -> Result<(), Full> {
        match self.queue.try_send(Box::new(job)) {
            Ok(()) => Ok(()),
            // The workers live as long as this sender; should they be gone, the job is dropped as well.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Full),
        }
    }
}

/// Lowers the priority of the calling thread (on Linux niceness is per thread), unless it is lower already.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::getpriority_process(None)
        .and_then(|own| rustix::process::setpriority_process(None, own.max(NICENESS)))
    {
        tracing::debug!(%error, "the priority of a worker could not be lowered");
    }
}

fn work<S>(state: &mut S, jobs: &Mutex<Receiver<Job<S>>>) {
    loop {
        // The holder of the lock waits for the next job, the others for the lock. Nothing can panic while it is held.
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        // The submitter notices a panic by the drop of what the job holds. The state is memory that each job overwrites.
        if catch_unwind(AssertUnwindSafe(|| job(state))).is_err() {
            metrics::counter!("souk_worker_panics_total").increment(1);
            tracing::error!("a job panicked; its worker continues");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Occupies the one worker until the returned sender is dropped.
    fn occupy(pool: &Pool<u32>) -> mpsc::Sender<()> {
        let (release, held) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel();
        pool.submit(move |_| {
            begin.send(()).unwrap();
            let _ = held.recv();
        })
        .unwrap();
        begun.recv().unwrap();
        release
    }

    #[test]
    fn a_full_queue_refuses_jobs() {
        let pool = Pool::start("test", 1, 2, || 0_u32).unwrap();
        let release = occupy(&pool);
        let (done, finished) = mpsc::channel();
        for _ in 0..2 {
            let done = done.clone();
            pool.submit(move |_| done.send(()).unwrap()).unwrap();
        }
        assert_eq!(pool.submit(|_| unreachable!("it was refused")), Err(Full));
        drop(release);
        finished.recv().unwrap();
        finished.recv().unwrap();
        pool.submit(move |_| done.send(()).unwrap()).unwrap();
        finished.recv().unwrap();
    }

    #[test]
    fn a_worker_survives_a_panic() {
        let pool = Pool::start("test", 1, 4, || 7_u32).unwrap();
        let (tell, told) = mpsc::channel();
        let lost = tell.clone();
        pool.submit(move |state| {
            *state += 1;
            let _held = lost;
            panic!("on purpose");
        })
        .unwrap();
        pool.submit(move |state| tell.send(*state).unwrap()).unwrap();
        assert_eq!(told.recv().unwrap(), 8);
        assert!(told.recv().is_err(), "what the panicking job held was dropped");
    }

    #[test]
    fn workers_finish_the_queue_before_they_end() {
        let (tell, told) = mpsc::channel();
        let pool = Pool::start("test", 2, 8, || 0_u32).unwrap();
        for _ in 0..8 {
            let tell = tell.clone();
            pool.submit(move |_| tell.send(()).unwrap()).unwrap();
        }
        drop(tell);
        drop(pool);
        assert_eq!(told.iter().count(), 8);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn workers_have_a_lower_priority() {
        let pool = Pool::start("test", 1, 1, || 0_u32).unwrap();
        let (tell, told) = mpsc::channel();
        pool.submit(move |_| {
            tell.send(rustix::process::getpriority_process(None).unwrap())
                .unwrap()
        })
        .unwrap();
        let own = rustix::process::getpriority_process(None).unwrap();
        assert_eq!(told.recv().unwrap(), own.max(NICENESS));
    }
}
