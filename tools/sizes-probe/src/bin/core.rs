//! The machine and nothing else, on inputs that only registers know. Built without it, the same
//! inputs are read and nothing is made of them: what is more than that is the machine's.

#![no_std]
#![no_main]

#[path = "../halt.rs"]
mod halt;
#[cfg(not(feature = "machine"))]
#[expect(dead_code, reason = "without the machine there is nothing to read")]
#[path = "../nothing.rs"]
mod nothing;

use core::hint::black_box;
use core::time::Duration;

use cortex_m_rt::entry;
#[cfg(feature = "machine")]
use tcp_keepalive::{Config, ConfigError, Instant, KeepAlive, SeqNumber, Tcb};

#[cfg(not(feature = "machine"))]
use nothing::{Config, ConfigError, Instant, KeepAlive, SeqNumber, Tcb};

const WORDS: *const u32 = 0x4000_0000 as *const u32;
const CONFIGS: [Config; 2] = match configs() {
    Ok(configs) => configs,
    Err(_) => panic!("no such keep-alive"),
};

const fn configs() -> Result<[Config; 2], ConfigError> {
    match Config::detect_within(Duration::from_secs(60)) {
        Ok(config) => Ok([Config::LINUX, config]),
        Err(error) => Err(error),
    }
}

fn word() -> u32 {
    // SAFETY: a register.
    unsafe { WORDS.read_volatile() }
}

fn give<T>(value: T) {
    black_box(value);
}

fn now() -> Instant {
    Instant::from_micros(u64::from(word()) << 32 | u64::from(word()))
}

fn config() -> Config {
    CONFIGS[usize::from(word() != 0)]
}

fn tcb() -> Tcb {
    Tcb {
        snd_una: SeqNumber(word()),
        snd_nxt: SeqNumber(word()),
        rcv_nxt: SeqNumber(word()),
        rcv_wnd: 1024,
        timestamps: None,
        unsent: word() != 0,
    }
}

#[entry]
fn main() -> ! {
    let mut machine = KeepAlive::new(config());
    let machine = black_box(&mut machine);
    loop {
        match word() {
            0 => machine.enable(now()),
            1 => machine.disable(),
            2 => machine.set_config(now(), config()),
            3 => machine.reset(),
            4 => machine.handle_segment(now()),
            5 => machine.handle_sent(now()),
            6 => machine.handle_blocked(now()),
            7 => machine.handle_timeout(now(), &tcb()),
            8 => {
                if let Some(probe) = machine.poll_transmit(now(), &tcb()) {
                    black_box(&probe);
                    machine.handle_transmitted(now(), probe);
                }
            }
            9 => give(machine.poll_event()),
            10 => give(machine.poll_timeout()),
            11 => give(machine.state()),
            12 => give(machine.config()),
            13 => give(machine.stats()),
            14 => give(machine.last_heard()),
            15 => give(machine.verdict()),
            #[cfg(feature = "flow")]
            16 => flow(),
            _ => {}
        }
    }
}

#[cfg(feature = "flow")]
#[inline(never)]
fn flow() {
    use tcp_keepalive::{Flow, Segment};

    fn segment() -> Segment {
        Segment {
            seq: SeqNumber(word()),
            ack: Some(SeqNumber(word())),
            window: 1024,
            len: word(),
            syn: word() != 0,
            fin: word() != 0,
            rst: word() != 0,
            timestamps: Some((word(), word())),
            window_scale: None,
        }
    }

    let mut flow = Flow::new(word(), word());
    let flow = black_box(&mut flow);
    black_box(flow.handle_received(&segment()));
    black_box(flow.handle_sent(&segment()));
    flow.handle_quiet();
    black_box(flow.tcb(word() != 0));
    black_box(flow.rcv_nxt());
    black_box(flow.is_window_closed());
    black_box(flow.is_in_flight());
}
