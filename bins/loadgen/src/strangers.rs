//! People who were not there before: they come while others are busy with something else, are bound, and go.
//!
//! They have a worker of their own, so that their latency is the server's and not that of this program's other work.

use anyhow::Result;

use crate::fleet::Fleet;
use crate::measure::Counts;
use crate::orders::{Load, Order, Plan};

/// Strangers that are coming at this moment.
pub(crate) struct Strangers(Fleet);

impl Strangers {
    /// They begin to come, so many a second, numbered from `first` on.
    ///
    /// # Errors
    /// Where their worker cannot be started.
    pub(crate) async fn come(plan: &Plan, first: u32, rate: f64) -> Result<Self> {
        let plan = Plan {
            first,
            // Each is another user, however many come.
            users: u32::MAX,
            ..plan.clone()
        };
        let mut fleet = Fleet::start(&plan, 0, 1).await?;
        fleet.order(Order::Load(Load::Visits { rate })).await?;
        Ok(Self(fleet))
    }

    /// No more of them come; what became of those who did.
    ///
    /// # Errors
    /// Where their worker has ended.
    pub(crate) async fn went(self) -> Result<Counts> {
        let Self(mut fleet) = self;
        let counts = fleet.order(Order::Quiet).await;
        fleet.end().await;
        counts
    }
}
