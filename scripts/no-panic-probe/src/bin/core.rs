//! Every entry point of the core, with arguments that the compiler cannot know. Should any of them
//! be able to panic, this does not link: what the panic handler calls is nowhere.

#![no_std]
#![no_main]

use core::fmt::{self, Write};
use core::hint::black_box;
use core::panic::PanicInfo;
use core::time::Duration;

use tcp_keepalive::{
    Cause, Config, ConfigError, Event, Flow, Instant, KeepAlive, Probe, ProbePayload, Segment,
    SeqNumber, State, Stats, Tcb, Verdict,
};

unsafe extern "C" {
    /// Is defined nowhere.
    fn the_core_can_panic() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: there is nothing to call.
    unsafe { the_core_can_panic() }
}

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    loop {
        time();
        sequence_numbers();
        if let Ok(config) = configs() {
            machine(config);
        }
        flow();
    }
}

fn now() -> Instant {
    Instant::from_micros(black_box(0))
}

fn duration() -> Duration {
    Duration::new(black_box(0), black_box(0) % 1_000_000_000)
}

fn seq() -> SeqNumber {
    SeqNumber(black_box(0))
}

fn tcb() -> Tcb {
    black_box(Tcb {
        snd_una: seq(),
        snd_nxt: seq(),
        rcv_nxt: seq(),
        rcv_wnd: 0,
        timestamps: None,
        unsent: false,
    })
}

fn time() {
    black_box(Instant::from_millis(black_box(0)));
    black_box(now().as_micros());
    black_box(now().saturating_add(duration()));
    black_box(now().saturating_duration_since(now()));
    black_box(now() < now());
}

fn sequence_numbers() {
    black_box(seq().wrapping_add(black_box(0)));
    black_box(seq().wrapping_sub(black_box(0)));
    black_box(seq().distance_from(seq()));
    black_box(tcb().is_quiet());
}

fn configs() -> Result<Config, ConfigError> {
    let config = Config::new(duration(), duration(), black_box(0));
    if let Err(error) = black_box(config) {
        show(&error);
    }
    black_box(Config::redis(duration()))?;
    black_box(Config::detect_within(duration()))?;
    let config = config?
        .with_payload(black_box(ProbePayload::GarbageOctet))
        .with_user_timeout(duration())?;
    black_box(config.detection_time());
    black_box(config.idle());
    black_box(config.interval());
    black_box(config.count());
    black_box(config.payload());
    black_box(config.user_timeout());
    black_box(config == Config::default());
    Ok(black_box(config))
}

fn machine(config: Config) {
    let mut machine = KeepAlive::new(config);
    // Whatever state it is in.
    let machine = black_box(&mut machine);
    machine.enable(now());
    black_box(&mut *machine).handle_segment(now());
    black_box(&mut *machine).handle_sent(now());
    black_box(&mut *machine).handle_blocked(now());
    black_box(&mut *machine).handle_timeout(now(), &tcb());
    if let Some(probe) = black_box(&mut *machine).poll_transmit(now(), &tcb()) {
        look_at(&probe);
        black_box(&mut *machine).handle_transmitted(now(), probe);
    }
    match black_box(&mut *machine).poll_event() {
        Some(Event::TimedOut(verdict)) => tell(verdict),
        event => drop(black_box(event)),
    }
    black_box(black_box(&mut *machine).poll_timeout());
    black_box::<State>(machine.state());
    black_box(machine.config());
    black_box::<Stats>(machine.stats());
    black_box(machine.last_heard());
    black_box(machine.verdict());
    black_box(&mut *machine).set_config(now(), config);
    black_box(&mut *machine).disable();
    black_box(&mut *machine).reset();
    black_box(machine);
}

fn look_at(probe: &Probe) {
    black_box(probe.seq());
    black_box(probe.ack());
    black_box(probe.window());
    black_box(probe.timestamps());
    black_box(probe.payload());
}

fn tell(verdict: Verdict) {
    let Verdict {
        cause,
        silent_for,
        unanswered,
        unsent,
    } = verdict;
    show::<Cause>(&cause);
    black_box((silent_for, unanswered, unsent));
}

fn segment() -> Segment {
    black_box(Segment {
        seq: seq(),
        ack: Some(seq()),
        window: 0,
        len: 0,
        syn: false,
        fin: false,
        rst: false,
        timestamps: None,
    })
}

fn flow() {
    let mut flow = Flow::new(black_box(0), black_box(0));
    let flow = black_box(&mut flow);
    black_box(segment().end());
    black_box(flow.handle_received(&segment()));
    black_box(black_box(&mut *flow).handle_sent(&segment()));
    black_box(black_box(&mut *flow).is_acceptable(&segment()));
    black_box(&mut *flow).handle_quiet();
    black_box(flow.tcb(black_box(false)));
    black_box(flow.rcv_nxt());
    black_box(flow.is_window_closed());
    black_box(flow.is_in_flight());
}

/// Text that goes nowhere.
struct Nowhere;

impl Write for Nowhere {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        black_box(text);
        Ok(())
    }
}

fn show<T: fmt::Display>(text: &T) {
    let _ = black_box(write!(Nowhere, "{text}"));
}
