//! The clients of a run: made at a pace, each watched to its end, all closed afterwards.

use std::sync::Arc;
use std::time::Duration;

use gateway_client::{Builder, Client, Event};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::measure::{Measure, kind};
use crate::options::Settings;
use crate::pace::Pace;

/// Connections being made at the same time.
const AT_ONCE: usize = 512;
/// How long the closing of all may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(20);

/// One bound client and its account.
pub(crate) struct Person {
    pub(crate) user: String,
    pub(crate) client: Client,
}

/// Everybody who could connect, and the tasks that listen to them.
pub(crate) struct People {
    pub(crate) all: Vec<Person>,
    listeners: JoinSet<()>,
    measure: Arc<Measure>,
    over: CancellationToken,
}

impl People {
    /// Connects all, at the pace asked for. Returns when each has succeeded or failed, or when stopped.
    pub(crate) async fn gather(
        settings: &Settings,
        measure: &Arc<Measure>,
        epoch: Instant,
        stop: &CancellationToken,
    ) -> Self {
        let mut people = Self {
            all: Vec::new(),
            listeners: JoinSet::new(),
            measure: Arc::clone(measure),
            over: CancellationToken::new(),
        };
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut pace = Pace::new(settings.connect_rate);
        let mut arriving = JoinSet::new();
        for number in 0..settings.connections {
            let intended = tokio::select! {
                intended = pace.tick() => intended,
                () = stop.cancelled() => break,
            };
            // Never closed, so this cannot fail; if it did, there would be nobody to wait for.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                break;
            };
            let user = settings.user(number);
            let builder = describe(settings, number, &user);
            let measure = Arc::clone(measure);
            arriving.spawn(async move {
                let _place = place;
                match builder.connect().await {
                    Ok(client) => {
                        measure.note(|counts| {
                            counts.connected += 1;
                            counts.open += 1;
                            counts.connect.record(intended.elapsed());
                        });
                        Some(Person { user, client })
                    }
                    Err(error) => {
                        measure.note(|counts| *counts.connect_failures.entry(kind(&error)).or_default() += 1);
                        None
                    }
                }
            });
            while let Some(arrived) = arriving.try_join_next() {
                people.welcome(arrived.ok().flatten(), epoch);
            }
        }
        while let Some(arrived) = arriving.join_next().await {
            people.welcome(arrived.ok().flatten(), epoch);
        }
        people
    }

    fn welcome(&mut self, person: Option<Person>, epoch: Instant) {
        let Some(person) = person else { return };
        let (measure, over, client) = (
            Arc::clone(&self.measure),
            self.over.clone(),
            person.client.clone(),
        );
        self.listeners.spawn(listen(client, measure, epoch, over));
        self.all.push(person);
    }

    /// Logs out or closes everybody; within a bound of time, whatever the gateway does.
    pub(crate) async fn leave(mut self, log_out: bool) {
        self.over.cancel();
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut leaving = JoinSet::new();
        for person in self.all.drain(..) {
            let places = Arc::clone(&places);
            leaving.spawn(async move {
                let _place = places.acquire().await;
                if log_out && person.client.end().is_none() && person.client.logout().await.is_ok() {
                    return;
                }
                person.client.close().await;
            });
        }
        let all = async {
            while leaving.join_next().await.is_some() {}
            while self.listeners.join_next().await.is_some() {}
        };
        // What is left then is ended by dropping it.
        let _ = tokio::time::timeout(CLOSE_WITHIN, all).await;
    }
}

fn describe(settings: &Settings, number: u32, user: &str) -> Builder {
    let mut builder = Client::builder(&settings.url)
        .encoding(settings.encoding())
        .device(&format!("loadgen-{number}"), &settings.platform)
        .connect_timeout(Duration::from_secs(30))
        .command_timeout(Duration::from_secs(30));
    if let Some(http) = &settings.http {
        builder = builder.http(http);
    }
    if !settings.anonymous {
        builder = builder.login(user, &settings.password);
    }
    builder
}

/// Takes what comes, measures the messages of this run among it, and notes an end that nobody here wanted.
async fn listen(client: Client, measure: Arc<Measure>, epoch: Instant, over: CancellationToken) {
    let mut events = client.events();
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = over.cancelled() => break,
        };
        match event {
            Some(Event::Push(push)) => {
                if let Some(intended) = intended(&push.content) {
                    let latency = epoch.elapsed().saturating_sub(intended);
                    measure.note(|counts| {
                        counts.delivered += 1;
                        counts.delivery.record(latency);
                    });
                }
            }
            Some(_) => {}
            None => {
                let end = client.closed().await;
                let told = end
                    .code
                    .map_or_else(|| end.reason.clone(), |code| format!("close {code}"));
                measure.note(|counts| {
                    counts.open = counts.open.saturating_sub(1);
                    *counts.ended.entry(told).or_default() += 1;
                });
                break;
            }
        }
    }
    let refused = client.events_refused();
    measure.note(|counts| counts.events_refused += refused);
}

/// A message's text: the intended moment in microseconds after the run's start, with the run's own mark before it.
pub(crate) fn content(intended: Duration) -> String {
    format!("loadgen-{}:{}", std::process::id(), intended.as_micros())
}

/// The moment in a message of this run; messages of others give nothing.
fn intended(content: &str) -> Option<Duration> {
    let rest = content.strip_prefix("loadgen-")?;
    let (run, micros) = rest.split_once(':')?;
    (run.parse() == Ok(std::process::id())).then_some(())?;
    micros.parse().ok().map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_of_this_run_are_measured() {
        let moment = Duration::from_micros(1_234_567);
        assert_eq!(intended(&content(moment)), Some(moment));
        for other in ["hello", "loadgen-0:5", "loadgen-x:5", "loadgen-"] {
            assert_eq!(intended(other), None, "{other}");
        }
    }
}
