//! Tasks: the commands of a session that are not answered.

use super::action::TaskId;
use super::config::TASKS_MAX;
use super::data_out::Collected;
use evenkeel_scsi::{BlockCommand, DataOutCommand, Response};
use evenkeel_types::Time;

/// How far a command has come.
#[derive(Debug)]
pub(super) enum Step {
    /// It collects Data-Out.
    Collecting(DataOutCommand),
    /// It waits for room for the data that its operations read.
    Waiting(BlockCommand),
    /// Its operations are carried out in order; `current` is the one that is under way.
    Executing { command: BlockCommand, current: usize },
    /// It is answered as soon as the data that its initiator is sending has ended.
    Ready(Response),
}

/// A command.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) itt: u32,
    pub(super) lun: u64,
    /// Takes a place in the CmdSN window.
    pub(super) in_window: bool,
    /// Bytes of Data-In that the initiator expects at most.
    pub(super) expected_in: u32,
    /// Bytes of Data-Out that the initiator announced.
    pub(super) expected_out: u32,
    /// Bytes of Data-Out that the CDB asks for.
    pub(super) wanted_out: u32,
    pub(super) out: Collected,
    pub(super) step: Step,
    /// When its last PDU was here, and from its first operation on, all that they need.
    pub(super) arrived: Time,
    /// Its initiator wants no answer any more.
    pub(super) aborted: bool,
    /// Data-Out buffer bytes set aside for it; none yet if it waits for room.
    pub(super) out_room: usize,
    /// Read bytes set aside for it.
    pub(super) in_room: usize,
}

impl Task {
    /// A PDU of the task is here with its data.
    pub(super) fn pdu_arrived(&mut self, now: Time) {
        self.out.arrived();
        self.arrived = now;
    }
}

/// The tasks of a session, by a number that is not reused.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    slots: Vec<Option<(TaskId, Task)>>,
    /// Initiator task tags by slot, side by side so that a search is quick; a free slot has `None`.
    tags: Vec<Option<u32>>,
    free: Vec<usize>,
    generation: u64,
    len: usize,
}

const SLOT_BITS: u32 = 16;
const _: () = assert!(TASKS_MAX < 1 << SLOT_BITS);

const fn slot_of(id: TaskId) -> usize {
    (id.0 & ((1 << SLOT_BITS) - 1)) as usize
}

impl Tasks {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_full(&self) -> bool {
        self.len >= TASKS_MAX
    }

    /// Adds a task; there must be room for it.
    pub(super) fn insert(&mut self, task: Task) -> TaskId {
        assert!(!self.is_full(), "the number of tasks is bounded");
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.tags.push(None);
            self.slots.len() - 1
        });
        self.generation += 1;
        let id = TaskId(self.generation << SLOT_BITS | slot as u64);
        self.tags[slot] = Some(task.itt);
        self.slots[slot] = Some((id, task));
        self.len += 1;
        id
    }

    pub(super) fn get(&self, id: TaskId) -> Option<&Task> {
        let (found, task) = self.slots.get(slot_of(id))?.as_ref()?;
        (*found == id).then_some(task)
    }

    pub(super) fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        let (found, task) = self.slots.get_mut(slot_of(id))?.as_mut()?;
        (*found == id).then_some(task)
    }

    pub(super) fn remove(&mut self, id: TaskId) -> Option<Task> {
        self.get(id)?;
        let slot = slot_of(id);
        let (_, task) = self.slots[slot].take()?;
        self.tags[slot] = None;
        self.free.push(slot);
        self.len -= 1;
        Some(task)
    }

    /// The task with this initiator task tag that was not aborted.
    pub(super) fn by_tag(&self, itt: u32) -> Option<TaskId> {
        self.tags.iter().enumerate().filter(|(_, tag)| **tag == Some(itt)).find_map(|(slot, _)| {
            let (id, task) = self.slots[slot].as_ref()?;
            (!task.aborted).then_some(*id)
        })
    }

    /// All tasks, in the order in which they came.
    pub(super) fn ids(&self) -> Vec<TaskId> {
        let mut ids: Vec<TaskId> = self.slots.iter().flatten().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// Tasks whose operations are under way.
    pub(super) fn executing(&self) -> usize {
        let executing = |task: &Task| matches!(task.step, Step::Executing { .. });
        self.slots.iter().flatten().filter(|(_, task)| executing(task)).count()
    }

    /// A target transfer tag for the n-th R2T of a task: never the reserved tag, and not soon used again.
    pub(super) const fn transfer_tag(id: TaskId, n: u32) -> u32 {
        let slot = (id.0 as u32) & ((1 << SLOT_BITS) - 1);
        let count = ((id.0 >> SLOT_BITS) as u32).wrapping_mul(31).wrapping_add(n);
        slot << 16 | count & 0xffff
    }
}
