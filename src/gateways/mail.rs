//! E-mail to people: the port, and an adapter that writes each e-mail to a file, for shops without a mail server, for tests
//! and for trying the shop out.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use souk_domain::EmailAddress;
use souk_domain::account::{EmailKey, email_key};

/// The head of an e-mail up to its recipient is shorter: bytes that are read of one to tell whose it is.
const RECIPIENT_BYTES: u64 = 512;

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
        // An address holds no line break, and the subjects are constants: no header can be injected. The recipient comes
        // first, where [`recipient`] finds it.
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
    /// The e-mails in the mail folder can't be read or removed.
    #[error("the e-mails in the mail folder can't be read or removed")]
    Removal(#[source] std::io::Error),
}

/// The port.
#[async_trait]
pub trait Mailer: Send + Sync + 'static {
    /// Hands an e-mail over; once this returns it does not depend on this process.
    async fn send(&self, email: &Email) -> Result<(), MailError>;

    /// Removes what the adapter still has of e-mails to this address, in any spelling. May be repeated.
    async fn forget(&self, address: &EmailAddress) -> Result<(), MailError>;
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

/// Whose e-mail a file holds; `None` where it is none.
fn recipient(file: &Path) -> std::io::Result<Option<EmailKey>> {
    let mut head = Vec::new();
    std::fs::File::open(file)?
        .take(RECIPIENT_BYTES)
        .read_to_end(&mut head)?;
    let head = String::from_utf8_lossy(&head);
    let address = head
        .strip_prefix("To: <")
        .and_then(|rest| rest.split_once(">\r\n"));
    Ok(address.and_then(|(address, _)| {
        EmailAddress::parse(address)
            .ok()
            .map(|address| email_key(&address))
    }))
}

/// Removes the e-mails to `key`, also those that a crash left unfinished.
fn remove(folder: &Path, key: &EmailKey) -> std::io::Result<()> {
    let is_missing = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
    let entries = match std::fs::read_dir(folder) {
        Err(error) if is_missing(&error) => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let file = entry?.path();
        let removed = match recipient(&file) {
            Ok(Some(recipient)) if recipient == *key => std::fs::remove_file(&file),
            other => other.map(drop),
        };
        // Another call, or the end of its writing, may have removed it meanwhile.
        if let Err(error) = removed
            && !is_missing(&error)
        {
            return Err(error);
        }
    }
    Ok(())
}

/// Works on files without holding up the runtime. A panic of the work is an error.
async fn on_disk(work: impl FnOnce() -> std::io::Result<()> + Send + 'static) -> std::io::Result<()> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

#[async_trait]
impl Mailer for MailFolder {
    async fn send(&self, email: &Email) -> Result<(), MailError> {
        let (folder, message) = (self.0.clone(), email.message());
        on_disk(move || write(&folder, &message))
            .await
            .map_err(MailError::Folder)
    }

    async fn forget(&self, address: &EmailAddress) -> Result<(), MailError> {
        let (folder, key) = (self.0.clone(), email_key(address));
        on_disk(move || remove(&folder, &key))
            .await
            .map_err(MailError::Removal)
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

    #[tokio::test]
    async fn emails_to_an_address_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mail");
        let mailer = MailFolder(path.clone());
        let [ada, other] =
            ["Ada@example.org", "ada@example.com"].map(|text| EmailAddress::parse(text).unwrap());
        mailer.forget(&ada).await.unwrap();
        for to in [&ada, &other, &ada] {
            mailer.send(&Email::verification(to, "a-code")).await.unwrap();
        }
        // Left by a crash, and no e-mail at all.
        let unfinished = Email::verification(&ada, "a-code").message();
        std::fs::write(path.join(".unfinished"), unfinished).unwrap();
        std::fs::write(path.join("note"), "To: nobody").unwrap();
        let written = EmailAddress::parse("ada@EXAMPLE.org").unwrap();
        mailer.forget(&written).await.unwrap();
        let left: Vec<_> = std::fs::read_dir(&path)
            .unwrap()
            .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect();
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(
            left.iter()
                .all(|text| !text.to_lowercase().contains("ada@example.org"))
        );
    }

    #[test]
    fn debug_output_hides_address_and_code() {
        let to = EmailAddress::parse("ada@example.org").unwrap();
        let shown = format!("{:?}", Email::password_reset(&to, "a-code"));
        assert!(!shown.contains("ada") && !shown.contains("a-code"), "{shown}");
    }
}
