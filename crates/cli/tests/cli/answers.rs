//! One answer of each type, with every optional field present.

use evenkeel_api::{
    CertificateRow, CertificatesTable, Finding, Health, JoinToken, LoadTable, MoveRow, MoveState, MovesTable,
    ResourceLoad, RouteRow, RouteTable, ServerLoadRow, ServerRow, ServerState, ServersTable, SessionRow,
    SessionsTable, VerifyReport, VersionInfo, Volume, VolumesTable,
};

pub(crate) fn volume() -> Volume {
    Volume {
        name: "v1".into(),
        id: 7,
        iqn: "iqn.2026-01.io.evenkeel:g:v1".into(),
        size_bytes: 1 << 30,
        replicas: 1,
        allow: vec!["any".into()],
        portals: vec!["127.0.0.1:3260".into(), "127.0.0.1:3261".into()],
        allocated_bytes: 3 << 19,
        notice: None,
    }
}

pub(crate) fn volumes() -> VolumesTable {
    let closed = Volume { name: "v2".into(), id: 8, allow: vec![], ..volume() };
    VolumesTable { volumes: vec![volume(), closed] }
}

pub(crate) fn servers() -> ServersTable {
    let row = ServerRow {
        server: "s1".into(),
        state: ServerState::Up,
        draining: false,
        routed: None,
        drained: false,
        incarnation: 3,
        portal: "127.0.0.1:3260".into(),
        peer: "127.0.0.1:7260".into(),
        allocated_bytes: 1 << 30,
        total_bytes: 8 << 30,
        sessions: 2,
        connected: vec!["s2".into()],
        disk: "uring direct".into(),
        reason: None,
        waiting_for: None,
        counters: None,
    };
    let alone =
        ServerRow { server: "s2".into(), state: ServerState::Syncing, connected: vec![], ..row.clone() };
    let why = "store '/s3' failed".to_owned();
    let stopped =
        ServerRow { server: "s3".into(), state: ServerState::Stopped, reason: Some(why), ..alone.clone() };
    ServersTable { group: "g".into(), servers: vec![row, alone, stopped] }
}

pub(crate) fn load() -> LoadTable {
    let resource =
        |name: &str| ResourceLoad { name: name.into(), front_end: 0.05, extents: 0.5, copies: 0.02 };
    let row = ServerLoadRow {
        server: "s1".into(),
        age_ms: Some(400),
        stale: false,
        storage_load: 0.9,
        server_load: 0.3,
        load: 0.85,
        load_slow: 0.7,
        state: "disproportionate".into(),
        resources: ["cpu", "net_in", "net_out", "disk_read", "disk_write"].map(resource).into(),
        random_reads: 1234.0,
        sequential_reads: 2.5,
        random_writes: 0.0,
        sequential_writes: 10.0,
        allocated_bytes: 1 << 30,
        total_bytes: 8 << 30,
        moves_out: 1,
        moves_in: 0,
    };
    let stale =
        ServerLoadRow { server: "s2".into(), age_ms: Some(5100), stale: true, moves_out: 0, ..row.clone() };
    let unseen = ServerLoadRow { server: "s3".into(), age_ms: None, resources: vec![], ..stale.clone() };
    LoadTable {
        seen_by: "s1".into(),
        mean_load: 0.4,
        imbalance: Some(2.125),
        servers: vec![row, stale, unseen],
    }
}

pub(crate) fn route() -> RouteTable {
    let row = |extent, owner: &str, epoch| RouteRow {
        extent,
        epoch,
        owner: owner.into(),
        replicas: vec![owner.into()],
        moved: false,
        moving_to: None,
    };
    let mut moving = row(2, "s2", 9);
    (moving.moved, moving.moving_to) = (true, Some("s3".into()));
    let extents = vec![moving, row(3, "s1", 5), row(4, "s1", 5), row(5, "s1", 6)];
    RouteTable { volume: "v1".into(), seen_by: "s2".into(), revision: 44, extents }
}

pub(crate) fn all_well() -> VerifyReport {
    VerifyReport { extents: 256, records: 1, findings: vec![] }
}

pub(crate) fn findings() -> VerifyReport {
    let finding = Finding {
        kind: "orphan-record".into(),
        server: "s2".into(),
        detail: "extent 3 of volume v1 is not routed here".into(),
    };
    VerifyReport { findings: vec![finding], ..all_well() }
}

pub(crate) fn move_in(state: MoveState) -> MoveRow {
    MoveRow {
        id: 12,
        volume: "v1".into(),
        extent: 3,
        from: "s1".into(),
        to: "s2".into(),
        state,
        reason: "s1 is overloaded".into(),
        explanation: vec!["load 0.91 above 0.80 for 3 s".into()],
        started_ms: 1_795_404_909_000,
        ended_ms: (state != MoveState::Running).then_some(1_795_404_913_200),
        regions_current: 23,
        regions_sent: 25,
    }
}

pub(crate) fn moves() -> MovesTable {
    MovesTable {
        moves: vec![move_in(MoveState::Running), move_in(MoveState::Done)],
        writes_mirrored: 1,
        writes_waited: 2,
        writes_not_yet_copied: 3,
        pinned_over_cutover: 4,
        answered_moved: 5,
        regions_sent: 6,
        bytes_sent: 7 << 20,
        completed: 8,
        aborted: 9,
    }
}

pub(crate) fn sessions() -> SessionsTable {
    let row = SessionRow {
        server: "s1".into(),
        initiator: "iqn.2004-10.com.example:host".into(),
        address: "127.0.0.1:50000".into(),
        volume: Some("v1".into()),
        tsih: 1,
        commands: 100,
        read_bytes: 4096,
        written_bytes: 8192,
        digests: "header+data".into(),
    };
    let discovery = SessionRow { volume: None, ..row.clone() };
    SessionsTable { sessions: vec![row, discovery] }
}

pub(crate) fn serving() -> Health {
    Health { serving: true, waiting_for: None }
}

pub(crate) fn not_serving() -> Health {
    Health { serving: false, waiting_for: Some("server s2 waits for s3".into()) }
}

pub(crate) fn versions() -> VersionInfo {
    VersionInfo { program: "9.8.7".into(), store: 4, peer: 5, api: 1 }
}

pub(crate) fn join_token() -> JoinToken {
    JoinToken { token: "evk1-a-b".into(), servers: vec!["s4".into()], expires_ms: 1_800_000_000_000 }
}

pub(crate) fn certificates() -> CertificatesTable {
    let good = CertificateRow {
        certificate: "05".repeat(32),
        server: "s4".into(),
        since_ms: 1_800_000_000_000,
        revoked_ms: None,
    };
    let revoked = CertificateRow { revoked_ms: Some(1_800_000_000_001), ..good.clone() };
    CertificatesTable { certificates: vec![good, revoked] }
}
