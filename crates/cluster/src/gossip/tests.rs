use std::time::Instant;

use tokio::time::timeout;

use super::*;
use crate::view::Role;

/// More than any step of these tests takes on a busy machine; a step that fails, fails by it.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOPBACK: &str = "127.0.0.1:0";

fn key() -> ClusterKey {
    ClusterKey::new("the cluster's secret").unwrap()
}

fn announcement() -> Announcement {
    Announcement {
        state: GossipState::Joining,
        roles: vec![Role::Front, Role::Entities],
        cluster_address: "127.0.0.1:1".parse().unwrap(),
        shop_address: "127.0.0.1:2".parse().unwrap(),
        operator_address: "127.0.0.1:3".parse().unwrap(),
        version: "1.2.3".to_owned(),
    }
}

fn settings(name: &str, incarnation: u64, seeds: &[&Gossip]) -> GossipSettings {
    let identity = NodeIdentity {
        name: name.to_owned(),
        incarnation,
    };
    let mut settings = GossipSettings::new("test", identity, LOOPBACK.parse().unwrap());
    settings.seeds = seeds
        .iter()
        .map(|seed| seed.local_address().to_string())
        .collect();
    settings
}

async fn start(name: &str, incarnation: u64, seeds: &[&Gossip]) -> Gossip {
    Gossip::start(settings(name, incarnation, seeds), &key(), &announcement())
        .await
        .unwrap()
}

/// Waits until the node sees exactly these names and incarnations.
async fn sees(node: &Gossip, expected: &[(&str, u64)]) -> Vec<GossipMember> {
    let mut members = node.members();
    let found = timeout(
        PATIENCE,
        members.wait_for(|members| {
            members
                .iter()
                .map(|member| (member.name.as_str(), member.incarnation))
                .eq(expected.iter().copied())
        }),
    )
    .await;
    match found {
        Ok(members) => members.unwrap().clone(),
        Err(_) => panic!("expected {expected:?}, saw {:?}", node.members().borrow()),
    }
}

#[tokio::test]
async fn three_nodes_find_each_other_and_notice_a_death() {
    let n1 = start("n1", 1, &[]).await;
    let n2 = start("n2", 1, &[&n1]).await;
    let n3 = start("n3", 1, &[&n1]).await;
    let everybody = [("n1", 1), ("n2", 1), ("n3", 1)];
    for node in [&n1, &n2, &n3] {
        let members = sees(node, &everybody).await;
        assert_eq!(members[2].state, GossipState::Joining);
        assert_eq!(members[2].roles, [Role::Front, Role::Entities]);
        assert_eq!(members[2].gossip_address, n3.local_address());
        assert_eq!(members[2].version, "1.2.3");
        assert_eq!(members[2].load, 0);
    }
    // What a node says later reaches the others too.
    n3.publish_state(GossipState::Ready).await;
    n3.publish(keys::LOAD, "42").await;
    let mut members = n2.members();
    timeout(
        PATIENCE,
        members.wait_for(|members| members[2].state == GossipState::Ready && members[2].load == 42),
    )
    .await
    .unwrap()
    .unwrap();

    // Not at once: a pause in the network is no death. (A pause of this machine just before is one, so more than once.)
    let mut last = n3;
    for incarnation in 2..=4 {
        drop(last);
        let begun = Instant::now();
        sees(&n1, &everybody[..2]).await;
        sees(&n2, &everybody[..2]).await;
        let noticed = begun.elapsed();
        println!("a silent node was dead after {noticed:?}");
        if noticed > Duration::from_millis(800) {
            return;
        }
        last = start("n3", incarnation, &[&n1]).await;
        let everybody = [("n1", 1), ("n2", 1), ("n3", incarnation)];
        for node in [&n1, &n2, &last] {
            sees(node, &everybody).await;
        }
    }
    panic!("a silent node was dead at once, every time");
}

#[tokio::test]
async fn a_new_incarnation_supersedes_the_old_one_at_once_and_for_good() {
    let n1 = start("n1", 1, &[]).await;
    let old = start("n2", 5, &[&n1]).await;
    sees(&n1, &[("n1", 1), ("n2", 5)]).await;
    let new = start("n2", 6, &[&n1]).await;
    sees(&n1, &[("n1", 1), ("n2", 6)]).await;
    // The old process lives on, as a zombie would; it must not come back when the new one goes.
    drop(new);
    sees(&n1, &[("n1", 1)]).await;
    drop(old);
}

#[tokio::test]
async fn another_key_and_another_cluster_are_not_heard() {
    let n1 = start("n1", 1, &[]).await;
    let other_key = ClusterKey::new("some other cluster's").unwrap();
    let stranger = Gossip::start(settings("n8", 1, &[&n1]), &other_key, &announcement())
        .await
        .unwrap();
    let mut other = settings("n9", 1, &[&n1]);
    other.cluster = "another".to_owned();
    let foreigner = Gossip::start(other, &key(), &announcement()).await.unwrap();
    // Garbage does not hurt either.
    let socket = UdpSocket::bind(LOOPBACK).await.unwrap();
    for length in [0, 1, 13, 29, 1400] {
        socket
            .send_to(&vec![1; length], n1.local_address())
            .await
            .unwrap();
    }
    // When the friend, who came last, has been heard, the others would have been.
    let friend = start("n2", 1, &[&n1]).await;
    let members = sees(&n1, &[("n1", 1), ("n2", 1)]).await;
    assert_eq!(members.len(), 2);
    sees(&friend, &[("n1", 1), ("n2", 1)]).await;
    sees(&stranger, &[("n8", 1)]).await;
    sees(&foreigner, &[("n9", 1)]).await;
}

#[tokio::test]
async fn a_taken_address_is_an_error_that_names_it() {
    let n1 = start("n1", 1, &[]).await;
    let mut taken = settings("n2", 1, &[]);
    taken.listen = n1.local_address();
    let error = Gossip::start(taken, &key(), &announcement()).await.err().unwrap();
    assert!(error.to_string().contains(&n1.local_address().to_string()));
}
