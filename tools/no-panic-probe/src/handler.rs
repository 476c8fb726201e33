//! Where every panic ends. In a file of its own: it belongs to no part of the probe.

use core::hint::black_box;
use core::panic::PanicInfo;

/// What is looked for.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn it_panics() -> ! {
    loop {
        black_box(());
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // Were it not wanted, the compiler would not keep where a panic is.
    black_box(info.location());
    it_panics()
}
