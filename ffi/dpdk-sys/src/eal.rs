//! The Environment Abstraction Layer: started once, taken down when its last user goes.

use std::cell::Cell;
use std::ffi::CStr;
use std::ffi::CString;
use std::ffi::c_char;
use std::ffi::c_int;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use crate::device::is_pci;
use crate::device::port_name;
use crate::error::Error;
use crate::ethdev;
use crate::explain;
use crate::log;
use crate::mempool;
use crate::raw;
use crate::raw::RteMempool;

/// What DPDK is started with.
#[derive(Clone, Debug)]
pub struct EalArgs {
    /// Memory for all pools and rings together, in MiB.
    pub memory_mib: u32,
    /// Take it from hugepages. Without, DPDK works at a third to a half of the speed, and not with
    /// physical NICs.
    pub hugepages: bool,
    /// Ports to be: virtual devices as `net_af_packet0,iface=eth1`, PCI devices as `0000:03:00.0`;
    /// see [`devices_for`](crate::devices_for).
    pub devices: Vec<String>,
    /// The least important kind of line that [`log::take`] is to give.
    pub log_level: LogLevel,
    /// Open DPDK's own telemetry socket.
    pub telemetry: bool,
}

impl Default for EalArgs {
    /// 512 MiB of hugepages, no device, warnings, no telemetry.
    fn default() -> Self {
        Self {
            memory_mib: 512,
            hugepages: true,
            devices: Vec::new(),
            log_level: LogLevel::Warning,
            telemetry: false,
        }
    }
}

/// How much of DPDK's log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Failures.
    Error = 4,
    /// And what may become one.
    Warning = 5,
    /// And what is worth knowing.
    Notice = 6,
    /// And what goes as it should.
    Info = 7,
    /// Everything.
    Debug = 8,
}

/// DPDK, started; clones are the same. It is taken down when the last clone, pool, port,
/// queue and thread guard is dropped and all mbufs are back in their pools; while one is
/// missing it stays up, and the process's end takes it down.
#[derive(Clone)]
pub struct Eal(Arc<Inner>);

struct Inner {
    memory_mib: u32,
    no_gaps: bool,
    registry: Mutex<Registry>,
}

#[derive(Default)]
struct Registry {
    /// Registered threads that live.
    threads: usize,
    /// Pools nobody can name any more, kept for mbufs that are still out.
    retired: Vec<Retired>,
    /// Ports that are open.
    ports: Vec<u16>,
}

struct Retired(NonNull<RteMempool>);
// SAFETY: only an address, used under the registry's lock.
unsafe impl Send for Retired {}

thread_local! {
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// DPDK can be initialised once in a process, even if it has been cleaned up.
static STARTED: AtomicBool = AtomicBool::new(false);

impl Eal {
    /// Starts DPDK and brings up the devices, each checked for a driver and a port.
    ///
    /// Works on a thread of its own: DPDK pins the thread that starts it, and the caller's
    /// affinity is not touched. Network devices are found in the caller's network namespace.
    /// Leaves no file, lock or hugepage behind, however the process ends.
    ///
    /// # Errors
    /// In words, with what to do: no hugepages, no permission, an unknown driver, a device that
    /// does not exist or is not bound, an interface that does not exist or is in use.
    pub fn init(args: &EalArgs) -> Result<Self, Error> {
        if args.hugepages {
            explain::enough_hugepages(args.memory_mib)?;
        }
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(Error::new(
                "rte_eal_init",
                libc::EALREADY,
                "DPDK has been started in this process before, and can be only once",
            ));
        }
        let args = args.clone();
        let helper = std::thread::Builder::new()
            .name("eal-init".into())
            .spawn(move || init_here(&args))
            .map_err(|error| {
                let errno = error.raw_os_error().unwrap_or(libc::EAGAIN);
                Error::new("rte_eal_init", errno, "no thread to start DPDK on")
            })?;
        helper.join().unwrap_or_else(|_| {
            Err(Error::new("rte_eal_init", libc::EFAULT, "starting DPDK panicked"))
        })
    }

    /// As `DPDK 22.11.11`.
    pub fn version() -> String {
        // SAFETY: a constant string, at any time.
        unsafe { CStr::from_ptr(raw::rte_version()) }.to_string_lossy().into_owned()
    }

    /// Registers the calling thread until the guard is dropped, so that it gets a cache in
    /// every pool: without, each alloc and free is a locked operation.
    ///
    /// # Errors
    /// More than 127 threads, or one that is registered already.
    pub fn register_thread(&self) -> Result<ThreadGuard, Error> {
        const CALL: &str = "rte_thread_register";
        if REGISTERED.get() {
            return Err(Error::new(CALL, libc::EEXIST, "this thread is registered already"));
        }
        let mut registry = self.registry();
        // SAFETY: the EAL is up; the guard undoes it on this same thread.
        if unsafe { raw::rte_thread_register() } < 0 {
            return Err(Error::from_rte_errno(CALL)
                .hint(|_| format!("DPDK has no room for thread {}", registry.threads + 2)));
        }
        registry.threads += 1;
        drop(registry);
        REGISTERED.set(true);
        Ok(ThreadGuard { eal: self.clone(), this_thread: PhantomData })
    }

    pub(crate) fn memory_mib(&self) -> u32 {
        self.0.memory_mib
    }

    /// Whether pools are to be without gaps between their buffers, as net_af_xdp needs it.
    pub(crate) fn wants_no_gaps(&self) -> bool {
        self.0.no_gaps
    }

    /// Frees `pool` as soon as it is whole and nothing can be using it.
    pub(crate) fn retire(&self, pool: NonNull<RteMempool>) {
        let mut registry = self.registry();
        registry.retired.push(Retired(pool));
        registry.free_whole_pools();
    }

    /// Notes that `port` is open; false when it was.
    pub(crate) fn claim_port(&self, port: u16) -> bool {
        let mut registry = self.registry();
        let free = !registry.ports.contains(&port);
        if free {
            registry.ports.push(port);
        }
        free
    }

    pub(crate) fn release_port(&self, port: u16) {
        self.registry().ports.retain(|&open| open != port);
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.registry()
    }
}

impl fmt::Debug for Eal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Eal").field("memory_mib", &self.0.memory_mib).finish_non_exhaustive()
    }
}

impl Inner {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        // Each change is a single step, so the registry holds after a panic elsewhere.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let mut registry = self.registry();
        registry.free_whole_pools();
        // An mbuf that is still out points into memory that the clean-up would unmap.
        if registry.retired.is_empty() {
            // SAFETY: every pool is freed, every port closed, every thread unregistered, since
            // each of them held this value.
            unsafe { raw::rte_eal_cleanup() };
        }
    }
}

impl Registry {
    /// Under the registry's lock, so that no thread registers meanwhile: a cache in use by
    /// another thread would make the count wrong.
    fn free_whole_pools(&mut self) {
        if self.threads > usize::from(REGISTERED.get()) {
            return;
        }
        self.retired.retain(|pool| {
            // SAFETY: the pool's last handle is gone (ports and their queues hold one), so nothing
            // allocates; no other thread has a cache. Whole means that no mbuf is out.
            unsafe {
                let whole = mempool::is_whole(pool.0);
                if whole {
                    raw::rte_mempool_free(pool.0.as_ptr());
                }
                !whole
            }
        });
    }
}

/// Unregisters its thread when dropped.
#[must_use = "the thread is unregistered when this is dropped"]
pub struct ThreadGuard {
    eal: Eal,
    /// Neither Send nor Sync: to be dropped where it was made.
    this_thread: PhantomData<*const ()>,
}

impl fmt::Debug for ThreadGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ThreadGuard")
    }
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        let mut registry = self.eal.registry();
        // SAFETY: registered on this very thread, the EAL is up.
        unsafe { raw::rte_thread_unregister() };
        registry.threads -= 1;
        REGISTERED.set(false);
    }
}

/// `Eal::init` on the thread that DPDK may pin.
fn init_here(args: &EalArgs) -> Result<Eal, Error> {
    let (pci, virtual_ones): (Vec<_>, Vec<_>) =
        args.devices.iter().partition(|device| is_pci(device));
    let words = command_line(args, &pci).into_iter().map(CString::new);
    let words = words.collect::<Result<Vec<_>, _>>().map_err(|_| {
        Error::new("rte_eal_init", libc::EINVAL, "a device's name holds a zero byte")
    })?;
    // getopt reorders the pointers, hence our own copy; the strings must stay for ever.
    let mut argv: Vec<*mut c_char> = words.into_iter().map(CString::into_raw).collect();
    let argc = argv.len() as c_int;
    argv.push(std::ptr::null_mut());
    let mark = log::mark();
    // SAFETY: argv is an array of argc strings and a null; STARTED makes this the only call
    // in the process's life. The shim's log stream may be set before.
    let code = unsafe {
        raw::shim_log_capture();
        raw::rte_eal_init(argc, argv.as_mut_ptr())
    };
    if code < 0 {
        let error = Error::from_rte_errno("rte_eal_init");
        return Err(explain::init(error, args, &log::since(mark)));
    }
    // SAFETY: sets the print functions of libraries that EAL's plugins have loaded.
    unsafe { raw::shim_log_capture_xdp() };
    let registry = Mutex::default();
    let no_gaps = wants_no_gaps(&args.devices);
    let eal = Eal(Arc::new(Inner { memory_mib: args.memory_mib, no_gaps, registry }));
    for device in virtual_ones {
        probe(device)?;
    }
    for address in pci {
        if ethdev::find(&port_name(address)).is_none() {
            return Err(explain::unusable_pci(address, &log::since(mark)));
        }
    }
    Ok(eal)
}

fn command_line(args: &EalArgs, pci: &[&String]) -> Vec<String> {
    // `0@(all)` instead of a core: else every thread started later inherits one CPU.
    let mut words = vec!["pointsman".to_owned(), "--lcores".into(), format!("0@({})", cpus())];
    words.push(format!("-m{}", args.memory_mib));
    // The two exclude each other; either leaves nothing in the file system.
    if args.hugepages {
        words.push("--in-memory".into());
    } else {
        words.extend(["--no-huge".into(), "--no-shconf".into()]);
    }
    words.push(format!("--log-level=*:{}", args.log_level as u32));
    if !args.telemetry {
        words.push("--no-telemetry".into());
    }
    if pci.is_empty() {
        words.push("--no-pci".into());
    }
    for address in pci {
        words.extend(["-a".into(), (*address).clone()]);
    }
    words
}

/// Beside a NIC, which needs device addresses of its buffers, net_af_xdp has to do with what it
/// reaches: NICs want hugepages, and there it is all but some ten buffers.
fn wants_no_gaps(devices: &[String]) -> bool {
    let nic = |device: &String| device.split([',', '=']).any(is_pci);
    devices.iter().any(|device| device.starts_with("net_af_xdp")) && !devices.iter().any(nic)
}

/// Brings one virtual device up. One by one, so that a failure has a name.
fn probe(device: &str) -> Result<(), Error> {
    let text = CString::new(device).map_err(|_| {
        Error::new("rte_dev_probe", libc::EINVAL, "a device's name holds a zero byte")
    })?;
    if ethdev::find(&port_name(device)).is_some() {
        let text = format!("device {device}: there is another of this name");
        return Err(Error::new("rte_dev_probe", libc::EEXIST, text));
    }
    let mark = log::mark();
    // SAFETY: the EAL is up, and the string lives through the call.
    let code = unsafe { raw::rte_dev_probe(text.as_ptr()) };
    Error::check("rte_dev_probe", code)
        .map_err(|error| explain::device(error, device, &log::since(mark)))
}

/// The CPUs this thread may run on, as `0-3,8`.
fn cpus() -> String {
    // SAFETY: all-zero bytes are a cpu_set_t, which the call fills.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of_val(&set), &raw mut set);
        set
    };
    // SAFETY: the index is below the set's size.
    let has = |cpu: usize| unsafe { libc::CPU_ISSET(cpu, &set) };
    let all = (0..libc::CPU_SETSIZE as usize).filter(|&cpu| has(cpu)).collect::<Vec<_>>();
    ranges(&all)
}

fn ranges(cpus: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &cpu in cpus {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => runs.push((cpu, cpu)),
        }
    }
    if runs.is_empty() {
        return "0".into(); // more CPUs than DPDK and libc know of
    }
    let texts = runs.iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        _ => format!("{first}-{last}"),
    });
    texts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists() {
        assert_eq!(ranges(&[0, 1, 2, 3, 8, 10, 11]), "0-3,8,10-11");
        assert_eq!(ranges(&[5]), "5");
        assert_eq!(ranges(&[]), "0");
        assert!(!cpus().is_empty());
    }

    #[test]
    fn gaps_are_in_the_way_of_af_xdp_and_nics_need_them() {
        let wants = |devices: &[&str]| {
            wants_no_gaps(&devices.iter().map(|&device| device.into()).collect::<Vec<_>>())
        };
        assert!(wants(&["net_af_packet0,iface=d0", "net_af_xdp0,iface=eth0.5"]));
        assert!(!wants(&["net_af_packet0,iface=d0"]));
        assert!(!wants(&["net_af_xdp0,iface=d0", "0000:03:00.0"]));
        assert!(!wants(&["net_af_xdp0,iface=d0", "net_bonding0,member=0000:03:00.0"]));
    }

    #[test]
    fn command_lines() {
        let mut args = EalArgs { devices: vec!["net_null0".into()], ..EalArgs::default() };
        let line = command_line(&args, &[]).join(" ");
        assert!(line.contains("--in-memory") && line.contains("--no-pci"), "{line}");
        assert!(line.contains("-m512") && line.contains("--no-telemetry"), "{line}");
        args.hugepages = false;
        args.telemetry = true;
        let line = command_line(&args, &[&"0000:03:00.0".into()]).join(" ");
        assert!(line.contains("--no-huge") && !line.contains("--in-memory"), "{line}");
        assert!(line.ends_with("-a 0000:03:00.0") && !line.contains("telemetry"), "{line}");
    }
}
