//! Letters to people. The port, and the adapter that there is: a folder in which each letter becomes a file, for a shop
//! that has no mail server yet, for tests, and for whoever tries the shop out.

use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use souk_domain::EmailAddress;

/// A letter. Does not show itself in debug output: it holds an address, and often a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// To whom.
    pub to: EmailAddress,
    /// What it is about; one line.
    pub subject: &'static str,
    /// What it says, in lines of text.
    pub text: String,
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letter")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

impl Letter {
    /// The letter that proves an address.
    pub fn verification(to: &EmailAddress, token: &str) -> Self {
        Self {
            to: to.clone(),
            subject: "Please confirm your e-mail address",
            text: format!(
                "Welcome to the shop.\n\nAn account was opened with this address. To confirm that both are yours, use this \
                 code:\n\n{token}\n\nConfirming also gives the account what was ordered with this address before, \
                 without signing in.\n\nIf it was not you who opened the account, do not use the code, and give it to \
                 nobody: nothing happens then.\n"
            ),
        }
    }

    /// The letter with which a forgotten password can be replaced.
    pub fn password_reset(to: &EmailAddress, token: &str) -> Self {
        Self {
            to: to.clone(),
            subject: "Your new password",
            text: format!(
                "Somebody asked for a new password for your account.\n\nTo choose one, use this code within the hour:\n\n\
                 {token}\n\nIf it was not you, you need not do anything: your password stays as it is.\n"
            ),
        }
    }

    /// As it travels (RFC 5322).
    fn message(&self) -> String {
        // An address holds no line break, and the subjects are the shop's own: nothing breaks out of a header.
        format!(
            "To: <{}>\r\nSubject: {}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{}",
            self.to.as_str(),
            self.subject,
            self.text.replace('\n', "\r\n")
        )
    }
}

/// Why a letter was not sent.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The folder can't be written to.
    #[error("the folder of letters can't be written to")]
    Folder(#[source] std::io::Error),
}

/// The port.
#[async_trait]
pub trait Mailer: Send + Sync + 'static {
    /// Hands a letter over. Once this returns it is no longer in this process's hands alone.
    async fn send(&self, letter: &Letter) -> Result<(), MailError>;
}

/// Each letter a file of its own, for the user of the node alone; whoever reads them takes them away.
pub struct MailFolder {
    path: PathBuf,
}

impl MailFolder {
    /// Letters go into `path`, which is made where it is missing.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

fn write(folder: &Path, message: &str) -> std::io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    // Sorted by time, and never the same twice.
    let name = uuid::Uuid::now_v7().simple().to_string();
    let unfinished = folder.join(format!(".{name}"));
    let mut file = std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(message.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(unfinished, folder.join(format!("{name}.eml")))
}

#[async_trait]
impl Mailer for MailFolder {
    async fn send(&self, letter: &Letter) -> Result<(), MailError> {
        let (folder, message) = (self.path.clone(), letter.message());
        tokio::task::spawn_blocking(move || write(&folder, &message))
            .await
            .unwrap_or_else(|error| Err(std::io::Error::other(error)))
            .map_err(MailError::Folder)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_letter_becomes_a_file_for_this_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mail");
        let to = EmailAddress::parse("ada@example.org").unwrap();
        let letter = Letter::verification(&to, "a-code");
        MailFolder::new(&path).send(&letter).await.unwrap();
        let files: Vec<_> = std::fs::read_dir(&path).unwrap().map(Result::unwrap).collect();
        assert_eq!(files.len(), 1);
        assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let message = std::fs::read_to_string(files[0].path()).unwrap();
        assert!(message.starts_with("To: <ada@example.org>\r\n"), "{message}");
        assert!(message.contains("\r\n\r\na-code\r\n"), "{message}");
    }

    #[test]
    fn debug_output_shows_neither_address_nor_code() {
        let to = EmailAddress::parse("ada@example.org").unwrap();
        let shown = format!("{:?}", Letter::password_reset(&to, "a-code"));
        assert!(!shown.contains("ada") && !shown.contains("a-code"), "{shown}");
    }
}
