//! The CmdSN window of a session (RFC 7143 section 4.2.2.1): which commands are next, early, or outside. It is the
//! credit that bounds the commands of an initiator.

use super::config::{COMMAND_WINDOW, HELD_BYTES_MAX};
use crate::receive::Header;
use std::collections::BTreeMap;

/// Where a CmdSN stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// It is the next one.
    Now,
    /// It is within the window, but others come first.
    Early,
    /// It was received before, or is beyond the window: to be ignored.
    Outside,
}

/// A PDU that came early, with its data.
#[derive(Debug)]
pub(super) struct HeldPdu {
    pub(super) header: Header,
    pub(super) data: Vec<u8>,
    pub(super) intact: bool,
}

/// More is held back than a connection may hold.
#[derive(Debug)]
pub(super) struct HeldTooMuch;

/// The window of a session.
#[derive(Debug)]
pub(super) struct Window {
    exp_cmd_sn: u32,
    /// Non-immediate commands that were delivered and are not answered.
    open: u32,
    /// By CmdSN: a command and the unsolicited data behind it; nothing for a number that was given up.
    held: BTreeMap<u32, Vec<HeldPdu>>,
    held_bytes: usize,
}

impl Window {
    /// The window whose next command has this number.
    pub(super) fn new(exp_cmd_sn: u32) -> Self {
        Self { exp_cmd_sn, open: 0, held: BTreeMap::new(), held_bytes: 0 }
    }

    /// The next number expected.
    pub(super) const fn exp_cmd_sn(&self) -> u32 {
        self.exp_cmd_sn
    }

    /// The last number accepted. It never falls: a delivery raises ExpCmdSN and the number of open commands alike.
    pub(super) const fn max_cmd_sn(&self) -> u32 {
        self.exp_cmd_sn.wrapping_add(COMMAND_WINDOW.saturating_sub(self.open)).wrapping_sub(1)
    }

    /// Whether a number is within the window.
    pub(super) const fn contains(&self, cmd_sn: u32) -> bool {
        let width = self.max_cmd_sn().wrapping_sub(self.exp_cmd_sn).wrapping_add(1);
        cmd_sn.wrapping_sub(self.exp_cmd_sn) < width
    }

    /// Where a number stands.
    pub(super) fn turn(&self, cmd_sn: u32) -> Turn {
        if !self.contains(cmd_sn) || self.held.contains_key(&cmd_sn) {
            Turn::Outside
        } else if cmd_sn == self.exp_cmd_sn {
            Turn::Now
        } else {
            Turn::Early
        }
    }

    /// Whether all numbers before this one were received. One that is not about to come says nothing.
    pub(super) const fn is_complete_before(&self, cmd_sn: u32) -> bool {
        let ahead = cmd_sn.wrapping_sub(self.exp_cmd_sn);
        ahead == 0 || ahead > COMMAND_WINDOW
    }

    /// The next number was received.
    pub(super) fn advance(&mut self) {
        self.exp_cmd_sn = self.exp_cmd_sn.wrapping_add(1);
    }

    /// A command was delivered that takes a place in the window until it is answered.
    pub(super) fn open(&mut self) {
        self.open += 1;
        assert!(self.open <= COMMAND_WINDOW, "the window bounds the open commands");
    }

    /// It was answered.
    pub(super) fn close(&mut self) {
        assert!(self.open > 0, "a command is closed once");
        self.open -= 1;
    }

    /// Holds a PDU back until it is the turn of this number.
    pub(super) fn hold(&mut self, cmd_sn: u32, pdu: HeldPdu) -> Result<(), HeldTooMuch> {
        let bytes = pdu.data.len() + size_of::<HeldPdu>();
        if self.held_bytes + bytes > HELD_BYTES_MAX {
            return Err(HeldTooMuch);
        }
        self.held_bytes += bytes;
        self.held.entry(cmd_sn).or_default().push(pdu);
        Ok(())
    }

    /// Bytes held back.
    pub(super) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The number of a held command with this initiator task tag.
    pub(super) fn held_command(&self, itt: u32) -> Option<u32> {
        let named = |pdus: &Vec<HeldPdu>| pdus.first().is_some_and(|pdu| pdu.header.bhs.itt.get() == itt);
        self.held.iter().find(|(_, pdus)| named(pdus)).map(|(cmd_sn, _)| *cmd_sn)
    }

    /// What was held back for the next number, if anything was. An empty list is a number that was given up.
    pub(super) fn take_next(&mut self) -> Option<Vec<HeldPdu>> {
        let pdus = self.held.remove(&self.exp_cmd_sn)?;
        let bytes: usize = pdus.iter().map(|pdu| pdu.data.len() + size_of::<HeldPdu>()).sum();
        self.held_bytes -= bytes;
        Some(pdus)
    }

    /// Counts a number as received although its command did not come or is dropped (RFC 7143 section 11.6.1).
    pub(super) fn give_up(&mut self, cmd_sn: u32) {
        let dropped = self.held.insert(cmd_sn, Vec::new()).unwrap_or_default();
        let bytes: usize = dropped.iter().map(|pdu| pdu.data.len() + size_of::<HeldPdu>()).sum();
        self.held_bytes -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pdu::{AhsSummary, PduHeader, ScsiCommand};

    fn pdu() -> HeldPdu {
        let header = Header { bhs: ScsiCommand::empty().bhs(), ahs: AhsSummary::default() };
        HeldPdu { header, data: vec![0; 100], intact: true }
    }

    #[test]
    fn the_window_spans_the_wrap_of_the_numbers() {
        let mut window = Window::new(u32::MAX - 1);
        assert_eq!(window.max_cmd_sn(), COMMAND_WINDOW - 3);
        assert_eq!(window.turn(u32::MAX - 2), Turn::Outside);
        assert_eq!(window.turn(u32::MAX - 1), Turn::Now);
        assert_eq!(window.turn(3), Turn::Early);
        assert_eq!(window.turn(COMMAND_WINDOW - 3), Turn::Early);
        assert_eq!(window.turn(COMMAND_WINDOW - 2), Turn::Outside);
        window.advance();
        window.advance();
        assert_eq!(window.exp_cmd_sn(), 0);
    }

    #[test]
    fn max_cmd_sn_stands_while_commands_are_open_and_never_falls() {
        let mut window = Window::new(1);
        let before = window.max_cmd_sn();
        for _ in 0..COMMAND_WINDOW {
            window.advance();
            window.open();
            assert_eq!(window.max_cmd_sn(), before);
        }
        assert_eq!(window.turn(window.exp_cmd_sn()), Turn::Outside);
        window.close();
        assert_eq!(window.turn(window.exp_cmd_sn()), Turn::Now);
    }

    #[test]
    fn a_number_is_held_once_and_given_out_in_its_turn() {
        let mut window = Window::new(5);
        window.hold(6, pdu()).unwrap();
        assert_eq!(window.turn(6), Turn::Outside);
        assert!(window.take_next().is_none());
        window.advance();
        assert_eq!(window.take_next().unwrap().len(), 1);
        assert_eq!(window.held_bytes, 0);
        window.hold(8, pdu()).unwrap();
        window.give_up(8);
        window.advance();
        window.advance();
        assert!(window.take_next().unwrap().is_empty());
        assert_eq!(window.held_bytes, 0);
    }

    #[test]
    fn held_bytes_are_bounded() {
        let mut window = Window::new(0);
        let big = || HeldPdu { data: vec![0; HELD_BYTES_MAX / 2], ..pdu() };
        assert!(window.hold(1, big()).is_ok());
        assert!(window.hold(2, big()).is_err());
    }
}
