//! Instructions of finding a route and of carrying a command through the router, counted under callgrind: repeatable
//! where times are not.
//!
//! Run by `cargo xtask instructions`, which holds them against the recorded figures. The wire is not in them: the back
//! end is a queue in memory. Inputs are made outside of what is counted, and everything is returned, so that it is freed
//! outside too.

#[path = "samples/desk.rs"]
mod desk;

use std::hint::black_box;

use gateway_config::{RouteRule, Routing};
use gateway_router::Router;
use gungraun::prelude::*;

use desk::{Answer, Desk};

/// Commands that are looked up in one benchmark: where a hash map puts them differs from run to run, their sum hardly.
const LOOKUPS: u32 = 256;

/// The default routes, and commands of those that fit: of each in turn, from its last one downwards.
fn routes(fits: impl Fn(u32, u32) -> bool) -> (Router, Vec<u32>) {
    let routing = Routing::default();
    let ends = |rule: &RouteRule| (*rule.commands.start(), *rule.commands.end());
    let fitting = routing
        .routes
        .iter()
        .map(ends)
        .filter(|(first, last)| fits(*first, *last));
    let commands = fitting
        .cycle()
        .zip(0..LOOKUPS)
        .map(|((first, last), index)| last - index % (last - first + 1));
    let commands = commands.collect();
    let router = Router::with_backends(&routing, [], 1);
    assert!(router.route(u32::MAX).is_none());
    (router, commands)
}

#[library_benchmark]
#[bench::named(routes(|first, last| first == last))]
#[bench::in_a_range(routes(|first, last| first < last))]
fn look_up_256((router, commands): (Router, Vec<u32>)) -> (usize, Router, Vec<u32>) {
    let found = commands
        .iter()
        .filter_map(|command| black_box(router.route(black_box(*command))));
    (found.count(), router, commands)
}

library_benchmark_group!(name = route, benchmarks = [look_up_256]);

fn all_answered((answers, _): (Vec<Answer>, Desk)) {
    assert!(
        !answers.is_empty() && answers.iter().all(Result::is_ok),
        "{answers:?}"
    );
}

// Commands of one session: all called, all waited for, all answered.
#[library_benchmark(teardown = all_answered)]
#[bench::one(Desk::with(1))]
#[bench::sixteen_in_flight(Desk::with(16))]
fn call_and_answer(mut desk: Desk) -> (Vec<Answer>, Desk) {
    let answers = black_box(&mut desk).work();
    (answers, desk)
}

library_benchmark_group!(name = call, benchmarks = [call_and_answer]);

main!(library_benchmark_groups = route, call);
