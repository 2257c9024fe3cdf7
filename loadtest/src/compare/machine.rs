//! What a measurement ran on, without anything that names the machine.

use std::process::Command;

/// Cores, memory, kernel and processor.
pub fn description() -> String {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = gigabytes(&read("/proc/meminfo"))
        .map_or("memory unknown".to_owned(), |gb| format!("{gb:.0} GB of memory"));
    let kernel = read("/proc/sys/kernel/osrelease");
    let cpu = model(&read("/proc/cpuinfo")).unwrap_or("processor unknown".to_owned());
    format!("{cores} cores, {memory}, Linux {}, {cpu}", kernel.trim())
}

/// The total of `/proc/meminfo` (proc_meminfo(5)), which is in units of 1024 bytes.
fn gigabytes(meminfo: &str) -> Option<f64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0 / 1e9)
}

/// The model in `/proc/cpuinfo` (proc_cpuinfo(5)).
fn model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The commit of the tree in the working folder, marked where it was changed; `None` outside of one.
pub fn commit() -> Option<String> {
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty=-changed", "--exclude=*"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_model_are_read() {
        assert_eq!(
            gigabytes("MemTotal:       16000000 kB\nMemFree: 1 kB\n"),
            Some(16.384)
        );
        assert_eq!(gigabytes(""), None);
        assert_eq!(
            model("processor\t: 0\nmodel name\t: A CPU @ 2 GHz\n").as_deref(),
            Some("A CPU @ 2 GHz")
        );
        assert_eq!(model(""), None);
    }
}
