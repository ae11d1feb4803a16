use super::*;
use clap::Parser;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    flags: Flags,
}

fn configured(line: &[&str]) -> Result<ServeConfig, Failure> {
    let parsed =
        Line::try_parse_from(["serve"].iter().chain(line)).map_err(|error| Failure::usage(&error))?;
    configuration(&parsed.flags)
}

const FILE: &str = r#"
    data = "/srv/a"
    group = "from-file"
    [[server]]
    name = "left"
    portal = "127.0.0.1:3000"
    peer = "127.0.0.1:7000"
    size = "1GiB"
    [[server]]
    name = "right"
    portal = "127.0.0.1:3001"
    peer = "127.0.0.1:7001"
"#;

#[test]
fn servers_without_a_file_are_equal_and_on_successive_ports() {
    let config = configured(&[
        "--data",
        "/d",
        "--servers",
        "3",
        "--portal",
        "127.0.0.1:5000",
        "--api",
        "127.0.0.1:9000",
        "--advertise-peer",
        "203.0.113.7:17260",
    ])
    .unwrap();
    let told: Vec<_> = config.servers.iter().map(|s| s.peer_address().to_string()).collect();
    assert_eq!(told, ["203.0.113.7:17260", "203.0.113.7:17261", "203.0.113.7:17262"]);
    let at: Vec<_> =
        config.servers.iter().map(|s| (s.name.as_str(), s.portal.port(), s.peer.port())).collect();
    assert_eq!(at, [("s1", 5000, 7260), ("s2", 5001, 7261), ("s3", 5002, 7262)]);
    assert_eq!((config.group.as_str(), config.api.port()), ("evenkeel", 9000));
}

#[test]
fn a_flag_overrides_the_file_and_leaves_the_rest() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), FILE).unwrap();
    let path = file.path().to_str().unwrap();
    let line = [
        "--config",
        path,
        "--data",
        "/b",
        "--peer-port",
        "8000",
        "--store-size",
        "2GiB",
        "--balance",
        "false",
    ];
    let config = configured(&line).unwrap();
    assert_eq!((config.data.to_str().unwrap(), config.group.as_str()), ("/b", "from-file"));
    assert!(!config.balance.enabled);
    let servers: Vec<_> =
        config.servers.iter().map(|s| (s.name.as_str(), s.portal.port(), s.peer.port())).collect();
    assert_eq!(servers, [("left", 3000, 8000), ("right", 3001, 8001)]);
    assert!(config.servers.iter().all(|server| server.size.as_deref() == Some("2GiB")));

    let untouched = configured(&["--config", path]).unwrap();
    assert_eq!(untouched, ServeConfig::load(file.path()).unwrap());
}

#[test]
fn what_cannot_be_served_is_a_usage_error_with_the_value() {
    for (line, word) in [
        (&["--data", "/d", "--portal", "127.0.0.1:0"][..], "--portal"),
        (&["--data", "/d", "--servers", "0"], "0 servers"),
        (&["--data", "/d", "--servers", "9999"], "9999 servers"),
        (&["--data", "/d", "--servers", "2", "--portal", "127.0.0.1:65535"], "65535"),
        (&["--data", "/d", "--api", "0.0.0.0:8260"], "0.0.0.0:8260"),
        (&["--data", "/d", "--group", "A b"], "'A b'"),
        (&["--data", "/d", "--store-size", "much"], "'much'"),
        (&["--data", "/d", "--disk-engine", "steam"], "'steam'"),
        (&["--data", "/d", "--log", "a=b=c"], "'a=b=c'"),
        (&["--config", "/no/such/file"], "/no/such/file"),
        (&[], "--data"),
    ] {
        let failure = configured(line).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{line:?}");
        assert!(failure.to_string().contains(word), "{line:?}: {failure}");
    }
}

#[test]
fn declared_capacities_are_those_of_every_server() {
    let figures = "disk_read_iops=300,disk_write_iops=2e3,net_mib_s=50.5,cpu_cores=0.2";
    let config = configured(&["--data", "/d", "--servers", "2", "--capacity", figures]).unwrap();
    for server in &config.servers {
        let capacity = server.capacity.unwrap();
        assert_eq!((capacity.disk_read_iops, capacity.disk_write_iops), (300.0, 2000.0));
        assert_eq!((capacity.net_mib_s, capacity.cpu_cores, capacity.enforce), (50.5, 0.2, false));
    }
    for (wrong, named) in [
        ("cpu_cores=1", "disk_read_iops"),
        ("disk_read_iops=1,disk_write_iops=1,net_mib_s=1,cpu_cores=1,cores=2", "cores"),
        ("disk_read_iops=1,disk_write_iops=1,net_mib_s=1,cpu_cores=0", "above zero"),
        ("much", "much"),
    ] {
        let refused = configured(&["--data", "/d", "--capacity", wrong]).unwrap_err().to_string();
        assert!(refused.contains(named), "{wrong}: {refused}");
    }
}

#[test]
fn a_process_of_several_names_its_servers_and_their_directory() {
    let line = ["--data", "/d", "--servers", "2", "--first-server", "4", "--directory", "etcd://a:1,b"];
    let config = configured(&line).unwrap();
    let names: Vec<_> = config.servers.iter().map(|server| server.name.as_str()).collect();
    assert_eq!(names, ["s4", "s5"]);
    assert_eq!(config.directory, "etcd://a:1,b");
    assert_eq!(configured(&["--data", "/d"]).unwrap().directory, "embedded");
    let tls = ["--data", "/d", "--directory", "etcds://a", "--directory-ca", "ca", "--directory-cert", "c"];
    let refused = configured(&tls).unwrap_err();
    assert_eq!(refused.exit, Exit::Usage);
    assert!(refused.to_string().contains("cert and key"), "{refused}");
}
