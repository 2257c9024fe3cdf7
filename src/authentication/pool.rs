//! Threads of their own for work that takes a processor for long, behind a queue with an end.
//!
//! The runtime's threads serve carts; work of tens of milliseconds among them would make every shopper wait. Here it waits
//! in its own line, at a low priority, and what doesn't fit into the line is refused at once.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// How nice the workers are: below every thread of the runtime (0), above what runs only when nothing else does (19).
const NICENESS: i32 = 10;

/// The line is full: come again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

type Job<S> = Box<dyn FnOnce(&mut S) + Send>;

/// Workers that each own a state of type `S`. A clone is another handle to the same workers, which end when the last
/// handle is gone and the line is empty.
pub struct Pool<S> {
    line: SyncSender<Job<S>>,
}

impl<S> Clone for Pool<S> {
    fn clone(&self) -> Self {
        Self {
            line: self.line.clone(),
        }
    }
}

impl<S> fmt::Debug for Pool<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl<S: 'static> Pool<S> {
    /// Starts `workers` threads of that name. Each makes its state for itself; `queue` jobs wait at most.
    ///
    /// # Errors
    /// Where the system refuses a thread.
    pub fn start(
        name: &str,
        workers: usize,
        queue: usize,
        state: impl Fn() -> S + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let (line, jobs) = sync_channel(queue);
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..workers {
            let (state, jobs) = (state.clone(), Arc::clone(&jobs));
            thread::Builder::new().name(name.to_owned()).spawn(move || {
                step_back();
                work(&mut state(), &jobs);
            })?;
        }
        Ok(Self { line })
    }

    /// Queues a job.
    ///
    /// # Errors
    /// [`Full`] where no place is left. The job is dropped unrun.
    pub fn submit(&self, job: impl FnOnce(&mut S) + Send + 'static) -> Result<(), Full> {
        match self.line.try_send(Box::new(job)) {
            Ok(()) => Ok(()),
            // The workers live as long as this sender does; were they gone all the same, the job's answer is that it was
            // dropped.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Full),
        }
    }
}

/// Lowers the priority of the calling thread alone: Linux counts niceness by thread. One that is lower already stays.
fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::getpriority_process(None)
        .and_then(|own| rustix::process::setpriority_process(None, own.max(NICENESS)))
    {
        tracing::debug!(%error, "a worker keeps the priority of its process");
    }
}

fn work<S>(state: &mut S, jobs: &Mutex<Receiver<Job<S>>>) {
    loop {
        // Whoever holds the lock waits for the next job; the others wait for the lock. Nothing under it can panic, and a
        // receiver can't be half changed.
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        // Whoever waits learns of a panic by the drop of what the job holds. The state is memory that each job overwrites.
        if catch_unwind(AssertUnwindSafe(|| job(state))).is_err() {
            metrics::counter!("souk_worker_panics_total").increment(1);
            tracing::error!("a job panicked; its worker goes on");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Occupies the one worker until the sender that comes back is dropped, and is known to have begun.
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
    fn what_does_not_fit_is_refused_at_once_and_there_is_room_again_later() {
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
    fn each_worker_keeps_its_state_from_job_to_job_and_survives_a_panic() {
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
    fn what_is_queued_is_done_and_then_the_workers_end() {
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
    fn a_worker_is_nicer_than_the_thread_that_started_it() {
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
