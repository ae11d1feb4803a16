//! Configurations that are right, and ones that are refused.

use super::*;

const FILE: &str = r#"
    data = "/srv/evenkeel"
    [[server]]
    name = "s1"
    portal = "127.0.0.1:3260"
    peer = "127.0.0.1:7260"
    [server.capacity]
    disk_read_iops = 1000
    disk_write_iops = 500
    net_mib_s = 100
    cpu_cores = 0.5
"#;

fn load(text: &str) -> Result<ServeConfig, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    ServeConfig::load(file.path()).map_err(|e| e.to_string())
}

#[test]
fn a_file_with_one_server_gets_the_defaults() {
    let config = load(FILE).unwrap();
    assert_eq!(config.api.port(), 8260);
    assert_eq!(config.store_path(&config.servers[0]), Path::new("/srv/evenkeel/s1/store"));
    assert_eq!(config.servers[0].capacity.unwrap().cpu_cores, 0.5);
}

#[test]
fn peers_are_told_the_advertised_address_and_else_the_one_listened_on() {
    let plain = load(FILE).unwrap();
    assert_eq!(plain.servers[0].peer_address(), plain.servers[0].peer);
    let translated = "advertise_peer = \"203.0.113.7:17260\"\n[server.capacity]";
    let config = load(&FILE.replace("[server.capacity]", translated)).unwrap();
    assert_eq!(config.servers[0].peer_address().to_string(), "203.0.113.7:17260");
    let second = "[[server]]\nname = \"s2\"\nportal = \"127.0.0.1:3261\"\npeer = \"127.0.0.1:7261\"\nadvertise_peer = \"127.0.0.1:7260\"";
    let error = load(&format!("{FILE}\n{second}")).unwrap_err();
    assert!(error.contains("already the address of s1"), "{error}");
}

#[test]
fn an_unknown_key_is_refused_with_its_name_and_line() {
    let error = load(&format!("colour = 1\n{FILE}")).unwrap_err();
    assert!(error.contains("colour") && error.contains("line 1:"), "{error}");
    let error = load(&FILE.replace("[server.capacity]", "shade = 1\n[server.capacity]")).unwrap_err();
    assert!(error.contains("shade") && error.contains("line 7:"), "{error}");
}

#[test]
fn with_a_token_the_api_and_with_an_authority_the_peer_ports_may_be_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    let text = FILE.replace("/srv/evenkeel", &data).replace("127.0.0.1:7260", "10.0.0.11:7260");
    let text = format!("api = \"0.0.0.0:8260\"\n{text}");
    assert!(load(&text).unwrap_err().contains("there is no token"));
    let named = format!("api_token = \"/etc/token\"\n{text}");
    assert!(load(&named).unwrap_err().contains("there are no certificates"));
    let _ = crate::found(folder.path(), "lab").unwrap();
    let config = load(&text).unwrap();
    assert_eq!(config.api_token_path(), Some(folder.path().join("tls/api-token")));
    assert_eq!(load(&named).unwrap().api_token_path(), Some("/etc/token".into()));
    assert_eq!(config.peer.data, PeerData::Encrypted);
    let plain = load(&format!("peer.data = \"plain\"\n{text}")).unwrap();
    assert_eq!(plain.peer.data, PeerData::Plain);
}

#[test]
fn wrong_values_are_named() {
    for (from, to, word) in [
        ("\"s1\"", "\"S 1\"", "'S 1'"),
        ("127.0.0.1:7260", "127.0.0.1:3260", "already the address"),
        ("= 1000", "= -1", "above zero"),
        ("127.0.0.1:7260", "127.0.0.1:0", "port 0"),
        ("[server.capacity]", "size = \"many\"\n[server.capacity]", "'many'"),
        ("data =", "disk.read_cache = \"much\"\ndata =", "'much'"),
        ("[server.capacity]", "size = \"1MiB\"\n[server.capacity]", "'1MiB'"),
        ("[server.capacity]", "journal = \"1GiB1\"\n[server.capacity]", "'1GiB1'"),
        ("[server.capacity]", "journal = \"17GiB\"\n[server.capacity]", "'17GiB'"),
        ("[server.capacity]", "journal = \"1025KiB\"\n[server.capacity]", "'1025KiB'"),
        ("[server.capacity]", "domain = \"\"\n[server.capacity]", "domain of s1"),
        ("data =", "balance = { storage_weight = -1.0 }\ndata =", "storage_weight -1"),
        ("data =", "balance = { server_weight = nan }\ndata =", "server_weight NaN"),
        ("[server.capacity]", "advertise_peer = \"0.0.0.0:7260\"\n[server.capacity]", "'0.0.0.0:7260'"),
        ("data =", "api = \"0.0.0.0:8260\"\ndata =", "loopback"),
        ("127.0.0.1:7260", "10.0.0.11:7260", "evenkeel group init"),
        ("data =", "peer.data = \"rot13\"\ndata =", "rot13"),
        ("data =", "directory = \"etcd://\"\ndata =", "'etcd://'"),
        ("data =", "directory = \"etcd://a\"\nadvertise_api = \"0.0.0.0:8260\"\ndata =", "advertise_api"),
        ("data =", "directory = \"zookeeper\"\ndata =", "'zookeeper'"),
        ("data =", "directory = \"etcds://a\"\ndata =", "directory_tls.ca"),
        ("data =", "directory = \"etcd://a\"\ndirectory_tls.ca = \"f\"\ndata =", "write etcds://"),
        ("data =", "directory = \"etcds://a\"\ndirectory_tls.cert = \"f\"\ndata =", "cert and key"),
        ("data =", "directory_tls.ca = \"f\"\ndata =", "embedded"),
    ] {
        let error = load(&FILE.replace(from, to)).unwrap_err();
        assert!(error.contains(word) && !error.contains('\n'), "{error}");
    }
}
