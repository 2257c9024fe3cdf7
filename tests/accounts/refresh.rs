//! One refresh token used again: at once by two tabs, later by a thief, or by the owner whom a thief was ahead of.

use std::time::Duration;

use futures::future::join_all;
use tokio::sync::Barrier;

use crate::shared::{NODES, Person, cluster, refresh};
use crate::support::client::Client;
use crate::support::full;
use crate::support::waiting::eventually;

/// Concurrent uses of one token at each node.
const COPIES: usize = 2;

/// Longest wait until an exchange can't be repeated any more: 10 s, and patience.
const REPEATABLE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn tabs_that_refresh_at_once_get_the_same_successor() {
    let rounds = if full() { 200 } else { 25 };
    let owner = Person::register(0).await;
    // A connection for each, and open already.
    let callers: Vec<Client> = (0..COPIES * NODES)
        .map(|number| Client::new(cluster().shop(number % NODES)).calling_from(&crate::shared::address()))
        .collect();
    let mut token = owner.sign_in(0).await.refresh_token;
    for _ in 0..rounds {
        join_all(callers.iter().map(|client| client.get("/livez"))).await;
        let barrier = Barrier::new(callers.len());
        let replies = join_all(callers.iter().map(|client| async {
            barrier.wait().await;
            refresh(client, &token).await.expect(200)
        }))
        .await;
        let successor = replies[0].str("/refresh_token").to_owned();
        assert_ne!(successor, token);
        for (number, reply) in replies.iter().enumerate() {
            assert_eq!(reply.str("/refresh_token"), successor);
            let client = owner.client.with_token(Some(reply.str("/access_token")));
            client
                .at(cluster().shop(number % NODES))
                .get("/v1/me")
                .await
                .expect(200);
        }
        token = successor;
    }
    let sessions = owner.client.get("/v1/auth/sessions").await.expect(200);
    assert_eq!(sessions.items().len(), 2, "tabs share a session: {sessions}");
}

#[tokio::test]
async fn a_token_spent_long_ago_ends_its_family() {
    let person = Person::register(0).await;
    let again = person.sign_in(0).await;
    let mut tokens = vec![again.refresh_token.clone()];
    for step in 0..4 {
        let pair = refresh(&again.at(step % NODES), &tokens[step]).await.expect(200);
        tokens.push(pair.str("/refresh_token").to_owned());
    }
    let thief = again.at(1);
    eventually("the exchange can't be repeated any more", REPEATABLE, || async {
        let reply = refresh(&thief, &tokens[1]).await;
        if reply.status == 200 {
            assert_eq!(reply.str("/refresh_token"), tokens[2]);
            return Err("it still gives its successor");
        }
        reply.expect_problem(401, "bad-refresh-token");
        Ok(())
    })
    .await;
    for token in &tokens {
        refresh(&again.client, token)
            .await
            .expect_problem(401, "bad-refresh-token");
    }
    again.is_out().await;
    person.client.get("/v1/me").await.expect(200);
    refresh(&person.client, &person.refresh_token).await.expect(200);
}
