//! The JSON of every command, as names and types of fields. These are the contract with scripts: a field may be
//! added here, none may be renamed, removed or change its type.

use crate::answers;
use crate::fake_api::FakeApi;
use crate::run::run;
use evenkeel_api::MoveState;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The shape of a value: an object as its fields in alphabetical order, a list as what its elements are together.
fn shape(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(number) if number.is_f64() => "float".into(),
        Value::Number(_) => "int".into(),
        Value::String(_) => "string".into(),
        Value::Object(fields) => shape_of_objects(&[fields]),
        Value::Array(elements) => {
            let objects: Vec<_> = elements.iter().filter_map(Value::as_object).collect();
            match elements.first() {
                Some(Value::Object(_)) => format!("[{}]", shape_of_objects(&objects)),
                first => format!("[{}]", first.map(shape).unwrap_or_default()),
            }
        }
    }
}

/// The fields that any of the objects has, each with the fullest of its shapes: an empty list says nothing of its
/// elements, and an optional field may be absent.
fn shape_of_objects(objects: &[&Map<String, Value>]) -> String {
    let mut fields: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in objects.iter().copied().flatten().filter(|(_, value)| !value.is_null()) {
        let field = fields.entry(name).or_default();
        let seen = shape(value);
        if seen.len() > field.len() {
            *field = seen;
        }
    }
    let fields: Vec<_> = fields.iter().map(|(name, shape)| format!("{name}: {shape}")).collect();
    format!("{{{}}}", fields.join(", "))
}

fn assert_schema(api: &FakeApi, line: &str, schema: &str) {
    for format in ["-o json", "--output json", "--output=json"] {
        let run = api.run(&format!("{line} {format}"));
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{line}");
        assert_eq!(shape(&run.json()), schema.split_whitespace().collect::<Vec<_>>().join(" "), "{line}");
    }
}

const VOLUME: &str = "{allocated_bytes: int, allow: [string], id: int, iqn: string, name: string, portals: [string], \
     replicas: int, size_bytes: int}";

const MOVE: &str = "{ended_ms: int, explanation: [string], extent: int, from: string, id: int, reason: string, \
     regions_current: int, regions_sent: int, started_ms: int, state: string, to: string, volume: string}";

#[test]
fn schema_of_volume_create_and_show() {
    let api = FakeApi::with(&answers::volume());
    assert_schema(&api, "volume create v1 --size 1GiB --allow any", VOLUME);
    assert_schema(&api, "volume show v1", VOLUME);
}

#[test]
fn schema_of_volume_list() {
    assert_schema(&FakeApi::with(&answers::volumes()), "volume list", &format!("{{volumes: [{VOLUME}]}}"));
}

#[test]
fn schema_of_volume_delete() {
    assert_schema(&FakeApi::new().then_bytes(204, ""), "volume delete v1", "{deleted: string}");
}

#[test]
fn schema_of_server_list() {
    let schema = "{group: string, servers: [{allocated_bytes: int, connected: [string], disk: string, incarnation: int, \
         peer: string, portal: string, reason: string, server: string, sessions: int, state: string, total_bytes: int}]}";
    assert_schema(&FakeApi::with(&answers::servers()), "server list", schema);
}

#[test]
fn schema_of_load() {
    let schema = "{imbalance: float, mean_load: float, seen_by: string, servers: [{age_ms: int, allocated_bytes: int, \
         load: float, load_slow: float, moves_in: int, moves_out: int, random_reads: float, random_writes: float, \
         resources: [{copies: float, extents: float, front_end: float, name: string}], sequential_reads: float, \
         sequential_writes: float, server: string, server_load: float, stale: bool, state: string, \
         storage_load: float, total_bytes: int}]}";
    assert_schema(&FakeApi::with(&answers::load()), "load --server s1", schema);
}

#[test]
fn schema_of_route() {
    let schema = "{extents: [{epoch: int, extent: int, moved: bool, moving_to: string, owner: string, \
         replicas: [string]}], revision: int, seen_by: string, volume: string}";
    assert_schema(&FakeApi::with(&answers::route()), "route v1 --server s2", schema);
}

#[test]
fn schema_of_route_verify_with_and_without_findings() {
    let api = FakeApi::with(&answers::all_well());
    assert_schema(&api, "route v1 --verify", "{extents: int, findings: [], records: int}");
    let run = FakeApi::with(&answers::findings()).run("route v1 --verify -o json");
    assert_eq!(
        shape(&run.json()),
        "{extents: int, findings: [{detail: string, kind: string, server: string}], records: int}"
    );
}

#[test]
fn schema_of_check() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    std::fs::write(&store, vec![0x55; 1 << 20]).unwrap();
    let checked = run(&format!("check {} -o json", folder.path().display()));
    assert_eq!(checked.code, 3, "{checked:?}");
    assert_eq!(
        shape(&checked.json()),
        "{extents: int, findings: [{detail: string, kind: string, server: string}], records: int}"
    );
    assert_eq!(checked.json()["findings"][0]["kind"], "foreign-superblock");
}

#[test]
fn schema_of_move_and_explain() {
    let api = FakeApi::with(&answers::move_in(MoveState::Done));
    assert_schema(&api, "move v1 3 --to s2 --rate 1MiB/s --wait", MOVE);
    assert_schema(&api, "explain 12", MOVE);
}

#[test]
fn schema_of_moves() {
    let schema = format!(
        "{{aborted: int, answered_moved: int, bytes_sent: int, completed: int, moves: [{MOVE}], \
         pinned_over_cutover: int, regions_sent: int, writes_mirrored: int, writes_not_yet_copied: int, \
         writes_waited: int}}"
    );
    assert_schema(&FakeApi::with(&answers::moves()), "moves", &schema);
}

#[test]
fn schema_of_session_list() {
    let schema = "{sessions: [{address: string, commands: int, digests: string, initiator: string, read_bytes: int, \
         server: string, tsih: int, volume: string, written_bytes: int}]}";
    assert_schema(&FakeApi::with(&answers::sessions()), "session list", schema);
}

#[test]
fn schema_of_group_commands() {
    let token = FakeApi::with(&answers::join_token());
    assert_schema(&token, "group token s4", "{expires_ms: int, servers: [string], token: string}");
    let schema = "{certificates: [{certificate: string, revoked_ms: int, server: string, since_ms: int}]}";
    assert_schema(&FakeApi::with(&answers::certificates()), "group certificates", schema);
    assert_schema(&FakeApi::with(&answers::certificates()), "group revoke s4", schema);
    let folder = tempfile::tempdir().unwrap();
    let made = run(&format!("group init --data {} -o json", folder.path().join("data").display()));
    assert_eq!((made.code, made.stderr.as_str()), (0, ""));
    assert_eq!(
        shape(&made.json()),
        "{api_token: string, authority_certificate: string, authority_key: string, data: string, group: string}"
    );
}

#[test]
fn schema_of_wait() {
    assert_schema(&FakeApi::with(&answers::serving()), "wait", "{serving: bool}");
}

#[test]
fn schema_of_version_here_and_there() {
    let schema = "{api: int, peer: int, program: string, store: int}";
    let api = FakeApi::with(&answers::versions());
    assert_schema(&api, "version", schema);
    assert_eq!(api.requests(), Vec::<String>::new(), "a program tells its own versions without asking");
    assert_schema(&api, "version --remote", schema);
    assert_eq!(api.run("version --remote -o json").json()["program"], "9.8.7");
}

#[test]
fn states_are_words_of_the_contract() {
    for (state, word) in
        [(MoveState::Running, "running"), (MoveState::Done, "done"), (MoveState::Aborted, "aborted")]
    {
        assert_eq!(FakeApi::with(&answers::move_in(state)).run("explain 12 -o json").json()["state"], word);
    }
    let servers = FakeApi::with(&answers::servers()).run("server list -o json").json();
    assert_eq!(servers["servers"][0]["state"], "up");
    assert_eq!(servers["servers"][1]["state"], "syncing");
    assert_eq!(servers["servers"][2]["state"], "stopped");
}

#[test]
fn help_and_version_go_to_stdout_with_exit_code_0() {
    for line in ["--help", "help volume", "volume create --help", "--version", "completions bash"] {
        let run = run(line);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{line}");
        assert!(run.stdout.contains("evenkeel"), "{line}: {run:?}");
    }
}
