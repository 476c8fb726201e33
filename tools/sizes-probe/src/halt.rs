//! What the smallest firmware does when it panics, and where its log lines go.

use core::panic::PanicInfo;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        cortex_m::asm::nop();
    }
}

#[cfg(feature = "defmt")]
mod logger {
    use core::hint::black_box;

    #[defmt::global_logger]
    struct Logger;

    // SAFETY: nothing interrupts, and nothing is kept.
    unsafe impl defmt::Logger for Logger {
        fn acquire() {}

        unsafe fn flush() {}

        unsafe fn release() {}

        unsafe fn write(bytes: &[u8]) {
            black_box(bytes);
        }
    }
}
