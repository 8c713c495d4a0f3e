//! How much memory this process may still take.

/// Bytes that nobody uses (MemAvailable, proc_meminfo(5)) and that this process's control groups leave it
/// (cgroups(7), either version); none where the kernel does not tell.
pub(crate) fn free() -> Option<u64> {
    free_by(|path| std::fs::read_to_string(path).ok())
}

fn free_by(read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let text = read("/proc/meminfo")?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let left = groups.lines().filter_map(|line| left_in(line, &read));
    Some(left.fold(kib * 1024, u64::min))
}

/// The least that a group of this line of /proc/self/cgroup, and those around it, leave. Whose number says that there
/// is no limit says no number, or one beyond all memory.
fn left_in(line: &str, read: &impl Fn(&str) -> Option<String>) -> Option<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?);
    let (root, limit, usage) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max", "memory.current"),
        c if c.split(',').any(|c| c == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes")
        }
        _ => return None,
    };
    let number = |dir: &str, file| read(&format!("{root}{dir}/{file}"))?.trim().parse::<u64>().ok();
    let left = |dir: &str| Some(number(dir, limit)?.saturating_sub(number(dir, usage)?));
    // In a container its own group stands at the root, whatever its path is outside.
    let ends = path.match_indices('/').map(|(at, _)| &path[..at]).chain([path]);
    ends.filter_map(left).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free_with(files: &[(&str, &str)]) -> Option<u64> {
        free_by(|path| files.iter().find(|f| f.0 == path).map(|f| f.1.to_string()))
    }

    const MEMINFO: (&str, &str) =
        ("/proc/meminfo", "MemTotal:       8000 kB\nMemAvailable:    4000 kB\n");

    #[test]
    fn what_nobody_uses_is_free() {
        assert_eq!(free_with(&[MEMINFO]), Some(4_096_000));
        assert_eq!(free_with(&[("/proc/meminfo", "MemTotal: 8000 kB\n")]), None);
        assert_eq!(free_with(&[]), None);
    }

    #[test]
    fn a_group_leaves_less() {
        let v2 = [
            MEMINFO,
            ("/proc/self/cgroup", "0::/system.slice/pointsman.service\n"),
            ("/sys/fs/cgroup/system.slice/memory.max", "3000000\n"),
            ("/sys/fs/cgroup/system.slice/memory.current", "1000000\n"),
            ("/sys/fs/cgroup/system.slice/pointsman.service/memory.max", "max\n"),
            ("/sys/fs/cgroup/system.slice/pointsman.service/memory.current", "5\n"),
        ];
        assert_eq!(free_with(&v2), Some(2_000_000));
        let v1 = [
            MEMINFO,
            ("/proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/docker/1234\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1000\n"),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "2000\n"),
        ];
        assert_eq!(free_with(&v1), Some(0));
        let none = [MEMINFO, ("/proc/self/cgroup", "0::/\n")];
        assert_eq!(free_with(&none), Some(4_096_000));
    }
}
