use gateway_config::{Handler, RouteRule, Sensitivity, ServiceName};

use super::*;

fn rule(commands: std::ops::RangeInclusive<u32>, service: &str) -> RouteRule {
    RouteRule {
        commands,
        handler: Handler::Service(service.parse::<ServiceName>().unwrap()),
        timeout: Duration::from_secs(5),
        retry_count: 0,
        sensitivity: Sensitivity::Normal,
        idempotent: false,
    }
}

fn service_of(table: &RouteTable, cmd_id: u32) -> Option<String> {
    table.get(cmd_id).map(|route| match &route.handler {
        Handler::Service(name) => name.to_string(),
        Handler::Local(_) => "local".to_owned(),
    })
}

#[test]
fn an_exact_route_comes_before_a_range_whatever_their_order() {
    for rules in [
        [rule(2001..=2001, "push"), rule(2001..=2999, "message")],
        [rule(2001..=2999, "message"), rule(2001..=2001, "push")],
    ] {
        let table = RouteTable::from_rules(&rules);
        assert_eq!(service_of(&table, 2001).as_deref(), Some("push"));
        assert_eq!(service_of(&table, 2002).as_deref(), Some("message"));
    }
}

#[test]
fn ranges_include_both_ends_and_nothing_else() {
    let table = RouteTable::from_rules(&[rule(2001..=2999, "message"), rule(4001..=4999, "group")]);
    assert_eq!(service_of(&table, 2000), None);
    assert_eq!(service_of(&table, 2001).as_deref(), Some("message"));
    assert_eq!(service_of(&table, 2999).as_deref(), Some("message"));
    assert_eq!(service_of(&table, 3000), None);
    assert_eq!(service_of(&table, 4999).as_deref(), Some("group"));
    assert_eq!(service_of(&table, u32::MAX), None);
    assert_eq!(service_of(&table, 0), None);
}

#[test]
fn a_later_range_replaces_an_earlier_one_where_they_overlap() {
    let table = RouteTable::from_rules(&[
        rule(1..=100, "user"),
        rule(200..=300, "friend"),
        rule(50..=60, "group"),
        rule(90..=250, "push"),
    ]);
    let expected = [
        (1, "user"),
        (49, "user"),
        (50, "group"),
        (60, "group"),
        (61, "user"),
        (89, "user"),
        (90, "push"),
        (250, "push"),
        (251, "friend"),
        (300, "friend"),
    ];
    for (cmd_id, service) in expected {
        assert_eq!(
            service_of(&table, cmd_id).as_deref(),
            Some(service),
            "command {cmd_id}"
        );
    }
}

#[test]
fn a_range_up_to_the_last_number_can_be_cut() {
    let table = RouteTable::from_rules(&[rule(10..=u32::MAX, "user"), rule(20..=u32::MAX, "push")]);
    assert_eq!(service_of(&table, 19).as_deref(), Some("user"));
    assert_eq!(service_of(&table, u32::MAX).as_deref(), Some("push"));
}
