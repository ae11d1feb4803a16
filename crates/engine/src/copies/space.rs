//! Space at the copies: a write is sequenced only when no copy can refuse it for want of space.

use super::LinkState;
use crate::config::SPACE_REFUSED_FOR;
use crate::core::Core;
use crate::extent::Extent;
use crate::owner::Reign;
use evenkeel_peer::{Message, Refusal, Reserve, Reserved};
use evenkeel_types::geometry::REGIONS_PER_EXTENT;
use evenkeel_types::{ExtentId, Region, Regions, ServerId};

/// Regions that are asked for at once, where a write needs one: who fills an extent from its start waits once for each
/// mebibyte.
const REGIONS_AHEAD: usize = 16;

/// Whether the copies have space for a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SpaceThere {
    /// They have.
    Enough,
    /// One has been asked.
    Asked,
    /// One has none.
    None,
}

impl Reign {
    /// Whether all copies that take a write to these regions have space for it; asks those of which it is not known.
    pub(crate) fn space_there(&mut self, core: &mut Core, extent: ExtentId, regions: Regions) -> SpaceThere {
        let epoch = self.epoch;
        let mut answer = SpaceThere::Enough;
        for link in &mut self.links {
            let LinkState::Attached(attached) = &mut link.state else {
                continue;
            };
            let missing = attached.current.intersection(regions).minus(attached.space);
            if missing.is_empty() {
                continue;
            }
            attached.space_refused.take_if(|(_, until)| *until <= core.now);
            attached.space_short_until.take_if(|until| *until <= core.now);
            if attached.space_refused.is_some_and(|(refused, _)| !refused.intersection(missing).is_empty()) {
                return SpaceThere::None;
            }
            answer = SpaceThere::Asked;
            if attached.space_asked.is_none() {
                let more = attached.space_short_until.is_none();
                let asked = neighbours(missing, attached.space, if more { REGIONS_AHEAD } else { 1 });
                attached.space_asked = Some((asked, more));
                let attachment = attached.attachment;
                let message = Reserve { extent, epoch, attachment, regions: asked };
                core.send(link.server, Message::Reserve(message));
            }
        }
        answer
    }
}

/// The regions asked for: from the first that is missing to the last, and some more behind it.
fn neighbours(missing: Regions, have: Regions, ahead: usize) -> Regions {
    let (first, last) = (missing.0.trailing_zeros() as usize, 63 - missing.0.leading_zeros() as usize);
    let end = (last + 1).max(first + ahead).min(REGIONS_PER_EXTENT);
    let range = Region::all().filter(|region| (first..end).contains(&region.index()));
    range.fold(Regions::NONE, Regions::with).minus(have)
}

impl Extent {
    /// A copy has set space aside, or has none.
    pub(crate) fn handle_reserved_there(&mut self, core: &mut Core, from: ServerId, answer: &Reserved) {
        let Some(attached) = self
            .reign
            .as_mut()
            .and_then(|reign| reign.link_mut(from))
            .and_then(|link| link.attached_mut())
            .filter(|attached| attached.attachment == answer.attachment)
        else {
            return;
        };
        let Some((asked, more)) = attached.space_asked.take() else {
            return;
        };
        let until = core.now + SPACE_REFUSED_FOR;
        match answer.refusal {
            None => attached.space = attached.space.union(asked),
            Some(Refusal::NoSpace) if more => attached.space_short_until = Some(until),
            Some(Refusal::NoSpace) => attached.space_refused = Some((asked, until)),
            Some(refusal) => {
                self.handle_link_refused(core, from, answer.attachment, refusal);
                return;
            }
        }
        self.unblock(core);
    }
}
