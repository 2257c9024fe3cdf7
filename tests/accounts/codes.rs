//! Codes in e-mails: password reset and verification of an address.

use serde_json::json;

use crate::shared::{
    About, Person, add_address, address, cluster, code, emails, fresh_email, fresh_password, login, refresh,
    secret, stranger, unhurried,
};

#[tokio::test]
async fn a_password_reset_ends_all_sessions() {
    let person = Person::register(0).await;
    let again = person.sign_in(1).await;
    let client = stranger(1);
    let forgot = json!({"email": person.email});
    client.post("/v1/auth/password/forgot", &forgot).await.expect(202);
    let first = code(&person.email, About::Reset, None).await;
    // Another spelling of the same address.
    let shouted = json!({"email": person.email.to_uppercase()});
    client
        .post("/v1/auth/password/forgot", &shouted)
        .await
        .expect(202);
    let second = code(&person.email, About::Reset, Some(&first)).await;

    let password = fresh_password();
    secret(&password);
    let reset = async |token: &str, password: &str| {
        let body = json!({"token": token, "password": password});
        unhurried(&client, "/v1/auth/password/reset", &body).await
    };
    for bad in [&*first, "made-up", ""] {
        let refused = reset(bad, &password).await.expect_problem(422, "validation");
        assert_eq!(
            refused.blamed(),
            ["token"],
            "an older code, and none at all: {refused}"
        );
    }
    let refused = reset(&second, "short").await.expect_problem(422, "validation");
    assert_eq!(refused.blamed(), ["password"], "{refused}");
    person.client.get("/v1/me").await.expect(200);

    let opened = reset(&second, &password).await.expect(200);
    secret(opened.str("/access_token"));
    secret(opened.str("/refresh_token"));
    let reader = client.with_token(Some(opened.str("/access_token")));
    reader.get("/v1/me").await.expect(200);
    for session in [&person, &again] {
        session.is_out().await;
        refresh(&session.client, &session.refresh_token)
            .await
            .expect_problem(401, "bad-refresh-token");
    }
    let refused = reset(&second, &fresh_password())
        .await
        .expect_problem(422, "validation");
    assert_eq!(refused.blamed(), ["token"], "a code is good once: {refused}");
    login(&client, &person.email, &person.password)
        .await
        .expect_problem(401, "bad-credentials");
    let back = login(&client, &person.email, &password).await.expect(200);
    assert_eq!(
        back.body["user"]["email_verified"], true,
        "whoever reads the emails has proven the address: {back}"
    );
}

#[tokio::test]
async fn of_many_who_redeem_a_code_at_once_one_does() {
    let person = Person::register(0).await;
    let client = stranger(0);
    let forgot = json!({"email": person.email});
    client.post("/v1/auth/password/forgot", &forgot).await.expect(202);
    let token = code(&person.email, About::Reset, None).await;
    let passwords: Vec<_> = (0..6).map(|_| fresh_password()).collect();
    let tries = passwords.iter().enumerate().map(|(number, password)| {
        let client = client.at(cluster().shop(number % 2)).calling_from(&address());
        let body = json!({"token": token, "password": password});
        async move { unhurried(&client, "/v1/auth/password/reset", &body).await }
    });
    let replies = futures::future::join_all(tries).await;
    let won: Vec<_> = replies.iter().map(|reply| reply.status == 200).collect();
    assert_eq!(won.iter().filter(|won| **won).count(), 1, "{replies:?}");
    for (password, won) in passwords.iter().zip(won) {
        let reply = login(&stranger(1), &person.email, password).await;
        assert_eq!(reply.status, if won { 200 } else { 401 }, "{reply}");
    }
}

#[tokio::test]
async fn forgot_does_not_reveal_accounts() {
    let person = Person::register(0).await;
    let client = stranger(0);
    let known = client
        .post("/v1/auth/password/forgot", &json!({"email": person.email}))
        .await
        .expect(202);
    let unknown = client
        .post(
            "/v1/auth/password/forgot",
            &json!({"email": "nobody@accounts.example"}),
        )
        .await
        .expect(202);
    assert_eq!((known.text.as_str(), unknown.text.as_str()), ("", ""));
    code(&person.email, About::Reset, None).await;
    assert_eq!(emails("nobody@accounts.example", About::Reset), [""; 0]);
    client
        .post("/v1/auth/password/forgot", &json!({"email": "no address"}))
        .await
        .expect(202);
}

#[tokio::test]
async fn a_verification_code_works_once() {
    let person = Person::register(1).await;
    let token = code(&person.email, About::Verification, None).await;
    let verify = async |token: &str| {
        let body = json!({"token": token});
        person.at(0).post("/v1/auth/email/verify", &body).await
    };
    // Only for who is signed in to that very account; the code is not spent by others.
    let body = json!({"token": token});
    stranger(0)
        .post("/v1/auth/email/verify", &body)
        .await
        .expect_problem(401, "unauthorised");
    let other = Person::register(0).await;
    other
        .client
        .post("/v1/auth/email/verify", &body)
        .await
        .expect_problem(422, "validation");
    for bad in ["", "made-up", &"A".repeat(43), &"A".repeat(5_000)] {
        let refused = verify(bad).await.expect_problem(422, "validation");
        assert_eq!(refused.blamed(), ["token"], "{refused}");
    }
    assert_eq!(
        person.client.get("/v1/me").await.expect(200).body["email_verified"],
        false
    );
    // A code is good for what it was sent for alone.
    let body = json!({"token": token, "password": fresh_password()});
    unhurried(&stranger(0), "/v1/auth/password/reset", &body)
        .await
        .expect_problem(422, "validation");
    verify(&token).await.expect(204);
    assert_eq!(
        person.client.get("/v1/me").await.expect(200).body["email_verified"],
        true
    );
    verify(&token).await.expect_problem(422, "validation");
}

#[tokio::test]
async fn a_verification_is_sent_again() {
    let person = Person::register(0).await;
    let first = code(&person.email, About::Verification, None).await;
    let resend = async || {
        let path = "/v1/auth/email/verify/resend";
        person.client.send("POST", path, None, &[]).await.expect(202)
    };
    resend().await;
    let second = code(&person.email, About::Verification, Some(&first)).await;
    let verify = async |token: &str| {
        let body = json!({"token": token});
        person.client.post("/v1/auth/email/verify", &body).await
    };
    verify(&first).await.expect_problem(422, "validation");
    verify(&second).await.expect(204);
    let sent = emails(&person.email, About::Verification).len();
    // Whoever needs none gets none. Seen behind another e-mail that is asked for later.
    resend().await;
    let forgot = json!({"email": person.email});
    person
        .client
        .post("/v1/auth/password/forgot", &forgot)
        .await
        .expect(202);
    code(&person.email, About::Reset, None).await;
    assert_eq!(emails(&person.email, About::Verification).len(), sent);
    stranger(0)
        .send("POST", "/v1/auth/email/verify/resend", None, &[])
        .await
        .expect_problem(401, "unauthorised");
}

#[tokio::test]
async fn a_changed_password_ends_all_other_sessions() {
    let person = Person::register(0).await;
    let again = person.sign_in(1).await;
    let password = fresh_password();
    secret(&password);
    let change = async |current: &str, password: &str| {
        let body = json!({"current_password": current, "password": password});
        unhurried(&person.client, "/v1/auth/password/change", &body).await
    };
    let refused = change(&person.password, "short")
        .await
        .expect_problem(422, "validation");
    assert_eq!(refused.blamed(), ["password"], "{refused}");
    change("Not-The-Password-At-All", &password)
        .await
        .expect_problem(401, "bad-credentials");
    again.client.get("/v1/me").await.expect(200);
    change(&person.password, &password).await.expect(204);
    again.is_out().await;
    person.client.get("/v1/me").await.expect(200);
    refresh(&person.client, &person.refresh_token).await.expect(200);
    login(&stranger(1), &person.email, &person.password)
        .await
        .expect_problem(401, "bad-credentials");
    login(&stranger(1), &person.email, &password).await.expect(200);
}

#[tokio::test]
async fn a_step_up_counts_for_its_session_alone() {
    let person = Person::register(0).await;
    let again = person.sign_in(1).await;
    let wrong = json!({"password": "Not-The-Password-At-All"});
    unhurried(&person.client, "/v1/auth/step-up", &wrong)
        .await
        .expect_problem(401, "bad-credentials");
    person.step_up().await;
    again
        .client
        .get("/v1/me/export")
        .await
        .expect_problem(403, "step-up-required");
    person.at(1).get("/v1/me/export").await.expect(200);
}

/// Somebody opens an account under another person's address, and waits for what that person orders.
#[tokio::test]
async fn an_account_opened_under_anothers_address_gains_nothing() {
    let email = fresh_email();
    let squatter = Person::register_with(&stranger(0), &email, &fresh_password()).await;
    add_address(&squatter.client, "Squatter").await;
    let phone = json!({"phone": "+1 217 555 0166"});
    squatter.client.patch("/v1/me", &phone).await.expect(200);
    // The owner of the address sets a password by e-mail: what was there before is not theirs.
    let owner = stranger(1);
    let forgot = json!({"email": email});
    owner.post("/v1/auth/password/forgot", &forgot).await.expect(202);
    let token = code(&email, About::Reset, None).await;
    let password = fresh_password();
    secret(&password);
    let body = json!({"token": token, "password": password});
    let opened = unhurried(&owner, "/v1/auth/password/reset", &body)
        .await
        .expect(200);
    secret(opened.str("/access_token"));
    secret(opened.str("/refresh_token"));
    let owner = owner.with_token(Some(opened.str("/access_token")));
    assert_eq!(opened.body["user"]["email_verified"], true);
    assert_eq!(opened.body["user"]["phone"], serde_json::Value::Null);
    let addresses = owner.get("/v1/me/addresses").await.expect(200);
    assert!(addresses.items().is_empty(), "{addresses}");
    squatter.is_out().await;
    // From now on what the owner saves is theirs, also when they set another password.
    add_address(&owner, "Owner").await;
    owner.post("/v1/auth/password/forgot", &forgot).await.expect(202);
    let token = code(&email, About::Reset, Some(&token)).await;
    let body = json!({"token": token, "password": fresh_password()});
    let opened = unhurried(&owner, "/v1/auth/password/reset", &body)
        .await
        .expect(200);
    let owner = owner.with_token(Some(opened.str("/access_token")));
    assert_eq!(owner.get("/v1/me/addresses").await.expect(200).items().len(), 1);
}
