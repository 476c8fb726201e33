//! How much of the stack `poll` takes at most, in each phase of the life of a connection: what is
//! below the stack is painted before each poll, and read back after it. Runs in QEMU.

#![no_std]
#![no_main]

#[path = "../app.rs"]
mod app;
#[path = "../keeper.rs"]
mod keeper;
#[path = "../peer.rs"]
mod peer;

use core::panic::PanicInfo;
use core::ptr;

use cortex_m::register::msp;
use cortex_m_rt::entry;
use cortex_m_semihosting::{debug, hprintln};
use smoltcp::time::{Duration, Instant};

use app::{App, Memory};
use peer::Peer;

/// Far more than is needed, and far less than there is.
const PAINTED: usize = 32 << 10;
const PAINT: u32 = 0xa5a5_5a5a;
const ROUND_TRIP: Duration = Duration::from_millis(20);

#[entry]
fn main() -> ! {
    let mut peer = Peer::new();
    let mut memory = Memory::new();
    let now = Instant::from_secs(1);
    let app = App::new(&mut memory, &mut peer, now);
    let mut bench = Bench {
        app,
        peer,
        now,
        deepest: 0,
    };
    // It listens.
    bench.run_for(1);

    bench.peer.connect();
    bench.run_for(1);
    bench.report("handshake");

    for _ in 0..8 {
        bench.peer.write(peer::MAX_SEGMENT);
        bench.run_for(1);
    }
    bench.report("bulk");

    // Longer than smoltcp remembers a neighbour.
    bench.run_for(300);
    bench.report("silence");

    bench.peer.write(1);
    bench.run_for(1);
    bench.report("data-after-silence");

    bench.peer.is_alive = false;
    bench.run_for(300);
    bench.report("dead-while-quiet");

    bench.connect_again();
    bench.peer.write(1);
    bench.peer.is_alive = false;
    bench.run_for(300);
    bench.report("dead-while-busy");

    // Otherwise it was not measured what it should have been.
    assert_eq!(bench.peer.resets, keeper::VERDICTS);

    bench.connect_again();
    bench.peer.is_alive = false;
    bench.peer.is_there = false;
    bench.run_for(300);
    bench.report("gone");
    exit(debug::EXIT_SUCCESS)
}

struct Bench<'a> {
    app: App<'a>,
    peer: Peer,
    now: Instant,
    deepest: usize,
}

impl Bench<'_> {
    fn run_for(&mut self, secs: u64) {
        let end = self.now + Duration::from_secs(secs);
        while self.now < end {
            self.poll();
            self.app.serve();
            self.peer.react();
            let delay = if self.peer.has_frames() {
                ROUND_TRIP
            } else {
                self.app.poll_delay(self.now).unwrap_or(Duration::MAX)
            };
            // What wants to be polled at once has its time too.
            self.now += delay.clamp(Duration::from_millis(1), end - self.now);
        }
    }

    fn connect_again(&mut self) {
        self.peer.is_alive = true;
        self.peer.connect();
        self.run_for(1);
    }

    #[inline(never)]
    fn poll(&mut self) {
        let top = msp::read() as usize;
        let words = || {
            (top - PAINTED..top)
                .step_by(4)
                .map(ptr::with_exposed_provenance_mut)
        };
        for word in words() {
            // SAFETY: memory below the stack, and nothing interrupts.
            unsafe { ptr::write_volatile(word, PAINT) }
        }
        self.app.poll(self.now, &mut self.peer);
        // SAFETY: as above.
        let touched = words().find(|&word| unsafe { ptr::read_volatile(word) } != PAINT);
        let depth = touched.map_or(0, |word: *mut u32| top - word.addr());
        assert!(depth < PAINTED, "more was painted than is taken");
        self.deepest = self.deepest.max(depth);
    }

    fn report(&mut self, phase: &str) {
        hprintln!("{} {}", phase, self.deepest);
        self.deepest = 0;
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    hprintln!("{}", info);
    exit(debug::EXIT_FAILURE)
}

/// Ends QEMU.
fn exit(status: debug::ExitStatus) -> ! {
    debug::exit(status);
    loop {
        cortex_m::asm::wfi();
    }
}
