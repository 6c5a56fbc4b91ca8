//! What the processes under load use of the machine: CPU time by the scheduler's own count, memory of their own.

use anyhow::{Context as _, Result};
use procfs::process::Process;
use serde::Serialize;

/// What processes had used at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Usage {
    /// Seconds on a CPU, all threads since their start.
    pub(crate) cpu_seconds: f64,
    /// Anonymous memory that is resident, in bytes.
    pub(crate) rss_anon: u64,
}

/// The usage of these processes together.
///
/// # Errors
/// Where one is not there or may not be looked at.
pub(crate) fn usage(pids: &[u32]) -> Result<Usage> {
    let mut sum = Usage::default();
    for &pid in pids {
        let one = of(pid).with_context(|| format!("reading what process {pid} uses"))?;
        sum.cpu_seconds += one.cpu_seconds;
        sum.rss_anon += one.rss_anon;
    }
    Ok(sum)
}

fn of(pid: u32) -> Result<Usage> {
    let process = Process::new(i32::try_from(pid)?)?;
    let mut nanos = 0;
    for task in process.tasks()? {
        // A thread that has just ended is no error; what it used is lost to both looks.
        if let Ok(stat) = task.and_then(|task| task.schedstat()) {
            nanos += stat.sum_exec_runtime;
        }
    }
    let kibibytes = process.status()?.rssanon.unwrap_or(0);
    Ok(Usage {
        cpu_seconds: nanos as f64 / 1e9,
        rss_anon: kibibytes * 1024,
    })
}

/// Memory that the kernel holds for itself, sockets among it, in bytes.
///
/// # Errors
/// Where `/proc/meminfo` cannot be read.
pub(crate) fn kernel_memory() -> Result<u64> {
    use procfs::Current as _;
    let memory = procfs::Meminfo::current()?;
    Ok(memory.slab + memory.kernel_stack.unwrap_or(0) + memory.page_tables.unwrap_or(0))
}

/// Memory that is neither free nor cache, in bytes: everything that runs and the kernel.
///
/// # Errors
/// As [`kernel_memory`].
pub(crate) fn used_memory() -> Result<u64> {
    use procfs::Current as _;
    let memory = procfs::Meminfo::current()?;
    let available = memory.mem_available.unwrap_or(memory.mem_free);
    Ok(memory.mem_total.saturating_sub(available))
}
