//! How much of the network a command may use. Flags have rclone's names, and sizes count as rclone's do.

use std::time::Duration;

use clap::Args;

use crate::config::{Bandwidth, Limits, units};

/// Flags of every command that sends or fetches.
#[derive(Debug, Default, Args)]
pub struct Network {
    /// Bytes a second, a bare number counts KiB: 10M, 1M:10M (up:down), or by local time "08:00,512k Sat-00:00,off" [default:
    /// limits.bwlimit].
    #[arg(long, value_name = "RATE", env = "EMSYNC_BWLIMIT")]
    bwlimit: Option<Bandwidth>,
    /// Requests a second, to all peers together; 0 for no limit [default: limits.tpslimit].
    #[arg(long, value_name = "N", env = "EMSYNC_TPSLIMIT", value_parser = units::per_second)]
    tpslimit: Option<Rate>,
    /// Requests that may follow each other at once after a pause [default: limits.tpslimit_burst].
    #[arg(long, value_name = "N", env = "EMSYNC_TPSLIMIT_BURST", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    tpslimit_burst: Option<u32>,
}

/// Requests a second; `None` is no limit.
type Rate = Option<f64>;

impl Network {
    /// Puts what was said in the place of what is configured.
    pub(in crate::cli) fn apply(&self, limits: &mut Limits) {
        if let Some(bandwidth) = &self.bwlimit {
            limits.bwlimit = bandwidth.clone();
        }
        limits.tpslimit = self.tpslimit.unwrap_or(limits.tpslimit);
        limits.tpslimit_burst = self.tpslimit_burst.unwrap_or(limits.tpslimit_burst);
    }
}

/// When a command ends although there is more to do.
#[derive(Debug, Default, Args)]
pub struct Until {
    /// End after so many media bytes, a bare number counts KiB: 20G. Exit 8; the next run goes on.
    #[arg(long, value_name = "SIZE", env = "EMSYNC_MAX_TRANSFER", value_parser = units::size_in_kib)]
    pub max_transfer: Option<u64>,
    /// End after so long: 6h, 1h 30m. Exit 10; the next run goes on.
    #[arg(long, value_name = "SPAN", env = "EMSYNC_MAX_DURATION", value_parser = units::duration)]
    pub max_duration: Option<Duration>,
}
