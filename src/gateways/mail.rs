//! E-mail to people: the port, and an adapter that writes each e-mail to a file, for shops without a mail server, for tests
//! and for trying the shop out.

use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use souk_domain::EmailAddress;

/// An e-mail. Its debug output hides the address and the text, which often holds a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Email {
    /// The recipient.
    pub to: EmailAddress,
    /// The subject; one line.
    pub subject: &'static str,
    /// The body, in lines of text.
    pub text: String,
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Email")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

impl Email {
    /// Carries the code that verifies an address.
    pub fn verification(to: &EmailAddress, code: &str) -> Self {
        Self {
            to: to.clone(),
            subject: "Please confirm your e-mail address",
            text: format!(
                "Welcome to the shop.\n\nAn account was created with this e-mail address. To confirm the address, sign in and use \
                 this code:\n\n{code}\n\nThe account can then claim earlier orders that were placed with this address \
                 without signing in.\n\nIf you did not create the account, ignore this e-mail and do not share the code.\n"
            ),
        }
    }

    /// Carries the code that authorises a new password.
    pub fn password_reset(to: &EmailAddress, code: &str) -> Self {
        Self {
            to: to.clone(),
            subject: "Your new password",
            text: format!(
                "Somebody asked to reset the password of your account.\n\nTo choose a new password, use this code within the \
                 hour:\n\n{code}\n\nIf it was not you, ignore this e-mail: your password has not changed.\n"
            ),
        }
    }

    /// The message as RFC 5322 has it.
    fn message(&self) -> String {
        // An address holds no line break, and the subjects are constants: no header can be injected.
        format!(
            "To: <{}>\r\nSubject: {}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{}",
            self.to.as_str(),
            self.subject,
            self.text.replace('\n', "\r\n")
        )
    }
}

/// Why an e-mail was not sent.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The mail folder can't be written to.
    #[error("the mail folder can't be written to")]
    Folder(#[source] std::io::Error),
}

/// The port.
#[async_trait]
pub trait Mailer: Send + Sync + 'static {
    /// Hands an e-mail over; once this returns it does not depend on this process.
    async fn send(&self, email: &Email) -> Result<(), MailError>;
}

/// Writes each e-mail to a file that only the node's user can read.
pub struct MailFolder(
    /// Where they go; created where it is missing.
    pub PathBuf,
);

fn write(folder: &Path, message: &str) -> std::io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    // Unique, and sorted by time.
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
    async fn send(&self, email: &Email) -> Result<(), MailError> {
        let (folder, message) = (self.0.clone(), email.message());
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
    async fn an_email_becomes_a_private_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mail");
        let to = EmailAddress::parse("ada@example.org").unwrap();
        let email = Email::verification(&to, "a-code");
        MailFolder(path.clone()).send(&email).await.unwrap();
        let files: Vec<_> = std::fs::read_dir(&path).unwrap().map(Result::unwrap).collect();
        assert_eq!(files.len(), 1);
        assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let message = std::fs::read_to_string(files[0].path()).unwrap();
        assert!(message.starts_with("To: <ada@example.org>\r\n"), "{message}");
        assert!(message.contains("\r\n\r\na-code\r\n"), "{message}");
    }

    #[test]
    fn debug_output_hides_address_and_code() {
        let to = EmailAddress::parse("ada@example.org").unwrap();
        let shown = format!("{:?}", Email::password_reset(&to, "a-code"));
        assert!(!shown.contains("ada") && !shown.contains("a-code"), "{shown}");
    }
}
