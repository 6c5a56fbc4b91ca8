//! Whatever lanes do and in whatever order callers are polled or dropped, no command overtakes an earlier one that
//! has yet to leave, commands in flight share a lane, and nobody is left asleep.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake};

use proptest::prelude::*;

use super::script::{Event, Pending, Script, call, reply};
use super::*;

#[derive(Debug, Clone)]
enum Op {
    Call { service: u32, idempotent: bool },
    Reply { nth: usize, code: u32 },
    Break { service: u32, lane: u32, written: bool },
    Drain { service: u32, lane: u32, written: usize },
    Poll { nth: usize },
    PollWoken,
    Drop { nth: usize },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..2_u32, any::<bool>()).prop_map(|(service, idempotent)| Op::Call { service, idempotent }),
        4 => (any::<usize>(), prop::sample::select(vec![200, 200, 404, 503])).prop_map(|(nth, code)| Op::Reply { nth, code }),
        2 => (0..2_u32, 0..3_u32, any::<bool>()).prop_map(|(service, lane, written)| Op::Break { service, lane, written }),
        2 => (0..2_u32, 0..3_u32, 0..4_usize).prop_map(|(service, lane, written)| Op::Drain { service, lane, written }),
        4 => any::<usize>().prop_map(|nth| Op::Poll { nth }),
        3 => Just(Op::PollWoken),
        2 => any::<usize>().prop_map(|nth| Op::Drop { nth }),
    ]
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Caller {
    future: Pending,
    woken: Arc<Flag>,
}

impl Caller {
    fn poll(&mut self) -> bool {
        self.woken.0.store(false, Ordering::Relaxed);
        let waker = self.woken.clone().into();
        self.future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
    }
}

#[derive(Default)]
struct World {
    callers: Vec<Caller>,
}

impl World {
    /// As an executor does: polls only who was woken. True if that was anybody.
    fn poll_woken(&mut self) -> bool {
        let before = self.callers.len();
        let mut polled = false;
        self.callers.retain_mut(|caller| {
            if !caller.woken.0.load(Ordering::Relaxed) {
                return true;
            }
            polled = true;
            !caller.poll()
        });
        polled || self.callers.len() != before
    }
}

fn run(ops: Vec<Op>) {
    let flow = Flow::new();
    let scripts = [Script::new(3), Script::new(3)];
    let mut world = World::default();
    let mut seq = 0;
    for op in ops {
        match op {
            Op::Call { service, idempotent } => {
                seq += 1;
                let limits = CallLimits {
                    timeout: Duration::from_secs(600),
                    retry_count: 2,
                    idempotent,
                };
                let future = call(&flow, &scripts[service as usize], service, seq, limits);
                world.callers.push(Caller {
                    future,
                    woken: Arc::new(Flag(AtomicBool::new(true))),
                });
            }
            Op::Reply { nth, code } => {
                let held: Vec<_> = scripts
                    .iter()
                    .flat_map(|script| script.held_seqs().into_iter().map(move |seq| (script, seq)))
                    .collect();
                if !held.is_empty() {
                    let (script, seq) = held[nth % held.len()];
                    script.finish(seq, Outcome::Reply(reply(code)));
                }
            }
            Op::Break {
                service,
                lane,
                written,
            } => scripts[service as usize].break_lane(lane, written),
            Op::Drain {
                service,
                lane,
                written,
            } => scripts[service as usize].drain_lane(lane, written),
            Op::Poll { nth } if !world.callers.is_empty() => {
                let nth = nth % world.callers.len();
                if world.callers[nth].poll() {
                    world.callers.remove(nth);
                }
            }
            Op::PollWoken => {
                world.poll_woken();
            }
            Op::Drop { nth } if !world.callers.is_empty() => {
                let nth = nth % world.callers.len();
                drop(world.callers.remove(nth));
            }
            Op::Poll { .. } | Op::Drop { .. } => {}
        }
    }
    // Now all goes well: everybody must come to an end by being woken alone.
    loop {
        let mut moved = world.poll_woken();
        for script in &scripts {
            for seq in script.held_seqs() {
                script.finish(seq, Outcome::Reply(reply(200)));
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    assert_eq!(world.callers.len(), 0, "callers left asleep");
    assert_eq!(flow.in_flight(), 0);
    for script in &scripts {
        check(&script.log());
    }
}

fn check(log: &[Event]) {
    let mut in_flight: HashMap<u32, u32> = HashMap::new();
    for (at, event) in log.iter().enumerate() {
        match *event {
            Event::Ended { seq } => {
                in_flight.remove(&seq);
            }
            Event::Submitted { seq, lane } => {
                assert!(
                    in_flight.values().all(|used| *used == lane),
                    "two lanes at once: {log:?}"
                );
                // A repeat of one that is in flight at this moment is no overtaking.
                let overtaken = log[at + 1..].iter().any(|later| match *later {
                    Event::Submitted { seq: earlier, .. } => {
                        earlier < seq && !in_flight.contains_key(&earlier)
                    }
                    Event::Ended { .. } => false,
                });
                assert!(!overtaken, "{seq} overtook an earlier one: {log:?}");
                in_flight.insert(seq, lane);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_holds_whatever_happens(ops in prop::collection::vec(op(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        run(ops);
    }
}
