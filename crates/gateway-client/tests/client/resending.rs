//! Commands whose connection ends: sent again where that cannot do a thing twice, and nowhere else.

use std::time::Duration;

use gateway_client::ClientError;
use serde_json::json;

use crate::stub::{Stub, connected, returned};

const MOMENT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_command_that_a_drain_left_unanswered_is_sent_once_more_and_answered() {
    for code in [1012, 1013] {
        let stub = Stub::start().await;
        let (client, mut peer) = connected(&stub).await;
        let gateway = async {
            let first = peer.request().await;
            peer.close(code, "").await;
            let (mut peer, _) = returned(&stub).await;
            let second = peer.answer(json!("done")).await;
            assert_eq!(
                (&first["cmd_id"], &first["data"]),
                (&second["cmd_id"], &second["data"])
            );
            peer
        };
        let (answer, mut peer) = tokio::join!(client.command(2001, json!({ "n": 1 })), gateway);
        assert_eq!(answer.unwrap().data, "done", "{code}");
        assert!(peer.is_silent_for(MOMENT).await, "{code}");
    }
}

#[tokio::test]
async fn an_answered_command_is_not_sent_again() {
    let stub = Stub::start().await;
    let (client, mut peer) = connected(&stub).await;
    let gateway = async {
        peer.answer(json!("done")).await;
        peer.close(1012, "").await;
    };
    let (answer, ()) = tokio::join!(client.command(2001, json!({})), gateway);
    assert_eq!(answer.unwrap().data, "done");
    let (mut peer, _) = returned(&stub).await;
    assert!(peer.is_silent_for(MOMENT).await);
}

#[tokio::test]
async fn a_command_of_a_lost_connection_is_not_sent_again() {
    let stub = Stub::start().await;
    let (client, mut peer) = connected(&stub).await;
    let gateway = async {
        peer.request().await;
        drop(peer);
        let (mut peer, _) = returned(&stub).await;
        assert!(peer.is_silent_for(MOMENT).await);
    };
    let (answer, ()) = tokio::join!(client.command(2001, json!({})), gateway);
    assert!(
        matches!(&answer, Err(ClientError::Closed(ended)) if ended.code.is_none()),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_close_of_another_kind_leaves_the_command_to_the_application() {
    for code in [1001, 1011, 4409] {
        let stub = Stub::start().await;
        let (client, mut peer) = connected(&stub).await;
        let gateway = async {
            peer.request().await;
            peer.close(code, "").await;
            let (mut peer, _) = returned(&stub).await;
            assert!(peer.is_silent_for(MOMENT).await, "{code}");
        };
        let (answer, ()) = tokio::join!(client.command(2001, json!({})), gateway);
        assert!(
            matches!(&answer, Err(ClientError::Closed(ended)) if ended.code == Some(code)),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn a_command_given_while_away_waits_for_the_next_connection() {
    let stub = Stub::start().await;
    let (client, peer) = connected(&stub).await;
    let first = client.client().await.unwrap();
    drop(peer);
    first.closed().await;
    let gateway = async {
        let (mut peer, _) = returned(&stub).await;
        peer.answer(json!("done")).await;
    };
    let (answer, ()) = tokio::join!(client.command_text(2001, r#"{"n":1}"#), gateway);
    assert_eq!(answer.unwrap().data, "done");
}

#[tokio::test]
async fn the_sixth_try_is_the_last() {
    let stub = Stub::start().await;
    let (client, mut peer) = connected(&stub).await;
    let gateway = async {
        for _ in 0..5 {
            peer.request().await;
            peer.close(1012, "").await;
            (peer, _) = returned(&stub).await;
        }
        peer.request().await;
        peer.close(1012, "").await;
        let (mut peer, _) = returned(&stub).await;
        assert!(peer.is_silent_for(MOMENT).await);
    };
    let (answer, ()) = tokio::join!(client.command(2001, json!({})), gateway);
    assert!(
        matches!(&answer, Err(ClientError::Closed(ended)) if ended.may_resend()),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_command_that_waits_ends_when_the_client_is_given_up() {
    let stub = Stub::start().await;
    let (client, mut peer) = connected(&stub).await;
    let gateway = async {
        peer.request().await;
        peer.close(1012, "").await;
        drop((peer, stub));
    };
    let (answer, ()) = tokio::join!(client.command(2001, json!({})), gateway);
    assert!(
        matches!(&answer, Err(ClientError::Closed(ended)) if ended.code == Some(1012)),
        "{answer:?}"
    );
}
