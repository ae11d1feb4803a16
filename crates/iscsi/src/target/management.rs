//! Task management and logout: what is answered only when operations have ended (RFC 7143 sections 4.2.3, 11.5, 11.14).
//!
//! A task that is aborted is never answered. If its operation is under way it is cancelled, and the function that
//! aborted it is answered when the operation has ended, so that nothing of it takes effect afterwards. Data-Out of an
//! aborted task that is still on its way is dropped.
//!
//! A function that concerns many tasks aborts all commands that were numbered before it, also those that have not come
//! yet, and none that were numbered behind it. It is answered behind all answers to commands, when they have come and when
//! the Data-Out that R2Ts have asked for has ended (section 4.2.3.3), or after [`TRANSFER_TIMEOUT`]: initiators that stop
//! sending data as soon as they send a reset are common.

use super::action::{Action, CloseReason, ManagementId, ManagementScope, TaskId};
use super::config::{MANAGEMENT_MAX, TRANSFER_TIMEOUT};
use super::core::{Core, State};
use super::task::Step;
use crate::pdu::{
    LogoutReason, LogoutRequest, LogoutResponse, PduHeader, RejectReason, TaskFunction,
    TaskManagementRequest, TaskManagementResponse, TaskResponse, flags,
};
use crate::receive::Header;
use evenkeel_scsi::UnitAttention;
use evenkeel_types::{Payload, Time};

/// What is done when all that is waited for has happened.
#[derive(Debug)]
enum Then {
    /// A task management function is answered.
    Respond { itt: u32, response: TaskResponse, cold_reset: bool },
    /// A logout is answered and the connection closed.
    LoggedOut { itt: u32 },
    /// The driver is told.
    Managed { token: u64 },
}

/// A function in progress.
#[derive(Debug)]
pub(super) struct PendingManagement {
    /// Aborted tasks whose operations have not ended.
    tasks: Vec<TaskId>,
    /// Other sessions carry it out under this name.
    others: Option<ManagementId>,
    /// What the initiator has still to send.
    to_come: Option<ToCome>,
    then: Then,
}

/// What a function on many tasks waits for.
#[derive(Debug)]
struct ToCome {
    /// Target transfer tags of aborted tasks whose data has not ended.
    transfers: Vec<u32>,
    /// The number of the function: all before it are to be received.
    cmd_sn: u32,
    /// When it waits no longer.
    until: Time,
}

impl Core {
    /// Aborts a task; true if its operation is still to end.
    fn abort(&mut self, id: TaskId) -> bool {
        let Some(task) = self.tasks.get_mut(id) else { return false };
        if !matches!(task.step, Step::Executing { .. }) {
            self.remove_task(id);
            return false;
        }
        if !task.aborted {
            task.aborted = true;
            self.actions.push_back(Action::Cancel { task: id });
        }
        true
    }

    /// Aborts all tasks; gives those whose operations are still to end.
    pub(super) fn abort_all(&mut self) -> Vec<TaskId> {
        self.tasks.ids().into_iter().filter(|id| self.abort(*id)).collect()
    }

    fn wait_for(&mut self, now: Time, tasks: Vec<TaskId>, others: Option<ManagementId>, then: Then) {
        self.management.push(PendingManagement { tasks, others, to_come: None, then });
        self.settle_management(now);
    }

    /// When the first function waits no longer for what its initiator has still to send.
    pub(super) fn management_deadline(&self) -> Option<Time> {
        self.management.iter().filter_map(|pending| Some(pending.to_come.as_ref()?.until)).min()
    }

    /// Whether a command that has come now was aborted before.
    pub(super) fn is_aborted_in_advance(&mut self, cmd_sn: u32) -> bool {
        let Some(fence) = self.fence else { return false };
        let is_before = cmd_sn.wrapping_sub(fence) > 1 << 31;
        if !is_before {
            self.fence = None;
        }
        is_before
    }

    /// The last Data-Out of a sequence has come.
    pub(super) fn transfer_ended(&mut self, now: Time, ttt: u32) {
        for pending in &mut self.management {
            if let Some(to_come) = &mut pending.to_come {
                to_come.transfers.retain(|open| *open != ttt);
            }
        }
        self.settle_management(now);
    }

    /// Finishes what has nothing left to wait for, in order of arrival.
    pub(super) fn settle_management(&mut self, now: Time) {
        let (tasks, window) = (&self.tasks, &self.window);
        for pending in &mut self.management {
            pending.tasks.retain(|id| tasks.get(*id).is_some());
            pending.to_come.take_if(|to_come| {
                let is_here = to_come.transfers.is_empty() && window.is_complete_before(to_come.cmd_sn);
                is_here || now >= to_come.until
            });
        }
        let is_done = |pending: &PendingManagement| {
            pending.tasks.is_empty() && pending.others.is_none() && pending.to_come.is_none()
        };
        while let Some(at) = self.management.iter().position(is_done) {
            let pending = self.management.remove(at);
            self.finish_management(now, &pending.then);
        }
    }

    fn finish_management(&mut self, now: Time, then: &Then) {
        match *then {
            Then::Managed { token } => self.actions.push_back(Action::Managed { token }),
            _ if !matches!(self.state, State::FullFeature) => {}
            Then::Respond { itt, response, cold_reset } => {
                self.respond_to_management(itt, response);
                if cold_reset {
                    self.close_after_flush(now, CloseReason::ColdReset);
                }
            }
            Then::LoggedOut { itt } => {
                self.respond_to_logout(itt, LogoutResponse::CLOSED);
                self.close_after_flush(now, CloseReason::LoggedOut);
            }
        }
    }

    fn respond_to_management(&mut self, itt: u32, code: TaskResponse) {
        let mut response = TaskManagementResponse::empty();
        response.flags = flags::FINAL;
        response.response = code as u8;
        response.itt = itt.into();
        response.stat_sn = self.next_stat_sn();
        response.exp_cmd_sn = self.exp_cmd_sn();
        response.max_cmd_sn = self.max_cmd_sn();
        self.send(&response, Payload::default());
    }

    fn respond_to_logout(&mut self, itt: u32, code: u8) {
        let mut response = LogoutResponse::empty();
        response.flags = flags::FINAL;
        response.response = code;
        response.itt = itt.into();
        response.stat_sn = self.next_stat_sn();
        response.exp_cmd_sn = self.exp_cmd_sn();
        response.max_cmd_sn = self.max_cmd_sn();
        response.time2wait = u16::try_from(self.parameters.time2wait).unwrap_or(u16::MAX).into();
        self.send(&response, Payload::default());
    }

    /// A Task Management Function Request.
    pub(super) fn task_management(&mut self, now: Time, header: &Header) {
        let request = *header.bhs.view::<TaskManagementRequest>();
        let itt = request.itt.get();
        let Some((_, volume)) = self.target else {
            return self.reject(&header.bhs, RejectReason::CommandNotSupported);
        };
        if self.management.len() >= MANAGEMENT_MAX {
            return self.reject(&header.bhs, RejectReason::TooManyImmediateCommands);
        }
        let respond = |response| Then::Respond { itt, response, cold_reset: false };
        let Some(function) = TaskFunction::from_flags(request.flags) else {
            return self.respond_to_management(itt, TaskResponse::NotSupported);
        };
        let of_unit = matches!(
            function,
            TaskFunction::AbortTask
                | TaskFunction::AbortTaskSet
                | TaskFunction::ClearTaskSet
                | TaskFunction::LogicalUnitReset
        );
        if of_unit && request.lun.get() != evenkeel_scsi::logical_unit::LUN {
            return self.respond_to_management(itt, TaskResponse::LunDoesNotExist);
        }
        let scope = match function {
            TaskFunction::AbortTask => {
                let (tasks, response) = self.abort_one(&request);
                return self.wait_for(now, tasks, None, respond(response));
            }
            TaskFunction::ClearAca => return self.respond_to_management(itt, TaskResponse::NotSupported),
            TaskFunction::TaskReassign => {
                return self.respond_to_management(itt, TaskResponse::ReassignmentNotSupported);
            }
            TaskFunction::AbortTaskSet => None,
            TaskFunction::ClearTaskSet => Some(ManagementScope::ClearTaskSet),
            TaskFunction::LogicalUnitReset | TaskFunction::TargetWarmReset => Some(ManagementScope::Reset),
            TaskFunction::TargetColdReset => Some(ManagementScope::ColdReset),
        };
        let cmd_sn = request.cmd_sn.get();
        if !self.window.is_complete_before(cmd_sn) {
            self.fence = Some(cmd_sn);
        }
        let transfers = self.tasks.ids().into_iter().filter_map(|id| self.tasks.get(id));
        let transfers = transfers.flat_map(|task| task.out.open_transfers()).collect();
        let to_come = ToCome { transfers, cmd_sn, until: now + TRANSFER_TIMEOUT };
        let tasks = self.abort_all();
        let others = scope.map(|scope| {
            self.managements_sent += 1;
            let id = ManagementId(self.managements_sent);
            self.actions.push_back(Action::ManageOthers { id, volume, scope });
            if scope != ManagementScope::ClearTaskSet {
                self.nexus.raise(UnitAttention::LogicalUnitReset);
            }
            id
        });
        let cold_reset = scope == Some(ManagementScope::ColdReset);
        let then = Then::Respond { itt, response: TaskResponse::FunctionComplete, cold_reset };
        self.management.push(PendingManagement { tasks, others, to_come: Some(to_come), then });
        self.settle_management(now);
    }

    /// ABORT TASK (RFC 7143 section 11.6.1).
    fn abort_one(&mut self, request: &TaskManagementRequest) -> (Vec<TaskId>, TaskResponse) {
        let tag = request.referenced_task_tag.get();
        if let Some(id) = self.tasks.by_tag(tag) {
            let waits = if self.abort(id) { vec![id] } else { Vec::new() };
            return (waits, TaskResponse::FunctionComplete);
        }
        let referenced = request.ref_cmd_sn.get();
        let ahead = |cmd_sn: u32| cmd_sn.wrapping_sub(self.window.exp_cmd_sn());
        let not_received =
            self.window.contains(referenced) && ahead(referenced) < ahead(request.cmd_sn.get());
        let cmd_sn = self.window.held_command(tag).or_else(|| not_received.then_some(referenced));
        let Some(cmd_sn) = cmd_sn else { return (Vec::new(), TaskResponse::TaskDoesNotExist) };
        self.window.give_up(cmd_sn);
        (Vec::new(), TaskResponse::FunctionComplete)
    }

    /// A function that was sent to another session of the volume affects this one.
    pub(super) fn manage(&mut self, now: Time, scope: ManagementScope, token: u64) {
        if !matches!(self.state, State::FullFeature) {
            let tasks = self.abort_all();
            return self.wait_for(now, tasks, None, Then::Managed { token });
        }
        let had_tasks = self.tasks.len() > 0;
        let tasks = self.abort_all();
        match scope {
            ManagementScope::ClearTaskSet if had_tasks => self.nexus.raise(UnitAttention::CommandsCleared),
            ManagementScope::ClearTaskSet => {}
            ManagementScope::Reset => self.nexus.raise(UnitAttention::LogicalUnitReset),
            ManagementScope::ColdReset => self.drop_session(now, CloseReason::ColdReset),
        }
        self.wait_for(now, tasks, None, Then::Managed { token });
    }

    /// The other sessions have carried a function out.
    pub(super) fn others_managed(&mut self, now: Time, id: ManagementId) {
        for pending in &mut self.management {
            if pending.others == Some(id) {
                pending.others = None;
            }
        }
        self.settle_management(now);
    }

    /// The other sessions have not carried a function out, or not all of them for certain.
    pub(super) fn others_not_managed(&mut self, now: Time, id: ManagementId) {
        for pending in self.management.iter_mut().filter(|pending| pending.others == Some(id)) {
            if let Then::Respond { response, .. } = &mut pending.then {
                *response = TaskResponse::Rejected;
            }
        }
        self.others_managed(now, id);
    }

    /// A Logout Request.
    pub(super) fn logout(&mut self, now: Time, header: &Header) {
        let request = *header.bhs.view::<LogoutRequest>();
        let itt = request.itt.get();
        match LogoutReason::from_flags(request.flags) {
            None => self.reject(&header.bhs, RejectReason::InvalidPduField),
            Some(LogoutReason::RemoveForRecovery) => {
                self.respond_to_logout(itt, LogoutResponse::RECOVERY_NOT_SUPPORTED);
            }
            Some(LogoutReason::CloseConnection) if request.cid.get() != self.facts.cid => {
                self.respond_to_logout(itt, LogoutResponse::CID_NOT_FOUND);
            }
            Some(LogoutReason::CloseConnection | LogoutReason::CloseSession) => {
                if self.management.len() >= MANAGEMENT_MAX {
                    return self.reject(&header.bhs, RejectReason::TooManyImmediateCommands);
                }
                let tasks = self.abort_all();
                self.wait_for(now, tasks, None, Then::LoggedOut { itt });
            }
        }
    }
}
