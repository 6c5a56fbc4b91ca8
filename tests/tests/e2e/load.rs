//! loadgen against the real gateway: what it says must be what happened.

use gateway_tests::Stack;
use gateway_tests::stack::{Process, SECRET, SERVICE_KEY};
use serde_json::Value;

/// Twenty clients of `scenario`, and the report.
async fn load(stack: &Stack, arguments: &[&str]) -> Value {
    let file = stack.folder.path().join("report.json");
    let mut all: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    all.extend(["-n", "20", "--url"].map(str::to_owned));
    all.push(format!("ws://{}/ws", stack.websocket));
    all.extend(["--json".to_owned(), file.display().to_string()]);
    all.extend(["--pid".to_owned(), stack.gateway.id().to_string()]);
    let mut loadgen = Process::start("loadgen", &all, &[]);
    assert_eq!(loadgen.ended().await, Some(0), "{}", loadgen.log());
    let report: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    for part in ["/connections/refused", "/connections/ended", "/messages/failed"] {
        let troubles = report.pointer(part).and_then(Value::as_object);
        assert!(troubles.is_none_or(serde_json::Map::is_empty), "{part}: {report}");
    }
    assert_eq!(report["connections"]["held"], 20, "{report}");
    report
}

/// The file of a key that loadgen is given.
fn key_file(stack: &Stack, name: &str, key: &str) -> String {
    let file = stack.folder.path().join(name);
    std::fs::write(&file, key).unwrap();
    file.display().to_string()
}

#[tokio::test]
async fn people_who_log_in_by_password_chat_in_both_encodings() {
    let stack = Stack::builder().mock(&["--accounts", "20"]).start().await;
    for encoding in ["json", "protobuf"] {
        let report = load(
            &stack,
            &[
                "chat",
                "--encoding",
                encoding,
                "--think",
                "100ms",
                "--warm-up",
                "300ms",
                "--duration",
                "1s",
            ],
        )
        .await;
        let messages = &report["messages"];
        assert!(messages["answered"].as_u64().unwrap() > 50, "{report}");
        assert!(messages["delivered"].as_u64().unwrap() > 20, "{report}");
        assert!(messages["delivery"]["p50"].as_f64().unwrap() > 0.0, "{report}");
    }
}

#[tokio::test]
async fn a_back_ends_echo_heartbeats_and_a_storm_with_tokens_made_by_the_key() {
    let stack = Stack::builder().mock(&["--accounts", "20"]).start().await;
    let key = key_file(&stack, "jwt.key", SECRET);
    let short = ["--key-file", &key, "--warm-up", "200ms", "--duration", "500ms"];
    for scenario in ["echo", "rpc"] {
        let report = load(&stack, &[&[scenario, "--depth", "3"], &short[..]].concat()).await;
        assert!(report["messages"]["answered"].as_u64().unwrap() > 100, "{report}");
    }
    let report = load(&stack, &["storm", "--back-off", "--key-file", &key]).await;
    assert_eq!(report["connections"]["made"], 40, "each came twice: {report}");
}

#[tokio::test]
async fn pushes_to_one_and_to_all_arrive_and_are_acknowledged() {
    let stack = Stack::builder().mock(&["--accounts", "20"]).start().await;
    let (key, service) = (
        key_file(&stack, "jwt.key", SECRET),
        key_file(&stack, "service.key", SERVICE_KEY),
    );
    let grpc = format!("http://{}", stack.grpc);
    let source = [
        "--key-file",
        &key,
        "--grpc",
        &grpc,
        "--service-key-file",
        &service,
    ];
    let push = ["push", "--ack", "--rate", "100", "--duration", "1s"];
    let report = load(&stack, &[&push[..], &source].concat()).await;
    assert_eq!(report["messages"]["delivered"], 100, "{report}");
    let fan_out = ["fanout", "--burst", "4", "--times", "2"];
    let report = load(&stack, &[&fan_out[..], &source].concat()).await;
    assert_eq!(report["messages"]["delivered"], 20 * 4 * 2, "{report}");
}
