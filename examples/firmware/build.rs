//! Reads the settings of the firmware from the environment, and has the linker find its scripts.

use std::env;
use std::fmt::Debug;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;

fn main() {
    let settings = [
        address(),
        peer(),
        number::<u16>("PORT", "7"),
        // In seconds, except for the count.
        number::<u32>("IDLE", "60"),
        number::<u32>("INTERVAL", "10"),
        number::<u8>("COUNT", "3"),
        number::<u32>("USER_TIMEOUT", "120"),
        number::<u32>("RETRY", "5"),
    ];
    let directory = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets it"));
    fs::write(directory.join("settings.rs"), settings.concat())
        .expect("the directory is for what is built");

    if env::var_os("CARGO_FEATURE_BOARD").is_some() {
        println!("cargo:rustc-link-search={}", env!("CARGO_MANIFEST_DIR"));
        println!("cargo:rustc-link-arg-bins=-Tlink.x");
        println!("cargo:rustc-link-arg-bins=-Tdefmt.x");
        println!("cargo:rerun-if-changed=memory.x");
        println!("cargo:rerun-if-changed=device.x");
    }
    println!("cargo:rerun-if-changed=build.rs");
}

/// Our own address, and the length of the network's prefix.
fn address() -> String {
    let text = variable("ADDRESS", "192.0.2.2/24");
    let (address, prefix) = text.split_once('/').unwrap_or_else(|| {
        panic!("invalid FIRMWARE_ADDRESS `{text}`: expected an address such as 192.0.2.2/24")
    });
    let octets = parse::<Ipv4Addr>("ADDRESS", address).octets();
    let prefix: u8 = parse("ADDRESS", prefix);
    assert!(
        prefix <= 32,
        "FIRMWARE_ADDRESS has a prefix of {prefix} bits"
    );
    format!("const ADDRESS: ([u8; 4], u8) = ({octets:?}, {prefix});\n")
}

/// The server that the client connects to.
fn peer() -> String {
    let peer: SocketAddrV4 = parse("PEER", &variable("PEER", "192.0.2.1:7000"));
    let (octets, port) = (peer.ip().octets(), peer.port());
    assert!(port != 0, "FIRMWARE_PEER has no port");
    format!("const PEER: ([u8; 4], u16) = ({octets:?}, {port});\n")
}

fn number<T: FromStr<Err: Debug> + ToString>(name: &str, default: &str) -> String {
    let value: T = parse(name, &variable(name, default));
    let kind = std::any::type_name::<T>();
    format!("const {name}: {kind} = {};\n", value.to_string())
}

fn variable(name: &str, default: &str) -> String {
    println!("cargo:rerun-if-env-changed=FIRMWARE_{name}");
    env::var(format!("FIRMWARE_{name}")).unwrap_or_else(|_| default.to_owned())
}

fn parse<T: FromStr<Err: Debug>>(name: &str, text: &str) -> T {
    text.parse()
        .unwrap_or_else(|error| panic!("FIRMWARE_{name}={text}: {error:?}"))
}
