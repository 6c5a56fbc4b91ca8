use super::*;

fn figures<const N: usize>(figures: [(&str, u64); N]) -> Figures {
    Figures(figures.map(|(name, count)| (name.to_owned(), count)).into())
}

fn verdict(recorded: u64, measured: u64) -> Verdict {
    Verdict::of(Some(recorded), Some(measured))
}

#[test]
fn five_percent_either_way_is_the_same() {
    assert_eq!(verdict(1_000, 1_050), Verdict::Same);
    assert_eq!(verdict(1_000, 1_051), Verdict::Worse);
    assert_eq!(verdict(1_000, 950), Verdict::Same);
    assert_eq!(verdict(1_000, 949), Verdict::Better);
    assert_eq!(verdict(u64::MAX, u64::MAX), Verdict::Same);
    assert_eq!(verdict(0, 1), Verdict::Worse);
}

#[test]
fn what_is_worse_fails_and_what_is_better_is_told() {
    let recorded = figures([("a", 100), ("b", 100)]);
    let measured = figures([("a", 90), ("b", 100)]);
    let comparison = Comparison::of(&recorded, &measured);
    assert!(comparison.has_better() && !comparison.fails());
    let measured = figures([("a", 90), ("b", 106)]);
    assert!(Comparison::of(&recorded, &measured).fails());
}

#[test]
fn a_benchmark_on_one_side_alone_fails() {
    let (one, two) = (figures([("a", 1)]), figures([("a", 1), ("b", 2)]));
    for (recorded, measured, word) in [(&one, &two, "NOT RECORDED"), (&two, &one, "NOT MEASURED")] {
        let comparison = Comparison::of(recorded, measured);
        assert!(comparison.fails());
        assert!(comparison.to_string().contains(word), "{comparison}");
    }
    assert!(!Comparison::of(&two, &two).fails());
}

#[test]
fn the_table_has_a_line_a_benchmark() {
    let (recorded, measured) = (
        figures([("codec/decode", 2_000)]),
        figures([("codec/decode", 2_222)]),
    );
    let table = Comparison::of(&recorded, &measured).to_string();
    assert_eq!(table.lines().count(), 2);
    assert!(
        table.ends_with("codec/decode        2000        2222   +11.10 %  WORSE"),
        "{table}"
    );
}

#[test]
fn a_name_twice_is_told() {
    let mut figures = Figures::default();
    assert!(figures.add("a".to_owned(), 1));
    assert!(!figures.add("a".to_owned(), 2));
}
