use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::EncodingKey;
use proptest::prelude::*;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::super::ring::{Ring, SigningKey};
use super::*;
use souk_domain::fixtures::at;

const SEED: [u8; 32] = [1; 32];
const OTHER_SEED: [u8; 32] = [2; 32];

fn settings() -> TokenSettings {
    TokenSettings {
        issuer: "https://shop.example".to_owned(),
        audience: "souk".to_owned(),
        lifetime: DEFAULT_LIFETIME,
    }
}

fn rules() -> RingRules {
    RingRules {
        settle: Duration::from_secs(5),
        longest_life: settings().longest_life(),
    }
}

fn key(seed: [u8; 32]) -> SigningKey {
    SigningKey::from_seed(&Zeroizing::new(seed), at(0)).unwrap()
}

fn ring() -> SharedRing {
    SharedRing::new(Arc::new(Ring::new(vec![key(SEED)])).into())
}

fn verifier() -> Verifier {
    Verifier::new(ring(), RevokedSessions::default(), &settings())
}

fn token() -> String {
    let issuer = Issuer::new(ring(), rules(), settings());
    issuer.issue(grant(), at(0)).unwrap().token
}

fn grant() -> Grant<'static> {
    Grant {
        user: "usr_1",
        session: "ses_1",
        roles: &["merchant", "customer"],
    }
}

/// The claims of a token that is good at `at(0)`.
fn claims() -> Value {
    let now = at(0).as_millis() / 1_000;
    json!({
        "iss": "https://shop.example", "aud": "souk", "sub": "usr_1", "sid": "ses_1", "jti": "1",
        "roles": ["customer"], "iat": now, "nbf": now, "exp": now + 900,
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn header() -> Value {
    json!({"alg": "EdDSA", "typ": "JWT", "kid": key(SEED).id})
}

/// Signs whatever it is given, as a key thief or a careless library would.
fn sign(seed: [u8; 32], header: &Value, claims: &Value) -> String {
    sign_text(seed, &header.to_string(), &claims.to_string())
}

fn sign_text(seed: [u8; 32], header: &str, claims: &str) -> String {
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signature = pair.sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

fn verify(token: &str) -> Result<Claims, TokenError> {
    verifier().verify(token, at(0)).map(|claims| (*claims).clone())
}

#[test]
fn a_token_carries_its_grant() {
    let issuer = Issuer::new(ring(), rules(), settings());
    let one = issuer.issue(grant(), at(0)).unwrap();
    assert_eq!(one.lifetime, DEFAULT_LIFETIME);
    assert_eq!(one.expires_at, at(900));
    assert!(!format!("{one:?}").contains(&one.token));
    let claims = verify(&one.token).unwrap();
    assert_eq!((claims.sub.as_str(), claims.sid.as_str()), ("usr_1", "ses_1"));
    assert_eq!(claims.roles, ["customer", "merchant"].map(str::to_owned).into());
    assert_eq!(claims.exp - claims.iat, 900);
    assert_eq!(claims.nbf, claims.iat);
    let other = issuer.issue(grant(), at(0)).unwrap();
    assert_ne!(claims.jti, verify(&other.token).unwrap().jti);
}

#[test]
fn hand_signed_tokens_are_accepted() {
    assert!(verify(&sign(SEED, &header(), &claims())).is_ok());
    let mut bare = header();
    bare.as_object_mut().unwrap().remove("typ");
    assert!(verify(&sign(SEED, &bare, &claims())).is_ok());
    let more = with("something", json!("newer"));
    assert!(
        verify(&sign(SEED, &header(), &more)).is_ok(),
        "a newer node may say more"
    );
}

#[test]
fn no_other_algorithm_is_accepted() {
    let kid = key(SEED).id;
    let pair = Ed25519KeyPair::from_seed_unchecked(&SEED).unwrap();
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let mut header = Header::new(algorithm);
        header.kid = Some(kid.clone());
        // The old trick: the public key, which everybody has, as the secret.
        for secret in [pair.public_key().as_ref(), kid.as_bytes(), b""] {
            let forged = jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(secret)).unwrap();
            assert_eq!(verify(&forged), Err(TokenError::Algorithm), "{algorithm:?}");
        }
    }
    for algorithm in [
        "none", "None", "NONE", "eddsa", "Ed25519", "ES256", "RS256", "PS256", "",
    ] {
        let header = json!({"alg": algorithm, "typ": "JWT", "kid": kid});
        let forged = sign(SEED, &header, &claims());
        assert_eq!(verify(&forged), Err(TokenError::Algorithm), "{algorithm:?}");
        let unsigned = forged.rsplit_once('.').unwrap().0;
        assert_eq!(
            verify(&format!("{unsigned}.")),
            Err(TokenError::Algorithm),
            "{algorithm:?}"
        );
    }
    let unsigned = sign(SEED, &header(), &claims());
    let unsigned = unsigned.rsplit_once('.').unwrap().0;
    assert_eq!(verify(&format!("{unsigned}.")), Err(TokenError::Signature));
}

#[test]
fn the_signing_key_must_be_named_and_known() {
    let nameless = json!({"alg": "EdDSA", "typ": "JWT"});
    assert_eq!(verify(&sign(SEED, &nameless, &claims())), Err(TokenError::NoKey));
    let unknown = json!({"alg": "EdDSA", "typ": "JWT", "kid": key(OTHER_SEED).id});
    for seed in [SEED, OTHER_SEED] {
        assert_eq!(
            verify(&sign(seed, &unknown, &claims())),
            Err(TokenError::UnknownKey)
        );
    }
    assert_eq!(
        verify(&sign(OTHER_SEED, &header(), &claims())),
        Err(TokenError::Signature)
    );
    let both = SharedRing::new(Arc::new(Ring::new(vec![key(SEED), key(OTHER_SEED)])).into());
    let both = Verifier::new(both, RevokedSessions::default(), &settings());
    assert!(both.verify(&sign(OTHER_SEED, &unknown, &claims()), at(0)).is_ok());
    assert_eq!(
        both.verify(&sign(SEED, &unknown, &claims()), at(0)),
        Err(TokenError::Signature),
        "known, but not the one that is named"
    );
}

#[test]
fn unknown_header_members_are_refused() {
    for (name, value) in [
        ("jwk", json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"})),
        ("jku", json!("https://evil.example/keys")),
        ("x5c", json!([])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
    ] {
        let mut header = header();
        header[name] = value;
        assert_eq!(
            verify(&sign(SEED, &header, &claims())),
            Err(TokenError::Malformed),
            "{name}"
        );
    }
    let mut other = header();
    other["typ"] = json!("refresh+jwt");
    assert_eq!(verify(&sign(SEED, &other, &claims())), Err(TokenError::Malformed));
    let kid = key(SEED).id;
    let twice = format!(r#"{{"alg":"none","alg":"EdDSA","kid":"{kid}"}}"#);
    assert_eq!(
        verify(&sign_text(SEED, &twice, &claims().to_string())),
        Err(TokenError::Malformed)
    );
}

#[test]
fn other_issuers_and_audiences_are_refused() {
    for wrong in ["https://shop.example/", "https://evil.example", ""] {
        let token = sign(SEED, &header(), &with("iss", json!(wrong)));
        assert_eq!(verify(&token), Err(TokenError::Issuer), "{wrong:?}");
        let token = sign(SEED, &header(), &with("aud", json!(wrong)));
        assert_eq!(verify(&token), Err(TokenError::Audience), "{wrong:?}");
    }
}

#[test]
fn every_claim_is_required_once() {
    let names: Vec<String> = claims().as_object().unwrap().keys().cloned().collect();
    assert_eq!(names.len(), 9);
    for name in names {
        let mut missing = claims();
        missing.as_object_mut().unwrap().remove(&name);
        for bad in [missing, with(&name, Value::Null), with(&name, json!({}))] {
            let refused = verify(&sign(SEED, &header(), &bad));
            assert!(
                matches!(refused, Err(TokenError::Claims(_))),
                "{name}: {refused:?}"
            );
        }
        let mut twice = claims().to_string();
        twice.insert_str(1, &format!(r#""{name}":{},"#, claims()[&name]));
        let refused = verify(&sign_text(SEED, &header().to_string(), &twice));
        assert!(
            matches!(refused, Err(TokenError::Claims(_))),
            "{name}: {refused:?}"
        );
    }
    for (name, bad) in [
        ("exp", json!(1e12)),
        ("exp", json!("1700000900")),
        ("aud", json!(["souk"])),
        ("roles", json!("admin")),
    ] {
        let refused = verify(&sign(SEED, &header(), &with(name, bad)));
        assert!(
            matches!(refused, Err(TokenError::Claims(_))),
            "{name}: {refused:?}"
        );
    }
}

#[test]
fn validity_includes_the_leeway() {
    let leeway = LEEWAY.as_millis() as i64;
    let verifier = verifier();
    let token = token();
    let verify = |milliseconds: i64| {
        let now = Timestamp::from_millis(at(0).as_millis() + milliseconds);
        verifier.verify(&token, now).map(drop)
    };
    assert_eq!(verify(-leeway - 1), Err(TokenError::Early));
    assert_eq!(verify(-leeway), Ok(()));
    assert_eq!(verify(0), Ok(()));
    assert_eq!(verify(900_000 + leeway - 1), Ok(()));
    assert_eq!(verify(900_000 + leeway), Err(TokenError::Expired));
    let signed_ahead = with("iat", json!(at(31).as_millis() / 1_000));
    assert_eq!(
        verifier
            .verify(&sign(SEED, &header(), &signed_ahead), at(0))
            .map(drop),
        Err(TokenError::Early)
    );
    for extreme in [i64::MIN, i64::MAX] {
        let _ = verifier.verify(&sign(SEED, &header(), &with("exp", json!(extreme))), at(0));
    }
}

#[test]
fn tokens_of_revoked_sessions_are_refused() {
    let revoked = RevokedSessions::default();
    let verifier = Verifier::new(ring(), revoked.clone(), &settings());
    revoked.insert("ses_2", at(10_000));
    assert!(verifier.verify(&token(), at(0)).is_ok());
    revoked.insert("ses_1", at(10_000));
    assert_eq!(verifier.verify(&token(), at(0)), Err(TokenError::Revoked));
}

#[test]
fn a_cached_token_ends_with_session_and_key() {
    let (ring, revoked) = (ring(), RevokedSessions::default());
    let verifier = Verifier::new(ring.clone(), revoked.clone(), &settings());
    let token = token();
    assert!(verifier.verify(&token, at(0)).is_ok());
    assert!(verifier.verify(&token, at(1)).is_ok());
    revoked.insert("ses_1", at(10_000));
    assert_eq!(verifier.verify(&token, at(2)), Err(TokenError::Revoked));
    ring.store(Arc::new(Ring::new(vec![key(OTHER_SEED)])));
    assert_eq!(verifier.verify(&token, at(3)), Err(TokenError::UnknownKey));
    // One changed letter is another token, which nobody remembers.
    let mut forged = token.into_bytes();
    let last = forged.len() - 1;
    forged[last - 3] = if forged[last - 3] == b'A' { b'B' } else { b'A' };
    assert!(
        verifier
            .verify(std::str::from_utf8(&forged).unwrap(), at(0))
            .is_err()
    );
}

#[test]
fn oversized_tokens_are_refused_and_not_issued() {
    let long = "x".repeat(TOKEN_LIMIT);
    let signed = sign(SEED, &header(), &with("sub", json!(long)));
    assert_eq!(verify(&signed), Err(TokenError::TooLong(signed.len())));
    let issuer = Issuer::new(ring(), rules(), settings());
    let refused = issuer.issue(
        Grant {
            user: &long,
            ..grant()
        },
        at(0),
    );
    assert!(matches!(refused, Err(IssueError::TooLong(_))), "{refused:?}");
}

#[test]
fn without_a_key_nothing_is_signed() {
    let issuer = Issuer::new(SharedRing::default(), rules(), settings());
    assert!(matches!(issuer.issue(grant(), at(0)), Err(IssueError::NoKey)));
}

#[test]
fn no_changed_letter_passes() {
    let token = token();
    for at_byte in 0..token.len() {
        for letter in [b'A', b'_', b'.', b'='] {
            let mut forged = token.clone().into_bytes();
            if forged[at_byte] == letter {
                continue;
            }
            forged[at_byte] = letter;
            let forged = String::from_utf8(forged).unwrap();
            assert!(verify(&forged).is_err(), "position {at_byte}");
        }
    }
    for around in [
        format!("{token}A"),
        format!("{token}="),
        format!("{token}."),
        format!(" {token}"),
        format!("{token}\n"),
        format!(".{token}"),
    ] {
        assert!(verify(&around).is_err(), "{around:?}");
    }
}

proptest! {
    #[test]
    fn nothing_made_up_is_accepted(text in ".{0,200}", parts in prop::collection::vec("[A-Za-z0-9_-]{0,60}", 0..5)) {
        prop_assert!(verify(&text).is_err());
        prop_assert!(verify(&parts.join(".")).is_err());
    }

    #[test]
    fn any_grant_round_trips(
        user in "usr_[a-z0-9]{1,40}", session in "ses_[a-z0-9]{1,40}", milliseconds in 0..4_000_000_000_000_i64,
    ) {
        let now = Timestamp::from_millis(milliseconds);
        let issuer = Issuer::new(ring(), rules(), settings());
        let issued = issuer.issue(Grant { user: &user, session: &session, roles: &[] }, now).unwrap();
        prop_assert!(issued.token.len() < TOKEN_LIMIT / 2);
        prop_assert!(issued.expires_at <= now.plus(DEFAULT_LIFETIME));
        let claims = verifier().verify(&issued.token, now).unwrap();
        prop_assert_eq!((&claims.sub, &claims.sid), (&user, &session));
        let dead = now.plus(settings().longest_life());
        prop_assert_eq!(verifier().verify(&issued.token, dead), Err(TokenError::Expired));
    }
}
