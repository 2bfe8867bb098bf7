//! How the program is linked: the relocations that the loader applies at each start take a hundredth of the room in the packed form,
//! a third of a megabyte less to read and to keep in memory. The loader of glibc knows it since 2.36, and a program that has it
//! does not start under an older one. So it is asked for only where the program is built for the machine that builds it,
//! whose C library says that it knows the form, by the name that the loader looks for.

use std::env;
use std::fs;

/// The version that a C library has to define for a program with packed relocations.
const KNOWN_BY: &[u8] = b"GLIBC_ABI_DT_RELR";

fn main() {
    println!("cargo::rerun-if-changed=src/build.rs");
    let of = |name: &str| env::var(name).unwrap_or_default();
    let is_for_this_machine = of("TARGET") == of("HOST");
    if is_for_this_machine && of("CARGO_CFG_TARGET_OS") == "linux" && of("CARGO_CFG_TARGET_ENV") == "gnu" {
        let arch = of("CARGO_CFG_TARGET_ARCH");
        let libraries = [format!("/lib/{arch}-linux-gnu/libc.so.6"), "/lib64/libc.so.6".to_owned()];
        let known = libraries.iter().filter_map(|path| fs::read(path).ok()).any(|library| holds(&library, KNOWN_BY));
        if known {
            println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        }
    }
}

fn holds(library: &[u8], name: &[u8]) -> bool {
    library.windows(name.len()).any(|window| window == name)
}
