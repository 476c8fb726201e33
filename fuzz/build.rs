//! Sets `cfg(fuzzing)` for the targets, and sees to it that nothing else has it: smoltcp believes any
//! checksum then, and is not the stack that is to be fuzzed.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    assert!(
        std::env::var_os("CARGO_CFG_FUZZING").is_none(),
        "with `cfg(fuzzing)` smoltcp verifies no checksum: give cargo fuzz --no-cfg-fuzzing"
    );
    println!("cargo::rustc-cfg=fuzzing");
}
