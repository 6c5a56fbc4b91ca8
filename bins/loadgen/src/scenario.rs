//! What the clients do once they are there.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use gateway_client::ClientError;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::live;
use crate::measure::{Measure, kind};
use crate::options::{Cli, Kind, Settings};
use crate::pace::Pace;
use crate::people::{People, Person, content};
use crate::report::{Connections, Messages, Report};

const SEND_MESSAGE: u32 = 2001;
/// How long the last pushes may take to arrive after the last reply.
const SETTLE: Duration = Duration::from_secs(2);

/// Runs the scenario to its end, or until stopped; either way there is a report.
pub(crate) async fn run(cli: &Cli, stop: CancellationToken) -> Result<Report> {
    let (settings, measure, started) = (cli.settings(), Arc::new(Measure::default()), Instant::now());
    let work = async {
        let people = People::gather(settings, &measure, started, &stop).await;
        let acting = Instant::now();
        match cli.kind() {
            Kind::Connect => hold(settings.duration, &stop).await,
            Kind::Chat => chat(settings, &people.all, &measure, started, &stop).await,
        }
        (people, acting.elapsed().as_secs_f64())
    };
    let (people, acting) = tokio::select! {
        done = work => done,
        never = live::show(Arc::clone(&measure)) => match never {},
    };
    // Before they leave, which would look like having been dropped.
    let before_leaving = measure.counts();
    people.leave(settings.http.is_some()).await;
    let mut counts = before_leaving;
    counts.events_refused = measure.look(|counts| counts.events_refused);
    Ok(Report {
        scenario: match cli.kind() {
            Kind::Connect => "connect",
            Kind::Chat => "chat",
        },
        url: settings.url.clone(),
        seconds: (started.elapsed().as_secs_f64() * 100.0).round() / 100.0,
        connections: Connections::of(settings.connections, &counts),
        messages: (cli.kind() == Kind::Chat).then(|| Messages::of(&counts, acting)),
    })
}

async fn hold(duration: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = sleep(duration) => {}
        () = stop.cancelled() => {}
    }
}

/// Everybody writes to the next in turn, at the rate asked for, until the time is over.
async fn chat(
    settings: &Settings,
    people: &[Person],
    measure: &Arc<Measure>,
    epoch: Instant,
    stop: &CancellationToken,
) {
    if people.is_empty() {
        return;
    }
    let places = Arc::new(Semaphore::new(
        usize::try_from(settings.in_flight).unwrap_or(usize::MAX),
    ));
    let mut pace = Pace::new(settings.rate);
    let mut answers = JoinSet::new();
    let end = Instant::now() + settings.duration;
    let pairs = people.iter().zip(people.iter().cycle().skip(1)).cycle();
    for (sender, receiver) in pairs {
        let intended = tokio::select! {
            intended = pace.tick() => intended,
            () = stop.cancelled() => break,
        };
        if intended >= end {
            break;
        }
        // The wait for a place is part of the latency, which counts from `intended`.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            break;
        };
        let data = json!({ "to_user": receiver.user, "content": content(intended - epoch) });
        let pending = sender.client.submit(SEND_MESSAGE, &data);
        let measure = Arc::clone(measure);
        match pending {
            Err(error) => failed(&measure, &error),
            Ok(pending) => {
                measure.note(|counts| counts.sent += 1);
                answers.spawn(async move {
                    let _place = place;
                    match pending.await.and_then(gateway_client::Reply::success) {
                        Ok(_) => measure.note(|counts| {
                            counts.answered += 1;
                            counts.reply.record(intended.elapsed());
                        }),
                        Err(error) => failed(&measure, &error),
                    }
                });
            }
        }
        while answers.try_join_next().is_some() {}
    }
    // Each has its own time limit.
    while answers.join_next().await.is_some() {}
    settle(measure).await;
}

/// Waits for pushes still under way: until all that were answered have arrived, or nothing new may be expected.
async fn settle(measure: &Measure) {
    let until = Instant::now() + SETTLE;
    while Instant::now() < until && measure.look(|counts| counts.delivered < counts.answered) {
        sleep(Duration::from_millis(20)).await;
    }
}

fn failed(measure: &Measure, error: &ClientError) {
    measure.note(|counts| *counts.send_failures.entry(kind(error)).or_default() += 1);
}
