//! A child process that never outlives the test process.
//!
//! A shell between the two reads from a pipe that only the test process can write to. When the pipe closes, because the
//! [`Guarded`] is dropped or the test process has ended, the shell sends the program SIGTERM, waits for it, and removes
//! its folder if asked to. (The parent-death signal of Linux is bound to the thread that started the child, and test threads
//! are short-lived.)

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// `$0` is the folder to remove, or nothing; the rest is the program. Its process id is the first line on stdout. The
/// inner shell becomes the program, so that the id is known before the program writes anything.
const SCRIPT: &str = r#"
sh -c 'echo "$$"; exec "$0" "$@"' "$@" </dev/null &
exec >&-
read -r _
kill -TERM "$!" 2>/dev/null
wait "$!"
code=$?
if [ -n "$0" ]; then rm -rf -- "$0"; fi
exit "$code"
"#;

/// Longest time for a program to end after SIGTERM; then it is killed.
const END_LIMIT: Duration = Duration::from_secs(40);

/// Longest time for a shell to start a program.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running program; stopped on drop.
pub struct Guarded {
    pid: Pid,
    shell: Option<Child>,
    /// Open while the program should run.
    lifeline: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Guarded {
    /// Starts a program with stderr to `log`. The folder `removed` is deleted after the program has ended.
    pub fn start(command: &Command, log: File, removed: Option<&Path>) -> Self {
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(SCRIPT)
            .arg(removed.unwrap_or(Path::new("")))
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let mut shell = shell.spawn().expect("sh can't be started");
        let lifeline = shell.stdin.take();
        let stdout = shell.stdout.take().expect("stdout is a pipe");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let pid = lines
            .recv_timeout(START_LIMIT)
            .ok()
            .and_then(|line| Pid::from_raw(line.parse().ok()?))
            .expect("the shell did not say which process it started");
        Self {
            pid,
            shell: Some(shell),
            lifeline,
            lines,
        }
    }

    /// The program's process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// The next line that the program writes to stdout.
    ///
    /// # Errors
    /// `Timeout`, or `Disconnected` if the program has closed its stdout, usually because it has ended.
    pub fn line(&self, limit: Duration) -> Result<String, RecvTimeoutError> {
        self.lines.recv_timeout(limit)
    }

    /// Sends the program a signal; no error if it has ended already.
    pub fn signal(&self, signal: Signal) {
        // The shell waits for the program at its own end only, so the id is nobody else's.
        let _ = kill_process(self.pid, signal);
    }

    /// Kills the program and waits for its end.
    pub fn kill(&mut self) -> Option<ExitStatus> {
        self.signal(Signal::KILL);
        self.stop()
    }

    /// Sends SIGTERM and waits for the end of the program. Returns its status as a shell reports it (128 plus the number of a
    /// signal); `None` if it was stopped before.
    ///
    /// # Panics
    /// If it does not end in time; it is killed then.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        self.ask_to_end();
        let mut shell = self.shell.take()?;
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || sender.send(shell.wait()));
        let status = ended.recv_timeout(END_LIMIT).unwrap_or_else(|_| {
            self.signal(Signal::KILL);
            let _ = ended.recv_timeout(END_LIMIT);
            let message = format!("process {} did not end within {END_LIMIT:?}: killed", self.pid());
            // A second panic while one is under way would end the process before anything is cleaned up.
            if thread::panicking() {
                eprintln!("{message}");
                Ok(ExitStatus::default())
            } else {
                panic!("{message}")
            }
        });
        Some(status.expect("the shell can be waited for"))
    }

    /// Sends SIGTERM without waiting.
    pub fn ask_to_end(&mut self) {
        self.lifeline = None;
        // One that was stopped (SIGSTOP) ends when it goes on.
        if self.shell.is_some() {
            self.signal(Signal::CONT);
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.stop();
    }
}
