//! One connection in a capture, and what must hold for it.

use std::time::{Duration, SystemTime};

use crate::capture::Captured;
use crate::checks::ensure;
use crate::{AT_ONCE, COUNT, DETECTION, EARLY, IDLE, INTERVAL, LATE};

pub(crate) struct Wire<'c> {
    segments: Vec<&'c Captured>,
    /// That of the firmware.
    port: u16,
}

impl<'c> Wire<'c> {
    /// The connection between these ports, the firmware's first.
    pub(crate) fn new(captured: &'c [Captured], port: u16, other: u16) -> Self {
        let ends = [(port, other), (other, port)];
        let is_of_it = |it: &&Captured| ends.contains(&(it.src_port, it.dst_port));
        Self {
            segments: captured.iter().filter(is_of_it).collect(),
            port,
        }
    }

    fn sent(&self) -> impl Iterator<Item = &'c Captured> {
        let all = self.segments.iter().copied();
        all.filter(|it| it.src_port == self.port)
    }

    fn received(&self) -> impl Iterator<Item = &'c Captured> {
        let all = self.segments.iter().copied();
        all.filter(|it| it.dst_port == self.port)
    }

    fn last_heard(&self) -> Result<Duration, String> {
        let last = self.received().last();
        last.map(|it| it.at).ok_or("nothing was received".into())
    }

    /// What the firmware would send next: it was sent no less, as nothing is lost here.
    fn snd_nxt(&self, at: Duration) -> Result<u32, String> {
        self.sent()
            .filter(|it| it.at < at && !it.is_keep_alive)
            .map(Captured::end)
            .last()
            .ok_or("nothing was sent".into())
    }

    /// RFC 9293 3.8.4: a probe has SEG.SEQ = SND.NXT - 1 and, here, no data.
    fn is_probe(&self, segment: &Captured) -> Result<(), String> {
        let expected = self.snd_nxt(segment.at)?.wrapping_sub(1);
        ensure(
            segment.is_keep_alive && segment.seq == expected && segment.len == 0,
            || format!("{segment:?} is no probe; expected SEQ {expected}"),
        )
    }

    /// Every probe before the last segment from the kernel was answered at once; `at_least` so many.
    pub(crate) fn probes_were_answered(&self, at_least: usize) -> Result<(), String> {
        let last_heard = self.last_heard()?;
        let probes: Vec<_> = self
            .sent()
            .filter(|it| it.is_keep_alive && it.at <= last_heard)
            .collect();
        ensure(probes.len() >= at_least, || {
            format!("there are {} probes", probes.len())
        })?;
        for probe in probes {
            self.is_probe(probe)?;
            let before = self.received().filter(|it| it.at < probe.at).last();
            let before = before.ok_or("a probe came before anything else")?;
            is_near(probe.at.saturating_sub(before.at), IDLE, "a probe")?;
            let mut later = self.received().filter(|it| it.at > probe.at);
            let answer = later.next().ok_or("a probe was not answered")?;
            let delay = answer.at.saturating_sub(probe.at);
            ensure(
                answer.is_keep_alive_ack && answer.len == 0 && delay < AT_ONCE,
                || format!("{answer:?} is no answer to {probe:?}"),
            )?;
        }
        Ok(())
    }

    /// After the last segment from the kernel there are the probes, at their times.
    pub(crate) fn probes_were_sent_on_time(&self) -> Result<(), String> {
        let last_heard = self.last_heard()?;
        let probes = self.sent().filter(|it| it.at > last_heard && !it.flags.rst);
        let mut number = 0;
        for probe in probes {
            self.is_probe(probe)?;
            let due = IDLE + INTERVAL * number;
            is_near(probe.at.saturating_sub(last_heard), due, "a probe")?;
            number += 1;
        }
        ensure(number == COUNT, || format!("there are {number} probes"))
    }

    /// The last thing that the firmware sent is a RST, at the time of the verdict. SEG.SEQ is
    /// SND.NXT: no other is believed (RFC 5961 3.2).
    pub(crate) fn reset_was_sent(&self) -> Result<(), String> {
        let last = self.sent().last().ok_or("nothing was sent")?;
        let expected = self.snd_nxt(last.at)?;
        ensure(last.flags.rst && last.seq == expected, || {
            format!("{last:?} is no RST; expected SEQ {expected}")
        })?;
        let silence = last.at.saturating_sub(self.last_heard()?);
        is_near(silence, DETECTION, "the RST")
    }

    /// The verdict, which was seen in the log at `at`, fell when it was due.
    pub(crate) fn verdict_was_on_time(&self, at: SystemTime) -> Result<(), String> {
        let at = at
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_err(|error| error.to_string())?;
        let silence = at.saturating_sub(self.last_heard()?);
        is_near(silence, DETECTION, "the verdict")
    }
}

fn is_near(actual: Duration, nominal: Duration, what: &str) -> Result<(), String> {
    let window = nominal.saturating_sub(EARLY)..=nominal + LATE;
    ensure(window.contains(&actual), || {
        format!("{what} at {actual:?}, not {nominal:?}")
    })
}
