//! The servers' connections: messages on their way, connections made, broken and noticed as broken.

use crate::checkers::Violation;
use crate::coverage::Row;
use crate::log::About;
use crate::net::{Fate, Wire};
use crate::world::{Happening, Phase, World};
use evenkeel_engine::Event;
use evenkeel_peer::{Encoder, GroupHash, Message, Peer};
use evenkeel_types::{ExtentId, ServerId};
use std::time::Duration;

/// A message that takes longer is late.
const LATE: Duration = Duration::from_millis(20);
/// Of 1000 messages, so many go through the frame encoder and decoder.
const FRAMED_PER_MILLE: u64 = 250;

impl World<'_> {
    /// A server sends a message.
    pub(crate) fn send(&mut self, from: ServerId, to: ServerId, message: Message) -> Result<(), Violation> {
        match &message {
            Message::Write(write) => self.routing.sent(from, write.extent, write.epoch, write.version)?,
            Message::Copy(copy) => {
                self.routing.sent(from, copy.extent, copy.epoch, copy.image.version)?;
                self.versions.sent(from, copy)?;
                self.versions.saw(from, copy.extent, copy.region, &copy.image)?;
            }
            _ => {}
        }
        self.rules_sent(from, to, &message);
        #[cfg(test)]
        if self.script.holds.is_some_and(|holds| holds(from, to, &message)) {
            self.script.messages.push((from, to, message));
            return Ok(());
        }
        let now = self.now();
        let fate = self.net.send(now, from, to);
        let about = extent_of(&message).map_or(About::Routine, About::Extent);
        match fate {
            Fate::Lost => {
                self.coverage.count(Row::MessageLost);
                self.note(about, format_args!("{from}>{to} {} lost", Brief(&message)));
            }
            Fate::Arrives(wire, at) => {
                if at.since(now) > LATE {
                    self.coverage.count(Row::MessageLate);
                }
                self.note(about, format_args!("{from}>{to} {} arrives {at}", Brief(&message)));
                let message = self.framed(from, message)?;
                self.clock.at(at, Happening::Deliver { wire, from, to, message: Box::new(message) });
            }
        }
        Ok(())
    }

    /// Sends some messages through the encoder and the decoder, in pieces of any size.
    fn framed(&mut self, from: ServerId, message: Message) -> Result<Message, Violation> {
        if !self.rng.chance(FRAMED_PER_MILLE) {
            return Ok(message);
        }
        self.coverage.count(Row::Frames);
        let Some(running) = &self.servers[&from].running else { return Ok(message) };
        let peer = Peer { server: from, incarnation: running.store.incarnation() };
        let encoder = Encoder::new(peer, GroupHash::of("sim"));
        let refuse = |what: String| Violation::new("frame", extent_of(&message), what);
        for piece in encoder.encode(&message) {
            let mut left = &piece[..];
            while !left.is_empty() {
                let space = self.decoder.receive_space();
                let take = (self.rng.between(1, 1 << 17) as usize).min(space.len()).min(left.len());
                space[..take].copy_from_slice(&left[..take]);
                self.decoder.handle_received(take);
                left = &left[take..];
                match self.decoder.poll_frame() {
                    Ok(None) => {}
                    Ok(Some(frame)) if left.is_empty() && peer.sent(&frame.header, GroupHash::of("sim")) => {
                        return Ok(frame.message);
                    }
                    Ok(Some(_)) => return Err(refuse("a frame ends before its bytes do".into())),
                    Err(error) => return Err(refuse(format!("a frame is refused: {error}"))),
                }
            }
        }
        Err(refuse(format!("a frame of a {} message does not end", Message::kind_name(message.kind()))))
    }

    pub(crate) fn deliver(
        &mut self,
        wire: Wire,
        from: ServerId,
        to: ServerId,
        message: Message,
    ) -> Result<(), Violation> {
        if !self.net.arrives(wire, to) {
            self.coverage.count(Row::MessageLost);
            let about = extent_of(&message).map_or(About::Routine, About::Extent);
            self.note(about, format_args!("{from}>{to} {} lost on its way", Brief(&message)));
            return Ok(());
        }
        let about = extent_of(&message).map_or(About::Routine, About::Extent);
        self.note(about, format_args!("{to} gets {} from {from}", Brief(&message)));
        self.rules_got(from, to, &message);
        if let Message::Copied(copied) = &message {
            self.versions.answered(to, copied);
        }
        self.tell(to, Event::Message { from, message })
    }

    /// The first of a pair tries to connect, and goes on trying whenever there is no connection.
    pub(crate) fn dial(&mut self, pair: (ServerId, ServerId)) {
        let delay = self.rng.millis(5, 120);
        self.clock.after(delay, Happening::Dial { pair });
        let both_run = [pair.0, pair.1].iter().all(|id| self.servers[id].running.is_some());
        if !both_run {
            return;
        }
        let now = self.now();
        if let Some(wire) = self.net.dial(now, pair) {
            for server in [pair.0, pair.1] {
                let at = now + self.rng.micros(50, 2000);
                self.net.hold_until(wire, server, at);
                self.clock.at(at, Happening::SideUp { wire, server });
            }
        }
    }

    pub(crate) fn side_up(&mut self, wire: Wire, server: ServerId) -> Result<(), Violation> {
        let peer = if server == wire.pair.0 { wire.pair.1 } else { wire.pair.0 };
        let Some(running) = &self.servers[&peer].running else { return Ok(()) };
        let incarnation = running.store.incarnation();
        let now = self.now();
        if self.servers[&server].running.is_none() || !self.net.answer(now, wire, server) {
            return Ok(());
        }
        self.note(About::Routine, format_args!("{server} is connected to {peer}"));
        self.tell(server, Event::PeerUp { server: peer, incarnation })
    }

    pub(crate) fn side_down(&mut self, wire: Wire, server: ServerId) -> Result<(), Violation> {
        if !self.net.hang_up(wire, server) {
            return Ok(());
        }
        let peer = if server == wire.pair.0 { wire.pair.1 } else { wire.pair.0 };
        self.note(About::Group, format_args!("{server} loses its connection to {peer}"));
        self.tell(server, Event::PeerDown { server: peer })
    }

    /// An engine gives a connection up.
    pub(crate) fn disconnect(&mut self, server: ServerId, peer: ServerId) {
        let Some(wire) = self.net.wire(server, peer) else { return };
        self.note(About::Group, format_args!("{server} gives up its connection to {peer}"));
        self.net.break_off(server, peer, None);
        let delay = self.rng.micros(1, 300_000);
        self.clock.after(Duration::ZERO, Happening::SideDown { wire, server });
        self.clock.after(delay, Happening::SideDown { wire, server: peer });
    }

    /// A connection breaks; each side notices in its own time, or only by the silence.
    pub(crate) fn break_connection(&mut self, a: ServerId, b: ServerId) {
        let Some(wire) = self.net.break_off(a, b, None) else { return };
        self.coverage.count(Row::ConnectionBroken);
        self.note(About::Group, format_args!("the connection of {a} and {b} breaks"));
        for side in [a, b] {
            if self.phase == Phase::Faults && self.rng.chance(150) {
                self.coverage.count(Row::SilentLoss);
                continue;
            }
            let delay = self.rng.any_size(10, 400_000);
            self.clock.after(delay, Happening::SideDown { wire, server: side });
        }
    }

    /// A server has crashed: its connections lead nowhere. What it sent may still arrive.
    pub(crate) fn connections_die(&mut self, server: ServerId) {
        let peers: Vec<ServerId> = self.servers.keys().copied().filter(|peer| *peer != server).collect();
        for peer in peers {
            let own = self.net.wire(server, peer);
            let theirs = self.net.wire(peer, server);
            let spared = self.rng.chance(500).then_some(peer);
            self.net.break_off(server, peer, spared);
            if let Some(wire) = own {
                self.net.forget_side(wire, server);
            }
            // Without a word from its system (the power failed, or the link is cut) the peer notices by the silence, or by
            // the restart.
            if let Some(wire) = theirs
                && !self.net.is_cut(wire.pair)
                && !self.rng.chance(200)
            {
                let delay = self.rng.any_size(10, 200_000);
                self.clock.after(delay, Happening::SideDown { wire, server: peer });
            }
        }
    }

    /// A server is there again: whatever its peers still send over old connections is refused by its system.
    pub(crate) fn after_start(&mut self, server: ServerId) {
        let peers: Vec<ServerId> = self.servers.keys().copied().filter(|peer| *peer != server).collect();
        for peer in peers {
            if let Some(wire) = self.net.wire(peer, server)
                && self.net.wire(server, peer).is_none()
                && !self.net.is_cut(wire.pair)
            {
                let delay = self.rng.any_size(10, 400_000);
                self.clock.after(delay, Happening::SideDown { wire, server: peer });
            }
        }
    }
}

/// The extent that a message is about.
fn extent_of(message: &Message) -> Option<ExtentId> {
    match message {
        Message::Request(request) => Some(request.extent),
        Message::Attach(attach) => Some(attach.extent),
        Message::Attached(attached) => Some(attached.extent),
        Message::AttachRefused(refused) => Some(refused.extent),
        Message::Write(write) => Some(write.extent),
        Message::Written(written) => Some(written.extent),
        Message::Copy(copy) => Some(copy.extent),
        Message::Copied(copied) => Some(copied.extent),
        Message::Reserve(reserve) => Some(reserve.extent),
        Message::Reserved(reserved) => Some(reserved.extent),
        Message::Fetch(fetch) => Some(fetch.extent),
        Message::Fetched(fetched) => Some(fetched.extent),
        Message::Check(check) => Some(check.extent),
        Message::Checked(checked) => Some(checked.extent),
        Message::Detach(detach) => Some(detach.extent),
        _ => None,
    }
}

/// A message in a few words, for the log.
struct Brief<'a>(&'a Message);

impl std::fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(Message::kind_name(self.0.kind()))?;
        if let Some(extent) = extent_of(self.0) {
            write!(f, " {extent}")?;
        }
        match self.0 {
            Message::Request(request) => {
                let (at, verb) = (request.op.range(), if request.op.is_write() { "change" } else { "read" });
                write!(f, " #{} {verb} {}+{} epoch {}", request.number, at.offset, at.len, request.epoch)?;
                match request.identity {
                    Some(identity) => write!(f, " id {identity}"),
                    None => Ok(()),
                }
            }
            Message::Cancel { number } => write!(f, " #{number}"),
            Message::Reply(reply) => write!(f, " #{} {}", reply.number, OutcomeBrief(&reply.outcome)),
            Message::Attach(attach) => {
                write!(f, " epoch {} attachment {} {:?}", attach.epoch, attach.attachment, attach.part)
            }
            Message::Attached(attached) => {
                write!(f, " epoch {} attachment {}", attached.epoch, attached.attachment)
            }
            Message::AttachRefused(refused) => {
                write!(f, " attachment {} {:?}", refused.attachment, refused.refusal)
            }
            Message::Write(write) => write!(
                f,
                " blocks {}+{} version {} replacing {} attachment {} tag {}",
                write.blocks.first,
                write.blocks.count,
                write.version,
                write.replaces.first().copied().unwrap_or_default(),
                write.attachment,
                write.tag
            ),
            Message::Written(written) => {
                write!(
                    f,
                    " version {} attachment {} tag {} {:?}",
                    written.version, written.attachment, written.tag, written.outcome
                )
            }
            Message::Copy(copy) => write!(
                f,
                " region {} version {} replacing {} attachment {}",
                copy.region, copy.image.version, copy.replaces, copy.attachment
            ),
            Message::Copied(copied) => {
                write!(
                    f,
                    " region {} version {} attachment {} {:?}",
                    copied.region, copied.version, copied.attachment, copied.outcome
                )
            }
            Message::Reserve(reserve) => {
                write!(f, " attachment {} {} regions", reserve.attachment, reserve.regions.count())
            }
            Message::Reserved(answer) => {
                write!(f, " attachment {} {:?}", answer.attachment, answer.refusal)
            }
            Message::Current(current) => write!(f, " {} extents", current.extents.len()),
            Message::Compared(compared) => {
                write!(f, " revision {} differing {}", compared.revision, compared.differing)
            }
            Message::Fetch(fetch) => write!(f, " region {}", fetch.region),
            Message::Fetched(fetched) => match &fetched.image {
                Some(image) => {
                    write!(f, " region {} version {} bad {:#x}", fetched.region, image.version, image.bad)
                }
                None => write!(f, " region {} none", fetched.region),
            },
            Message::Check(check) => write!(f, " region {}", check.region),
            Message::Checked(checked) => write!(f, " region {} {:?}", checked.region, checked.found),
            Message::Probe(probe) => write!(f, " {}", probe.server),
            Message::Probed(probed) => write!(f, " {} reached {}", probed.server, probed.reached),
            Message::Detach(detach) => write!(f, " attachment {}", detach.attachment),
            Message::HeartbeatAck(ack) => write!(f, " voided {}", ack.voided.len()),
            _ => Ok(()),
        }
    }
}

struct OutcomeBrief<'a>(&'a evenkeel_peer::ReplyOutcome);

impl std::fmt::Display for OutcomeBrief<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            evenkeel_peer::ReplyOutcome::Done { data } => write!(f, "done {} bytes", data.len()),
            other => write!(f, "{other:?}"),
        }
    }
}
