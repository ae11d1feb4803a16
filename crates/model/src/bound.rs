//! How far a search goes: how many servers, writes, faults and changes it has, and which freedom it leaves out.

/// What a search may do. Everything that is counted is counted over a whole history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound {
    /// What the command line calls it.
    pub name: &'static str,
    /// Servers: at most 4.
    pub servers: u8,
    /// Replicas of the extent: the first servers.
    pub replicas: u8,
    /// The second replica is down at the start.
    pub one_down: bool,
    /// And it never comes back.
    pub one_gone: bool,
    /// Writes of clients: at most 3.
    pub writes: u8,
    /// Writes that the owner has in flight at once: at most 2.
    pub in_flight: u8,
    /// Writes go to the first region only.
    pub one_region: bool,
    /// Servers that crash.
    pub crashes: u8,
    /// A crash may undo the owner's own writes that no answer named.
    pub own_loss: bool,
    /// Servers that are marked down.
    pub marks: u8,
    /// Only crashed servers are marked down.
    pub marks_dead_only: bool,
    /// Leases that run out.
    pub expiries: u8,
    /// The directory's last revision.
    pub revisions: u8,
    /// Moves that are prepared.
    pub moves: u8,
    /// Moves replace only replicas that are not up.
    pub rebuilds_only: bool,
    /// Owner switches.
    pub switches: u8,
    /// Servers without a part have an old copy with the content of before the first write.
    pub warm: bool,
    /// Servers that are named no more free their copies.
    pub frees: bool,
    /// They also forget the epoch that they accepted.
    pub forgets: bool,
    /// A gateway may repeat a write that was not answered.
    pub retries: bool,
    /// A transaction to `up` takes time.
    pub slow_up: bool,
    /// Answers to writes and copies are lost too.
    pub lost_answers: bool,
}

impl Bound {
    /// Two replicas on three servers, a write, and nothing else happens.
    pub const QUIET: Self = Self {
        name: "quiet",
        servers: 3,
        replicas: 2,
        one_down: false,
        one_gone: false,
        writes: 1,
        in_flight: 1,
        one_region: false,
        crashes: 0,
        own_loss: false,
        marks: 0,
        marks_dead_only: false,
        expiries: 0,
        revisions: 200,
        moves: 0,
        rebuilds_only: false,
        switches: 0,
        warm: false,
        frees: false,
        forgets: false,
        retries: false,
        slow_up: false,
        lost_answers: false,
    };

    /// Sets what the command line calls `key`.
    ///
    /// # Errors
    /// A sentence, if there is no such key or the value is too large.
    pub fn set(&mut self, key: &str, value: u8) -> Result<(), String> {
        let (place, most): (&mut u8, u8) = match key {
            "servers" => (&mut self.servers, 4),
            "replicas" => (&mut self.replicas, 3),
            "writes" => (&mut self.writes, crate::history::WRITES_MAX),
            "in-flight" => (&mut self.in_flight, 2),
            "crashes" => (&mut self.crashes, 9),
            "marks" => (&mut self.marks, 9),
            "expiries" => (&mut self.expiries, 9),
            "revisions" => (&mut self.revisions, 200),
            "moves" => (&mut self.moves, 9),
            "switches" => (&mut self.switches, 9),
            _ => return self.set_flag(key, value),
        };
        if value > most {
            return Err(format!("{key}={value}: at most {most}"));
        }
        *place = value;
        Ok(())
    }

    /// Whether there is such a group.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        let Self { servers, replicas, one_down, one_gone, .. } = *self;
        if replicas == 0 || servers < replicas {
            return Err(format!("{replicas} replicas on {servers} servers: no such group"));
        }
        if one_down && replicas < 2 {
            return Err(
                "one-down=1: the replica that is down is the second, so there have to be two".to_owned()
            );
        }
        if one_gone && !one_down {
            return Err("one-gone=1: only with one-down=1, for it is that one that stays away".to_owned());
        }
        Ok(())
    }

    fn set_flag(&mut self, key: &str, value: u8) -> Result<(), String> {
        let place = match key {
            "one-down" => &mut self.one_down,
            "one-gone" => &mut self.one_gone,
            "one-region" => &mut self.one_region,
            "own-loss" => &mut self.own_loss,
            "marks-dead-only" => &mut self.marks_dead_only,
            "rebuilds-only" => &mut self.rebuilds_only,
            "warm" => &mut self.warm,
            "frees" => &mut self.frees,
            "forgets" => &mut self.forgets,
            "retries" => &mut self.retries,
            "slow-up" => &mut self.slow_up,
            "lost-answers" => &mut self.lost_answers,
            _ => return Err(format!("{key}: a bound has no such key")),
        };
        *place = match value {
            0 => false,
            1 => true,
            _ => return Err(format!("{key}={value}: 0 or 1")),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(settings: &[(&str, u8)]) -> Result<Bound, String> {
        let mut bound = Bound::QUIET;
        for (key, value) in settings {
            bound.set(key, *value)?;
        }
        bound.check().map(|()| bound)
    }

    #[test]
    fn a_bound_is_set_in_any_order_and_checked_as_a_whole() {
        let bound = with(&[("replicas", 3), ("one-gone", 1), ("one-down", 1), ("servers", 4)]).unwrap();
        assert!(bound.servers == 4 && bound.replicas == 3 && bound.one_down && bound.one_gone);
        let alone = with(&[("servers", 1), ("replicas", 1)]).unwrap();
        assert_eq!((alone.servers, alone.replicas), (1, 1));
    }

    #[test]
    fn what_makes_no_bound_is_refused_with_the_reason() {
        let problem = |settings: &[(&str, u8)]| with(settings).unwrap_err();
        assert_eq!(problem(&[("servers", 1)]), "2 replicas on 1 servers: no such group");
        assert_eq!(problem(&[("writes", 4)]), "writes=4: at most 3");
        assert_eq!(problem(&[("warm", 2)]), "warm=2: 0 or 1");
        assert_eq!(problem(&[("speed", 1)]), "speed: a bound has no such key");
        assert!(problem(&[("one-gone", 1)]).contains("only with one-down=1"));
        assert!(problem(&[("one-down", 1), ("replicas", 1)]).contains("there have to be two"));
    }
}
