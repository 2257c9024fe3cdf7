use std::time::Instant;

use tokio::time::timeout;

use super::*;
use crate::view::Role;
use crate::view::fixtures::member;

/// More than any step of these tests takes on a busy machine; a step that fails, fails by it.
const PATIENCE: Duration = Duration::from_secs(60);
/// As by default.
const INTERVAL: Duration = Duration::from_millis(120);
const LOOPBACK: &str = "127.0.0.1:0";

fn key() -> ClusterKey {
    ClusterKey::new("the cluster's secret").unwrap()
}

fn node(name: &str, incarnation: u64) -> Member {
    Member {
        gossip_address: LOOPBACK.parse().unwrap(),
        version: "1.2.3".to_owned(),
        ..member(name, incarnation)
    }
}

fn settings(seeds: &[&Gossip]) -> GossipSettings {
    GossipSettings {
        cluster: "test".to_owned(),
        seeds: seeds.iter().map(|seed| address(seed).to_string()).collect(),
        interval: INTERVAL,
    }
}

/// Where a node gossips.
fn address(gossip: &Gossip) -> SocketAddr {
    gossip.handle.chitchat_id().gossip_advertise_addr
}

async fn start(name: &str, incarnation: u64, seeds: &[&Gossip]) -> Arc<Gossip> {
    Gossip::start(settings(seeds), &key(), &node(name, incarnation))
        .await
        .unwrap()
}

/// Waits until the node sees exactly these names and incarnations.
async fn sees(node: &Gossip, expected: &[(&str, u64)]) -> Vec<Member> {
    let mut reports = node.reports();
    let found = timeout(
        PATIENCE,
        reports.wait_for(|reports| {
            reports
                .iter()
                .map(|report| (report.member.name.as_str(), report.member.incarnation))
                .eq(expected.iter().copied())
        }),
    )
    .await;
    match found {
        Ok(reports) => reports
            .unwrap()
            .iter()
            .map(|report| report.member.clone())
            .collect(),
        Err(_) => panic!("expected {expected:?}, saw {:?}", node.reports().borrow()),
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
        assert_eq!(members[2].state, MemberState::Ready);
        assert_eq!(members[2].roles, [Role::Front, Role::Entities]);
        assert_eq!(members[2].gossip_address, address(&n3));
        assert_eq!(members[2].version, "1.2.3");
    }
    // Later changes reach the others too.
    n3.publish_state(MemberState::Leaving);
    n3.publish_unreachable(vec!["n1".to_owned(), "n2".to_owned()]);
    let mut reports = n2.reports();
    timeout(
        PATIENCE,
        reports.wait_for(|reports| {
            reports[2].member.state == MemberState::Leaving && reports[2].unreachable == ["n1", "n2"]
        }),
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
async fn a_new_incarnation_supersedes_the_old_for_good() {
    let n1 = start("n1", 1, &[]).await;
    let old = start("n2", 5, &[&n1]).await;
    sees(&n1, &[("n1", 1), ("n2", 5)]).await;
    let new = start("n2", 6, &[&n1]).await;
    sees(&n1, &[("n1", 1), ("n2", 6)]).await;
    // The old process is still alive. It must not reappear when the new one ends.
    drop(new);
    sees(&n1, &[("n1", 1)]).await;
    drop(old);
}

#[tokio::test]
async fn other_keys_and_clusters_are_ignored() {
    let n1 = start("n1", 1, &[]).await;
    let other_key = ClusterKey::new("some other cluster's").unwrap();
    let stranger = Gossip::start(settings(&[&n1]), &other_key, &node("n8", 1))
        .await
        .unwrap();
    let mut other = settings(&[&n1]);
    other.cluster = "another".to_owned();
    let foreigner = Gossip::start(other, &key(), &node("n9", 1)).await.unwrap();
    // Garbage does not hurt either.
    let socket = UdpSocket::bind(LOOPBACK).await.unwrap();
    for length in [0, 1, 13, 29, 1400] {
        socket.send_to(&vec![1; length], address(&n1)).await.unwrap();
    }
    // The last node to start has been seen, so the others would have been.
    let friend = start("n2", 1, &[&n1]).await;
    let members = sees(&n1, &[("n1", 1), ("n2", 1)]).await;
    assert_eq!(members.len(), 2);
    sees(&friend, &[("n1", 1), ("n2", 1)]).await;
    sees(&stranger, &[("n8", 1)]).await;
    sees(&foreigner, &[("n9", 1)]).await;
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let n1 = start("n1", 1, &[]).await;
    let mut taken = node("n2", 1);
    taken.gossip_address = address(&n1);
    let error = Gossip::start(settings(&[]), &key(), &taken).await.err().unwrap();
    assert!(error.to_string().contains(&address(&n1).to_string()));
}
