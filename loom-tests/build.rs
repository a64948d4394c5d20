//! Switches the sources of `eddies` to loom, for this package alone.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(eddies_loom)");
    println!("cargo::rustc-cfg=eddies_loom");
}
