use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::*;

/// Keeps counters under `name{value of each label}`.
#[derive(Default)]
struct Counts(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Counts {
    /// All that have been counted.
    fn all(&self) -> Vec<(String, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = counts
            .iter()
            .map(|(name, count)| (name.clone(), count.load(Ordering::SeqCst)));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

impl Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels: Vec<&str> = key.labels().map(metrics::Label::value).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Counter::from_arc(counts.entry(name).or_default().clone())
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test]
async fn what_is_done_is_counted_by_its_result() {
    let counts = Counts::default();
    let (auth, clock) = metrics::with_local_recorder(&counts, || set_up(&config()));
    let first = auth.login(subject()).await.unwrap();
    auth.authenticate(&first.access_token).await.unwrap();
    auth.authenticate(&first.access_token).await.unwrap(); // from the cache
    auth.authenticate("nonsense").await.unwrap_err();
    auth.refresh(&first.refresh_token, Some("laptop"))
        .await
        .unwrap_err();
    auth.refresh(&first.refresh_token, None).await.unwrap();
    auth.refresh("nonsense", None).await.unwrap_err();
    clock.advance(Duration::from_secs(31));
    auth.refresh(&first.refresh_token, None).await.unwrap_err();
    auth.authenticate(&first.access_token).await.unwrap_err();
    let other = auth.login(subject()).await.unwrap();
    auth.logout(&other.identity).await.unwrap();
    for _ in 0..17 {
        auth.login(subject()).await.unwrap();
    }
    clock.advance(Duration::from_secs(100_000));
    auth.authenticate(&first.access_token).await.unwrap_err();
    let expected = [
        ("gateway_auth_cache_hits_total{}", 1),
        ("gateway_auth_families_dropped_total{}", 1),
        ("gateway_auth_refreshes_total{ok}", 1),
        ("gateway_auth_refreshes_total{reused}", 1),
        ("gateway_auth_refreshes_total{unknown}", 1),
        ("gateway_auth_refreshes_total{wrong_device}", 1),
        ("gateway_auth_revocations_total{logout}", 1),
        ("gateway_auth_revocations_total{reuse}", 1),
        ("gateway_auth_verifications_total{expired}", 1),
        ("gateway_auth_verifications_total{invalid}", 1),
        ("gateway_auth_verifications_total{ok}", 2),
        ("gateway_auth_verifications_total{revoked}", 1),
    ];
    let expected: Vec<_> = expected.map(|(name, count)| (name.to_owned(), count)).into();
    assert_eq!(counts.all(), expected);
}
