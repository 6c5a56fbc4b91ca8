//! Every outcome of a push, with time that stands still until it is told to pass.

mod catching_up;
mod crowded;
mod outcomes;
mod repeats;
mod resuming;

use std::time::Duration;

use tokio::time::sleep;

use crate::testing::settle;
use crate::{Outcome, Report};

const ACK_TIMEOUT: Duration = Duration::from_secs(10);
/// How late a deadline may be noticed.
const LATE: Duration = Duration::from_millis(600);

fn outcomes(report: &Report) -> Vec<Outcome> {
    report.outcomes.iter().map(|device| device.outcome).collect()
}

async fn pass(time: Duration) {
    sleep(time).await;
    settle().await;
}
