//! Password hashing: argon2id (RFC 9106), off the runtime's threads.
//!
//! A hash takes some 20 ms and 19 MiB on purpose. So a few workers ([`Pool`]) do it, each with a block of memory that it reuses;
//! excess work waits in a short queue, and is refused when that is full.

use std::io;
use std::time::{Duration, Instant};

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::pool::{Full, Pool};
use crate::config::Accounts;

/// The longest password in bytes: room for 128 characters of any script.
pub const PASSWORD_LIMIT: usize = 512;
/// The most memory that a stored hash may demand, in KiB: 256 MiB. A row that demands more is damaged.
const STORED_MEMORY_LIMIT: u32 = 256 * 1024;
/// The most passes that a stored hash may demand.
const STORED_PASSES_LIMIT: u32 = 64;
/// Bytes of a salt.
const SALT_LENGTH: usize = 16;
/// Bytes of a hash.
const OUTPUT_LENGTH: usize = 32;

/// How passwords are hashed, and how many at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordSettings {
    /// Memory of one hash in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes. A worker computes them one after another.
    pub lanes: u32,
    /// Threads, each with `memory_kib`.
    pub workers: usize,
    /// The capacity of the queue.
    pub queue: usize,
    /// How long a job may wait; after that it is dropped.
    pub patience: Duration,
}

impl From<&Accounts> for PasswordSettings {
    fn from(accounts: &Accounts) -> Self {
        Self {
            memory_kib: accounts.password_memory_kib,
            passes: accounts.password_passes,
            lanes: Params::DEFAULT_P_COST,
            workers: accounts.password_workers,
            queue: accounts.password_queue,
            patience: Duration::from_secs(5),
        }
    }
}

impl Default for PasswordSettings {
    fn default() -> Self {
        Self::from(&Accounts::default())
    }
}

/// Why password hashing can't start.
#[derive(Debug, thiserror::Error)]
pub enum PasswordSetupError {
    /// argon2 rejects the parameters.
    #[error("the parameters of password hashing are out of range")]
    Parameters(#[source] argon2::Error),
    /// No workers, or no queue.
    #[error("password hashing needs at least one worker and a queue for at least one job")]
    Empty,
    /// The system refused a thread.
    #[error("a thread for password hashing could not be started")]
    Thread(#[source] io::Error),
}

/// Why a password could not be hashed or verified.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The queue is full. Retry later.
    #[error("too many passwords are being checked")]
    Busy,
    /// It waited too long in the queue. Retry later.
    #[error("a password waited too long to be checked")]
    TooLate,
    /// Longer than [`PASSWORD_LIMIT`] bytes; no such password can be set.
    #[error("a password has more than {PASSWORD_LIMIT} bytes")]
    TooLong,
    /// The stored hash is not an argon2id hash, or its parameters are out of range.
    #[error("a stored password hash can't be used: {0}")]
    Stored(&'static str),
    /// argon2 failed.
    #[error("a password could not be hashed")]
    Hashing(#[source] argon2::Error),
    /// The worker panicked.
    #[error("the hashing of a password was interrupted")]
    Interrupted,
}

impl PasswordError {
    /// Whether a retry may succeed.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Busy | Self::TooLate)
    }
}

/// Hashes and verifies passwords. Clones share the workers.
#[derive(Clone)]
pub struct Passwords {
    pool: Pool<Hasher>,
    params: Params,
    /// A hash that no password has, under the current parameters.
    nobody: Stored,
    patience: Duration,
}

impl Passwords {
    /// Starts the workers.
    ///
    /// # Errors
    /// [`PasswordSetupError`]
    pub fn start(settings: PasswordSettings) -> Result<Self, PasswordSetupError> {
        let (memory, lanes) = (settings.memory_kib, settings.lanes);
        if settings.workers == 0 || settings.queue == 0 {
            return Err(PasswordSetupError::Empty);
        }
        // argon2 multiplies before it checks: more lanes than there is memory for must not get that far.
        if lanes > memory / 8 {
            return Err(PasswordSetupError::Parameters(argon2::Error::MemoryTooLittle));
        }
        let params = Params::new(memory, settings.passes, lanes, Some(OUTPUT_LENGTH))
            .map_err(PasswordSetupError::Parameters)?;
        let blocks = params.block_count();
        let hasher = move || Hasher {
            memory: vec![Block::default(); blocks],
        };
        let pool = Pool::start("passwords", settings.workers, settings.queue, hasher)
            .map_err(PasswordSetupError::Thread)?;
        Ok(Self {
            pool,
            nobody: Stored {
                params: params.clone(),
                salt: rand::random::<[u8; SALT_LENGTH]>().to_vec(),
                // Random: no password has this hash.
                output: Output::new(&rand::random::<[u8; OUTPUT_LENGTH]>())
                    .map_err(|_| PasswordSetupError::Parameters(argon2::Error::OutputTooShort))?,
            },
            params,
            patience: settings.patience,
        })
    }

    /// Hashes a new password with a new salt; returns the PHC string to store.
    ///
    /// # Errors
    /// [`PasswordError::Busy`] at once where the queue is full; [`PasswordError::TooLong`].
    pub async fn hash(&self, password: &str) -> Result<String, PasswordError> {
        let salt: [u8; SALT_LENGTH] = rand::random();
        let params = self.params.clone();
        self.run(password, move |hasher, password| {
            let output = hasher.compute(&params, password, &salt, OUTPUT_LENGTH)?;
            render(&params, &salt, output)
        })
        .await
    }

    /// Whether `stored` is a hash of `password`. Takes the same time either way.
    ///
    /// # Errors
    /// [`PasswordError::Busy`] at once where the queue is full; [`PasswordError::Stored`].
    pub async fn verify(&self, password: &str, stored: &str) -> Result<bool, PasswordError> {
        self.compare(password, Stored::parse(stored)?).await
    }

    /// Takes the time of [`Self::verify`] where there is no account, so that the duration reveals nothing.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub async fn verify_nobody(&self, password: &str) -> Result<(), PasswordError> {
        self.compare(password, self.nobody.clone()).await.map(drop)
    }

    /// Whether `stored` was made with other parameters than the current ones.
    pub fn needs_rehash(&self, stored: &str) -> bool {
        Stored::parse(stored).map_or(true, |stored| stored.params != self.params)
    }

    async fn compare(&self, password: &str, stored: Stored) -> Result<bool, PasswordError> {
        self.run(password, move |hasher, password| {
            let length = stored.output.len();
            let output = hasher.compute(&stored.params, password, &stored.salt, length)?;
            // `Output` compares in constant time.
            Ok(output == stored.output)
        })
        .await
    }

    /// Runs `work` on a worker, unless it has waited too long.
    async fn run<T: Send + 'static>(
        &self,
        password: &str,
        work: impl FnOnce(&mut Hasher, &[u8]) -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        if password.len() > PASSWORD_LIMIT {
            return Err(PasswordError::TooLong);
        }
        let password = Zeroizing::new(password.as_bytes().to_vec());
        let (reply, answer) = oneshot::channel();
        let deadline = Instant::now() + self.patience;
        let job = move |hasher: &mut Hasher| {
            if reply.is_closed() {
                return;
            }
            let result = if Instant::now() < deadline {
                work(hasher, &password)
            } else {
                metrics::counter!("souk_passwords_refused_total", "reason" => "late").increment(1);
                Err(PasswordError::TooLate)
            };
            // The caller may be gone.
            let _ = reply.send(result);
        };
        if let Err(Full) = self.pool.submit(job) {
            metrics::counter!("souk_passwords_refused_total", "reason" => "busy").increment(1);
            return Err(PasswordError::Busy);
        }
        answer.await.unwrap_or(Err(PasswordError::Interrupted))
    }
}

/// A worker's block of memory. It is not wiped between jobs, which would cost as much as a pass: the next job overwrites it,
/// and whoever can read it can read incoming passwords as well.
struct Hasher {
    memory: Vec<Block>,
}

impl Hasher {
    fn compute(
        &mut self,
        params: &Params,
        password: &[u8],
        salt: &[u8],
        length: usize,
    ) -> Result<Output, PasswordError> {
        let started = Instant::now();
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let mut buffer = Zeroizing::new([0; Output::MAX_LENGTH]);
        let out = buffer
            .get_mut(..length)
            .ok_or(PasswordError::Hashing(argon2::Error::OutputTooLong))?;
        if params.block_count() <= self.memory.len() {
            argon.hash_password_into_with_memory(password, salt, out, &mut self.memory)
        } else {
            // The stored hash demands more memory than the current parameters: not worth keeping.
            argon.hash_password_into(password, salt, out)
        }
        .map_err(PasswordError::Hashing)?;
        metrics::histogram!("souk_password_seconds").record(started.elapsed().as_secs_f64());
        Output::new(out).map_err(|_| PasswordError::Hashing(argon2::Error::OutputTooShort))
    }
}

/// A parsed PHC string.
#[derive(Clone)]
struct Stored {
    params: Params,
    salt: Vec<u8>,
    output: Output,
}

impl Stored {
    fn parse(text: &str) -> Result<Self, PasswordError> {
        let hash = PasswordHash::new(text).map_err(|_| PasswordError::Stored("not a PHC string"))?;
        if hash.algorithm != ARGON2ID_IDENT || hash.version != Some(Version::V0x13.into()) {
            return Err(PasswordError::Stored("not argon2id of version 19"));
        }
        let (Some(salt), Some(output)) = (hash.salt, hash.hash) else {
            return Err(PasswordError::Stored("without salt or output"));
        };
        // Checked before argon2 multiplies them without a check.
        for (name, limit) in [
            ("m", STORED_MEMORY_LIMIT),
            ("t", STORED_PASSES_LIMIT),
            ("p", STORED_MEMORY_LIMIT / 8),
        ] {
            if hash.params.get_decimal(name).is_none_or(|value| value > limit) {
                return Err(PasswordError::Stored("with parameters out of range"));
            }
        }
        let params =
            Params::try_from(&hash).map_err(|_| PasswordError::Stored("with parameters out of range"))?;
        Ok(Self {
            params,
            salt: salt.to_vec(),
            output,
        })
    }
}

/// The PHC string of a hash.
fn render(params: &Params, salt: &[u8], output: Output) -> Result<String, PasswordError> {
    let salt = Salt::new(salt).map_err(|_| PasswordError::Hashing(argon2::Error::SaltTooShort))?;
    let params =
        ParamsString::try_from(params).map_err(|_| PasswordError::Hashing(argon2::Error::MemoryTooMuch))?;
    Ok(PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params,
        salt: Some(salt),
        hash: Some(output),
    }
    .to_string())
}

#[cfg(test)]
mod tests;
