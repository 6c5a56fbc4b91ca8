use std::task::{Context, Poll};
use std::time::Duration;

use super::*;
use crate::backend::Outcome;
use crate::error::RouterError;
use script::{Pending, Script, Told, call, reply, service, submit, with_waker};

mod order_property;
mod script;

const LIMITS: CallLimits = CallLimits {
    timeout: Duration::from_secs(30),
    retry_count: 2,
    idempotent: true,
};
const ONCE: CallLimits = CallLimits {
    retry_count: 0,
    idempotent: false,
    ..LIMITS
};

fn poll(call: &mut Pending) -> Poll<Result<u32, RouterError>> {
    with_waker(|cx: &mut Context<'_>| call.as_mut().poll(cx)).map_ok(|reply| reply.code)
}

#[tokio::test]
async fn the_place_is_taken_when_called_not_when_polled() {
    let (flow, script) = (Flow::new(), Script::new(2));
    let mut first = call(&flow, &script, 0, 1, ONCE);
    let mut second = call(&flow, &script, 0, 2, ONCE);
    assert_eq!(script.submitted(), [(1, 0), (2, 0)]);
    assert!(poll(&mut second).is_pending());
    script.finish(2, Outcome::Reply(reply(200)));
    assert_eq!(poll(&mut second), Poll::Ready(Ok(200)));
    script.finish(1, Outcome::Reply(reply(404)));
    assert_eq!(poll(&mut first), Poll::Ready(Ok(404)));
}

#[tokio::test]
async fn one_endpoint_while_a_command_is_in_flight_then_the_next_in_turn() {
    let (flow, script) = (Flow::new(), Script::new(2));
    let mut calls: Vec<_> = (1..=3).map(|seq| call(&flow, &script, 0, seq, ONCE)).collect();
    assert_eq!(script.submitted(), [(1, 0), (2, 0), (3, 0)]);
    for seq in 1..=3 {
        script.finish(seq, Outcome::Reply(reply(200)));
    }
    for call in &mut calls {
        assert!(poll(call).is_ready());
    }
    let _next = call(&flow, &script, 0, 4, ONCE);
    assert_eq!(script.submitted()[3], (4, 1));
}

#[tokio::test]
async fn a_repeat_holds_back_its_successors_in_whatever_order_they_are_polled() {
    let (flow, script) = (Flow::new(), Script::new(2));
    let mut calls: Vec<_> = (1..=3).map(|seq| call(&flow, &script, 0, seq, LIMITS)).collect();
    script.break_lane(0, true);
    calls.push(call(&flow, &script, 0, 4, LIMITS));
    assert_eq!(
        script.submitted().len(),
        3,
        "the fourth waits for the three that are repeated"
    );
    for _ in 0..4 {
        for call in calls.iter_mut().rev() {
            assert!(poll(call).is_pending());
        }
    }
    assert_eq!(script.submitted()[3..], [(1, 1), (2, 1), (3, 1), (4, 1)]);
}

#[tokio::test]
async fn what_was_lost_and_is_not_idempotent_fails_and_holds_nobody_back() {
    let (flow, script) = (Flow::new(), Script::new(2));
    let limits = CallLimits {
        idempotent: false,
        ..LIMITS
    };
    let mut first = call(&flow, &script, 0, 1, limits);
    script.break_lane(0, true);
    let _second = call(&flow, &script, 0, 2, limits);
    assert_eq!(script.submitted(), [(1, 0), (2, 1)]);
    assert_eq!(poll(&mut first), Poll::Ready(Err(RouterError::Disconnected)));
}

#[tokio::test]
async fn what_never_left_is_placed_anew_even_without_retries() {
    let (flow, script) = (Flow::new(), Script::new(2));
    let mut first = call(&flow, &script, 0, 1, ONCE);
    script.break_lane(0, false);
    assert!(poll(&mut first).is_pending());
    assert_eq!(script.submitted(), [(1, 0), (1, 1)]);
    script.break_lane(1, false);
    assert!(poll(&mut first).is_pending());
    script.break_lane(0, false);
    assert_eq!(
        poll(&mut first),
        Poll::Ready(Err(RouterError::Disconnected)),
        "but not for ever"
    );
}

#[tokio::test]
async fn what_follows_a_command_on_a_draining_lane_waits_for_it_and_goes_by_the_successor() {
    let (flow, script) = (Flow::new(), Script::new(1));
    let mut calls: Vec<_> = (1..=3).map(|seq| call(&flow, &script, 0, seq, ONCE)).collect();
    script.drain_lane(0, 1);
    calls.push(call(&flow, &script, 0, 4, ONCE));
    let submitted = [(1, 0), (2, 0), (3, 0)];
    for call in calls.iter_mut().rev() {
        assert!(poll(call).is_pending());
    }
    assert_eq!(script.submitted(), submitted, "the first is not answered");
    script.finish(1, Outcome::Reply(reply(200)));
    for _ in 0..3 {
        for call in calls[1..].iter_mut().rev() {
            assert!(poll(call).is_pending());
        }
    }
    assert_eq!(script.submitted()[3..], [(2, 1), (3, 1), (4, 1)]);
    assert_eq!(poll(&mut calls[0]), Poll::Ready(Ok(200)));
}

#[tokio::test]
async fn submitted_commands_move_to_the_successor_of_a_draining_lane_by_themselves() {
    let (flow, script) = (Flow::new(), Script::new(1));
    let (service, told) = (service(&script), Told::default());
    for seq in 1..=3 {
        submit(&flow, &service, seq, ONCE, &told);
    }
    script.drain_lane(0, 1);
    submit(&flow, &service, 4, ONCE, &told);
    settle().await;
    assert_eq!(script.submitted().len(), 3);
    script.finish(1, Outcome::Reply(reply(200)));
    settle().await;
    assert_eq!(script.submitted()[3..], [(2, 1), (3, 1), (4, 1)]);
    for seq in 2..=4 {
        script.finish(seq, Outcome::Reply(reply(200)));
    }
    settle().await;
    let expected: Vec<_> = (1..=4).map(|seq| (seq, Ok(200))).collect();
    assert_eq!(*told.lock().unwrap(), expected);
    assert_eq!(flow.in_flight(), 0);
}

#[tokio::test]
async fn what_was_not_processed_is_sent_again_until_its_deadline() {
    let (flow, script) = (Flow::new(), Script::new(1));
    let mut first = call(&flow, &script, 0, 1, ONCE);
    for _ in 0..20 {
        script.finish(1, Outcome::Unprocessed(RouterError::Disconnected));
        assert!(poll(&mut first).is_pending());
    }
    script.finish(1, Outcome::Reply(reply(200)));
    assert_eq!(poll(&mut first), Poll::Ready(Ok(200)));
}

/// Lets tasks that were spawned run until they wait.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_503_is_not_done_and_repeated_elsewhere_as_often_as_the_route_says() {
    let (flow, script) = (Flow::new(), Script::new(2));
    let limits = CallLimits {
        idempotent: false,
        ..LIMITS
    };
    let mut first = call(&flow, &script, 0, 1, limits);
    for _ in 0..2 {
        script.finish(1, Outcome::Reply(reply(503)));
        assert!(poll(&mut first).is_pending());
    }
    assert_eq!(script.submitted(), [(1, 0), (1, 1), (1, 0)]);
    script.finish(1, Outcome::Reply(reply(503)));
    assert_eq!(
        poll(&mut first),
        Poll::Ready(Ok(503)),
        "the reply itself, with its message"
    );
}

#[tokio::test]
async fn a_code_outside_the_contract_is_a_bad_reply() {
    let (flow, script) = (Flow::new(), Script::new(1));
    for code in [0, 201, 999, 200 + 65_536, u32::MAX] {
        let mut first = call(&flow, &script, 0, 1, LIMITS);
        script.finish(1, Outcome::Reply(reply(code)));
        assert_eq!(
            poll(&mut first),
            Poll::Ready(Err(RouterError::BadReply)),
            "code {code}"
        );
    }
}

#[tokio::test]
async fn dropping_cancels_frees_the_order_and_lets_successors_go() {
    let (flow, script) = (Flow::new(), Script::new(2));
    let first = call(&flow, &script, 0, 1, LIMITS);
    let mut retried = call(&flow, &script, 0, 2, LIMITS);
    script.finish(2, Outcome::Lost(RouterError::Disconnected));
    let mut last = call(&flow, &script, 0, 3, LIMITS);
    assert!(poll(&mut last).is_pending());
    assert_eq!(script.submitted(), [(1, 0), (2, 0)]);
    drop(first);
    assert_eq!(script.held(), 0, "the lane forgot it");
    assert!(poll(&mut retried).is_pending());
    drop(retried);
    assert!(poll(&mut last).is_pending());
    assert_eq!(script.submitted()[2..], [(2, 1), (3, 0)]);
    drop(last);
    assert_eq!(flow.in_flight(), 0);
    assert_eq!(script.held(), 0);
    assert_eq!(flow.shared().state().orders.capacity(), 0);
}

#[tokio::test]
async fn a_completion_that_comes_late_changes_nothing() {
    let (flow, script) = (Flow::new(), Script::new(1));
    let first = call(&flow, &script, 0, 1, LIMITS);
    let late = script.take(1).unwrap();
    drop(first);
    let mut second = call(&flow, &script, 0, 2, LIMITS);
    late.done.finish(Outcome::Reply(reply(200)));
    assert!(poll(&mut second).is_pending());
}

#[tokio::test]
async fn services_do_not_wait_for_each_other() {
    let (flow, first, second) = (Flow::new(), Script::new(1), Script::new(1));
    let _hanging = call(&flow, &first, 0, 1, LIMITS);
    first.break_lane(0, true);
    let mut other = call(&flow, &second, 1, 2, LIMITS);
    second.finish(2, Outcome::Reply(reply(200)));
    assert_eq!(poll(&mut other), Poll::Ready(Ok(200)));
    assert_eq!(flow.in_flight(), 1);
}

#[tokio::test]
async fn no_endpoint_is_said_at_once_to_a_new_command() {
    let (flow, script) = (Flow::new(), Script::new(0));
    assert_eq!(
        poll(&mut call(&flow, &script, 0, 1, LIMITS)),
        Poll::Ready(Err(RouterError::NoEndpoint))
    );
    assert_eq!(flow.in_flight(), 0);
}

#[tokio::test]
async fn the_timeout_bounds_waiting_and_repeats_and_frees_everything() {
    let (flow, script) = (Flow::new(), Script::new(2));
    let limits = CallLimits {
        timeout: Duration::from_millis(30),
        ..LIMITS
    };
    let first = call(&flow, &script, 0, 1, limits);
    script.break_lane(0, true);
    let held = call(&flow, &script, 0, 2, limits);
    assert_eq!(held.await.unwrap_err(), RouterError::Timeout);
    assert_eq!(first.await.unwrap_err(), RouterError::Timeout);
    assert_eq!((flow.in_flight(), script.held()), (0, 0));
}

#[test]
fn an_idle_flow_is_small() {
    assert!(size_of::<Flow>() <= 16, "{}", size_of::<Flow>());
    assert!(size_of::<Shared>() <= 48, "{}", size_of::<Shared>());
}

#[tokio::test]
async fn a_submitted_command_needs_nobody_who_polls() {
    let (flow, script, told) = (Flow::new(), Script::new(2), Told::default());
    let service = service(&script);
    for seq in 1..=2 {
        submit(&flow, &service, seq, ONCE, &told);
    }
    assert_eq!(script.submitted(), [(1, 0), (2, 0)]);
    script.finish(2, Outcome::Reply(reply(200)));
    script.finish(1, Outcome::Reply(reply(404)));
    assert_eq!(*told.lock().unwrap(), [(2, Ok(200)), (1, Ok(404))]);
    assert_eq!((flow.in_flight(), service.in_flight()), (0, 0));
}

#[tokio::test]
async fn submitted_commands_are_repeated_in_order_and_hold_back_their_successors() {
    let (flow, script, told) = (Flow::new(), Script::new(2), Told::default());
    let service = service(&script);
    for seq in 1..=3 {
        submit(&flow, &service, seq, LIMITS, &told);
    }
    script.break_lane(0, true);
    submit(&flow, &service, 4, LIMITS, &told);
    assert_eq!(
        script.submitted().len(),
        3,
        "the fourth waits for the three that are repeated"
    );
    eventually(|| script.submitted().len() == 7).await;
    assert_eq!(script.submitted()[3..], [(1, 1), (2, 1), (3, 1), (4, 1)]);
    for seq in 1..=4 {
        script.finish(seq, Outcome::Reply(reply(200)));
    }
    eventually(|| told.lock().unwrap().len() == 4).await;
    let mut told = told.lock().unwrap().clone();
    told.sort_by_key(|(seq, _)| *seq);
    assert_eq!(told, [1, 2, 3, 4].map(|seq| (seq, Ok(200))));
    assert_eq!((flow.in_flight(), service.in_flight()), (0, 0));
}

#[tokio::test]
async fn a_submitted_command_without_an_endpoint_is_told_at_once() {
    let (flow, script, told) = (Flow::new(), Script::new(0), Told::default());
    let service = service(&script);
    submit(&flow, &service, 1, LIMITS, &told);
    assert_eq!(*told.lock().unwrap(), [(1, Err(RouterError::NoEndpoint))]);
    assert_eq!((flow.in_flight(), service.in_flight()), (0, 0));
}

/// Waits for what a task of its own brings about.
async fn eventually(come: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if come() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it has not come");
}
