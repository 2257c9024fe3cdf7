//! Codes in e-mails: password reset and verification of an address.

use serde_json::json;

use crate::shared::{
    About, Person, address, cluster, code, emails, fresh_password, login, refresh, secret, stranger,
    unhurried,
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

    reset(&second, &password).await.expect(204);
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
    let won: Vec<_> = replies.iter().map(|reply| reply.status == 204).collect();
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
        stranger(0).post("/v1/auth/email/verify", &body).await
    };
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
