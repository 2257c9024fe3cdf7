//! The development CA of `souk certs`, and the certificates that it signs.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::{
    CA_CERTIFICATE_FILE, CertificateError, NAME_SUFFIX, certificates, check_node_name, file_error, provider,
    read, roots, server_name,
};

const CA_KEY_FILE: &str = "ca.key";
const SECRET_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;

/// The validity of a node's certificate.
const VALIDITY: Duration = Duration::from_secs(825 * 24 * 60 * 60);

/// The validity of the CA: several generations of certificates.
const CA_VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A certificate that expires within this time is renewed.
const RENEWAL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How far other machines' clocks may be behind.
const CLOCK_SKEW: Duration = Duration::from_secs(24 * 60 * 60);

const CA_NAME: &str = "Souk development CA";

/// Creates `ca.pem`, `ca.key` and for each node `<name>.pem` and `<name>.key` in `directory`. Existing valid files are kept;
/// keys are readable by their owner only. Returns the paths of the files that were written.
///
/// # Errors
/// [`CertificateError`]; files written before the error remain.
pub fn generate(
    directory: &Path,
    nodes: &[&str],
    now: jiff::Timestamp,
) -> Result<Vec<PathBuf>, CertificateError> {
    for node in nodes {
        check_node_name(node)?;
    }
    fs::create_dir_all(directory).map_err(|source| file_error("create", directory, source))?;
    let mut written = Vec::new();
    let ca_path = directory.join(CA_CERTIFICATE_FILE);
    let ca_key_path = directory.join(CA_KEY_FILE);
    let ca_parameters = ca_parameters(now)?;
    let ca_key = if ca_path.exists() {
        KeyPair::from_pem(&read(&ca_key_path)?)?
    } else {
        let key = KeyPair::generate()?;
        let certificate = ca_parameters.self_signed(&key)?;
        // The key first: the next run would take a certificate without its key for a complete CA.
        write(&ca_key_path, &key.serialize_pem(), SECRET_MODE)?;
        write(&ca_path, &certificate.pem(), PUBLIC_MODE)?;
        written.extend([ca_key_path, ca_path.clone()]);
        key
    };
    let issuer = Issuer::new(ca_parameters, ca_key);
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots(&ca_path)?), provider()).build()?;
    for node in nodes {
        let certificate_path = directory.join(format!("{node}.pem"));
        let key_path = directory.join(format!("{node}.key"));
        let name = server_name(node)?;
        let verify = |leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>], in_time: Duration| {
            verifier.verify_server_cert(leaf, intermediates, &name, &[], unix_time(now, in_time))
        };
        // Kept where both files exist and the certificate is not about to expire.
        if certificate_path.exists() && key_path.exists() {
            let chain = certificates(&certificate_path)?;
            if let Some((leaf, intermediates)) = chain.split_first()
                && verify(leaf, intermediates, RENEWAL).is_ok()
            {
                continue;
            }
        }
        let key = KeyPair::generate()?;
        let certificate = leaf_parameters(node, now)?.signed_by(&key, &issuer)?;
        verify(certificate.der(), &[], Duration::ZERO).map_err(|source| CertificateError::ForeignCa {
            path: ca_path.clone(),
            source,
        })?;
        write(&key_path, &key.serialize_pem(), SECRET_MODE)?;
        write(&certificate_path, &certificate.pem(), PUBLIC_MODE)?;
        written.extend([key_path, certificate_path]);
    }
    Ok(written)
}

fn ca_parameters(now: jiff::Timestamp) -> Result<CertificateParams, CertificateError> {
    let mut parameters = parameters(CA_NAME, Vec::new(), now, CA_VALIDITY)?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(parameters)
}

fn leaf_parameters(node: &str, now: jiff::Timestamp) -> Result<CertificateParams, CertificateError> {
    let own = format!("{node}.{NAME_SUFFIX}");
    let names = [own.as_str(), "localhost", "127.0.0.1"].map(str::to_owned);
    let mut parameters = parameters(node, names.to_vec(), now, VALIDITY)?;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    parameters.use_authority_key_identifier_extension = true;
    Ok(parameters)
}

/// For the subject with this common name, valid from a day that includes [`CLOCK_SKEW`] on.
fn parameters(
    common_name: &str,
    alternative_names: Vec<String>,
    now: jiff::Timestamp,
    validity: Duration,
) -> Result<CertificateParams, CertificateError> {
    let mut parameters = CertificateParams::new(alternative_names)?;
    parameters.distinguished_name = DistinguishedName::new();
    parameters
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let start_of_day = |at: jiff::Timestamp| {
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        // Months and days of a date count from 1.
        let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
        rcgen::date_time_ymd(date.year().into(), month, day)
    };
    parameters.not_before = start_of_day(now.saturating_sub(CLOCK_SKEW).unwrap_or(now));
    parameters.not_after = start_of_day(now.saturating_add(validity).unwrap_or(now));
    Ok(parameters)
}

fn unix_time(now: jiff::Timestamp, plus: Duration) -> UnixTime {
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    UnixTime::since_unix_epoch(Duration::from_secs(seconds) + plus)
}

/// Writes a temporary file and renames it: readers never see half of it, and its mode is set from the start.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), CertificateError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    // A file of an interrupted run may have another mode.
    if let Err(source) = fs::remove_file(&temporary)
        && source.kind() != io::ErrorKind::NotFound
    {
        return Err(file_error("replace", &temporary, source));
    }
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|source| file_error("write", path, source))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::load_directory;
    use super::*;

    fn now() -> jiff::Timestamp {
        // TLS verifies against the system's clock.
        jiff::Timestamp::now()
    }

    #[test]
    fn existing_certificates_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let written = generate(folder.path(), &["n1", "n2"], now()).unwrap();
        assert_eq!(written.len(), 6);
        let before = fs::read(folder.path().join("n1.pem")).unwrap();
        assert!(generate(folder.path(), &["n1", "n2"], now()).unwrap().is_empty());
        // A third node joins: the other files are kept.
        assert_eq!(
            generate(folder.path(), &["n1", "n2", "n3"], now()).unwrap().len(),
            2
        );
        assert_eq!(fs::read(folder.path().join("n1.pem")).unwrap(), before);
        for secret in ["ca.key", "n1.key", "n3.key"] {
            let mode = fs::metadata(folder.path().join(secret))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, SECRET_MODE, "{secret}");
        }
        for node in ["n1", "n2", "n3"] {
            load_directory(folder.path(), node).unwrap();
        }
    }

    #[test]
    fn a_leaf_is_renewed_before_it_expires() {
        let folder = tempfile::tempdir().unwrap();
        generate(folder.path(), &["n1"], now()).unwrap();
        let nearly_over = now().saturating_add(VALIDITY - RENEWAL / 2).unwrap();
        assert_eq!(generate(folder.path(), &["n1"], nearly_over).unwrap().len(), 2);
    }

    #[test]
    fn another_ca_is_recognised() {
        let folder = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        generate(folder.path(), &[], now()).unwrap();
        generate(other.path(), &[], now()).unwrap();
        fs::copy(other.path().join("ca.key"), folder.path().join("ca.key")).unwrap();
        assert!(matches!(
            generate(folder.path(), &["n1"], now()),
            Err(CertificateError::ForeignCa { .. })
        ));
        assert!(!folder.path().join("n1.pem").exists());
    }
}
