//! What each command asks the API.

use crate::answers;
use crate::fake_api::FakeApi;
use crate::run::{finish, program};
use evenkeel_api::MoveState;

fn asked(api: &FakeApi, line: &str) -> Vec<String> {
    let run = api.run(line);
    assert_eq!(run.code, 0, "{line}: {run:?}");
    api.requests()
}

#[test]
fn volume_create_sends_size_in_bytes_and_who_may_log_in() {
    let create = |line: &str| asked(&FakeApi::with(&answers::volume()), line);
    assert_eq!(
        create("volume create v1 --size 1G --allow any"),
        [r#"POST /v1/volumes {"name":"v1","size_bytes":1073741824,"allow":["any"]}"#]
    );
    assert_eq!(
        create("volume create v1 --size 4KiB --allow iqn.a --allow iqn.b,iqn.c"),
        [r#"POST /v1/volumes {"name":"v1","size_bytes":4096,"allow":["iqn.a","iqn.b","iqn.c"]}"#]
    );
    assert_eq!(
        create("volume create v1 --size 4096"),
        [r#"POST /v1/volumes {"name":"v1","size_bytes":4096,"allow":[]}"#],
        "without --allow nobody may log in"
    );
}

#[test]
fn a_name_cannot_lead_to_another_path() {
    assert_eq!(
        asked(&FakeApi::new().then_bytes(204, ""), "volume delete ../servers?x"),
        ["DELETE /v1/volumes/..%2Fservers%3Fx"]
    );
}

#[test]
fn views_are_asked_of_the_server_that_is_named() {
    assert_eq!(asked(&FakeApi::with(&answers::load()), "load"), ["GET /v1/load"]);
    assert_eq!(asked(&FakeApi::with(&answers::load()), "load --server s2"), ["GET /v1/load?server=s2"]);
    let route = FakeApi::with(&answers::route());
    assert_eq!(asked(&route, "route v1 --server s2"), ["GET /v1/volumes/v1/route?server=s2"]);
    let verify = FakeApi::with(&answers::all_well());
    assert_eq!(asked(&verify, "route v1 --verify"), ["GET /v1/volumes/v1/verify"]);
}

#[test]
fn move_sends_its_rate_in_bytes_per_second_and_waits_for_the_end() {
    let api = FakeApi::with(&answers::move_in(MoveState::Running))
        .then(200, &answers::move_in(MoveState::Running))
        .then(200, &answers::move_in(MoveState::Done));
    assert_eq!(
        asked(&api, "move v1 3 --to s2 --rate 1MiB/s --wait"),
        [
            r#"POST /v1/moves {"volume":"v1","extent":3,"to":"s2","rate":1048576}"#,
            "GET /v1/moves/12",
            "GET /v1/moves/12"
        ]
    );
    let api = FakeApi::with(&answers::move_in(MoveState::Running));
    assert_eq!(asked(&api, "move v1 3 --to s2"), [r#"POST /v1/moves {"volume":"v1","extent":3,"to":"s2"}"#]);
}

#[test]
fn wait_asks_until_the_group_serves() {
    let error = evenkeel_api::ApiError { error: "s1: starting".into() };
    let api =
        FakeApi::new().then(503, &error).then(200, &answers::not_serving()).then(200, &answers::serving());
    let run = api.run("wait --timeout 20s");
    assert_eq!((run.code, run.stdout.as_str(), api.requests().len()), (0, "serving\n", 3));
}

#[test]
fn the_api_is_named_in_front_behind_or_in_the_environment_and_flags_win() {
    let api = FakeApi::with(&answers::volumes());
    let nobody = "http://127.0.0.1:1";
    let code =
        |variable: &str, args: &[&str]| finish(program().env("EVENKEEL_API", variable).args(args)).code;
    assert_eq!(code(&api.url(), &["volume", "list"]), 0);
    assert_eq!(code(nobody, &["--api", &api.url(), "volume", "list"]), 0);
    assert_eq!(code(nobody, &["volume", "list", "--api", &api.url()]), 0);
    assert_eq!(code(&api.url(), &["volume", "list", "--api", nobody]), 4);
}

#[test]
fn proxies_of_the_environment_are_not_asked() {
    let api = FakeApi::with(&answers::volumes());
    let mut command = program();
    for name in ["http_proxy", "HTTP_PROXY", "ALL_PROXY"] {
        command.env(name, "http://127.0.0.1:1");
    }
    assert_eq!(finish(command.args(["--api", &api.url(), "volume", "list"])).code, 0);
}

#[test]
fn tokens_and_revocations_are_asked_for_by_names_or_by_the_hash_of_a_certificate() {
    let token = FakeApi::with(&answers::join_token());
    assert_eq!(
        asked(&token, "group token s4 s5 --expires 2h"),
        [r#"POST /v1/join-tokens {"servers":["s4","s5"],"expires_s":7200}"#]
    );
    let hash = "05".repeat(32);
    for (which, body) in
        [("s4", r#"{"server":"s4"}"#.to_owned()), (&hash, format!(r#"{{"certificate":"{hash}"}}"#))]
    {
        let api = FakeApi::with(&answers::certificates());
        assert_eq!(
            asked(&api, &format!("group revoke {which}")),
            [format!("POST /v1/certificates/revoke {body}")]
        );
    }
    assert_eq!(
        asked(&FakeApi::with(&answers::certificates()), "group certificates"),
        ["GET /v1/certificates"]
    );
}

#[test]
fn the_token_comes_from_the_flag_the_environment_or_the_data_folder_in_this_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, token: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("# a remark\n{token}\n")).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        path
    };
    let (flag, variable) = (file("flag", "token-of-the-flag"), file("variable", "token-of-the-variable"));
    file("tls/api-token", "token-of-the-data-folder");
    let api = FakeApi::with(&answers::volumes());
    let mut command = program();
    command.args(["--api", &api.url(), "volume", "list"]);
    let shown = |command: &mut std::process::Command| {
        let ran = finish(command);
        assert_eq!(ran.code, 0, "{ran:?}");
        api.authorizations().pop().unwrap()
    };
    assert_eq!(shown(command.env("EVENKEEL_DATA", folder.path())), "Bearer token-of-the-data-folder");
    assert_eq!(shown(command.env("EVENKEEL_TOKEN", "token-itself")), "Bearer token-itself");
    assert_eq!(shown(command.env("EVENKEEL_TOKEN_FILE", &variable)), "Bearer token-of-the-variable");
    assert_eq!(shown(command.arg("--token-file").arg(&flag)), "Bearer token-of-the-flag");
    let mut without = program();
    without.args(["--api", &api.url(), "volume", "list"]).env("EVENKEEL_DATA", "/no/such/folder");
    assert_eq!(shown(&mut without), "");
    without.arg("--token-file").arg("/no/such/file");
    let ran = finish(&mut without);
    assert_eq!(ran.code, 2);
    assert!(ran.failure().contains("/no/such/file"), "{ran:?}");
}
