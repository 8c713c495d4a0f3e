//! Finds the distribution's libdpdk and compiles the shim over its inline functions.

use std::process::Command;

/// What the shim and `raw.rs` call. The drivers are plugins: EAL loads them at run time.
const LIBRARIES: [&str; 4] = ["rte_ethdev", "rte_mbuf", "rte_mempool", "rte_eal"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=shim.c");

    // Without cargo_metadata pkg-config-rs would link all of DPDK's libraries, statically
    // where it can, and lose the drivers' constructors (pkg-config-rs#179).
    let dpdk = pkg_config::Config::new()
        .atleast_version("22.11")
        .cargo_metadata(false)
        .probe("libdpdk")
        .unwrap_or_else(|error| give_up(&error));

    let mut shim = cc::Build::new();
    shim.file("shim.c").includes(&dpdk.include_paths).opt_level(2).flag("-std=gnu11");
    for flag in other_cflags() {
        shim.flag(flag);
    }
    shim.compile("pointsman_dpdk_shim");

    for path in &dpdk.link_paths {
        println!("cargo:rustc-link-search=native={}", path.display());
    }
    for library in LIBRARIES {
        println!("cargo:rustc-link-lib=dylib={library}");
    }
}

/// `-include rte_config.h -march=...`: DPDK's inline functions are wrong without them, and
/// pkg-config-rs drops both.
fn other_cflags() -> Vec<String> {
    let program = std::env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".into());
    let output = Command::new(program)
        .args(["--cflags-only-other", "libdpdk"])
        .output()
        .expect("pkg-config has just been run by the probe");
    String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
}

fn give_up(error: &pkg_config::Error) -> ! {
    let text = error.to_string();
    let reason = if text.contains("libdpdk.pc") || text.contains("not found") {
        "libdpdk is not installed"
    } else if text.contains("22.11") {
        "the libdpdk here is older than 22.11"
    } else {
        "pkg-config cannot tell where libdpdk is"
    };
    eprintln!("{text}\n");
    eprintln!(
        "dpdk-sys: {reason}: `apt-get install libdpdk-dev pkg-config`, \
         or build with --no-default-features (no ports, but check, replay and the tests)"
    );
    std::process::exit(1);
}
