use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{ACK_TIMEOUT, outcomes, pass};
use crate::testing::{Link, NOW, Node, body, settle, to_user};
use crate::{BroadcastReport, DeliverySettings, Outcome};

#[tokio::test(start_paused = true)]
async fn a_repeat_is_told_what_became_of_the_first() {
    let node = Node::start();
    let link = Link::acknowledging();
    let record = node.ready("alice", "a", &link).await;
    let first = node.delivery.push_now(to_user("p1", "alice"), NOW);
    let again = node.delivery.push_now(to_user("p1", "alice"), NOW);
    let other = node.delivery.push_now(to_user("p1", "bob"), NOW);
    settle().await;
    assert_eq!(link.pushed(), ["p1"]);
    assert!(again.any_queued() && !other.any_queued(), "an id counts per user");
    node.delivery.acked(record.session_id, "p1");
    assert_eq!(outcomes(&first.report()), [Outcome::Acked]);
    assert_eq!(
        outcomes(&again.settled(Duration::from_secs(1)).await),
        [Outcome::Acked]
    );
    let late = node.delivery.push(to_user("p1", "alice"), None, NOW).await;
    assert_eq!(outcomes(&late), [Outcome::Acked]);
    assert_eq!(node.sink.of("bob"), ["p1"]);
    let _ = node.delivery.push(to_user("p1", "bob"), None, NOW).await;
    assert_eq!(node.sink.of("bob"), ["p1"], "recorded once as well");
}

#[tokio::test(start_paused = true)]
async fn a_failed_push_may_be_tried_again() {
    let node = Node::start();
    node.sink.failures.store(3, Ordering::Relaxed);
    let failed = node.delivery.push(to_user("p1", "alice"), None, NOW).await;
    assert_eq!(outcomes(&failed), [Outcome::Failed]);
    let again = node.delivery.push(to_user("p1", "alice"), None, NOW).await;
    assert_eq!(outcomes(&again), [Outcome::Offline]);
    assert_eq!(node.sink.of("alice"), ["p1"]);
}

#[tokio::test(start_paused = true)]
async fn the_window_is_bounded_in_time_and_number() {
    let settings = DeliverySettings {
        dedup_entries: 64,
        ..DeliverySettings::default()
    };
    let node = Node::with(settings);
    let link = Link::plain();
    node.ready("alice", "a", &link).await;
    let _ = node.delivery.push_now(to_user("p1", "alice"), NOW);
    pass(Duration::from_secs(119)).await;
    let _ = node.delivery.push_now(to_user("p1", "alice"), NOW);
    assert_eq!(link.pushed().len(), 1);
    pass(Duration::from_secs(1)).await;
    let _ = node.delivery.push_now(to_user("p1", "alice"), NOW);
    assert_eq!(link.pushed().len(), 2, "the window has passed");
    for index in 0..2_000 {
        let _ = node
            .delivery
            .push_now(to_user(&format!("x{index}"), "carol"), NOW);
    }
    let _ = node.delivery.push_now(to_user("p1", "alice"), NOW);
    assert_eq!(link.pushed().len(), 3, "the number has passed");
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_reaches_every_session_once_and_keeps_nothing() {
    let node = Node::start();
    let (alice, bob, slow) = (Link::acknowledging(), Link::plain(), Link::plain());
    slow.room.store(1, Ordering::Relaxed);
    node.ready("alice", "a", &alice).await;
    node.ready("bob", "b", &bob).await;
    node.ready("carol", "c", &slow).await;
    let _ = node.delivery.push_now(to_user("p1", "carol"), NOW);
    let report = node.delivery.broadcast(body("b1"), NOW).await;
    assert_eq!(report, BroadcastReport { queued: 2, slow: 1 });
    assert_eq!(node.delivery.broadcast(body("b1"), NOW).await, report);
    assert_eq!(
        (alice.pushed(), bob.pushed()),
        (vec!["b1".to_owned()], vec!["b1".to_owned()])
    );
    pass(ACK_TIMEOUT * 2).await;
    assert!(node.sink.of("alice").is_empty());
    assert_eq!(node.sink.of("carol"), ["p1"]);
}
