//! Every entry point of the core, with arguments that the compiler cannot know. Should any of them
//! be able to panic, this does not link: what the panic handler calls is nowhere.

#![no_std]
#![no_main]

use core::fmt::{self, Write};
use core::hint::black_box;
use core::panic::PanicInfo;
use core::time::Duration;

use core::net::SocketAddr;

use tcp_keepalive::link::{
    Checksum, Checksums, CloseReason, Ending, Id, Link, MAX_FRAME_LEN, Medium, Socket, Tuple,
};
use tcp_keepalive::{
    Cause, Config, ConfigError, Event, FailedAt, Flow, Instant, KeepAlive, Probe, ProbePayload,
    Segment, SeqNumber, State, Stats, Tcb, Verdict,
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
            link::<0, 1>(config);
            link::<8, 1>(config);
            link::<8, 4>(config);
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
        .with_user_timeout(duration())?
        .with_idle(duration())?
        .with_interval(duration())?
        .with_count(black_box(3))?;
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
    black_box(&mut *machine).handle_hop_asked();
    black_box(&mut *machine).handle_hop_answered();
    black_box(&mut *machine).handle_unreachable();
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
        failed_at,
    } = verdict;
    show::<Cause>(&cause);
    show::<FailedAt>(&failed_at);
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
        window_scale: None,
    })
}

/// The engine, over frames of any length with anything in them.
fn link<const N: usize, const W: usize>(config: Config) {
    let mut link = Link::<N, W>::new();
    let link = black_box(&mut link);
    let checksums = Checksums {
        ipv4: black_box(Checksum::Software),
        transport: black_box(Checksum::Software),
    };
    link.set_capabilities(black_box(Medium::Ethernet), checksums);
    let octets = black_box([0; 1514]);
    let frame = || octets.get(..black_box(0)).unwrap_or_default();
    let mut out = [0; MAX_FRAME_LEN];
    let endpoint = || black_box(SocketAddr::from(([0; 4], 0)));
    let Some(id): Option<Id> = link.add(config) else {
        return;
    };
    let id = black_box(id);
    black_box(&mut *link).set_config(id, config);
    if let Some(tuple) = Tuple::new(endpoint(), endpoint()) {
        black_box((tuple.local(), tuple.remote()));
        for socket in [
            Socket::Closed(black_box(Ending::Unknown)),
            Socket::Opening(tuple),
            Socket::Open(tuple),
        ] {
            let is_busy = black_box(false);
            black_box(black_box(&mut *link).follow(now(), id, socket, black_box(0), is_busy));
        }
    }
    for config in [Some(config), None] {
        black_box(&mut *link).switch(now(), id, black_box(config));
    }
    black_box(&mut *link).forget_opening();
    black_box(&mut *link).handle_received(now(), frame());
    black_box(&mut *link).handle_sent(now(), frame());
    black_box(&mut *link).handle_written(now(), black_box(&mut [0; 64]));
    black_box(&mut *link).handle_answer(frame());
    if black_box(&mut *link).is_due(now()) {
        black_box(&mut *link).settle();
        black_box(&mut *link).handle_timeout(now());
    }
    black_box(black_box(&mut *link).poll_transmit(now(), &mut out));
    black_box(&mut *link).handle_transmitted(now());
    black_box(&mut *link).handle_blocked(now());
    black_box(black_box(&mut *link).poll_receive(&mut out));
    black_box(black_box(&mut *link).take_change());
    black_box(black_box(&mut *link).needs_numbers(now(), id));
    black_box(link.poll_opening());
    black_box(link.poll_timeout());
    black_box(black_box(&mut *link).poll_event());
    black_box(link.has_events());
    black_box(link.is_over(id));
    black_box(link.state(id));
    black_box(link.config(id));
    black_box(link.stats(id));
    black_box(link.last_heard(id));
    black_box::<Option<CloseReason>>(link.close_reason(id));
    black_box(link.tuple(id));
    black_box(&mut *link).reject(id);
    black_box(&mut *link).remove(id);
    black_box(link);
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
    black_box(flow.is_known());
    black_box(flow.is_closed());
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
