//! What a process has used, from /proc.

use std::fs;

use anyhow::{Context, Result};

/// Of a tick, everywhere on Linux.
const MS: f64 = 10.0;

/// User and system time in milliseconds.
pub fn cpu_ms(pid: u32) -> Result<f64> {
    let stat =
        fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    let (_, fields) = stat.rsplit_once(')').context("a name in parentheses")?;
    let ticks: Vec<f64> =
        fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() * MS)
}

/// What lies in memory now, and the most that ever did, in MB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    pub rss: f64,
    pub peak: f64,
}

pub fn memory(pid: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mb = |name: &str| -> Result<f64> {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
        Ok(value.with_context(|| name.to_owned())?.parse::<f64>()? / 1024.0)
    };
    Ok(Memory { rss: mb("VmRSS:")?, peak: mb("VmHWM:")? })
}
