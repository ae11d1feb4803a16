//! SCSI commands from their header to their operations.

use super::action::{Action, CloseReason, TaskId};
use super::config::DATA_IN_BYTES_MAX;
use super::core::{Core, Current};
use super::data_out::{Collected, Piece};
use super::task::{Step, Task, Tasks};
use crate::pdu::{DataOut, PduHeader, R2t, RejectReason, ScsiCommand, flags};
use crate::receive::{COLLECT_BYTES_MAX, Header, Placement};
use evenkeel_scsi::{AdditionalSense, Completion, Decoded, Response, Sense, Status};
use evenkeel_types::{AlignedBuf, BlockError, BlockOutcome, Payload, Time};

/// The nexus was given no name, so that no reservation can be its.
const fn not_reservable() -> Sense {
    Sense::illegal_request(AdditionalSense::INVALID_OPERATION_CODE)
}

impl Core {
    /// The header of a SCSI Command whose turn it is.
    pub(super) fn command_header(&mut self, header: &Header, in_window: bool) -> Placement {
        let command = *header.bhs.view::<ScsiCommand>();
        self.facts.commands += 1;
        let Some((unit, _)) = self.target.clone() else {
            self.reject(&header.bhs, RejectReason::CommandNotSupported);
            return Placement::Discard;
        };
        if self.tasks.by_tag(command.itt.get()).is_some() {
            self.reject(&header.bhs, RejectReason::TaskInProgress);
            return Placement::Discard;
        }
        if in_window {
            self.window.open();
        }
        let (reads, writes) = (command.flags & flags::READ != 0, command.flags & flags::WRITE != 0);
        let expected = command.expected_data_len.get();
        let immediate = command.data_segment_len.get();
        let expected_out = if writes { expected } else { 0 };
        let more = command.flags & flags::FINAL == 0;
        let mut task = Task {
            itt: command.itt.get(),
            lun: command.lun.get(),
            in_window,
            expected_in: if reads && !writes { expected } else { 0 },
            expected_out,
            wanted_out: 0,
            out: Collected::new(&self.parameters, expected_out, immediate, more),
            step: Step::Ready(Response::good()),
            arrived: Time::ZERO,
            aborted: false,
            out_room: 0,
            in_room: 0,
        };
        if self.tasks.is_full() {
            if in_window {
                self.window.close();
            }
            self.respond(&task, &Response::status(Status::TaskSetFull));
            return Placement::Discard;
        }
        let bidirectional = reads && writes || header.ahs.bidirectional_read_len.is_some();
        if let Some(sense) = task.out.failure() {
            task.step = Step::Ready(Response::from(sense));
        } else if bidirectional {
            let reason = AdditionalSense::INVALID_FIELD_IN_INFORMATION_UNIT;
            task.step = Step::Ready(Sense::illegal_request(reason).into());
        } else {
            let decoded = unit.decode(&mut self.nexus, task.lun, &command.cdb);
            self.take_decoded(&mut task, decoded);
        }
        self.place_immediate(task, header)
    }

    /// What a CDB asks for becomes the task's next step.
    fn take_decoded(&mut self, task: &mut Task, decoded: Decoded) {
        task.step = match decoded {
            Decoded::Immediate(response) => Step::Ready(response),
            Decoded::Block(command) => Step::Waiting(command),
            Decoded::Reserve(_) => Step::Ready(not_reservable().into()),
            Decoded::NeedsData { len, then } => {
                task.wanted_out = len;
                let want = len.min(task.expected_out);
                let offset = then.write_range().map_or(0, |range| range.offset);
                let has_room = if !Collected::needs_room(want, &self.parameters) {
                    true
                } else if self.waiting_for_out.is_empty() && self.out_room.take(want as usize) {
                    task.out_room = want as usize;
                    true
                } else {
                    false
                };
                task.out.expect(want, offset, has_room);
                Step::Collecting(then)
            }
        };
    }

    /// Adds the task and says where its immediate data goes.
    fn place_immediate(&mut self, task: Task, header: &Header) -> Placement {
        let collecting = matches!(task.step, Step::Collecting(_));
        let waits = collecting && !task.out.has_room();
        let id = self.tasks.insert(task);
        if waits {
            self.waiting_for_out.push_back(id);
        }
        self.current = Current::Task(id);
        self.place_data(id, header, collecting)
    }

    /// Where the data segment of a PDU of this task goes: large ones straight into the task's buffer.
    fn place_data(&mut self, id: TaskId, header: &Header, wanted: bool) -> Placement {
        let len = header.data_len();
        if wanted && len > COLLECT_BYTES_MAX {
            let task = self.tasks.get_mut(id);
            if let Some((buf, at)) = task.and_then(|task| task.out.lend(len as u32)) {
                self.current = Current::Lent(id);
                return Placement::Into { buf, at };
            }
        }
        Placement::Whole
    }

    /// The header of a Data-Out.
    pub(super) fn data_out_header(&mut self, header: &Header) -> Placement {
        let pdu = *header.bhs.view::<DataOut>();
        if let Some(cmd_sn) = self.window.held_command(pdu.itt.get())
            && self.tasks.by_tag(pdu.itt.get()).is_none()
        {
            self.current = Current::Held(cmd_sn);
            return Placement::Whole;
        }
        let Some(id) = self.tasks.by_tag(pdu.itt.get()) else { return self.ignore() };
        let Some(task) = self.tasks.get_mut(id) else { return self.ignore() };
        match task.out.check(&pdu) {
            Piece::Unknown => self.ignore(),
            Piece::Ignore => {
                self.current = Current::Task(id);
                Placement::Whole
            }
            Piece::Place => {
                let collecting = matches!(task.step, Step::Collecting(_));
                self.current = Current::Task(id);
                self.place_data(id, header, collecting)
            }
        }
    }

    fn ignore(&mut self) -> Placement {
        self.facts.ignored += 1;
        Placement::Discard
    }

    /// The data segment of a PDU of this task is here, or the PDU has none.
    pub(super) fn task_data(&mut self, now: Time, id: TaskId, header: &Header, data: &[u8], intact: bool) {
        if !intact {
            self.reject(&header.bhs, RejectReason::DataDigestError);
        }
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.pdu_arrived(now);
        if !intact {
            task.out.fail(AdditionalSense::PROTOCOL_SERVICE_CRC_ERROR);
        } else if matches!(task.step, Step::Collecting(_)) && task.out.failure().is_none() {
            task.out.place(data);
            self.facts.bytes_written += data.len() as u64;
        }
        self.advance(now, id);
    }

    /// The data segment of a PDU of this task was received into the buffer that it lent.
    pub(super) fn task_data_arrived(
        &mut self,
        now: Time,
        id: TaskId,
        header: &Header,
        buf: AlignedBuf,
        intact: bool,
    ) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.out.give_back(buf, header.data_len() as u32);
        task.pdu_arrived(now);
        self.facts.bytes_written += header.data_len() as u64;
        if !intact {
            task.out.fail(AdditionalSense::PROTOCOL_SERVICE_CRC_ERROR);
            self.reject(&header.bhs, RejectReason::DataDigestError);
        }
        self.advance(now, id);
    }

    /// Takes a task as far as it can go now.
    pub(super) fn advance(&mut self, now: Time, id: TaskId) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        if let (Some(sense), Step::Collecting(_) | Step::Waiting(_)) = (task.out.failure(), &task.step) {
            task.step = Step::Ready(sense.into());
        }
        match &task.step {
            Step::Executing { .. } => {}
            Step::Ready(_) if task.out.is_open() => {}
            Step::Ready(_) => self.finish(now, id),
            Step::Waiting(_) => self.execute(now, id),
            Step::Collecting(_) if task.out.is_complete() && !task.out.is_open() => {
                self.data_complete(now, id);
            }
            Step::Collecting(_) => self.send_r2ts(id),
        }
    }

    fn send_r2ts(&mut self, id: TaskId) {
        let parameters = self.parameters;
        loop {
            let Some(task) = self.tasks.get_mut(id) else { return };
            let Some(new) = task.out.next_r2t(&parameters, |n| Tasks::transfer_tag(id, n)) else { return };
            let mut r2t = R2t::empty();
            r2t.flags = flags::FINAL;
            r2t.lun = task.lun.into();
            r2t.itt = task.itt.into();
            r2t.ttt = new.ttt.into();
            r2t.r2t_sn = new.r2t_sn.into();
            r2t.buffer_offset = new.offset.into();
            r2t.desired_data_len = new.len.into();
            // An R2T carries the next StatSN and does not use it up (RFC 7143 section 11.8.2).
            r2t.stat_sn = self.stat_sn.into();
            r2t.exp_cmd_sn = self.exp_cmd_sn();
            r2t.max_cmd_sn = self.max_cmd_sn();
            self.send(&r2t, Payload::default());
        }
    }

    fn data_complete(&mut self, now: Time, id: TaskId) {
        let Some((unit, _)) = self.target.clone() else { return };
        let Some(task) = self.tasks.get_mut(id) else { return };
        let data = task.out.take();
        let announced = task.expected_out;
        let Step::Collecting(command) = std::mem::replace(&mut task.step, Step::Ready(Response::good()))
        else {
            return;
        };
        task.step = match unit.with_data(command, data, announced) {
            Decoded::Immediate(response) => Step::Ready(response),
            Decoded::Block(command) => Step::Waiting(command),
            Decoded::Reserve(_) => Step::Ready(not_reservable().into()),
            // A command has one Data-Out.
            Decoded::NeedsData { .. } => {
                let reason = AdditionalSense::INTERNAL_TARGET_FAILURE;
                Step::Ready(Sense::aborted_command(reason).into())
            }
        };
        self.advance(now, id);
    }

    /// Submits the operations of a task, as soon as there is room for what they read.
    fn execute(&mut self, now: Time, id: TaskId) {
        let pending = self.in_room + self.output.payload_bytes();
        let Some(task) = self.tasks.get_mut(id) else { return };
        let Step::Waiting(command) = &task.step else { return };
        let needed = command.expected_data_in as usize;
        let is_first = self.waiting_for_in.front().is_none_or(|first| *first == id);
        if needed > 0 && (!is_first || pending > 0 && pending + needed > DATA_IN_BYTES_MAX) {
            if !self.waiting_for_in.contains(&id) {
                self.waiting_for_in.push_back(id);
            }
            return;
        }
        if self.waiting_for_in.front() == Some(&id) {
            self.waiting_for_in.pop_front();
        }
        task.in_room = needed;
        self.in_room += needed;
        let step = std::mem::replace(&mut task.step, Step::Ready(Response::good()));
        let Step::Waiting(command) = step else { return };
        if command.ops.is_empty() {
            return self.advance(now, id);
        }
        task.step = Step::Executing { command, current: 0 };
        self.submit(id);
    }

    fn submit(&mut self, id: TaskId) {
        let Some((_, volume)) = self.target else { return };
        let Some(Task { step: Step::Executing { command, current }, arrived, .. }) = self.tasks.get(id)
        else {
            return;
        };
        let (op, arrived) = (command.ops[*current].clone(), *arrived);
        self.actions.push_back(Action::Submit { task: id, volume, op, arrived });
    }

    /// Tries again the tasks that wait for room, in order.
    pub(super) fn serve_waiting(&mut self, now: Time) {
        while let Some(id) = self.waiting_for_out.front().copied() {
            if let Some(task) = self.tasks.get_mut(id)
                && matches!(task.step, Step::Collecting(_))
            {
                let want = task.wanted_out.min(task.expected_out) as usize;
                if !self.out_room.take(want) {
                    break;
                }
                task.out_room = want;
                task.out.grant_room();
            }
            self.waiting_for_out.pop_front();
            self.advance(now, id);
        }
        while let Some(id) = self.waiting_for_in.front().copied() {
            self.advance(now, id);
            if self.tasks.get(id).is_some_and(|task| matches!(task.step, Step::Waiting(_))) {
                break;
            }
            if self.waiting_for_in.front() == Some(&id) {
                self.waiting_for_in.pop_front();
            }
        }
    }

    /// An operation has ended.
    pub(super) fn complete(&mut self, now: Time, id: TaskId, outcome: BlockOutcome) {
        let Some((unit, _)) = self.target.clone() else { return };
        let Some(task) = self.tasks.get_mut(id) else { return };
        let Step::Executing { command, current } = &mut task.step else { return };
        if !task.aborted && outcome.is_ok() && *current + 1 < command.ops.len() {
            *current += 1;
            return self.submit(id);
        }
        // "Busy" promises that nothing of the command was applied: behind its first operation that is not true any more.
        let outcome = match outcome {
            Err(BlockError::Busy) if *current > 0 => Err(BlockError::Unknown),
            outcome => outcome,
        };
        if task.aborted {
            self.remove_task(id);
        } else {
            self.complete_command(now, id, &unit, outcome);
        }
        self.settle_management(now);
        self.serve_waiting(now);
        self.end_session_if_idle();
    }

    fn complete_command(
        &mut self,
        now: Time,
        id: TaskId,
        unit: &evenkeel_scsi::LogicalUnit,
        outcome: BlockOutcome,
    ) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let step = std::mem::replace(&mut task.step, Step::Ready(Response::good()));
        let Step::Executing { command, .. } = step else { return };
        match unit.complete(&command, outcome) {
            Completion::Respond(response) => {
                task.step = Step::Ready(response);
                self.advance(now, id);
            }
            Completion::DropSession => {
                self.remove_task(id);
                self.close(CloseReason::OutcomeUnknown);
            }
            Completion::Nothing => {
                self.remove_task(id);
            }
        }
    }

    /// Takes a task out, with all that was set aside for it.
    pub(super) fn remove_task(&mut self, id: TaskId) -> Option<Task> {
        let task = self.tasks.remove(id)?;
        self.out_room.give_back(task.out_room);
        self.in_room -= task.in_room;
        if task.in_window {
            self.window.close();
        }
        Some(task)
    }

    fn finish(&mut self, now: Time, id: TaskId) {
        let Some(mut task) = self.remove_task(id) else { return };
        let Step::Ready(response) = std::mem::replace(&mut task.step, Step::Ready(Response::good())) else {
            return;
        };
        self.respond(&task, &response);
        self.serve_waiting(now);
    }
}
