//! The clock of leases: it never steps, and every process of the machine reads the same one.

use std::fs;
use std::sync::LazyLock;
use std::time::Duration;

pub(super) use crate::lease::since_boot;

/// A name for this run of the machine: a lease from another one is over, whatever its time says.
pub(super) fn boot_id() -> &'static str {
    static ID: LazyLock<String> = LazyLock::new(|| {
        // Without one, a lease that outlived a restart of the machine is believed until it runs out.
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        id.trim().to_owned()
    });
    &ID
}

pub(super) fn millis(duration: Duration) -> i64 {
    duration.as_millis().try_into().unwrap_or(i64::MAX / 4)
}
