//! Instructions of handing a push to sessions and of its acknowledgements, counted under callgrind: repeatable where
//! times are not, but for hash maps, which place things differently in each run: a few in a thousand.
//!
//! Run by `cargo xtask instructions`, which holds them against the recorded figures. Sockets are not in them; encoding
//! the push, once, is. Inputs are made outside of what is counted, and everything is returned, so that it is freed
//! outside too.

#[path = "samples/house.rs"]
mod house;

use std::hint::black_box;

use gateway_codec::PushBody;
use gateway_conn::{BroadcastReport, PushOrder, Pushed};
use gungraun::prelude::*;

use house::House;

/// Sessions, each of another user.
const CROWD: usize = 100;

fn ordered(users: usize) -> (House, PushOrder) {
    let mut house = House::with(users);
    let order = house.order();
    (house, order)
}

fn queued((_, pushed): (House, Pushed)) {
    assert!(pushed.any_queued(), "{:?}", pushed.report());
}

#[library_benchmark(teardown = queued)]
#[bench::to_one_user(ordered(1))]
#[bench::to_hundred_users(ordered(CROWD))]
fn push_now((house, order): (House, PushOrder)) -> (House, Pushed) {
    let pushed = house.push(black_box(order));
    (house, black_box(pushed))
}

fn announced(sessions: usize) -> (House, PushBody) {
    let (house, order) = ordered(sessions);
    (house, order.body)
}

fn told_all((_, report): (House, BroadcastReport)) {
    assert_eq!(report.queued, CROWD as u64);
}

#[library_benchmark(teardown = told_all)]
#[bench::to_hundred_sessions(announced(CROWD))]
fn broadcast((house, body): (House, PushBody)) -> (House, BroadcastReport) {
    let report = house.broadcast(black_box(body));
    (house, black_box(report))
}

library_benchmark_group!(name = push, benchmarks = [push_now, broadcast]);

fn pushed(users: usize) -> (House, String) {
    let (house, order) = ordered(users);
    let push_id = order.body.push_id.clone();
    assert!(house.push(order).any_queued());
    (house, push_id)
}

#[library_benchmark]
#[bench::by_hundred_users(pushed(CROWD))]
fn acked((house, push_id): (House, String)) -> (House, String) {
    house.acked(black_box(&push_id));
    (house, push_id)
}

library_benchmark_group!(name = settle, benchmarks = [acked]);

main!(library_benchmark_groups = push, settle);
