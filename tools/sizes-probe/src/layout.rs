//! A static as large as each type of interest: the compiler writes their sizes into the assembly
//! of whichever target it is built for, and `scripts/sizes` reads them there.

#![no_std]
#![cfg(feature = "ours")]

use tcp_keepalive::smoltcp::KeepAliveSet;
use tcp_keepalive::{Config, Flow, KeepAlive};

macro_rules! sizes {
    ($($name:ident = $size:expr;)*) => {
        $(
            #[used]
            static $name: [u8; $size] = [0; $size];
        )*
    };
}

sizes! {
    CONNECTION = KeepAliveSet::<1>::BYTES_PER_CONNECTION;
    TOUCHED = KeepAliveSet::<1>::BYTES_TOUCHED_BY_SEGMENT;
    FLOW = size_of::<Flow>();
    MACHINE = size_of::<KeepAlive>();
    CONFIG = size_of::<Config>();
    SET_OF_1 = size_of::<KeepAliveSet<1>>();
    SET_OF_8 = size_of::<KeepAliveSet<8>>();
}
