//! What goes wrong, and when.

use crate::checkers::Violation;
use crate::coverage::Row;
use crate::log::About;
use crate::moves::Side;
use crate::net::pair_of;
use crate::world::{Happening, Phase, World};
use evenkeel_engine::MoveStage;
use evenkeel_types::{ExtentId, ServerId, Time};

/// Of 1000 stages that moves reach, so many are cut by a crash of the source or the target.
const CUTS_PER_MILLE: u64 = 15;

/// Of 1000 moves on which the directory decides, so many sources are isolated meanwhile.
const ISOLATED_PER_MILLE: u64 = 40;

/// Of 1000 servers that hear nothing of the directory, so many do not get to renewing their live keys either.
const MUTE_PER_MILLE: u64 = 500;
/// Changes of weights for each server that is to be emptied.
const REWEIGHED_PER_DRAIN: u32 = 4;
/// After each so many seconds of virtual time, faults come once as seldom again.
const THINS_OUT_S: u32 = 20;

/// Something that goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// A server crashes, any of them.
    Crash,
    /// This server crashes.
    CrashOf(ServerId),
    /// A connection breaks, or a link is cut for a while.
    Disconnect,
    /// A cut link is whole again.
    Mend((ServerId, ServerId)),
    /// A server hears nothing new of the directory for a while.
    Deafen,
    /// A server stands still.
    Pause,
    /// A client gives its session up.
    Vanish,
    /// A disk becomes slow for a while.
    SlowDisk,
    /// A block rots.
    Rot,
    /// One direction of a link is cut, or of all links of a server.
    OneWay,
    /// A server is cut off from everybody.
    CutOff,
    /// The power of all servers fails at once.
    Blackout,
    /// A server is to be emptied.
    Drain,
    /// It is not any more.
    Undrain(ServerId),
    /// The directory is backed up, and will be lost.
    BackUp,
    /// It is lost.
    LoseDirectory,
    /// A server is stopped, so that the directory can be restored.
    Stop(ServerId),
    /// The directory is restored, and its routes rebuilt.
    Rebuild,
    /// A server gets another weight.
    Reweigh,
    /// Somebody resets a volume.
    Reset,
}

impl World<'_> {
    /// Plans the first fault of each kind.
    pub(crate) fn plan_faults(&mut self) {
        for fault in [
            Fault::Crash,
            Fault::Deafen,
            Fault::Disconnect,
            Fault::Pause,
            Fault::Vanish,
            Fault::SlowDisk,
            Fault::Rot,
            Fault::OneWay,
            Fault::CutOff,
            Fault::Blackout,
            Fault::Drain,
            Fault::BackUp,
            Fault::Reweigh,
            Fault::Reset,
        ] {
            self.plan_next(fault);
        }
    }

    fn plan_next(&mut self, fault: Fault) {
        let scenario = &self.scenario;
        let every = match fault {
            Fault::Crash => Some(scenario.crash_every),
            Fault::Disconnect => Some(scenario.disconnect_every),
            Fault::Pause | Fault::Vanish | Fault::Deafen => Some(scenario.pause_every),
            Fault::SlowDisk => Some(scenario.slow_disk_every),
            Fault::Rot => scenario.rot_every,
            Fault::OneWay => scenario.one_way_every,
            Fault::CutOff => scenario.cut_off_every,
            Fault::Blackout => scenario.blackout_every,
            Fault::Drain => scenario.drain_every,
            Fault::Reweigh => scenario.drain_every.map(|every| every / REWEIGHED_PER_DRAIN),
            Fault::BackUp => scenario.restore_every,
            Fault::Reset => scenario.reset_every,
            Fault::CrashOf(_)
            | Fault::Mend(_)
            | Fault::Undrain(_)
            | Fault::LoseDirectory
            | Fault::Stop(_)
            | Fault::Rebuild => None,
        };
        let Some(every) = every else { return };
        // Where hardly anything gets through, faults become fewer with time, or the seed would never reach its numbers.
        let every = every * (1 + self.now().since(Time::ZERO).as_secs() as u32 / THINS_OUT_S);
        let micros = u64::try_from(every.as_micros()).expect("a short time");
        let delay = self.rng.micros(micros / 4, micros * 7 / 4);
        self.clock.after(delay, Happening::Fault(fault));
    }

    pub(crate) fn fault(&mut self, fault: Fault) -> Result<(), Violation> {
        match fault {
            Fault::Mend(pair) => {
                self.net.cut(pair, false);
                return Ok(());
            }
            // What has begun goes on to its end, whatever the phase.
            Fault::Stop(server) => return self.stop(server),
            Fault::Rebuild => return self.restore(),
            _ => {}
        }
        if self.phase != Phase::Faults {
            return Ok(());
        }
        self.plan_next(fault);
        let ids: Vec<ServerId> = self.servers.keys().copied().collect();
        let server = *self.rng.pick(&ids);
        match fault {
            Fault::Crash => self.crash_and_return(server),
            Fault::CrashOf(server) => self.crash(server),
            Fault::Disconnect => {
                let pair = *self.rng.pick(&self.net.pairs());
                if self.rng.chance(200) {
                    self.coverage.count(Row::LinkCut);
                    self.net.cut(pair, true);
                    let whole = self.rng.any_size(100_000, 12_000_000);
                    self.clock.after(whole, Happening::Fault(Fault::Mend(pair)));
                }
                self.break_connection(pair.0, pair.1);
                Ok(())
            }
            Fault::Deafen => {
                self.coverage.count(Row::Deaf);
                self.deafen(server);
                if self.rng.chance(MUTE_PER_MILLE) {
                    self.server(server).mute_until = self.now() + self.rng.millis(5000, 15_000);
                }
                Ok(())
            }
            Fault::Pause => self.pause(server),
            Fault::Vanish => {
                let client = self.rng.below(self.clients.len() as u64) as usize;
                let notice = self.rng.any_size(100, 3_000_000);
                self.client_vanishes(client, notice)
            }
            Fault::SlowDisk => {
                self.coverage.count(Row::SlowDisk);
                let until = self.now() + self.rng.millis(100, 2500);
                self.server(server).bay.slow_until = until;
                self.note(About::Group, format_args!("the disk of {server} is slow until {until}"));
                Ok(())
            }
            Fault::Rot => {
                self.rot(server);
                Ok(())
            }
            Fault::OneWay => {
                self.cut_one_way(server);
                Ok(())
            }
            Fault::CutOff => {
                self.cut_off(server);
                Ok(())
            }
            Fault::Blackout => self.blackout(),
            Fault::Drain => self.drain(server),
            Fault::Reweigh => self.reweigh(server),
            Fault::Reset => self.reset(server),
            Fault::Undrain(server) => self.set_draining(server, false),
            Fault::BackUp => {
                self.back_up();
                Ok(())
            }
            Fault::LoseDirectory => {
                self.lose_directory();
                Ok(())
            }
            Fault::Mend(_) | Fault::Stop(_) | Fault::Rebuild => Ok(()),
        }
    }

    /// A server crashes and comes back; often not at once, sometimes only when others have given up waiting for it.
    pub(crate) fn crash_and_return(&mut self, server: ServerId) -> Result<(), Violation> {
        if self.servers[&server].running.is_none() {
            return self.crash(server);
        }
        match self.rng.below(10) {
            // Between two things that it wants done.
            0..3 => self.server(server).fuse = Some(self.rng.below(4) as u32),
            // While a write is on its way to the disk.
            3..8 => self.server(server).trap = Some(self.rng.below(4) as u32),
            _ => return self.crash(server),
        }
        Ok(())
    }

    /// Plans the return of a server that has crashed just now.
    pub(crate) fn plan_return(&mut self, server: ServerId) {
        if self.scenario.is_scripted {
            return;
        }
        let delay = match self.rng.below(10) {
            0..5 => self.rng.any_size(1000, 300_000),
            5..9 => self.rng.millis(100, 3000),
            _ => self.rng.millis(3000, 12_000),
        };
        self.clock.after(delay, Happening::Start { server });
    }

    /// The power of all fails in one moment.
    fn blackout(&mut self) -> Result<(), Violation> {
        self.coverage.count(Row::Blackout);
        self.note(About::Group, format_args!("the power fails"));
        let ids: Vec<ServerId> = self.servers.keys().copied().collect();
        ids.into_iter().try_for_each(|server| self.crash(server))
    }

    fn deafen(&mut self, server: ServerId) {
        let until = self.now() + self.rng.millis(500, 9000);
        self.server(server).deaf_until = until;
        self.note(About::Group, format_args!("{server} hears nothing of the directory until {until}"));
    }

    /// The target of a move takes over while the source knows nothing of it, and cannot be asked.
    fn isolate(&mut self, source: ServerId, target: ServerId) {
        self.coverage.count(Row::Isolated);
        self.deafen(source);
        self.net.cut(pair_of(source, target), true);
        let whole = self.rng.millis(1000, 8000);
        self.clock.after(whole, Happening::Fault(Fault::Mend(pair_of(source, target))));
        if self.rng.chance(500) {
            self.break_connection(source, target);
            return;
        }
        // The source does not even notice, and the target starts anew: it has forgotten the lease that it gave.
        self.coverage.count(Row::LeaseForgotten);
        self.net.break_off(source, target, None);
        let crash = self.rng.millis(1, 400);
        let start = crash + self.rng.millis(10, 400);
        self.clock.after(crash, Happening::Fault(Fault::CrashOf(target)));
        self.clock.after(start, Happening::Start { server: target });
    }

    /// Damages a block that was read lately, so that it is likely to be read again.
    fn rot(&mut self, server: ServerId) {
        let server_now = self.server(server);
        let Some(running) = &server_now.running else { return };
        let capacity = running.store.capacity_bytes();
        if let Some(offset) = server_now.bay.rot_somewhere(capacity) {
            self.coverage.count(Row::BitRot);
            self.note(About::Group, format_args!("the disk of {server} rots at {offset}"));
        }
    }

    /// A move has reached a stage: sometimes one of its servers crashes just then.
    pub(crate) fn maybe_cut(
        &mut self,
        extent: ExtentId,
        stage: MoveStage,
        source: ServerId,
        target: ServerId,
    ) {
        let may_fail = self.phase == Phase::Faults && !self.scenario.is_scripted;
        if !may_fail || matches!(stage, MoveStage::Released | MoveStage::Aborted) {
            return;
        }
        if stage == MoveStage::Proposing && self.rng.chance(ISOLATED_PER_MILLE) {
            self.isolate(source, target);
            return;
        }
        // The last stages are over in a moment.
        let weight = match stage {
            MoveStage::Copying => 1,
            MoveStage::HandingOver => 12,
            _ => 3,
        };
        if self.rng.chance(CUTS_PER_MILLE * weight) {
            let side = if self.rng.chance(500) { Side::Source } else { Side::Target };
            let server = if side == Side::Source { source } else { target };
            let delay = match stage {
                MoveStage::Copying => self.rng.any_size(100, 100_000),
                MoveStage::HandingOver => self.rng.any_size(10, 600),
                _ => self.rng.any_size(50, 4000),
            };
            self.note(About::Extent(extent), format_args!("{server} is to crash in {stage:?}"));
            self.clock.after(delay, Happening::Fault(Fault::CrashOf(server)));
        }
    }
}
