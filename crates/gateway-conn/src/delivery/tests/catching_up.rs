use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gateway_codec::CloseCode;
use tokio::runtime::Handle;

use super::{ACK_TIMEOUT, LATE, outcomes, pass};
use crate::testing::{Link, Memory, NOW, Node, registry, settle, to_user};
use crate::{Backlog, Delivery, DeliverySettings, MockOfflineSink, OfflineError, Outcome, SessionRecord};

fn slow_box(node: &Node, time: Duration) {
    *node.sink.latency.lock().unwrap() = time;
}

async fn ack_all(node: &Node, record: &SessionRecord, link: &Link) {
    for push in link.pushed() {
        node.delivery.acked(record.session_id, &push);
    }
    settle().await;
}

fn fill(sink: &Memory, count: usize) -> Vec<String> {
    let ids: Vec<_> = (0..count).map(|index| format!("box{index}")).collect();
    for id in &ids {
        sink.put("alice", id);
    }
    ids
}

#[tokio::test(start_paused = true)]
async fn the_box_comes_first_in_order_then_what_was_held() {
    let node = Node::start();
    let mut expected = fill(&node.sink, 3);
    slow_box(&node, Duration::from_secs(1));
    let link = Link::acknowledging();
    let record = node.bind("alice", "a", &link).await;
    let before_the_reply = node.delivery.push_now(to_user("p1", "alice"), NOW);
    node.delivery.bound(&record, None);
    settle().await;
    let meanwhile = node.delivery.push_now(to_user("p2", "alice"), NOW);
    assert!(before_the_reply.any_queued() && meanwhile.any_queued());
    assert!(link.pushed().is_empty());
    pass(Duration::from_secs(1)).await;
    let _ = node.delivery.push_now(to_user("p3", "alice"), NOW);
    expected.extend(["p1", "p2", "p3"].map(str::to_owned));
    assert_eq!(link.pushed(), expected);
    slow_box(&node, Duration::ZERO);
    ack_all(&node, &record, &link).await;
    assert!(node.sink.of("alice").is_empty());
    let delivered = node.sink.delivered.lock().unwrap().concat();
    assert_eq!(delivered, expected[..3], "only those of the box are reported");
}

#[tokio::test(start_paused = true)]
async fn what_a_session_does_not_take_stays_in_the_box_and_is_not_recorded_again() {
    let node = Node::start();
    fill(&node.sink, 3);
    let link = Link::acknowledging();
    let record = node.ready("alice", "a", &link).await;
    node.delivery.acked(record.session_id, "box1");
    pass(ACK_TIMEOUT + LATE).await;
    node.gone(&record, 3).await;
    assert_eq!(node.sink.of("alice"), ["box0", "box2"]);
    let plain = Link::plain();
    let record = node.ready("alice", "a", &plain).await;
    assert_eq!(plain.pushed(), ["box0", "box2"]);
    node.gone(&record, 1).await;
    assert_eq!(node.sink.of("alice"), ["box2"], "the first was written");
}

#[tokio::test(start_paused = true)]
async fn a_long_box_is_asked_for_again_until_it_is_empty() {
    let node = Node::start();
    let expected = fill(&node.sink, 25);
    node.sink.page.store(10, Ordering::Relaxed);
    let link = Link::acknowledging();
    let record = node.ready("alice", "a", &link).await;
    for (round, sent) in [10, 20, 25, 25].into_iter().enumerate() {
        assert_eq!(link.pushed(), expected[..sent], "round {round}");
        ack_all(&node, &record, &link).await;
    }
    assert!(node.sink.of("alice").is_empty());
    assert_eq!(node.sink.asked.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_not_asked_for_again() {
    let node = Node::start();
    fill(&node.sink, 25);
    node.sink.page.store(10, Ordering::Relaxed);
    let link = Link::acknowledging();
    node.ready("alice", "a", &link).await;
    pass(ACK_TIMEOUT * 10).await;
    assert_eq!(
        (link.pushed().len(), node.sink.asked.load(Ordering::Relaxed)),
        (10, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_push_that_is_held_and_in_the_box_is_sent_once() {
    let node = Node::start();
    fill(&node.sink, 2);
    let link = Link::acknowledging();
    let record = node.bind("alice", "a", &link).await;
    let held = node.delivery.push_now(to_user("box1", "alice"), NOW);
    node.delivery.bound(&record, None);
    settle().await;
    assert_eq!(link.pushed(), ["box0", "box1"]);
    ack_all(&node, &record, &link).await;
    assert_eq!(outcomes(&held.report()), [Outcome::Acked]);
    assert!(node.sink.of("alice").is_empty());
}

#[tokio::test(start_paused = true)]
async fn too_much_held_ends_the_session_and_keeps_order() {
    let settings = DeliverySettings {
        catch_up_buffer: 3,
        ..DeliverySettings::default()
    };
    let node = Node::with(settings);
    let link = Link::acknowledging();
    let record = node.bind("alice", "a", &link).await;
    let ids = ["p1", "p2", "p3", "p4", "p5"];
    let pushed: Vec<_> = ids
        .iter()
        .map(|id| node.delivery.push_now(to_user(id, "alice"), NOW))
        .collect();
    assert_eq!(link.closed(), Some(CloseCode::TooSlow));
    assert_eq!(outcomes(&pushed[3].report()), [Outcome::Slow]);
    node.gone(&record, 0).await;
    assert_eq!(node.sink.of("alice"), ids);
}

#[tokio::test(start_paused = true)]
async fn a_box_that_does_not_answer_holds_nobody_up_and_is_asked_again() {
    let node = Node::start();
    fill(&node.sink, 1);
    slow_box(&node, Duration::from_secs(60));
    let link = Link::acknowledging();
    let record = node.bind("alice", "a", &link).await;
    node.delivery.bound(&record, None);
    let _ = node.delivery.push_now(to_user("p1", "alice"), NOW);
    pass(Duration::from_secs(3) + LATE).await;
    assert_eq!(link.pushed(), ["p1"]);
    slow_box(&node, Duration::ZERO);
    pass(Duration::from_secs(6)).await;
    assert_eq!(link.pushed(), ["p1", "box0"]);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_nobody_declares_ready_gets_what_was_held_all_the_same() {
    let node = Node::start();
    let link = Link::acknowledging();
    node.bind("alice", "a", &link).await;
    let _ = node.delivery.push_now(to_user("p1", "alice"), NOW);
    pass(Duration::from_secs(3) + LATE).await;
    assert_eq!(link.pushed(), ["p1"]);
}

#[tokio::test(start_paused = true)]
async fn a_recording_that_a_login_overtakes_is_fetched_by_it() {
    let node = Node::start();
    slow_box(&node, Duration::from_secs(1));
    let _ = node.delivery.push_now(to_user("p1", "alice"), NOW);
    let link = Link::acknowledging();
    let record = node.bind("alice", "a", &link).await;
    node.delivery.bound(&record, None);
    pass(Duration::from_secs(5)).await;
    assert_eq!(link.pushed(), ["p1"]);
    ack_all(&node, &record, &link).await;
    pass(Duration::from_secs(5)).await;
    assert!(node.sink.of("alice").is_empty());
    assert_eq!(link.pushed(), ["p1"]);
}

#[tokio::test(start_paused = true)]
async fn what_an_older_session_leaves_behind_goes_to_the_newer_one() {
    let node = Node::start();
    let old = Link::acknowledging();
    let first = node.ready("alice", "a", &old).await;
    let _ = node.delivery.push_now(to_user("p1", "alice"), NOW);
    // The network changed: the device is back before its old socket is known to be dead.
    let new = Link::acknowledging();
    let second = node.ready("alice", "a", &new).await;
    assert!(new.pushed().is_empty());
    node.gone(&first, 1).await;
    assert_eq!(new.pushed(), ["p1"]);
    ack_all(&node, &second, &new).await;
    assert!(node.sink.of("alice").is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_while_the_box_is_being_asked_is_not_sent_again() {
    let node = Node::start();
    fill(&node.sink, 1);
    let link = Link::acknowledging();
    let record = node.ready("alice", "a", &link).await;
    assert_eq!(link.pushed(), ["box0"]);
    // Another device goes and leaves something, so this session asks again; the answer still has box0.
    slow_box(&node, Duration::from_secs(1));
    let other = Link::acknowledging();
    let gone = node.bind("alice", "b", &other).await;
    let pushed = node.delivery.push_now(to_user("p1", "alice"), NOW);
    node.gone(&gone, 0).await;
    let third = Link::acknowledging();
    let newest = node.bind("alice", "c", &third).await;
    node.delivery.bound(&newest, None);
    settle().await;
    node.delivery.acked(record.session_id, "box0");
    node.delivery.acked(record.session_id, "p1");
    pass(Duration::from_secs(10)).await;
    assert_eq!(link.pushed(), ["box0", "p1"]);
    assert_eq!(outcomes(&pushed.report()), [Outcome::Acked, Outcome::Offline]);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_stops_a_round_without_ending_the_session() {
    let node = Node::start();
    let expected = fill(&node.sink, 5);
    let link = Link::acknowledging();
    link.room.store(3, Ordering::Relaxed);
    let record = node.ready("alice", "a", &link).await;
    assert_eq!((link.pushed().len(), link.closed()), (3, None));
    link.room.store(0, Ordering::Relaxed);
    ack_all(&node, &record, &link).await;
    assert_eq!(link.pushed(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_panics_costs_its_own_call_only() {
    let registry = Arc::new(registry());
    let mut sink = MockOfflineSink::new();
    sink.expect_record_offline()
        .times(1)
        .returning(|_| panic!("a bug over there"));
    sink.expect_record_offline().times(1).returning(|_| Ok(()));
    sink.expect_record_offline()
        .returning(|_| Err(OfflineError::Rejected("no".to_owned())));
    sink.expect_session_bound().returning(|_| Ok(Backlog::default()));
    let settings = DeliverySettings::default();
    let delivery = Delivery::new(registry, Arc::new(sink), settings, Handle::current());
    let mut seen = Vec::new();
    for id in ["p1", "p2", "p3"] {
        seen.extend(outcomes(&delivery.push(to_user(id, "alice"), None, NOW).await));
    }
    assert_eq!(seen, [Outcome::Failed, Outcome::Offline, Outcome::Failed]);
}
