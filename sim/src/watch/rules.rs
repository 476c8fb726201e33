//! What is held against one connection's keep-alive, after each poll.

use ::smoltcp::iface::SocketHandle;
use ::smoltcp::socket::tcp;

use super::super::invariant::Invariant;
use super::account::{Account, Counted, Round};
use super::{Candidate, Probe, View, is_busy, socket_of};
use crate::{Cause, Config, Event, Instant, ProbePayload, State, Verdict};

/// smoltcp's default, where the socket has none of its own.
const HOP_LIMIT: u8 = 64;

/// What is checked of one connection.
pub(super) fn check(
    account: &mut Account,
    view: &View<'_>,
    candidates: &[&Candidate],
) -> Result<Vec<Probe>, Invariant> {
    let handle = account.handle;
    let Some(config) = view.keep_alive.config(handle) else {
        account.forget_keep_alive();
        check_unbidden(account, view, candidates)?;
        return Ok(Vec::new());
    };
    note_config(account, config);
    let is_counting = account.stats.is_some();
    let counted = account.count(view.keep_alive.stats(handle));
    let was_suspect = note_heard(account, view)?;
    check_suspicions(account, view, &counted, &config, was_suspect)?;
    let probes = check_probes(account, view, &config, candidates, counted.probes)?;
    check_told(account, &counted)?;
    let told = check_verdicts(account, view, &config)?;
    if is_counting && told != counted.verdicts {
        let counted = counted.verdicts;
        return Err(Invariant::VerdictUnreported { counted, told });
    }
    account.round.was_probing =
        matches!(view.keep_alive.state(handle), Some(State::Probing { .. }));
    account.is_new = false;
    Ok(probes)
}

fn note_config(account: &mut Account, config: Config) {
    if account.config != Some(config) {
        account.config = Some(config);
        account.has_same_config = false;
    }
}

/// What the keep-alive believes of the peer's last word is no older than what the wire knows, and
/// nothing that it does not know. Whether the peer was a suspect until then.
fn note_heard(account: &mut Account, view: &View<'_>) -> Result<bool, Invariant> {
    let believed = view
        .keep_alive
        .last_heard(account.handle)
        .map(Instant::from);
    let mut was_suspect = false;
    if believed != account.believed {
        // K10: after the clock was set back, what lay in the future becomes the present. A peer that is
        // being asked was not heard for that, unless something came; a suspect tells.
        let is_ahead = account.is_timeless && believed.is_some_and(|it| it >= view.now);
        let round = &account.round;
        let may_be_heard = !round.was_probing || account.arrivals.has_come_at(view.now);
        account.believed = believed;
        if !is_ahead || may_be_heard && !round.is_suspect {
            was_suspect = account.round.is_suspect && believed.is_some();
            account.round = Round::default();
            account.has_same_config = true;
        }
        account.is_timeless = false;
        // Before the handshake is over, nothing follows from it.
        if let Some(believed) = believed.filter(|_| account.was_open && !account.is_new)
            && !is_ahead
            && !account.arrivals.may_have_been_heard_at(believed, view.now)
        {
            return Err(Invariant::HeardNobody { believed });
        }
    }
    let is_followed = matches!(
        view.keep_alive.state(account.handle),
        Some(State::Armed | State::Probing { .. })
    );
    match account.heard {
        Some(heard) if is_followed && believed.is_some_and(|believed| believed < heard) => {
            Err(Invariant::HeardForgotten { heard, believed })
        }
        _ => Ok(was_suspect),
    }
}

/// A peer is suspect from when the first attempt has failed until it is heard again (K7).
fn check_suspicions(
    account: &mut Account,
    view: &View<'_>,
    counted: &Counted,
    config: &Config,
    was_suspect: bool,
) -> Result<(), Invariant> {
    let mut has_to_recover = was_suspect;
    let is_user_timeout = |event: &Event| matches!(event, Event::TimedOut(verdict) if verdict.cause == Cause::UserTimeout);
    let is_user_timeout_over = events_of(account.handle, view).any(is_user_timeout);
    for event in events_of(account.handle, view) {
        match event {
            Event::Recovered { .. } => {
                // After the clock was set back it may be heard no later than before.
                if !has_to_recover && !account.round.is_suspect {
                    return Err(Invariant::RecoveredUnfounded);
                }
                if !has_to_recover {
                    account.round = Round::default();
                }
                has_to_recover = false;
            }
            Event::Suspect { .. } => {
                let round = &account.round;
                let is_answer_due = |at: Instant| {
                    !account.has_same_config || at.saturating_add(config.interval()) <= view.now
                };
                let has_failed = round.probes > 0 && round.last_probe.is_none_or(is_answer_due)
                    || round.unsent > 0
                    || counted.unsent > 0
                    // K11: a question of the user timeout, or what the stack sent in its stead.
                    || round.has_asked
                    || is_user_timeout_over;
                if round.is_suspect || !has_failed {
                    return Err(Invariant::SuspectUnfounded);
                }
                account.round.is_suspect = true;
            }
            _ => {}
        }
    }
    if has_to_recover {
        return Err(Invariant::RecoveredUnreported);
    }
    Ok(())
}

/// An attempt has failed if it could not be made, or if another one followed.
fn check_told(account: &mut Account, counted: &Counted) -> Result<(), Invariant> {
    let round = &mut account.round;
    round.unsent = round.unsent.saturating_add(counted.unsent);
    let has_failed = round.probes > 1 || round.unsent > 0;
    if has_failed && !round.is_suspect && !account.is_timeless {
        return Err(Invariant::SuspectUnreported);
    }
    Ok(())
}

/// Nothing that looks like a probe leaves without having been counted; unless it is smoltcp's own,
/// or something outstanding that is sent again.
fn check_unbidden(
    account: &Account,
    view: &View<'_>,
    candidates: &[&Candidate],
) -> Result<(), Invariant> {
    // K17: a probe goes out again when the next hop has another address.
    let is_again = account.round.probes > 0 && !account.has_verdict;
    let is_suspicious = !candidates.is_empty()
        && !is_again
        && account.was_open
        && account.is_quiet()
        && !is_smoltcps(view, account.handle);
    // A sender that has just gone back to retransmit has forgotten that it sent.
    if is_suspicious && !is_busy(view.sockets, account.handle) {
        return Err(Invariant::ProbeUnbidden);
    }
    Ok(())
}

/// smoltcp has a keep-alive of its own.
fn is_smoltcps(view: &View<'_>, handle: SocketHandle) -> bool {
    socket_of(view.sockets, handle).is_some_and(|socket| socket.keep_alive().is_some())
}

fn check_probes(
    account: &mut Account,
    view: &View<'_>,
    config: &Config,
    candidates: &[&Candidate],
    sent: u32,
) -> Result<Vec<Probe>, Invariant> {
    let handle = account.handle;
    let counted = usize::try_from(sent).unwrap_or(usize::MAX);
    check_unbidden(account, view, candidates.get(counted..).unwrap_or_default())?;
    let is_busy = sent > 0 && is_busy(view.sockets, handle);
    let mut probes = Vec::new();
    for index in 0..counted {
        let candidate = *candidates.get(index).ok_or(Invariant::ProbeNotSent)?;
        if account.has_verdict {
            return Err(Invariant::ProbeUnbidden);
        }
        let segment = &candidate.segment;
        if is_busy && config.user_timeout().is_some() && account.is_reminder(segment) {
            account.round.has_asked = true;
            continue;
        }
        check_time(account, config, is_busy, view.now)?;
        check_form(account, view, config, candidate)?;
        probes.push(Probe {
            handle,
            local: account.local,
            remote: account.remote,
            seq: segment.seq,
            ack: segment.ack.unwrap_or(0),
        });
    }
    Ok(probes)
}

/// K2, K3, K5: a probe leaves while nothing is outstanding, and not before its time.
fn check_time(
    account: &mut Account,
    config: &Config,
    is_busy: bool,
    now: Instant,
) -> Result<(), Invariant> {
    if is_busy || !account.is_quiet() {
        return Err(Invariant::ProbeWhileBusy);
    }
    let round = &mut account.round;
    // K8: once the probing has begun, another idle time is for the next round.
    let is_reconfigured = round.was_probing && !account.has_same_config;
    let is_first = round.probes == 0 && round.unsent == 0 && !is_reconfigured;
    let believed = account.believed.filter(|_| !account.is_timeless);
    // Enabled late, it cannot tell whose a segment is before it has learned the numbers.
    let heard = account.heard.filter(|_| account.believed.is_some());
    if let Some(heard) = believed.max(heard).filter(|_| is_first) {
        let due = heard.saturating_add(config.idle());
        if now < due {
            return Err(Invariant::ProbeBeforeIdle { due, at: now });
        }
    }
    // K8: a longer interval does not take back an attempt that waits to leave.
    if let Some(last) = round.last_probe.filter(|_| account.has_same_config) {
        let due = last.saturating_add(config.interval());
        if now < due {
            return Err(Invariant::ProbeBeforeInterval { due, at: now });
        }
    }
    round.probes = round.probes.saturating_add(1);
    round.last_probe = Some(now);
    Ok(())
}

/// K12: what a probe carries besides its numbers, which its receiver knows best.
fn check_form(
    account: &Account,
    view: &View<'_>,
    config: &Config,
    candidate: &Candidate,
) -> Result<(), Invariant> {
    let Some(socket) = socket_of(view.sockets, account.handle) else {
        return Ok(());
    };
    if is_smoltcps(view, account.handle) {
        // It may be smoltcp's.
        return Ok(());
    }
    let segment = &candidate.segment;
    let asked: &[u8] = match config.payload() {
        ProbePayload::GarbageOctet => &[0],
        _ => &[],
    };
    if segment.payload != asked {
        let (found, right) = (segment.payload.len(), asked.len());
        return Err(Invariant::ProbePayload { found, right });
    }
    let negotiated = account.offers.timestamps();
    if let Some(negotiated) = negotiated.filter(|it| *it != segment.timestamps.is_some()) {
        return Err(Invariant::ProbeTimestamps { negotiated });
    }
    let (found, right) = (segment.hop_limit, socket.hop_limit().unwrap_or(HOP_LIMIT));
    if found != right {
        return Err(Invariant::ProbeHopLimit { found, right });
    }
    if let (Some(told), Some(scale)) = (candidate.told_window, account.offers.scale()) {
        let free = socket.recv_capacity().saturating_sub(socket.recv_queue());
        let free = free.checked_shr(scale.into()).unwrap_or(0);
        let current = u16::try_from(free).unwrap_or(u16::MAX);
        let found = segment.window;
        let is_between = told.min(current) <= found && found <= told.max(current);
        if !is_between && !account.arrivals.has_data {
            return Err(Invariant::ProbeWindow { found, told });
        }
    }
    Ok(())
}

fn events_of<'v>(handle: SocketHandle, view: &View<'v>) -> impl Iterator<Item = &'v Event> {
    let of_all = view.events.iter();
    of_all.filter_map(move |(of, event)| (*of == handle).then_some(event))
}

/// How many verdicts were told of, all of them right.
fn check_verdicts(
    account: &mut Account,
    view: &View<'_>,
    config: &Config,
) -> Result<u32, Invariant> {
    let mut told: u32 = 0;
    for event in events_of(account.handle, view) {
        if let Event::TimedOut(verdict) = event {
            check_verdict(account, config, verdict, view.now)?;
            check_carried_out(account.handle, view)?;
            told = told.saturating_add(1);
        }
    }
    Ok(told)
}

fn check_verdict(
    account: &mut Account,
    config: &Config,
    verdict: &Verdict,
    now: Instant,
) -> Result<(), Invariant> {
    if account.has_verdict {
        return Err(Invariant::SecondVerdict);
    }
    account.has_verdict = true;
    check_silence(account, config, verdict, now)?;
    if verdict.cause == Cause::KeepAlive {
        check_attempts(account, config, verdict)?;
        check_gap(account, config, verdict, now)?;
    }
    Ok(())
}

/// The peer was silent for long enough, and for as long as is told.
fn check_silence(
    account: &Account,
    config: &Config,
    verdict: &Verdict,
    now: Instant,
) -> Result<(), Invariant> {
    let told = verdict.silent_for;
    let least = match (verdict.cause, config.user_timeout()) {
        (Cause::UserTimeout, Some(timeout)) => timeout,
        _ => config.detection_time(),
    };
    // Enabled late, it cannot tell whose a segment is before it has learned the numbers.
    let heard = account.heard.filter(|_| account.believed.is_some());
    let heard = heard.map(|heard| now.saturating_duration_since(heard));
    for silent_for in [Some(told), heard].into_iter().flatten() {
        if account.has_same_config && silent_for < least {
            return Err(Invariant::VerdictTooEarly { silent_for, least });
        }
    }
    if let Some(believed) = account.believed.filter(|_| !account.is_timeless) {
        let silent_for = now.saturating_duration_since(believed);
        if told != silent_for {
            return Err(Invariant::VerdictMisjudges { told, silent_for });
        }
    }
    Ok(())
}

fn check_attempts(account: &Account, config: &Config, verdict: &Verdict) -> Result<(), Invariant> {
    let attempts = u16::from(verdict.unanswered).saturating_add(u16::from(verdict.unsent));
    let count = config.count();
    if attempts < u16::from(count) {
        return Err(Invariant::VerdictWithoutAttempts { attempts, count });
    }
    let (told, sent) = (verdict.unanswered, account.round.probes);
    if u32::from(told) > sent {
        return Err(Invariant::VerdictMiscounts { told, sent });
    }
    Ok(())
}

/// A verdict that fell due more than an interval ago fell due in a gap: then one more probe is sent
/// first (K9). When an attempt that never left fell due is not known here.
fn check_gap(
    account: &Account,
    config: &Config,
    verdict: &Verdict,
    now: Instant,
) -> Result<(), Invariant> {
    let is_spared = verdict.unanswered > config.count();
    let last = account.round.last_probe;
    let last = last.filter(|_| account.has_same_config && verdict.unsent == 0 && !is_spared);
    if let Some(last) = last {
        let due = last.saturating_add(config.interval());
        if now > due.saturating_add(config.interval()) {
            return Err(Invariant::VerdictAfterGap { due, at: now });
        }
    }
    Ok(())
}

/// After a verdict nothing is left of the connection but its RST, if that could not leave.
fn check_carried_out(handle: SocketHandle, view: &View<'_>) -> Result<(), Invariant> {
    let is_open = socket_of(view.sockets, handle).is_some_and(tcp::Socket::is_open);
    if is_open || view.keep_alive.state(handle) != Some(State::TimedOut) {
        return Err(Invariant::VerdictNotCarriedOut);
    }
    Ok(())
}
