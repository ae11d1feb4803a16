//! The keys of a group.

use super::certificate::Fingerprint;
use super::moves::MoveId;
use super::names::{NameError, check_group_name, check_volume_name};
use crate::directory::Key;
use evenkeel_types::{ExtentId, ServerId, VolumeId};
use std::fmt;

/// Makes and reads the keys of one group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keyspace {
    group: String,
    prefix: String,
}

/// What an id is taken for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CounterName {
    /// Server ids.
    Server,
    /// Volume ids.
    Volume,
}

/// A task that one elected server does for the group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Decides the unhurried moves.
    Planner,
}

/// What a route entry is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RouteKey {
    /// One extent, by its index.
    Extent(u32),
    /// A run of 64 extents, by its index.
    Run(u32),
}

/// A key that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ParsedKey<'a> {
    /// `format`.
    Format,
    /// `member/<server>`.
    Member(ServerId),
    /// `server/<server>`.
    Server(ServerId),
    /// `live/<server>`.
    Live(ServerId),
    /// `name/<name>`.
    Name(&'a str),
    /// `volume/<volume>`.
    Volume(VolumeId),
    /// `access/<volume>`.
    Access(VolumeId),
    /// `route/<volume>/e<extent>` and `route/<volume>/r<run>`.
    Route(VolumeId, RouteKey),
    /// `place/<volume>`.
    NextPlace(VolumeId),
    /// `placed/<volume>/<server>`.
    Placed(VolumeId, ServerId),
    /// `tombstone/<volume>`.
    Tombstone(VolumeId),
    /// `lead/<role>`.
    Lead(Role),
    /// `counter/<what>`.
    Counter(CounterName),
    /// `move/<move>`.
    Move(MoveId),
    /// `certificate/<fingerprint>`.
    Certificate(Fingerprint),
    /// `token/<hash>`.
    JoinToken(Fingerprint),
    /// Anything else.
    Unknown,
}

impl CounterName {
    const ALL: [(Self, &'static str); 2] = [(Self::Server, "server"), (Self::Volume, "volume")];
}

impl Role {
    const ALL: [(Self, &'static str); 1] = [(Self::Planner, "planner")];
}

impl fmt::Display for CounterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(&Self::ALL, *self))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(&Self::ALL, *self))
    }
}

impl Keyspace {
    /// The keys of the group of this name.
    ///
    /// # Errors
    /// If the name cannot be a group's.
    pub fn new(group: &str) -> Result<Self, NameError> {
        check_group_name(group)?;
        Ok(Self { group: group.to_owned(), prefix: format!("/evenkeel/{group}/") })
    }

    /// The group's name.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// What all keys of the group begin with; a view lists it and watches it.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// `format`.
    #[must_use]
    pub fn format(&self) -> Key {
        self.key(format_args!("format"))
    }

    /// `member/<server>`.
    #[must_use]
    pub fn member(&self, server: ServerId) -> Key {
        self.key(format_args!("member/{:08x}", server.0))
    }

    /// `server/<server>`.
    #[must_use]
    pub fn server(&self, server: ServerId) -> Key {
        self.key(format_args!("server/{:08x}", server.0))
    }

    /// `live/<server>`.
    #[must_use]
    pub fn live(&self, server: ServerId) -> Key {
        self.key(format_args!("live/{:08x}", server.0))
    }

    /// `name/<name>`; the name must be one that a volume can have.
    #[must_use]
    pub fn name(&self, name: &str) -> Key {
        assert!(check_volume_name(name).is_ok(), "names are checked before keys are made of them");
        self.key(format_args!("name/{name}"))
    }

    /// `volume/<volume>`.
    #[must_use]
    pub fn volume(&self, volume: VolumeId) -> Key {
        self.key(format_args!("volume/{volume}"))
    }

    /// `access/<volume>`.
    #[must_use]
    pub fn access(&self, volume: VolumeId) -> Key {
        self.key(format_args!("access/{volume}"))
    }

    /// `route/<volume>/e<extent>`.
    #[must_use]
    pub fn route(&self, extent: ExtentId) -> Key {
        self.key(format_args!("route/{}/e{:08x}", extent.volume, extent.index))
    }

    /// `route/<volume>/r<run>`.
    #[must_use]
    pub fn run(&self, volume: VolumeId, run: u32) -> Key {
        self.key(format_args!("route/{volume}/r{run:08x}"))
    }

    /// `place/<volume>`.
    #[must_use]
    pub fn next_place(&self, volume: VolumeId) -> Key {
        self.key(format_args!("place/{volume}"))
    }

    /// `placed/<volume>/<server>`.
    #[must_use]
    pub fn placed(&self, volume: VolumeId, server: ServerId) -> Key {
        self.key(format_args!("placed/{volume}/{:08x}", server.0))
    }

    /// What the keys of all confirmations of a volume begin with.
    #[must_use]
    pub fn all_placed(&self, volume: VolumeId) -> String {
        format!("{}placed/{volume}/", self.prefix)
    }

    /// What the keys of all route entries of a volume begin with.
    #[must_use]
    pub fn routes(&self, volume: VolumeId) -> String {
        format!("{}route/{volume}/", self.prefix)
    }

    /// `tombstone/<volume>`.
    #[must_use]
    pub fn tombstone(&self, volume: VolumeId) -> Key {
        self.key(format_args!("tombstone/{volume}"))
    }

    /// `lead/<role>`.
    #[must_use]
    pub fn lead(&self, role: Role) -> Key {
        self.key(format_args!("lead/{role}"))
    }

    /// `counter/<what>`.
    #[must_use]
    pub fn counter(&self, what: CounterName) -> Key {
        self.key(format_args!("counter/{what}"))
    }

    /// `move/<move>`.
    #[must_use]
    pub fn moved(&self, id: MoveId) -> Key {
        self.key(format_args!("move/{:016x}", id.0))
    }

    /// `certificate/<fingerprint>`.
    #[must_use]
    pub fn certificate(&self, certificate: Fingerprint) -> Key {
        self.key(format_args!("certificate/{certificate}"))
    }

    /// `token/<hash>`.
    #[must_use]
    pub fn join_token(&self, token: Fingerprint) -> Key {
        self.key(format_args!("token/{token}"))
    }

    /// What the keys of all move records begin with.
    #[must_use]
    pub fn moves(&self) -> String {
        format!("{}move/", self.prefix)
    }

    /// What a key is about. Only what the methods above make is recognised: one key, one spelling.
    #[must_use]
    pub fn parse<'a>(&self, key: &'a Key) -> ParsedKey<'a> {
        let parsed = key.as_str().strip_prefix(&self.prefix).and_then(|rest| {
            let (kind, rest) = rest.split_once('/').unwrap_or((rest, ""));
            parse_kind(kind, rest)
        });
        parsed.unwrap_or(ParsedKey::Unknown)
    }

    fn key(&self, rest: fmt::Arguments<'_>) -> Key {
        format!("{}{rest}", self.prefix).into()
    }
}

fn parse_kind<'a>(kind: &str, rest: &'a str) -> Option<ParsedKey<'a>> {
    let server = || hex32(rest).map(ServerId);
    let volume = || hex64(rest).map(VolumeId);
    Some(match kind {
        "format" if rest.is_empty() => ParsedKey::Format,
        "member" => ParsedKey::Member(server()?),
        "server" => ParsedKey::Server(server()?),
        "live" => ParsedKey::Live(server()?),
        "name" => ParsedKey::Name(check_volume_name(rest).is_ok().then_some(rest)?),
        "volume" => ParsedKey::Volume(volume()?),
        "access" => ParsedKey::Access(volume()?),
        "place" => ParsedKey::NextPlace(volume()?),
        "placed" => {
            let (volume, server) = rest.split_once('/')?;
            ParsedKey::Placed(VolumeId(hex64(volume)?), ServerId(hex32(server)?))
        }
        "tombstone" => ParsedKey::Tombstone(volume()?),
        "lead" => ParsedKey::Lead(named(&Role::ALL, rest)?),
        "counter" => ParsedKey::Counter(named(&CounterName::ALL, rest)?),
        "move" => ParsedKey::Move(MoveId(hex64(rest)?)),
        "certificate" => ParsedKey::Certificate(Fingerprint::parse(rest)?),
        "token" => ParsedKey::JoinToken(Fingerprint::parse(rest)?),
        "route" => {
            let (volume, at) = rest.split_once('/')?;
            let at = match at.split_at_checked(1)? {
                ("e", index) => RouteKey::Extent(hex32(index)?),
                ("r", index) => RouteKey::Run(hex32(index)?),
                _ => return None,
            };
            ParsedKey::Route(VolumeId(hex64(volume)?), at)
        }
        _ => return None,
    })
}

fn name_of<T: Copy + PartialEq>(names: &[(T, &'static str)], value: T) -> &'static str {
    names
        .iter()
        .find(|(named, _)| *named == value)
        .map(|(_, name)| *name)
        .expect("the table names every value")
}

fn named<T: Copy>(names: &[(T, &'static str)], text: &str) -> Option<T> {
    names.iter().find(|(_, name)| *name == text).map(|(value, _)| *value)
}

fn hex32(text: &str) -> Option<u32> {
    (text.len() == 8 && is_hex(text)).then(|| u32::from_str_radix(text, 16).ok())?
}

fn hex64(text: &str) -> Option<u64> {
    (text.len() == 16 && is_hex(text)).then(|| u64::from_str_radix(text, 16).ok())?
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_reads_back_as_what_it_was_made_for() {
        let keys = Keyspace::new("lab-1").unwrap();
        let (server, volume) = (ServerId(0xab), VolumeId(0xcd));
        let extent = ExtentId { volume, index: 0xef };
        let pairs = [
            (keys.format(), ParsedKey::Format),
            (keys.member(server), ParsedKey::Member(server)),
            (keys.server(server), ParsedKey::Server(server)),
            (keys.live(server), ParsedKey::Live(server)),
            (keys.name("v1"), ParsedKey::Name("v1")),
            (keys.volume(volume), ParsedKey::Volume(volume)),
            (keys.access(volume), ParsedKey::Access(volume)),
            (keys.route(extent), ParsedKey::Route(volume, RouteKey::Extent(0xef))),
            (keys.tombstone(volume), ParsedKey::Tombstone(volume)),
            (keys.lead(Role::Planner), ParsedKey::Lead(Role::Planner)),
            (keys.counter(CounterName::Volume), ParsedKey::Counter(CounterName::Volume)),
            (keys.moved(MoveId(7)), ParsedKey::Move(MoveId(7))),
            (keys.certificate(Fingerprint([0xa7; 32])), ParsedKey::Certificate(Fingerprint([0xa7; 32]))),
            (keys.join_token(Fingerprint([0xa8; 32])), ParsedKey::JoinToken(Fingerprint([0xa8; 32]))),
            (keys.run(volume, 16), ParsedKey::Route(volume, RouteKey::Run(16))),
            (keys.next_place(volume), ParsedKey::NextPlace(volume)),
            (keys.placed(volume, server), ParsedKey::Placed(volume, server)),
        ];
        for (key, parsed) in &pairs {
            assert_eq!(keys.parse(key), *parsed);
        }
        assert_eq!(keys.route(extent).as_str(), "/evenkeel/lab-1/route/00000000000000cd/e000000ef");
    }

    #[test]
    fn other_spellings_and_other_groups_are_unknown() {
        let keys = Keyspace::new("g").unwrap();
        for text in [
            "",
            "/evenkeel/g/",
            "/evenkeel/g/member/AB",
            "/evenkeel/g/member/000000AB",
            "/evenkeel/g/member/+0000001",
            "/evenkeel/g/member/00000001/",
            "/evenkeel/g/volume/00000001",
            "/evenkeel/g/route/0000000000000001/x00000001",
            "/evenkeel/g/route/0000000000000001/",
            "/evenkeel/g/placed/0000000000000001",
            "/evenkeel/g/placed/0000000000000001/1",
            "/evenkeel/g/name/A",
            "/evenkeel/h/format",
            "/evenkeel/g/format/x",
        ] {
            assert_eq!(keys.parse(&Key::from(text)), ParsedKey::Unknown, "{text}");
        }
    }
}
