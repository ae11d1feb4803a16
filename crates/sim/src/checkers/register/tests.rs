use super::*;

const AT: u64 = 5;

/// A history of one sector; reads have numbers from 90 on.
struct History(Registers);

impl History {
    fn new() -> Self {
        Self(Registers::default())
    }

    fn begin(mut self, op: u32) -> Self {
        self.0.begin(op, [(AT, Effect::Set(op))]);
        self
    }

    fn end(mut self, op: u32, end: End) -> Self {
        self.0.end(op, [(AT, end)]).unwrap();
        self
    }

    fn done(self, op: u32) -> Self {
        self.end(op, End::Done)
    }

    fn fails(mut self, op: u32, end: End) {
        self.0.end(op, [(AT, end)]).unwrap_err();
    }

    fn write(self, op: u32) -> Self {
        self.begin(op).done(op)
    }

    fn open(mut self, op: u32) -> Self {
        self.0.begin_open(op, [AT]);
        self
    }

    fn exchange(&mut self, op: u32, expected: Tag) -> Result<(), Violation> {
        self.0.amounts_to(op, [(AT, Effect::Exchange { expected, new: op })])?;
        self.0.end(op, [(AT, End::Done)])
    }

    fn see(&mut self, op: u32, tag: Tag, equal: bool) -> Result<(), Violation> {
        self.0.end_read(op, [(AT, Some(Effect::See { tag, equal }))])
    }

    fn sees(mut self, op: u32, tag: Tag) -> Self {
        self.see(op, tag, true).unwrap();
        self
    }

    fn cannot_see(mut self, op: u32, tag: Tag) {
        self.see(op, tag, true).unwrap_err();
    }

    fn read(self, op: u32, tag: Tag) -> Self {
        self.open(op).sees(op, tag)
    }

    fn cannot_read(self, op: u32, tag: Tag) {
        self.open(op).cannot_see(op, tag);
    }

    fn lose(mut self, op: u32, deadline: Time) -> Self {
        self.0.lose(op, [AT], deadline);
        self
    }

    fn expire(mut self, now: Time) -> Self {
        self.0.expire(now).unwrap();
        self
    }
}

#[test]
fn an_acknowledged_write_must_be_seen() {
    History::new().write(1).read(90, 1).cannot_read(91, 0);
}

#[test]
fn a_write_under_way_may_be_seen_or_not_but_not_seen_and_then_not() {
    History::new().write(1).begin(2).read(90, 1).read(91, 2).cannot_read(92, 1);
}

#[test]
fn a_read_may_see_what_was_there_at_any_moment_while_it_was_open() {
    History::new().write(1).open(90).write(2).write(3).sees(90, 2).read(91, 3);
    History::new().write(1).open(90).write(2).write(3).sees(90, 1);
    History::new().write(1).write(2).open(90).write(3).cannot_see(90, 1);
}

#[test]
fn a_write_that_takes_effect_twice_is_noticed() {
    History::new().begin(1).read(90, 1).write(2).read(91, 2).cannot_read(92, 1);
}

#[test]
fn a_lost_write_happens_once_or_never_until_its_deadline() {
    let lost = || History::new().write(1).begin(2).lose(2, Time(100));
    lost().read(90, 1).read(91, 2).cannot_read(92, 1);
    lost().read(90, 1).expire(Time(100)).read(91, 2).cannot_read(92, 1);
    lost().expire(Time(100)).read(91, 1).cannot_read(92, 2);
    lost().write(3).read(90, 2).read(91, 2).cannot_read(92, 3);
}

#[test]
fn a_refused_write_must_never_be_seen() {
    History::new().write(1).begin(2).end(2, End::Never).cannot_read(90, 2);
    History::new().write(1).begin(2).read(90, 2).fails(2, End::Never);
}

#[test]
fn an_exchange_succeeds_only_on_what_it_expected() {
    let mut history = History::new().write(1).open(2);
    history.exchange(2, 1).unwrap();
    history.cannot_read(90, 1);
    History::new().write(1).open(2).exchange(2, 7).unwrap_err();
    let mut history = History::new().write(1).begin(3).open(2);
    history.exchange(2, 3).unwrap();
    history.done(3).read(90, 2);
}

#[test]
fn a_miscompare_is_wrong_where_nothing_else_can_have_been() {
    History::new().write(1).open(2).see(2, 1, false).unwrap_err();
    let mut history = History::new().write(1).open(2).begin(3);
    history.see(2, 1, false).unwrap();
    history.done(3).read(90, 3);
}

#[test]
fn two_reads_cannot_disagree_on_the_order_of_two_writes() {
    History::new().begin(1).begin(2).read(90, 1).read(91, 2).done(1).done(2).cannot_read(92, 1);
}

#[test]
fn an_open_operation_that_saw_nothing_leaves_no_trace() {
    let mut history = History::new().write(1).open(90).write(2);
    history.0.end_read(90, [(AT, None)]).unwrap();
    history.cannot_read(91, 1);
}
