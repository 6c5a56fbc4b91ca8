use std::sync::atomic::Ordering;
use std::time::Duration;

use gateway_codec::{CloseCode, DeviceId, Platform};

use super::{ACK_TIMEOUT, LATE, outcomes, pass};
use crate::testing::{Link, NOW, Node, body, settle, to_user, user};
use crate::{DeliverySettings, Outcome, PushOrder, Target};

const LONG: Option<Duration> = Some(Duration::from_secs(60));

#[tokio::test(start_paused = true)]
async fn an_acknowledged_push_is_acked() {
    let node = Node::start();
    let link = Link::acknowledging();
    let record = node.ready("alice", "a", &link).await;
    let pushed = node.delivery.push_now(to_user("p1", "alice"), NOW);
    assert!(pushed.any_queued());
    assert_eq!(outcomes(&pushed.report()), [Outcome::Queued]);
    node.delivery.written(record.session_id, 1);
    assert_eq!(
        outcomes(&pushed.report()),
        [Outcome::Queued],
        "written is not enough"
    );
    node.delivery.acked(record.session_id, "another");
    node.delivery.acked(record.session_id, "p1");
    let report = pushed.settled(Duration::from_secs(1)).await;
    assert_eq!(outcomes(&report), [Outcome::Acked]);
    assert_eq!(report.outcomes[0].device.as_ref().unwrap().0.as_str(), "a");
    pass(ACK_TIMEOUT * 2).await;
    assert!(node.sink.of("alice").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_push_to_a_client_that_does_not_acknowledge_is_written() {
    let node = Node::start();
    let link = Link::plain();
    let record = node.ready("alice", "a", &link).await;
    let waiting = node.delivery.push(to_user("p1", "alice"), LONG, NOW);
    node.delivery.written(record.session_id, 1);
    assert_eq!(outcomes(&waiting.await), [Outcome::Written]);
}

#[tokio::test(start_paused = true)]
async fn without_waiting_a_queued_push_is_reported_at_once() {
    let node = Node::start();
    node.ready("alice", "a", &Link::acknowledging()).await;
    let report = node.delivery.push(to_user("p1", "alice"), None, NOW).await;
    assert_eq!(outcomes(&report), [Outcome::Queued]);
    let report = node
        .delivery
        .push(to_user("p2", "alice"), Some(Duration::from_secs(1)), NOW)
        .await;
    assert_eq!(outcomes(&report), [Outcome::Queued], "the wait was over first");
}

#[tokio::test(start_paused = true)]
async fn a_push_to_nobody_is_in_the_box_when_it_is_reported_offline() {
    let node = Node::start();
    let pushed = node.delivery.push_now(to_user("p1", "alice"), NOW);
    assert!(!pushed.any_queued());
    let report = pushed.accepted().await;
    assert_eq!(outcomes(&report), [Outcome::Offline]);
    assert_eq!(report.outcomes[0].device, None);
    assert_eq!(node.sink.of("alice"), ["p1"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_acknowledged_in_time_is_recorded() {
    let node = Node::start();
    node.ready("alice", "a", &Link::acknowledging()).await;
    let waiting = node.delivery.push(to_user("p1", "alice"), LONG, NOW);
    pass(ACK_TIMEOUT - LATE).await;
    assert!(node.sink.of("alice").is_empty());
    pass(LATE * 2).await;
    assert_eq!(node.sink.of("alice"), ["p1"]);
    assert_eq!(outcomes(&waiting.await), [Outcome::Offline]);
}

#[tokio::test(start_paused = true)]
async fn a_late_acknowledgement_takes_the_push_out_of_the_box() {
    let node = Node::start();
    let link = Link::acknowledging();
    let record = node.ready("alice", "a", &link).await;
    let pushed = node.delivery.push_now(to_user("p1", "alice"), NOW);
    pass(ACK_TIMEOUT + LATE).await;
    assert_eq!(node.sink.of("alice"), ["p1"]);
    node.delivery.acked(record.session_id, "p1");
    settle().await;
    assert!(node.sink.of("alice").is_empty());
    assert_eq!(outcomes(&pushed.report()), [Outcome::Acked]);
    assert_eq!(link.pushed(), ["p1"], "and it was sent once");
}

#[tokio::test(start_paused = true)]
async fn an_end_records_what_was_not_taken_in_order() {
    let node = Node::start();
    let plain = Link::plain();
    let acknowledging = Link::acknowledging();
    let alice = node.ready("alice", "a", &plain).await;
    let bob = node.ready("bob", "b", &acknowledging).await;
    for push in ["p1", "p2", "p3", "p4"] {
        let target = Target::Users(vec![user("alice"), user("bob")]);
        let _ = node.delivery.push_now(
            PushOrder {
                body: body(push),
                target,
            },
            NOW,
        );
    }
    node.delivery.acked(bob.session_id, "p2");
    node.gone(&alice, 2).await;
    node.gone(&bob, 4).await;
    assert_eq!(node.sink.of("alice"), ["p3", "p4"], "the rest was written");
    assert_eq!(
        node.sink.of("bob"),
        ["p1", "p3", "p4"],
        "the rest was acknowledged"
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_that_begins_to_acknowledge_is_held_to_it() {
    let node = Node::start();
    let link = Link::plain();
    let record = node.ready("alice", "a", &link).await;
    let first = node.delivery.push_now(to_user("p1", "alice"), NOW);
    node.delivery.written(record.session_id, 1);
    link.acknowledges.store(true, Ordering::Relaxed);
    let second = node.delivery.push_now(to_user("p2", "alice"), NOW);
    node.delivery.written(record.session_id, 2);
    assert_eq!(outcomes(&first.report()), [Outcome::Written]);
    assert_eq!(outcomes(&second.report()), [Outcome::Queued]);
    node.delivery.acked(record.session_id, "p2");
    assert_eq!(outcomes(&second.report()), [Outcome::Acked]);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_is_slow_and_ends_the_session_and_order_is_kept() {
    let node = Node::start();
    let link = Link::acknowledging();
    link.room.store(2, Ordering::Relaxed);
    let record = node.ready("alice", "a", &link).await;
    let pushed: Vec<_> = ["p1", "p2", "p3", "p4"]
        .into_iter()
        .map(|push| node.delivery.push_now(to_user(push, "alice"), NOW))
        .collect();
    assert_eq!(link.closed(), Some(CloseCode::TooSlow));
    assert_eq!(outcomes(&pushed[2].report()), [Outcome::Slow]);
    assert!(!pushed[2].any_queued());
    assert!(
        node.sink.of("alice").is_empty(),
        "what was queued may still get through"
    );
    node.delivery.acked(record.session_id, "p1");
    node.gone(&record, 2).await;
    assert_eq!(node.sink.of("alice"), ["p2", "p3", "p4"]);
    let all: Vec<_> = pushed
        .iter()
        .flat_map(|pushed| outcomes(&pushed.report()))
        .collect();
    assert_eq!(
        all,
        [Outcome::Acked, Outcome::Offline, Outcome::Slow, Outcome::Slow]
    );
}

#[tokio::test(start_paused = true)]
async fn too_many_unacknowledged_pushes_are_slow_too() {
    let settings = DeliverySettings {
        pending_per_session: 3,
        ..DeliverySettings::default()
    };
    let node = Node::with(settings);
    let link = Link::acknowledging();
    node.ready("alice", "a", &link).await;
    for push in ["p1", "p2", "p3"] {
        assert!(node.delivery.push_now(to_user(push, "alice"), NOW).any_queued());
    }
    let fourth = node.delivery.push_now(to_user("p4", "alice"), NOW);
    assert_eq!(outcomes(&fourth.report()), [Outcome::Slow]);
    assert_eq!(link.closed(), Some(CloseCode::TooSlow));
    // Its end is never reported: the time limit stands in.
    pass(ACK_TIMEOUT + LATE).await;
    assert_eq!(node.sink.of("alice"), ["p1", "p2", "p3", "p4"]);
}

#[tokio::test(start_paused = true)]
async fn a_box_out_of_reach_is_tried_three_times_and_then_the_push_has_failed() {
    let node = Node::start();
    node.sink.failures.store(2, Ordering::Relaxed);
    let report = node.delivery.push(to_user("p1", "alice"), None, NOW).await;
    assert_eq!(
        outcomes(&report),
        [Outcome::Offline],
        "the third try came through"
    );
    node.sink.failures.store(3, Ordering::Relaxed);
    let report = node.delivery.push(to_user("p2", "alice"), None, NOW).await;
    assert_eq!(outcomes(&report), [Outcome::Failed]);
    assert_eq!(node.sink.of("alice"), ["p1"]);
}

#[tokio::test(start_paused = true)]
async fn a_box_that_never_answers_fails_in_time() {
    let node = Node::start();
    *node.sink.latency.lock().unwrap() = Duration::from_secs(3_600);
    let report = node.delivery.push(to_user("p1", "alice"), None, NOW).await;
    assert_eq!(outcomes(&report), [Outcome::Failed]);
    assert_eq!(node.sink.tries.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn one_device_that_takes_it_is_enough_for_the_box() {
    let node = Node::start();
    let (phone, tablet, watch) = (Link::acknowledging(), Link::acknowledging(), Link::plain());
    let first = node.ready("alice", "phone", &phone).await;
    node.ready("alice", "tablet", &tablet).await;
    let third = node.ready("alice", "watch", &watch).await;
    let waiting = node.delivery.push(to_user("p1", "alice"), LONG, NOW);
    for link in [&phone, &tablet, &watch] {
        assert_eq!(link.pushed(), ["p1"]);
    }
    node.gone(&third, 0).await;
    node.delivery.acked(first.session_id, "p1");
    let report = waiting.await;
    assert_eq!(
        outcomes(&report),
        [Outcome::Acked, Outcome::Offline, Outcome::Offline]
    );
    pass(ACK_TIMEOUT).await;
    assert!(node.sink.of("alice").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_push_to_one_device_reaches_no_other() {
    let node = Node::start();
    let (phone, tablet) = (Link::plain(), Link::plain());
    node.ready("alice", "phone", &phone).await;
    node.ready("alice", "tablet", &tablet).await;
    let order = |push, device| PushOrder {
        body: body(push),
        target: Target::Device {
            user: user("alice"),
            device: DeviceId::parse(device).unwrap(),
            platform: Platform::parse("android").unwrap(),
        },
    };
    let pushed = node.delivery.push_now(order("p1", "tablet"), NOW);
    assert_eq!(pushed.report().outcomes.len(), 1);
    assert_eq!((phone.pushed(), tablet.pushed()), (vec![], vec!["p1".to_owned()]));
    let report = node.delivery.push(order("p2", "lost"), None, NOW).await;
    assert_eq!(outcomes(&report), [Outcome::Offline]);
    settle().await;
    assert_eq!(node.sink.of("alice"), ["p2"], "it waits for the next login");
}

#[tokio::test(start_paused = true)]
async fn pushes_of_one_caller_arrive_in_the_order_of_the_calls() {
    let node = Node::start();
    let link = Link::plain();
    node.ready("alice", "a", &link).await;
    let ids: Vec<_> = (0..500).map(|index| format!("p{index}")).collect();
    // The futures are polled in the wrong order; the calls were made in the right one.
    let futures: Vec<_> = ids
        .iter()
        .map(|id| node.delivery.push(to_user(id, "alice"), None, NOW))
        .collect();
    for future in futures.into_iter().rev() {
        future.await;
    }
    assert_eq!(link.pushed(), ids);
    let futures: Vec<_> = ids
        .iter()
        .map(|id| node.delivery.push(to_user(id, "bob"), None, NOW))
        .collect();
    for future in futures.into_iter().rev() {
        future.await;
    }
    assert_eq!(node.sink.of("bob"), ids);
}

#[tokio::test(start_paused = true)]
async fn shutting_down_records_what_is_under_way_and_refuses_the_rest() {
    let node = Node::start();
    let link = Link::acknowledging();
    node.ready("alice", "a", &link).await;
    let held = Link::acknowledging();
    node.bind("bob", "b", &held).await;
    let _ = node.delivery.push_now(to_user("p1", "alice"), NOW);
    let _ = node.delivery.push_now(to_user("p2", "bob"), NOW);
    node.delivery.shutdown().await;
    assert_eq!(node.sink.of("alice"), ["p1"]);
    assert_eq!(node.sink.of("bob"), ["p2"]);
    let report = node.delivery.push(to_user("p3", "alice"), LONG, NOW).await;
    assert_eq!(outcomes(&report), [Outcome::Failed]);
}

#[tokio::test(start_paused = true)]
async fn a_displaced_session_whose_end_nobody_reports_holds_nothing_back() {
    let node = Node::start();
    let old = Link::plain();
    node.ready("alice", "a", &old).await;
    let _ = node.delivery.push_now(to_user("p1", "alice"), NOW);
    let new = Link::plain();
    node.ready("alice", "a", &new).await;
    assert_eq!(old.closed(), Some(CloseCode::Replaced));
    pass(ACK_TIMEOUT + LATE).await;
    assert_eq!(
        new.pushed(),
        ["p1"],
        "recorded, and fetched by the session that is there"
    );
}
