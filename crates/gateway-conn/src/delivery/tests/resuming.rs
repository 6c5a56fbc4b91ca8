use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gateway_codec::{CloseCode, DeviceId, Platform};
use proptest::prelude::*;

use super::{ACK_TIMEOUT, LATE, pass};
use crate::testing::{Link, NOW, Node, body, settle, to_user, user};
use crate::{DeliverySettings, KickKind, PushOrder, Selector, SessionRecord, Target};

const WINDOW: Duration = Duration::from_secs(120);

fn push(node: &Node, ids: &[&str]) {
    for id in ids {
        let _ = node.delivery.push_now(to_user(id, "alice"), NOW);
    }
}

fn push_to_device(node: &Node, id: &str, device: &str) {
    let target = Target::Device {
        user: user("alice"),
        device: DeviceId::parse(device).unwrap(),
        platform: Platform::parse("android").unwrap(),
    };
    let _ = node.delivery.push_now(
        PushOrder {
            body: body(id),
            target,
        },
        NOW,
    );
}

async fn back(node: &Node, device: &str, link: &Arc<Link>, last: &str) -> Arc<SessionRecord> {
    let record = node.bind("alice", device, link).await;
    node.delivery.bound(&record, Some(last));
    settle().await;
    record
}

fn few(pushes: usize) -> DeliverySettings {
    DeliverySettings {
        resume_pushes_per_device: pushes,
        ..DeliverySettings::default()
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_written_and_lost_comes_again_in_order_and_once() {
    let node = Node::start();
    let link = Link::plain();
    let record = node.ready("alice", "a", &link).await;
    push(&node, &["p0", "p1", "p2", "p3"]);
    node.delivery.written(record.session_id, 4);
    node.gone(&record, 4).await;
    let link = Link::plain();
    let record = back(&node, "a", &link, "p1").await;
    push(&node, &["p4"]);
    assert_eq!(link.pushed(), ["p2", "p3", "p4"]);
    node.delivery.written(record.session_id, 3);
    node.gone(&record, 3).await;
    // Again, with the first of them arrived.
    let link = Link::plain();
    let record = back(&node, "a", &link, "p2").await;
    assert_eq!(link.pushed(), ["p3", "p4"]);
    node.gone(&record, 2).await;
    let link = Link::plain();
    back(&node, "a", &link, "p4").await;
    assert!(link.pushed().is_empty() && link.notices().is_empty());
    assert!(node.sink.of("alice").is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_and_in_the_box_comes_once_before_what_only_the_box_has() {
    let node = Node::start();
    let link = Link::plain();
    let record = node.ready("alice", "a", &link).await;
    push(&node, &["p0", "p1", "p2", "p3"]);
    node.delivery.written(record.session_id, 2);
    node.gone(&record, 2).await;
    push(&node, &["p4", "p5"]);
    settle().await;
    assert_eq!(node.sink.of("alice"), ["p2", "p3", "p4", "p5"]);
    let link = Link::plain();
    let record = node.bind("alice", "a", &link).await;
    push(&node, &["p6"]);
    node.delivery.bound(&record, Some("p0"));
    settle().await;
    assert_eq!(link.pushed(), ["p1", "p2", "p3", "p4", "p5", "p6"]);
    node.delivery.written(record.session_id, 6);
    settle().await;
    assert!(node.sink.of("alice").is_empty(), "taken out of the box");
    assert!(link.notices().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_reaches_the_box_after_it_was_resumed_is_not_sent_again() {
    let node = Node::start();
    let old = Link::plain();
    let old_record = node.ready("alice", "a", &old).await;
    push(&node, &["p0", "p1"]);
    node.delivery.written(old_record.session_id, 1);
    // The device is back before its old connection has ended: p1 is neither settled nor in the box.
    let link = Link::plain();
    let record = back(&node, "a", &link, "p0").await;
    assert_eq!(link.pushed(), ["p1"]);
    node.delivery.written(record.session_id, 1);
    node.delivery.closed(&old_record, 1);
    settle().await;
    assert_eq!(link.pushed(), ["p1"], "recorded, looked for, and known");
    assert!(node.sink.of("alice").is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_acknowledging_device_gets_what_it_has_not_acknowledged_once() {
    let node = Node::start();
    let link = Link::acknowledging();
    let record = node.ready("alice", "a", &link).await;
    push(&node, &["p0", "p1", "p2"]);
    node.delivery.acked(record.session_id, "p0");
    node.gone(&record, 3).await;
    assert_eq!(node.sink.of("alice"), ["p1", "p2"]);
    let link = Link::acknowledging();
    let record = back(&node, "a", &link, "p0").await;
    assert_eq!(link.pushed(), ["p1", "p2"]);
    node.delivery.acked(record.session_id, "p1");
    settle().await;
    assert_eq!(node.sink.of("alice"), ["p2"]);
    // Not acknowledged in time: it stays in the box, and comes at the next return.
    pass(ACK_TIMEOUT + LATE).await;
    node.gone(&record, 2).await;
    let link = Link::acknowledging();
    back(&node, "a", &link, "p1").await;
    assert_eq!(link.pushed(), ["p2"]);
    assert!(link.notices().is_empty());
}

#[tokio::test(start_paused = true)]
async fn more_than_is_remembered_is_announced_with_its_number() {
    let node = Node::with(few(4));
    let link = Link::plain();
    let record = node.ready("alice", "a", &link).await;
    let ids: Vec<_> = (0..10).map(|n| format!("p{n}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    push(&node, &ids);
    node.delivery.written(record.session_id, 10);
    node.gone(&record, 10).await;
    let link = Link::plain();
    let record = back(&node, "a", &link, "p0").await;
    assert_eq!(link.pushed(), ids[6..]);
    assert_eq!(link.notices(), ["Gap { count: 5 }"]);
    // What was announced once is not announced again.
    node.gone(&record, 0).await;
    let link = Link::plain();
    back(&node, "a", &link, "p0").await;
    assert_eq!(link.pushed(), ids[6..]);
    assert!(link.notices().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_and_in_the_box_is_no_gap() {
    let node = Node::with(few(2));
    let link = Link::plain();
    let record = node.ready("alice", "a", &link).await;
    push(&node, &["p0", "p1", "p2", "p3", "p4"]);
    node.delivery.written(record.session_id, 2);
    node.gone(&record, 2).await;
    let link = Link::plain();
    back(&node, "a", &link, "p0").await;
    assert_eq!(link.notices(), ["Gap { count: 1 }"], "p1 was written");
    let mut pushed = link.pushed();
    pushed.sort();
    assert_eq!(pushed, ["p2", "p3", "p4"]);
}

#[tokio::test(start_paused = true)]
async fn a_push_that_nobody_knows_is_a_gap_of_unknown_size() {
    let node = Node::start();
    node.sink.put("alice", "boxed");
    let link = Link::plain();
    back(&node, "a", &link, "from-another-life").await;
    assert_eq!(link.notices(), ["Gap { count: 0 }"]);
    assert_eq!(link.pushed(), ["boxed"]);
}

#[tokio::test(start_paused = true)]
async fn the_window_is_counted_from_the_end_of_the_connection() {
    let node = Node::start();
    let link = Link::plain();
    let mut record = node.ready("alice", "a", &link).await;
    push(&node, &["p0"]);
    node.delivery.written(record.session_id, 1);
    for (idle, away, gap) in [
        (WINDOW * 10, WINDOW - LATE, false),
        (Duration::ZERO, WINDOW - LATE, false),
        (Duration::ZERO, WINDOW + LATE, true),
    ] {
        pass(idle).await;
        node.gone(&record, 1).await;
        pass(away).await;
        let link = Link::plain();
        record = back(&node, "a", &link, "p0").await;
        assert_eq!(!link.notices().is_empty(), gap, "{idle:?} {away:?}");
        assert!(link.pushed().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn the_memory_of_a_session_that_somebody_else_ended_ends_too() {
    let node = Node::start();
    let link = Link::plain();
    let record = node.ready("alice", "a", &link).await;
    push(&node, &["p0"]);
    node.delivery.written(record.session_id, 1);
    let all = Selector::all();
    node.registry
        .kick(&record.user_id, &all, KickKind::Kicked, "", NOW)
        .await
        .unwrap();
    node.delivery.closed(&record, 1);
    pass(WINDOW + LATE).await;
    let link = Link::plain();
    back(&node, "a", &link, "p0").await;
    assert_eq!(link.notices(), ["Gap { count: 0 }"]);
}

#[tokio::test(start_paused = true)]
async fn what_another_device_took_meanwhile_is_missed_too() {
    let node = Node::start();
    let (one, other) = (Link::plain(), Link::plain());
    let record = node.ready("alice", "a", &one).await;
    let beside = node.ready("alice", "b", &other).await;
    push(&node, &["p0", "p1"]);
    node.delivery.written(beside.session_id, 2);
    pass(Duration::from_secs(5)).await;
    node.gone(&record, 1).await;
    push(&node, &["p2"]);
    push_to_device(&node, "only-b", "b");
    push(&node, &["p3"]);
    node.delivery.written(beside.session_id, 5);
    settle().await;
    assert!(node.sink.of("alice").is_empty(), "the other device has all");
    let link = Link::plain();
    back(&node, "a", &link, "p0").await;
    assert_eq!(link.pushed(), ["p1", "p2", "p3"]);
    assert!(link.notices().is_empty());
}

#[tokio::test(start_paused = true)]
async fn broadcasts_are_resumed_and_may_be_the_last_push() {
    let node = Node::start();
    let link = Link::plain();
    let record = node.ready("alice", "a", &link).await;
    let broadcast = async |id: &str| {
        pass(LATE).await;
        node.delivery.broadcast(body(id), NOW).await;
        pass(LATE).await;
    };
    broadcast("b0").await;
    push(&node, &["p0"]);
    broadcast("b1").await;
    node.delivery.written(record.session_id, 3);
    node.gone(&record, 3).await;
    broadcast("b2").await;
    let link = Link::plain();
    let record = back(&node, "a", &link, "p0").await;
    assert_eq!(link.pushed(), ["b1", "b2"]);
    node.gone(&record, 2).await;
    for last in ["b1", "b2"] {
        let link = Link::plain();
        let record = back(&node, "a", &link, last).await;
        let expected: &[&str] = if last == "b1" { &["b2"] } else { &[] };
        assert_eq!(link.pushed(), expected);
        assert!(link.notices().is_empty());
        node.gone(&record, 1).await;
    }
    // A device that was never pushed to by itself; its user's other one was.
    let fresh = Link::plain();
    back(&node, "c", &fresh, "b0").await;
    assert_eq!(fresh.pushed(), ["p0", "b1", "b2"]);
    assert!(fresh.notices().is_empty());
}

#[tokio::test(start_paused = true)]
async fn more_than_a_connection_takes_ends_it_and_comes_with_the_next() {
    let node = Node::start();
    let link = Link::plain();
    let record = node.ready("alice", "a", &link).await;
    push(&node, &["p0", "p1", "p2", "p3", "p4"]);
    node.delivery.written(record.session_id, 5);
    node.gone(&record, 5).await;
    let narrow = Link::plain();
    narrow.room.store(2, Ordering::Relaxed);
    let record = back(&node, "a", &narrow, "p0").await;
    push(&node, &["p5"]);
    assert_eq!(narrow.pushed(), ["p1", "p2"]);
    assert_eq!(narrow.closed(), Some(CloseCode::TooSlow));
    node.gone(&record, 2).await;
    let link = Link::plain();
    back(&node, "a", &link, "p2").await;
    assert_eq!(link.pushed(), ["p3", "p4", "p5"]);
    assert!(link.notices().is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Push,
    /// So many more are written, and so many of them arrive.
    Write {
        written: usize,
        arrive: usize,
    },
    /// The connection ends with so many more written, none of which arrive.
    Cut {
        written: usize,
    },
    Return,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Push),
        3 => (0..5usize, 0..5usize).prop_map(|(written, arrive)| Step::Write { written, arrive }),
        2 => (0..8usize).prop_map(|written| Step::Cut { written }),
        3 => Just(Step::Return),
        1 => (0..900u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..120)
}

/// A device with a bad network, and what it has got.
struct Device {
    node: Node,
    session: Option<(Arc<SessionRecord>, Arc<Link>)>,
    /// On this connection.
    written: usize,
    arrived: usize,
    got: Vec<String>,
    gaps: usize,
    /// A gap was announced without its size.
    uncounted: bool,
    made: usize,
}

impl Device {
    async fn play(settings: DeliverySettings, steps: Vec<Step>) -> Self {
        let mut device = Self {
            node: Node::with(settings),
            session: None,
            written: 0,
            arrived: 0,
            got: Vec::new(),
            gaps: 0,
            uncounted: false,
            made: 0,
        };
        device.come_back().await;
        device.push();
        device.write(1, 1);
        for step in steps {
            match step {
                Step::Push => device.push(),
                Step::Write { written, arrive } => device.write(written, arrive),
                Step::Cut { written } => device.cut(written).await,
                Step::Return => device.come_back().await,
                Step::Wait(millis) => pass(Duration::from_millis(millis)).await,
            }
        }
        device.cut(0).await;
        device.come_back().await;
        device.write(usize::MAX, usize::MAX);
        settle().await;
        device.write(usize::MAX, usize::MAX);
        device
    }

    fn push(&mut self) {
        let id = format!("p{}", self.made);
        self.made += 1;
        let _ = self.node.delivery.push_now(to_user(&id, "alice"), NOW);
    }

    fn write(&mut self, written: usize, arrive: usize) {
        let Some((record, link)) = &self.session else {
            return;
        };
        let pushed = link.pushed();
        self.written = self.written.saturating_add(written).min(pushed.len());
        self.node.delivery.written(record.session_id, self.written as u64);
        let arrived = self.arrived.saturating_add(arrive).min(self.written);
        self.got.extend_from_slice(&pushed[self.arrived..arrived]);
        self.arrived = arrived;
    }

    async fn cut(&mut self, written: usize) {
        let Some((record, link)) = self.session.take() else {
            return;
        };
        self.count_gaps(&link);
        let written = (self.written + written).min(link.pushed().len());
        self.node.gone(&record, written as u64).await;
    }

    async fn come_back(&mut self) {
        if self.session.is_some() {
            return;
        }
        let link = Link::plain();
        let record = self.node.bind("alice", "a", &link).await;
        self.node
            .delivery
            .bound(&record, self.got.last().map(String::as_str));
        settle().await;
        (self.written, self.arrived) = (0, 0);
        self.session = Some((record, link));
    }

    fn count_gaps(&mut self, link: &Link) {
        for notice in link.notices() {
            let count = notice
                .strip_prefix("Gap { count: ")
                .and_then(|rest| rest.strip_suffix(" }"));
            let count: usize = count.unwrap().parse().unwrap();
            self.gaps += count;
            self.uncounted |= count == 0;
        }
    }
}

fn numbers(got: &[String]) -> Vec<usize> {
    got.iter().map(|id| id[1..].parse().unwrap()).collect()
}

fn run(settings: DeliverySettings, steps: Vec<Step>) -> Device {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(Device::play(settings, steps))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_the_network_does_a_device_gets_all_in_order_and_once(steps in steps()) {
        let device = run(DeliverySettings::default(), steps);
        prop_assert!(device.gaps == 0 && !device.uncounted);
        prop_assert_eq!(numbers(&device.got), (0..device.made).collect::<Vec<_>>());
    }

    #[test]
    fn with_little_memory_what_does_not_come_is_counted(steps in steps()) {
        // Marks for 16 pushes.
        let mut device = run(few(4), steps);
        let (_, link) = device.session.take().unwrap();
        device.count_gaps(&link);
        let mut got = numbers(&device.got);
        let count = got.len();
        got.sort_unstable();
        got.dedup();
        prop_assert_eq!(got.len(), count, "each once");
        prop_assert!(count + device.gaps <= device.made);
        prop_assert!(device.uncounted || count + device.gaps == device.made);
    }
}
