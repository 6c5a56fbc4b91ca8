use gateway_codec::SessionId;

use super::*;
use crate::NewSession;
use crate::delivery::recall::size;
use crate::testing::{NOW, body, new_session, record};

const SECOND: Duration = Duration::from_secs(1);

fn settings() -> Settings {
    Settings::default()
}

/// The session of this epoch.
fn session(name: &str, device: &str, epoch: u64) -> Arc<SessionRecord> {
    let new = NewSession {
        session_id: SessionId::from_random(u128::from(epoch).to_be_bytes()),
        ..new_session(name, device, "android")
    };
    record(new, epoch)
}

fn send(recent: &Recent, record: &Arc<SessionRecord>, id: &str, now: Instant) -> u64 {
    let push = Arc::new(EncodedPush::new(body(id), NOW));
    recent.sent(record, &push, true, now)
}

fn recall(recent: &Recent, record: &SessionRecord, last: &str, now: Instant) -> Recalled {
    let device = (&record.device_id, &record.platform);
    recent.recall(&record.user_id, device, mark(last), None, now).0
}

/// The pushes that are still there, `-` for those of which only the mark is.
fn missed(recalled: &Recalled) -> Vec<&str> {
    let pushes = recalled.missed.iter().map(|one| one.push.as_deref());
    pushes
        .map(|push| push.map_or("-", |push| push.body.push_id.as_str()))
        .collect()
}

#[test]
fn a_device_that_was_never_pushed_to_costs_nothing() {
    let recent = Recent::new(&settings());
    let record = session("alice", "a", 1);
    recent.left(&record, Instant::now());
    assert_eq!(recent.sweep(Instant::now()), 0);
    assert!(recent.shards.of(&record.user_id).users.is_empty());
}

#[test]
fn a_log_is_bounded_in_pushes_bytes_and_entries() {
    let now = Instant::now();
    for (settings, kept, entries) in [
        (
            Settings {
                resume_pushes_per_device: 3,
                ..settings()
            },
            3,
            12,
        ),
        (
            Settings {
                resume_bytes_per_device: 700,
                resume_pushes_per_device: 5,
                ..settings()
            },
            2,
            20,
        ),
        (
            Settings {
                resume_bytes_per_device: 1,
                resume_pushes_per_device: 5,
                ..settings()
            },
            1,
            20,
        ),
    ] {
        let recent = Recent::new(&settings);
        let record = session("alice", "a", 1);
        let forgotten: u64 = (0..40)
            .map(|n| send(&recent, &record, &format!("p{n}"), now))
            .sum();
        assert_eq!(forgotten, 40 - kept, "each once");
        let first = 40 - entries;
        let recalled = recall(&recent, &record, &format!("p{first}"), now);
        assert_eq!(recalled.missed.len(), entries - 1);
        assert_eq!(
            missed(&recalled).iter().filter(|id| **id != "-").count() as u64,
            kept
        );
        let whole = recall(&recent, &record, &format!("p{}", first - 1), now);
        assert_eq!(whole.missed.len(), entries, "the one before the first is known");
        assert!(
            recall(&recent, &record, &format!("p{}", first - 2), now)
                .known
                .is_none()
        );
    }
}

#[test]
fn all_logs_together_are_bounded_and_the_oldest_go_first() {
    let now = Instant::now();
    let shards = Sharded::<Shard>::COUNT;
    let one = size(&body("p0"));
    let recent = Recent::new(&Settings {
        resume_bytes: 3 * one * shards,
        ..settings()
    });
    let (alice, beside) = (session("alice", "a", 1), session("alice", "b", 2));
    send(&recent, &alice, "p0", now);
    for id in ["p1", "p2", "p3"] {
        send(&recent, &alice, id, now);
        send(&recent, &beside, id, now);
    }
    assert_eq!(missed(&recall(&recent, &alice, "p0", now)), ["-", "-", "p3"]);
    assert_eq!(missed(&recall(&recent, &beside, "p1", now)), ["p2", "p3"]);
    assert!(recent.shards.of(&alice.user_id).bytes <= 3 * one);

    let recent = Recent::new(&Settings {
        resume_pushes: 4 * shards,
        ..settings()
    });
    for n in 0..10 {
        send(&recent, &alice, &format!("p{n}"), now);
    }
    assert_eq!(
        missed(&recall(&recent, &alice, "p5", now)),
        ["p6", "p7", "p8", "p9"]
    );
    assert!(recall(&recent, &alice, "p4", now).known.is_none());
    assert_eq!(recent.sweep(now), 4);
    // An end takes a place too, and what goes for it is counted.
    assert_eq!(recent.left(&alice, now), 1);
    assert_eq!(recent.shards.of(&alice.user_id).order.len(), 4);
}

#[test]
fn what_is_over_its_time_goes_and_the_last_mark_stays_with_the_session() {
    let (recent, start) = (Recent::new(&settings()), Instant::now());
    let record = session("alice", "a", 1);
    send(&recent, &record, "p0", start);
    send(&recent, &record, "p1", start + SECOND);
    let later = start + SECOND * 120;
    recent.sweep(later);
    assert_eq!(missed(&recall(&recent, &record, "p0", later)), ["p1"]);
    let later = later + SECOND * 600;
    assert_eq!(recent.sweep(later), 0);
    assert!(recall(&recent, &record, "p1", later).known.is_some());
    assert!(recall(&recent, &record, "p0", later).known.is_none());
    assert_eq!(recent.shards.of(&record.user_id).bytes, 0);
    recent.left(&record, later);
    assert_eq!(recall(&recent, &record, "p1", later + SECOND).known, Some(SECOND));
    assert_eq!(recent.sweep(later + SECOND * 120), 0);
    assert!(recent.shards.of(&record.user_id).users.is_empty());
}

#[test]
fn a_late_end_of_an_older_session_does_not_end_the_memory_of_a_newer_one() {
    let (recent, start) = (Recent::new(&settings()), Instant::now());
    let (old, new) = (session("alice", "a", 1), session("alice", "a", 2));
    send(&recent, &old, "p0", start);
    recent.restart(&new, mark("p0"), start);
    recent.left(&old, start);
    let later = start + SECOND * 500;
    recent.sweep(later);
    assert_eq!(recall(&recent, &new, "p0", later).known, Some(Duration::ZERO));
    // And one that came before the newer one had been heard of.
    recent.left(&new, later);
    let newest = session("alice", "a", 3);
    recent.restart(&newest, mark("p0"), later + SECOND);
    recent.sweep(later + SECOND * 500);
    assert!(recall(&recent, &newest, "p0", later).known.is_some());
}

#[test]
fn a_device_that_comes_from_elsewhere_starts_with_what_it_has() {
    let (recent, now) = (Recent::new(&settings()), Instant::now());
    let old = session("alice", "a", 1);
    send(&recent, &old, "before", now);
    let record = session("alice", "a", 2);
    recent.restart(&record, mark("elsewhere"), now);
    assert!(recall(&recent, &record, "before", now).known.is_none());
    send(&recent, &record, "p1", now);
    assert_eq!(missed(&recall(&recent, &record, "elsewhere", now)), ["p1"]);
    assert_eq!(recent.shards.of(&record.user_id).bytes, size(&body("p1")));
}
