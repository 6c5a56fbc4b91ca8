use super::*;
use crate::testing::{NOW, body};

const SECOND: Duration = Duration::from_secs(1);

fn remembered(id: &str, age: u32) -> Remembered {
    Remembered {
        mark: mark(id),
        age: SECOND * age,
        push: Some(Arc::new(EncodedPush::new(body(id), NOW))),
    }
}

fn bare(id: &str, age: u32) -> Remembered {
    Remembered {
        push: None,
        ..remembered(id, age)
    }
}

fn known(left: u32, missed: Vec<Remembered>) -> Recalled {
    Recalled {
        known: Some(SECOND * left),
        missed,
        ..Recalled::default()
    }
}

fn only(others: Vec<Remembered>) -> Recalled {
    Recalled {
        others,
        ..Recalled::default()
    }
}

fn ids(resumed: &Resumed) -> Vec<&str> {
    resumed.pushes.iter().map(|push| &*push.body.push_id).collect()
}

fn gap(resumed: &Resumed) -> Option<u64> {
    resumed.gap.as_ref().map(Gap::count)
}

#[test]
fn the_node_that_the_device_left_last_says_what_it_missed() {
    let older = known(50, vec![remembered("old", 55)]);
    let newer = known(5, vec![remembered("p1", 8), remembered("p2", 7)]);
    for answers in [[older.clone(), newer.clone()], [newer, older]] {
        let resumed = merge(answers.into(), false, None);
        assert_eq!((ids(&resumed), gap(&resumed)), (vec!["p1", "p2"], None));
    }
}

#[test]
fn what_other_devices_got_counts_from_when_the_device_left_and_once() {
    let mut base = known(10, vec![remembered("p1", 12)]);
    base.had = vec![mark("p0")];
    let elsewhere = only(vec![
        remembered("long-before", 60),
        remembered("p0", 11),
        remembered("p1", 11),
        remembered("p2", 6),
    ]);
    let third = only(vec![remembered("p3", 3), remembered("p2", 6)]);
    let resumed = merge(vec![third, elsewhere, base], false, None);
    assert_eq!((ids(&resumed), gap(&resumed)), (vec!["p1", "p2", "p3"], None));
}

#[test]
fn what_one_has_forgotten_another_may_remember() {
    let base = known(10, vec![bare("p1", 13), bare("p2", 12), remembered("p3", 11)]);
    let resumed = merge(vec![base, only(vec![remembered("p2", 11)])], false, None);
    assert_eq!((ids(&resumed), gap(&resumed)), (vec!["p2", "p3"], Some(1)));
}

#[test]
fn what_cannot_be_known_is_a_gap_of_unknown_size() {
    let base = || known(10, vec![remembered("p1", 12)]);
    assert_eq!(gap(&merge(vec![only(Vec::new())], false, None)), Some(0));
    assert_eq!(gap(&merge(vec![base()], true, None)), Some(0), "one is silent");
    assert_eq!(
        gap(&merge(vec![base()], false, Some(SECOND * 5))),
        Some(0),
        "one was lost since"
    );
    assert_eq!(gap(&merge(vec![base()], false, Some(SECOND * 15))), None);
    assert_eq!(
        ids(&merge(vec![base()], true, None)),
        ["p1"],
        "what is known is sent"
    );
}

#[test]
fn an_answer_survives_the_way_to_another_node() {
    let recalled = Recalled {
        known: Some(SECOND),
        had: vec![1, u64::MAX],
        missed: vec![bare("p1", 3), remembered("p2", 2)],
        others: vec![remembered("p3", 1)],
    };
    let written = recalled.into_answer(7);
    assert_eq!(written.id, 7);
    let read = Recalled::read(written).unwrap();
    assert_eq!((read.known, read.had), (Some(SECOND), vec![1, u64::MAX]));
    let ids = |all: &[Remembered]| {
        all.iter()
            .map(|one| {
                (
                    one.age.as_secs(),
                    one.push.as_ref().map(|push| push.body.push_id.clone()),
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&read.missed), [(3, None), (2, Some("p2".to_owned()))]);
    assert_eq!(ids(&read.others), [(1, Some("p3".to_owned()))]);
    let unread = Recalled {
        known: None,
        ..Recalled::default()
    };
    assert_eq!(Recalled::read(unread.into_answer(1)).unwrap().known, None);
}

#[test]
fn more_than_a_megabyte_for_one_device_is_cut_at_its_oldest_end() {
    let mut large = body("large");
    large.content = "x".repeat(MOST_BYTES / 3);
    let push = Arc::new(EncodedPush::new(large, NOW));
    let one = Remembered {
        push: Some(push),
        ..bare("large", 1)
    };
    let written = known(1, vec![one; 4]).into_answer(1);
    let kept: Vec<_> = written.missed.iter().map(|one| one.push.is_some()).collect();
    assert_eq!(kept, [false, false, true, true]);
}
