//! The line that tells how it goes while it goes; on a terminal only.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use tokio::time::sleep;

use crate::measure::Measure;

/// Shows the counts until dropped. To be put beside the work in a `select!`, never ends by itself.
pub(crate) async fn show(measure: Arc<Measure>) -> Infallible {
    let line = ProgressBar::new_spinner();
    loop {
        let (open, failed, sent, answered, delivered) = measure.look(|counts| {
            let failures = counts
                .connect_failures
                .values()
                .chain(counts.send_failures.values());
            (
                counts.open,
                failures.sum::<u64>(),
                counts.sent,
                counts.answered,
                counts.delivered,
            )
        });
        line.set_message(format!(
            "{open} open · {sent} sent · {answered} answered · {delivered} delivered · {failed} failed"
        ));
        line.tick();
        sleep(Duration::from_millis(200)).await;
    }
}
