use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use gateway_codec::CloseCode;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::BindError;
use crate::testing::{Link, NOW, Node, body, user};
use crate::{DeliverySettings, PushOrder, Target};

/// One device that logs in from four threads at once while two others push to it: one session is left, all others have
/// been told and closed, and every push has reached the last device or is in the box, or both where an end came between.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn logins_ends_and_pushes_at_once_lose_nothing() {
    // Room for all, so that no session ends as too slow.
    let settings = DeliverySettings {
        catch_up_buffer: 2_000,
        ..DeliverySettings::default()
    };
    let node = Arc::new(Node::with(settings));
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let node = node.clone();
        tasks.spawn(async move {
            let mut links = Vec::new();
            for _ in 0..100 {
                let link = Link::acknowledging();
                match node.try_bind("alice", "a", &link).await {
                    Ok(record) => {
                        node.delivery.bound(&record, None);
                        tokio::task::yield_now().await;
                        for push in link.pushed() {
                            node.delivery.acked(record.session_id, &push);
                        }
                        links.push((link, Some(record)));
                    }
                    Err(BindError::Displaced(_)) => links.push((link, None)),
                    Err(error) => panic!("{error}"),
                }
            }
            links
        });
    }
    let mut callers = JoinSet::new();
    for caller in 0..2 {
        let node = node.clone();
        callers.spawn(async move {
            for index in 0..500 {
                let target = Target::Users(vec![user("alice")]);
                let order = PushOrder {
                    body: body(&format!("{caller}-{index}")),
                    target,
                };
                let _ = node.delivery.push_now(order, NOW);
                tokio::task::yield_now().await;
            }
        });
    }
    let links = tasks.join_all().await.concat();
    callers.join_all().await;

    let open: Vec<_> = links.iter().filter(|(link, _)| link.closed().is_none()).collect();
    assert_eq!(
        (
            open.len(),
            node.registry.live_count(),
            node.registry.stats().unique_users
        ),
        (1, 1, 1)
    );
    assert!(
        links
            .iter()
            .all(|(link, _)| matches!(link.closed(), None | Some(CloseCode::Replaced)))
    );
    let (last, record) = open[0];
    let record = record.as_ref().unwrap();
    assert!(node.registry.is_current(record, NOW).await.unwrap());

    for (link, record) in &links {
        if let (Some(_), Some(record)) = (link.closed(), record) {
            node.delivery.closed(record, 0);
            node.registry.unbind(record, NOW).await.unwrap();
        }
    }
    for _ in 0..200 {
        for push in last.pushed() {
            node.delivery.acked(record.session_id, &push);
        }
        sleep(Duration::from_millis(2)).await;
    }
    node.delivery.shutdown().await;
    let mut found: HashSet<String> = node.sink.of("alice").into_iter().collect();
    found.extend(links.iter().flat_map(|(link, _)| link.pushed()));
    assert_eq!(found.len(), 1_000, "sent to a session or in the box");
    assert!(
        node.sink.of("alice").is_empty(),
        "and the session that is left has fetched all that the others left"
    );
    assert_eq!(node.registry.live_count(), 1);
}
