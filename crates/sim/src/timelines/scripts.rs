//! The scripts. A owns the extent, B has the other copy, C has none; w1 and w2 are writes to its first block. The numbers
//! are those of the timelines that the rules were found by.

use super::stage::play;
use evenkeel_meta::MemberState::{Down, Syncing, Up};
use evenkeel_peer::Message;

#[test]
fn timeline_02_of_two_that_suspect_each_other_one_goes() {
    play(2, |stage| {
        let (a, b, c) = (stage.a, stage.b, stage.c);
        stage.crash(c);
        stage.until_state(c, Down);
        stage.write(a, 0);
        // Neither hears of the other's mark before it makes its own.
        stage.deafen(a, 6000);
        stage.deafen(b, 6000);
        stage.cut(a, b);
        stage.pass(5000);
        let up = [a, b].iter().filter(|server| stage.state_of(**server) == Up).count();
        assert_eq!(up, 1, "one of the two, and one only, goes on");
        stage.mend(a, b);
        stage.until_state(a, Up);
        stage.until_state(b, Up);
        stage.read(a, 0);
    });
}

#[test]
fn timeline_03_who_was_not_the_last_up_waits_for_the_last_one() {
    play(2, |stage| {
        let (a, b, c) = (stage.a, stage.b, stage.c);
        stage.crash(b);
        stage.until_state(b, Down);
        stage.write(c, 0);
        stage.crash(a);
        stage.until_state(a, Down);
        stage.start(b);
        stage.begin_read(c, 0);
        stage.pass(6000);
        assert_eq!(stage.state_of(b), Syncing, "it has nobody to catch up with");
        assert!(stage.is_open(c), "nobody serves without w1");
        stage.start(a);
        stage.until("the read sees w1", |stage| !stage.is_open(c));
        stage.until_state(b, Up);
    });
}

#[test]
fn timeline_06_an_old_write_that_lands_behind_a_copy_is_refused() {
    play(2, |stage| {
        let (a, b) = (stage.a, stage.b);
        stage.write(a, 0);
        stage.hold(|_, _, message| matches!(message, Message::Write(_)));
        stage.begin_write(a, 0);
        stage.until("w1 is on its way", |stage| !stage.world.script.messages.is_empty());
        stage.world.break_connection(a, b);
        // A attaches B anew, and the copy carries w1.
        stage.until("w1 is acknowledged", |stage| !stage.is_open(a));
        stage.hold_no_more();
        stage.write(a, 0);
        assert!(stage.deliver_held() > 0);
        stage.pass(500);
        // What A has, B has: it is asked when A is gone.
        stage.crash(a);
        stage.until_state(a, Down);
        stage.read(b, 0);
    });
}

#[test]
fn timeline_08_a_propose_that_comes_behind_a_mark_is_refused() {
    play(2, |stage| {
        let (a, b, c) = (stage.a, stage.b, stage.c);
        stage.write(a, 0);
        stage.move_up_to_propose(c);
        stage.leave_in_the_dark(a, 9000);
        stage.cut(a, b);
        stage.cut(a, c);
        stage.until_state(a, Down);
        // B owns, and acknowledges w1 without C.
        stage.write(b, 0);
        assert!(!stage.let_propose(false), "it was made in an epoch that is over");
        stage.read(b, 0);
        stage.mend(a, b);
        stage.mend(a, c);
        stage.until_state(a, Up);
        stage.read(c, 0);
    });
}

#[test]
fn timeline_09_a_propose_without_an_answer_is_not_told_by_reading() {
    play(2, |stage| {
        let (a, b, c) = (stage.a, stage.b, stage.c);
        stage.write(a, 0);
        stage.move_up_to_propose(c);
        stage.lose_the_answer();
        stage.part(a, c);
        stage.begin_write(b, 0);
        stage.pass(450);
        // A does not know. Whatever the directory makes of it, w1 is there.
        assert!(stage.is_open(b), "nothing is acknowledged without C, which may own by now");
        stage.let_propose(false);
        stage.mend(a, c);
        stage.until("w1 is acknowledged", |stage| !stage.is_open(b));
        stage.read(c, 0);
        stage.pass(3000);
        stage.write(b, 0);
        stage.read(a, 0);
    });
}

#[test]
fn timeline_10_a_target_frees_nothing_on_a_view_older_than_the_intent() {
    play(2, |stage| {
        let (a, c) = (stage.a, stage.c);
        stage.write(a, 0);
        // C knows nothing of the move of which it is the target, and looks through its store meanwhile.
        stage.deafen(c, 9000);
        stage.move_up_to_propose(c);
        // With the connection goes what C knows of being attached.
        stage.part(a, c);
        stage.pass(1200);
        stage.mend(a, c);
        stage.pass(1500);
        assert!(stage.let_propose(true), "all is at C");
        stage.until("C owns", |stage| stage.owner() == stage.c);
        stage.read(a, 0);
    });
}

#[test]
fn timeline_12_who_is_back_before_anybody_noticed_has_all_that_was_acknowledged() {
    play(2, |stage| {
        let (a, b) = (stage.a, stage.b);
        for block in 0..8 {
            stage.write(b, block);
        }
        stage.crash(a);
        stage.start(a);
        assert_eq!(stage.state_of(a), Up);
        assert_eq!(stage.owner(), a);
        for block in 0..8 {
            stage.read(b, block);
        }
    });
}

#[test]
fn timeline_18_what_a_gateway_was_asked_before_it_stood_still_is_not_carried_out_when_it_wakes() {
    play(1, |stage| {
        let (a, zombie) = (stage.a, stage.b);
        stage.write(zombie, 0);
        // w1 waits at its gateway, which does not reach the owner; then the gateway stands still.
        stage.cut(a, zombie);
        stage.pass(2500);
        stage.begin_write(zombie, 0);
        stage.pass(50);
        stage.stand_still(zombie, 8000);
        stage.pass(5200);
        // Its host has gone on through another one: w1 again, and then w2.
        stage.until("w1 is acknowledged", |stage| !stage.is_open(zombie));
        stage.write(a, 0);
        stage.mend(a, zombie);
        stage.pass(6000);
        stage.read(a, 0);
    });
}

#[test]
fn timeline_21_a_target_that_starts_anew_before_the_propose_keeps_its_copy() {
    play(2, |stage| {
        let (a, c) = (stage.a, stage.c);
        stage.write(a, 0);
        stage.move_up_to_propose(c);
        stage.crash(c);
        stage.start(c);
        // Its view is of before the Propose.
        stage.deafen(c, 1500);
        stage.let_propose(true);
        stage.pass(3000);
        stage.read(a, 0);
        stage.write(c, 0);
        stage.read(a, 0);
    });
}
