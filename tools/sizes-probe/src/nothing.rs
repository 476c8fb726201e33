//! Takes the machine's place: the same calls, and they do nothing.

use core::hint::black_box;
use core::time::Duration;

#[derive(Clone, Copy)]
pub(crate) struct Instant(u64);

impl Instant {
    pub(crate) const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }
}

pub(crate) struct SeqNumber(pub(crate) u32);

pub(crate) struct Tcb {
    pub(crate) snd_una: SeqNumber,
    pub(crate) snd_nxt: SeqNumber,
    pub(crate) rcv_nxt: SeqNumber,
    pub(crate) rcv_wnd: u16,
    pub(crate) timestamps: Option<(u32, u32)>,
    pub(crate) unsent: bool,
}

#[derive(Clone, Copy)]
pub(crate) struct Config;

pub(crate) struct ConfigError;

impl Config {
    pub(crate) const LINUX: Self = Self;

    #[expect(clippy::unnecessary_wraps, reason = "the other one can be refused")]
    pub(crate) const fn detect_within(_: Duration) -> Result<Self, ConfigError> {
        Ok(Self)
    }
}

pub(crate) struct KeepAlive;

pub(crate) struct Nothing;

macro_rules! calls {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty, $value:expr)?;)*) => {
        $(
            #[inline]
            pub(crate) fn $name(&mut self $(, $argument: $type)*) $(-> $result)? {
                $(black_box($argument);)*
                $($value)?
            }
        )*
    };
}

impl KeepAlive {
    pub(crate) fn new(config: Config) -> Self {
        black_box(config);
        Self
    }

    calls! {
        enable(now: Instant);
        disable();
        set_config(now: Instant, config: Config);
        reset();
        handle_segment(now: Instant);
        handle_sent(now: Instant);
        handle_blocked(now: Instant);
        handle_timeout(now: Instant, tcb: &Tcb);
        poll_transmit(now: Instant, tcb: &Tcb) -> Option<u32>, black_box(None);
        handle_transmitted(now: Instant, probe: u32);
        poll_event() -> Nothing, Nothing;
        poll_timeout() -> Nothing, Nothing;
        state() -> Nothing, Nothing;
        config() -> Nothing, Nothing;
        stats() -> Nothing, Nothing;
        last_heard() -> Nothing, Nothing;
        verdict() -> Nothing, Nothing;
    }
}
