//! Reuse of refresh tokens: one of the two holders is a thief, and the shop can't tell which.

use futures::future::join_all;
use tokio::sync::Barrier;

use crate::shared::{NODES, Person, cluster, refresh, revocation_limit, signed_out};
use crate::support::client::Client;
use crate::support::full;

/// Concurrent uses of one token at each node.
const COPIES: usize = 2;

#[tokio::test]
async fn a_refresh_race_has_one_winner_and_ends_the_family() {
    let rounds = if full() { 200 } else { 25 };
    let owner = Person::register(0).await;
    let bystander = Person::register(1).await;
    let control = owner.sign_in(1).await;
    // A connection for each, and open already.
    let callers: Vec<Client> = (0..COPIES * NODES)
        .map(|number| Client::new(cluster().shop(number % NODES)).calling_from(&crate::shared::address()))
        .collect();
    let mut dead = Vec::new();
    let mut won = 0;
    for round in 0..rounds {
        let session = owner.sign_in(round % NODES).await;
        join_all(callers.iter().map(|client| client.get("/livez"))).await;
        let barrier = Barrier::new(callers.len());
        let replies = join_all(callers.iter().map(|client| async {
            barrier.wait().await;
            refresh(client, &session.refresh_token).await
        }))
        .await;
        let winners: Vec<_> = replies.iter().filter(|reply| reply.status == 200).collect();
        assert!(winners.len() <= 1, "round {round}: {} won", winners.len());
        for loser in replies.iter().filter(|reply| reply.status != 200) {
            loser.clone().expect_problem(401, "bad-refresh-token");
        }
        for winner in &winners {
            won += 1;
            refresh(&owner.at((round + 1) % NODES), winner.str("/refresh_token"))
                .await
                .expect_problem(401, "bad-refresh-token");
            dead.push(session.client.with_token(Some(winner.str("/access_token"))));
        }
        dead.push(session.client.clone());
    }
    assert!(won > 0, "somebody is the first");
    println!("{won} of {rounds} rounds had a winner");
    // The access tokens of all those families, the winners' included.
    for client in &dead {
        for node in 0..NODES {
            signed_out(&client.at(cluster().shop(node)), revocation_limit()).await;
        }
    }
    for person in [&control, &bystander, &owner] {
        for node in 0..NODES {
            person.at(node).get("/v1/me").await.expect(200);
        }
        refresh(&person.client, &person.refresh_token).await.expect(200);
    }
    let sessions = owner.client.get("/v1/auth/sessions").await.expect(200);
    assert_eq!(
        sessions.items().len(),
        2,
        "of the dead none is listed: {sessions}"
    );
}

#[tokio::test]
async fn a_spent_refresh_token_ends_its_family() {
    let person = Person::register(0).await;
    let again = person.sign_in(0).await;
    let mut tokens = vec![again.refresh_token.clone()];
    for step in 0..4 {
        let pair = refresh(&again.at(step % NODES), &tokens[step]).await.expect(200);
        tokens.push(pair.str("/refresh_token").to_owned());
    }
    refresh(&again.at(1), &tokens[1])
        .await
        .expect_problem(401, "bad-refresh-token");
    for token in &tokens {
        refresh(&again.client, token)
            .await
            .expect_problem(401, "bad-refresh-token");
    }
    again.is_out().await;
    person.client.get("/v1/me").await.expect(200);
    refresh(&person.client, &person.refresh_token).await.expect(200);
}
