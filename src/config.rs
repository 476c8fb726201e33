//! When to probe, how often, and when to give up.

use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;

use crate::time::duration_from_micros;

const SECOND: Millis = Millis(1000);

/// A duration as a configuration keeps it: 1 ms to 49 days.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Hash)]
pub(crate) struct Millis(pub(crate) u32);

impl Millis {
    /// A part of a millisecond counts as a whole one, so that nothing falls due early.
    const fn new(duration: Duration) -> Result<Self, ConfigError> {
        let millis = millis_rounded_up(duration);
        if millis > u32::MAX as u64 {
            return Err(ConfigError::TooLong);
        }
        Self::from_millis(millis)
    }

    /// `millis` is at most [`u32::MAX`].
    const fn from_millis(millis: u64) -> Result<Self, ConfigError> {
        let [b0, b1, b2, b3, ..] = millis.to_le_bytes();
        match u32::from_le_bytes([b0, b1, b2, b3]) {
            0 => Err(ConfigError::ZeroDuration),
            millis => Ok(Self(millis)),
        }
    }

    /// Of no configuration.
    pub(crate) const ZERO: Self = Self(0);

    #[inline]
    pub(crate) const fn micros(self) -> u64 {
        (self.0 as u64).wrapping_mul(1000)
    }

    const fn duration(self) -> Duration {
        let millis = self.0;
        Duration::new(
            (millis / 1000) as u64,
            (millis % 1000).wrapping_mul(1_000_000),
        )
    }
}

impl fmt::Debug for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.duration().fmt(f)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Millis {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{}ms", self.0);
    }
}

const fn millis_rounded_up(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_mul(1000)
        .saturating_add(duration.subsec_nanos().div_ceil(1_000_000) as u64)
}

/// When to probe, how often, and when to give up.
///
/// Every value of this type makes sense: the constructors refuse the others. They are `const`, so in
/// firmware the compiler refuses them:
///
/// ```
/// # use core::time::Duration;
/// # use tcp_keepalive::{Config, ConfigError};
/// const CONFIG: Config = match Config::new(Duration::from_secs(60), Duration::from_secs(5), 4) {
///     Ok(config) => config,
///     Err(_) => panic!("no such keep-alive"),
/// };
/// assert_eq!(CONFIG.detection_time(), Duration::from_secs(80));
/// assert_eq!(
///     Config::new(Duration::from_secs(60), Duration::from_secs(5), 1),
///     Err(ConfigError::CountTooSmall),
/// );
/// ```
///
/// It keeps durations in milliseconds, up to 49 days, and rounds a part of a millisecond up.
///
/// # Choosing values
///
/// - Make `count * interval` longer than a round trip plus the time for which the peer may hold back an
///   answer. Stacks limit challenge ACKs (RFC 5961 7): Linux and gVisor to one in 500 ms, smoltcp to
///   one a second unless the probe carries an octet.
/// - Make `idle` shorter than the timeout of a NAT or load balancer on the way. RFC 5382 asks for at
///   least 2 h 4 min; two large clouds use 350 s and 4 min.
/// - If the application may be writing when the peer dies, add [`Config::with_user_timeout`]: the
///   keep-alive alone decides only while nothing is in flight. [`Config::detect_within`] covers both.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(into = "crate::stored::Stored", try_from = "crate::stored::Stored")
)]
pub struct Config {
    pub(crate) idle: Millis,
    pub(crate) interval: Millis,
    /// In milliseconds.
    pub(crate) user_timeout: Option<NonZeroU32>,
    pub(crate) count: u8,
    pub(crate) payload: ProbePayload,
}

/// What a probe carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum ProbePayload {
    /// No data: what RFC 9293 3.8.4 recommends (SHLD-12) and every current stack answers.
    #[default]
    Empty,
    /// One octet of garbage, for old or minimal peers that answer nothing less (MAY-6).
    GarbageOctet,
}

/// Why a [`Config`] was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ConfigError {
    /// `count` is 0 or 1. One lost segment must never decide that a peer is dead (RFC 9293
    /// 3.8.4, MUST-29), so at least two probes have to go unanswered (K6).
    CountTooSmall,
    /// A duration is zero. There is no magic zero here: to switch off, disable.
    ZeroDuration,
    /// A duration exceeds [`u32::MAX`] milliseconds (49 days). Usually a unit was mistaken, or a
    /// "never" was meant: then do not enable.
    TooLong,
    /// [`Config::detect_within`] was asked for less than [`Config::SHORTEST_LIMIT`].
    LimitTooShort,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CountTooSmall => "the count must be at least 2: one lost segment decides nothing",
            Self::ZeroDuration => "a duration is zero",
            Self::TooLong => "a duration exceeds 49 days (u32::MAX milliseconds)",
            Self::LimitTooShort => "a live peer cannot be told from a dead one in under 6 s",
        })
    }
}

impl core::error::Error for ConfigError {}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("idle", &self.idle)
            .field("interval", &self.interval)
            .field("count", &self.count)
            .field("user_timeout", &self.user_timeout())
            .field("payload", &self.payload)
            .finish()
    }
}

impl Config {
    /// Two hours, 75 s, 9 probes, no data, no user timeout: what the standard asks of a default
    /// (RFC 9293 3.8.4, MUST-28: "no less than two hours") and Linux and gVisor use.
    pub const DEFAULT: Self = Self::preset(7200, 75, 9);
    /// Linux: `tcp_keepalive_time`, `_intvl` and `_probes` in `ip-sysctl.rst`.
    pub const LINUX: Self = Self::preset(7200, 75, 9);
    /// FreeBSD: `net.inet.tcp.keepidle`, `keepintvl` and `keepcnt` in `tcp(4)`.
    pub const FREEBSD: Self = Self::preset(7200, 75, 8);
    /// Windows since Vista: `KeepAliveTime`, `KeepAliveInterval` and ten probes, in the
    /// documentation of `SIO_KEEPALIVE_VALS`.
    pub const WINDOWS: Self = Self::preset(7200, 1, 10);
    /// The least that [`Config::detect_within`] takes. A third of it, two seconds, is what the
    /// peer has to answer, be it probes or data: longer than the second for which a smoltcp peer
    /// may hold back its answer to a probe, and long enough for data that was lost to be sent
    /// again, which smoltcp does after a second.
    pub const SHORTEST_LIMIT: Duration = Duration::from_secs(6);

    /// Makes a configuration: first probe after `idle` of silence, then one every `interval`, and a
    /// verdict `interval` after the `count`-th.
    ///
    /// # Errors
    ///
    /// [`ConfigError::CountTooSmall`] for a count of 0 or 1, [`ConfigError::ZeroDuration`],
    /// and [`ConfigError::TooLong`] for a duration of more than [`u32::MAX`] milliseconds.
    #[doc(alias = "TCP_KEEPIDLE")]
    #[doc(alias = "TCP_KEEPINTVL")]
    #[doc(alias = "TCP_KEEPCNT")]
    pub const fn new(idle: Duration, interval: Duration, count: u8) -> Result<Self, ConfigError> {
        if count < 2 {
            return Err(ConfigError::CountTooSmall);
        }
        let (idle, interval) = match (Millis::new(idle), Millis::new(interval)) {
            (Ok(idle), Ok(interval)) => (idle, interval),
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        Ok(Self {
            idle,
            interval,
            user_timeout: None,
            count,
            payload: ProbePayload::Empty,
        })
    }

    /// Makes Redis' configuration (`tcp-keepalive` in `redis.conf`, `anetKeepAlive`): `interval` of
    /// idleness, then three probes a third of that apart, but at least a second.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ZeroDuration`] and [`ConfigError::TooLong`], as for [`Config::new`].
    pub const fn redis(interval: Duration) -> Result<Self, ConfigError> {
        let interval = match Millis::new(interval) {
            Ok(interval) => interval,
            Err(error) => return Err(error),
        };
        let third = match Millis::from_millis((interval.0 / 3) as u64) {
            Ok(third) if third.0 > SECOND.0 => third,
            _ => SECOND,
        };
        Ok(Self {
            idle: interval,
            interval: third,
            user_timeout: None,
            count: 3,
            payload: ProbePayload::Empty,
        })
    }

    /// Reports a peer that has died within `limit` of the last segment it sent, whatever the
    /// connection was doing: a third of the limit is the idle time, a third goes to three probes,
    /// and a third to data that is left unacknowledged, even if it was written at the last moment
    /// before the probes would have decided: the user timeout and the interval for one more
    /// question. All of it comes out in whole milliseconds.
    ///
    /// If `limit` is below 3 min, a single lost window probe can use up the user timeout; then the
    /// one question that precedes its verdict decides. See [`Config::with_user_timeout`].
    ///
    /// # Errors
    ///
    /// [`ConfigError::ZeroDuration`], [`ConfigError::LimitTooShort`] below
    /// [`Config::SHORTEST_LIMIT`], and [`ConfigError::TooLong`].
    pub const fn detect_within(limit: Duration) -> Result<Self, ConfigError> {
        if limit.is_zero() {
            return Err(ConfigError::ZeroDuration);
        }
        let millis = limit
            .as_secs()
            .saturating_mul(1000)
            .saturating_add(limit.subsec_millis() as u64);
        if millis < millis_rounded_up(Self::SHORTEST_LIMIT) {
            return Err(ConfigError::LimitTooShort);
        }
        if millis > u32::MAX as u64 {
            return Err(ConfigError::TooLong);
        }
        let (third, ninth) = (millis / 3, millis / 9);
        match (
            Millis::from_millis(third),
            Millis::from_millis(ninth),
            Millis::from_millis(third.saturating_sub(ninth)),
        ) {
            (Ok(idle), Ok(interval), Ok(timeout)) => Ok(Self {
                idle,
                interval,
                user_timeout: NonZeroU32::new(timeout.0),
                count: 3,
                payload: ProbePayload::Empty,
            }),
            // None of them is zero.
            _ => Err(ConfigError::LimitTooShort),
        }
    }

    /// Returns the same configuration with another idle time.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ZeroDuration`], and [`ConfigError::TooLong`] beyond [`u32::MAX`] milliseconds.
    pub const fn with_idle(mut self, idle: Duration) -> Result<Self, ConfigError> {
        match Millis::new(idle) {
            Ok(idle) => {
                self.idle = idle;
                Ok(self)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the same configuration with another interval.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ZeroDuration`], and [`ConfigError::TooLong`] beyond [`u32::MAX`] milliseconds.
    pub const fn with_interval(mut self, interval: Duration) -> Result<Self, ConfigError> {
        match Millis::new(interval) {
            Ok(interval) => {
                self.interval = interval;
                Ok(self)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the same configuration with another count.
    ///
    /// # Errors
    ///
    /// [`ConfigError::CountTooSmall`] for 0 or 1.
    pub const fn with_count(mut self, count: u8) -> Result<Self, ConfigError> {
        if count < 2 {
            return Err(ConfigError::CountTooSmall);
        }
        self.count = count;
        Ok(self)
    }

    /// Returns the same configuration with probes that carry `payload`.
    #[must_use]
    pub const fn with_payload(mut self, payload: ProbePayload) -> Self {
        self.payload = payload;
        self
    }

    /// Returns the same configuration with a user timeout: a verdict also falls when the peer has
    /// owed us an answer to data, a FIN or a window probe for `timeout` (RFC 9293 3.8.3, RFC 9293
    /// 3.10.8, RFC 5482).
    ///
    /// It governs the time in which something is outstanding; probes and their count govern the
    /// rest. In Linux, `TCP_USER_TIMEOUT` replaces the count of a keep-alive; here it does not.
    ///
    /// What the peer is asked during that time is up to the stack, and so is how often. smoltcp
    /// sends lost data again after 1 s, 3 s, 7 s and so on, and window probes up to a minute
    /// apart: with a `timeout` below that, one lost segment decides. Where a live peer may keep
    /// its window closed for long, choose at least two minutes. On an Ethernet the time to find the
    /// neighbour counts too.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ZeroDuration`], and [`ConfigError::TooLong`] beyond [`u32::MAX`]
    /// milliseconds.
    #[doc(alias = "TCP_USER_TIMEOUT")]
    pub const fn with_user_timeout(mut self, timeout: Duration) -> Result<Self, ConfigError> {
        match Millis::new(timeout) {
            Ok(timeout) => {
                self.user_timeout = NonZeroU32::new(timeout.0);
                Ok(self)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the silence after which a quiet connection is given up if all goes to time:
    /// `idle + count * interval`.
    #[must_use]
    pub const fn detection_time(&self) -> Duration {
        let probing = self.interval.micros().saturating_mul(self.count as u64);
        duration_from_micros(self.idle.micros().saturating_add(probing))
    }

    /// Returns the silence after which the first probe is sent (RFC 9293 3.8.4, MUST-27).
    #[must_use]
    pub const fn idle(&self) -> Duration {
        self.idle.duration()
    }

    /// Returns the time an attempt is given before the next one, or the verdict.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval.duration()
    }

    /// Returns how many attempts have to fail, 2 to 255.
    #[must_use]
    pub const fn count(&self) -> u8 {
        self.count
    }

    /// Returns what a probe carries.
    #[must_use]
    pub const fn payload(&self) -> ProbePayload {
        self.payload
    }

    /// Returns how long the peer may owe us an answer while something is outstanding, if that is
    /// bounded.
    #[must_use]
    pub const fn user_timeout(&self) -> Option<Duration> {
        match self.user_timeout {
            Some(millis) => Some(Millis(millis.get()).duration()),
            None => None,
        }
    }

    /// What [`Config::new`] makes of the same, without an error that cannot happen.
    const fn preset(idle_secs: u64, interval_secs: u64, count: u8) -> Self {
        Self {
            idle: Self::secs(idle_secs),
            interval: Self::secs(interval_secs),
            user_timeout: None,
            count,
            payload: ProbePayload::Empty,
        }
    }

    const fn secs(secs: u64) -> Millis {
        match Millis::new(Duration::from_secs(secs)) {
            Ok(millis) => millis,
            Err(_) => SECOND,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Config {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "Config {{ idle: {}, interval: {}, count: {}, payload: {}, user_timeout: {} }}",
            self.idle(),
            self.interval(),
            self.count,
            self.payload,
            self.user_timeout(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// K6, MUST-29: two is the first count that is accepted, one the last that is not.
    #[test]
    fn k6_count_starts_at_two() {
        for count in [0, 1] {
            assert_eq!(
                Config::new(SECOND, SECOND, count),
                Err(ConfigError::CountTooSmall)
            );
        }
        for count in [2, 255] {
            assert_eq!(Config::new(SECOND, SECOND, count).unwrap().count(), count);
        }
    }

    /// One value is replaced at a time, and refused as `new` refuses it.
    #[test]
    fn one_value_is_replaced_at_a_time() {
        let config = Config::new(SECOND, SECOND, 2).unwrap();
        let longer = config.with_idle(2 * SECOND).unwrap();
        assert_eq!(Config::new(2 * SECOND, SECOND, 2), Ok(longer));
        let rarer = config.with_interval(2 * SECOND).unwrap();
        assert_eq!(Config::new(SECOND, 2 * SECOND, 2), Ok(rarer));
        assert_eq!(Config::new(SECOND, SECOND, 3), config.with_count(3));
        let zero = Err(ConfigError::ZeroDuration);
        assert_eq!(config.with_idle(Duration::ZERO), zero);
        assert_eq!(config.with_interval(Duration::ZERO), zero);
        assert_eq!(config.with_idle(Duration::MAX), Err(ConfigError::TooLong));
        assert_eq!(
            config.with_interval(Duration::MAX),
            Err(ConfigError::TooLong)
        );
        assert_eq!(config.with_count(2), Ok(config));
        assert_eq!(config.with_count(1), Err(ConfigError::CountTooSmall));
    }

    /// Durations are shown as durations.
    #[test]
    fn a_configuration_is_shown_with_its_units() {
        extern crate std;

        let config = Config::detect_within(90 * SECOND).unwrap();
        let shown = std::format!("{config:?}");
        assert_eq!(
            shown,
            "Config { idle: 30s, interval: 10s, count: 3, user_timeout: Some(20s), payload: Empty }"
        );
    }

    /// K6: zero means neither "off" nor "default"; it is refused wherever it is given.
    #[test]
    fn k6_there_is_no_magic_zero() {
        let zero = Err(ConfigError::ZeroDuration);
        assert_eq!(Config::new(Duration::ZERO, SECOND, 2), zero);
        assert_eq!(Config::new(SECOND, Duration::ZERO, 2), zero);
        assert_eq!(Config::redis(Duration::ZERO), zero);
        assert_eq!(Config::detect_within(Duration::ZERO), zero);
        assert_eq!(Config::DEFAULT.with_user_timeout(Duration::ZERO), zero);
    }

    /// K6, E16: the longest duration is `u32::MAX` milliseconds, one more is refused, and nothing
    /// wraps around on the way there.
    #[test]
    fn k6_durations_end_at_49_days() {
        let longest = Duration::from_millis(u32::MAX.into());
        let one_more = longest + Duration::from_nanos(1);
        let too_long = Err(ConfigError::TooLong);
        assert_eq!(Config::new(longest, longest, 255).unwrap().idle(), longest);
        assert_eq!(Config::new(one_more, SECOND, 2), too_long);
        assert_eq!(Config::new(SECOND, one_more, 2), too_long);
        assert_eq!(Config::new(Duration::MAX, SECOND, 2), too_long);
        assert!(Config::redis(longest).is_ok());
        assert_eq!(Config::redis(one_more), too_long);
        assert!(Config::detect_within(longest).is_ok());
        assert_eq!(
            Config::detect_within(longest + Duration::from_millis(1)),
            too_long
        );
        assert_eq!(Config::detect_within(Duration::MAX), too_long);
        let timeout = |timeout| Config::DEFAULT.with_user_timeout(timeout);
        assert_eq!(timeout(longest).unwrap().user_timeout(), Some(longest));
        assert_eq!(timeout(one_more), too_long);
    }

    /// What is wrong can be told to a person.
    #[test]
    fn errors_say_what_is_wrong() {
        for (error, said) in [
            (ConfigError::CountTooSmall, "the count must be at least 2"),
            (ConfigError::ZeroDuration, "a duration is zero"),
            (ConfigError::TooLong, "exceeds 49 days"),
            (ConfigError::LimitTooShort, "in under 6 s"),
        ] {
            let text = std::format!("{error}");
            assert!(text.contains(said), "{text}");
        }
    }

    /// MUST-28: the default is what the standard and Linux say, and so is each preset.
    #[test]
    fn presets_are_what_their_systems_document() {
        assert_eq!(Config::default(), Config::LINUX);
        assert_eq!(Config::DEFAULT.payload(), ProbePayload::Empty);
        assert_eq!(Config::DEFAULT.user_timeout(), None);
        for (preset, interval, count, total) in [
            (Config::LINUX, 75, 9, 7875),
            (Config::FREEBSD, 75, 8, 7800),
            (Config::WINDOWS, 1, 10, 7210),
        ] {
            let idle = Duration::from_secs(7200);
            let checked = Config::new(idle, Duration::from_secs(interval), count);
            assert_eq!(Ok(preset), checked);
            assert_eq!(preset.detection_time(), Duration::from_secs(total));
        }
    }

    /// Redis' rule: three probes a third of the idle time apart, though never under a second.
    #[test]
    fn redis_spaces_probes_a_third_apart() {
        let config = Config::redis(Duration::from_secs(300)).unwrap();
        assert_eq!(config.idle(), Duration::from_secs(300));
        assert_eq!(config.interval(), Duration::from_secs(100));
        assert_eq!(config.count(), 3);
        assert_eq!(Config::redis(SECOND).unwrap().interval(), SECOND);
        assert_eq!(Config::redis(3 * SECOND).unwrap().interval(), SECOND);
    }

    /// Idling, probing, the user timeout and its one question together fit into the one limit,
    /// whatever it is.
    #[test]
    fn detect_within_adds_up_to_at_most_the_limit() {
        for micros in [6_000_000, 6_000_001, 10_000_000, 60_000_007, 86_400_000_000] {
            let limit = Duration::from_micros(micros);
            let config = Config::detect_within(limit).unwrap();
            let asked = config.user_timeout().unwrap() + config.interval();
            let worst = config.detection_time() + asked;
            assert!(worst <= limit, "{worst:?} > {limit:?}");
            assert!(
                worst + Duration::from_millis(9) >= limit,
                "{worst:?} wastes {limit:?}"
            );
        }
    }

    /// A limit comes out in whole milliseconds.
    #[test]
    fn detect_within_comes_out_in_milliseconds() {
        let config = Config::detect_within(60 * SECOND).unwrap();
        assert_eq!(config.idle(), 20 * SECOND);
        assert_eq!(config.interval(), Duration::from_millis(6666));
        assert_eq!(config.user_timeout(), Some(Duration::from_millis(13_334)));
    }

    /// Six seconds is the first limit that is accepted.
    #[test]
    fn detect_within_needs_six_seconds() {
        assert!(Config::detect_within(Config::SHORTEST_LIMIT).is_ok());
        assert_eq!(
            Config::detect_within(Duration::from_micros(5_999_999)),
            Err(ConfigError::LimitTooShort)
        );
    }

    /// A part of a millisecond counts as a whole one, so that nothing falls due early.
    #[test]
    fn parts_of_a_millisecond_round_up() {
        let config = Config::new(Duration::from_nanos(1), Duration::from_micros(1_001), 2).unwrap();
        assert_eq!(config.idle(), Duration::from_millis(1));
        assert_eq!(config.interval(), Duration::from_millis(2));
    }
}
