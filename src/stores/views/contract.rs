//! The contract suite of the coordination store, for every adapter.

use std::sync::Arc;

use futures::future::join_all;

use souk_cluster::view::{Member, MemberState, Role, View};
use souk_cluster::views::Views;

/// Runs everything against `store`, which must be empty.
pub async fn suite(store: Arc<dyn Views>) {
    a_view_follows_the_one_before(&*store).await;
    of_racing_proposals_one_wins(store).await;
}

fn view(number: u64, name: &str) -> View {
    let address = "[::1]:80".parse().unwrap();
    View {
        number,
        members: vec![Member {
            name: name.to_owned(),
            incarnation: u64::MAX,
            state: MemberState::Leaving,
            roles: vec![Role::Front, Role::Entities],
            cluster_address: address,
            gossip_address: address,
            shop_address: address,
            operator_address: address,
            version: "1.2.3 \"quoted\" 'ü'".to_owned(),
        }],
    }
}

async fn a_view_follows_the_one_before(store: &dyn Views) {
    assert_eq!(store.current().await.unwrap(), None);
    assert!(!store.propose(&view(2, "early")).await.unwrap());
    assert_eq!(store.current().await.unwrap(), None);
    assert!(store.propose(&view(1, "n1")).await.unwrap());
    assert_eq!(store.current().await.unwrap(), Some(view(1, "n1")));
    for (number, name) in [(1, "again"), (3, "leap"), (0, "zero")] {
        assert!(!store.propose(&view(number, name)).await.unwrap());
    }
    assert!(store.propose(&view(2, "n2")).await.unwrap());
    assert!(!store.propose(&view(2, "late")).await.unwrap());
    assert_eq!(store.current().await.unwrap(), Some(view(2, "n2")));
}

async fn of_racing_proposals_one_wins(store: Arc<dyn Views>) {
    for number in 3..11 {
        let proposals = join_all((0..16).map(|node| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let name = format!("node-{node}");
                let won = store.propose(&view(number, &name)).await.unwrap();
                won.then_some(name)
            })
        }))
        .await;
        let winners: Vec<String> = proposals.into_iter().filter_map(Result::unwrap).collect();
        assert_eq!(winners.len(), 1, "view {number} was won by {winners:?}");
        assert_eq!(store.current().await.unwrap(), Some(view(number, &winners[0])));
    }
}
