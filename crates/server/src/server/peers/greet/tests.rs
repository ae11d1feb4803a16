//! Who gets through the beginning of a connection to a server of a group with an authority, and what the others see.

use super::super::security::certificates_changed;
use super::super::{JoinDesk, accept};
use super::*;
use crate::config::PeerData;
use crate::security::identity::{Identity, tests::group};
use crate::security::tls::{PeerTls, crypto};
use crate::server::directory_link::News;
use crate::server::fixture::{GROUP, core_with};
use evenkeel_meta::change;
use evenkeel_meta::records::{ServerCapacity, ServerRecord};
use evenkeel_meta::{Directory, KeyRange, Keyspace, MemoryDirectory, Snapshot, View};
use evenkeel_peer::Local;
use evenkeel_types::Incarnation;
use rustls::ClientConfig;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::LocalSet;
use tokio::time::timeout;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Server 1 of a group with the servers s1, s2 and s3, its directory, and the folder of the group's authority.
struct Scene {
    core: Rc<Core>,
    directory: Arc<MemoryDirectory>,
    keys: Keyspace,
    authority: tempfile::TempDir,
    _store: tempfile::TempDir,
}

fn tls(folder: &Path, group: &str, server: &str, data: PeerData) -> PeerTls {
    PeerTls::new(Identity::load(folder, group, server).unwrap(), data).unwrap()
}

impl Scene {
    fn new(data: PeerData) -> Self {
        let authority = group(GROUP);
        let directory = Arc::new(MemoryDirectory::default());
        let keys = Keyspace::new(GROUP).unwrap();
        let desk = JoinDesk {
            group: GROUP.to_owned(),
            directory: Arc::clone(&directory) as Arc<dyn Directory>,
            keys: keys.clone(),
            folder: authority.path().to_owned(),
            api_token: None,
        };
        let security = Security { tls: tls(authority.path(), GROUP, "s1", data), desk: Arc::new(desk) };
        let (core, store) = core_with(Some(security));
        let scene = Self { core, directory, keys, authority, _store: store };
        for name in ["s1", "s2", "s3"] {
            let record = ServerRecord {
                name: name.to_owned(),
                portals: Vec::new(),
                peer: "127.0.0.1:1".to_owned(),
                api: None,
                domain: "d".to_owned(),
                capacity: ServerCapacity::default(),
                store_id: 0,
            };
            let (_, txn) = change::register_server(&scene.view(), &record).unwrap();
            assert!(scene.directory.transact(&txn).unwrap().succeeded);
        }
        scene.tell();
        scene
    }

    fn listed(&self) -> Snapshot {
        self.directory.range(&KeyRange::prefix(self.keys.prefix()), None).unwrap()
    }

    fn view(&self) -> View {
        View::from_snapshot(self.keys.clone(), &self.listed()).unwrap()
    }

    /// The server hears of the directory as it is now.
    fn tell(&self) {
        assert_eq!(self.core.news(News::Listed(self.listed())), Ok(true));
        let _ = certificates_changed(&self.core);
    }

    fn revoke(&self, certificate: Fingerprint) {
        let txn = change::revoke_certificates(&self.view(), &[certificate], 1);
        assert!(self.directory.transact(&txn).unwrap().succeeded);
        self.tell();
    }

    /// Runs a test beside the server's peer port.
    async fn with_port<T>(&self, test: impl AsyncFnOnce(std::net::SocketAddr) -> T) -> T {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let local = LocalSet::new();
        let accepting = local.spawn_local(accept(Rc::clone(&self.core), listener));
        let tested = local.run_until(async { timeout(PATIENCE, test(address)).await }).await;
        accepting.abort();
        tested.expect("in time")
    }
}

/// Dials with a client of TLS; gives the wire and how the handshake looked from here.
async fn dial(address: std::net::SocketAddr, config: &Arc<ClientConfig>) -> (Wire, Result<(), Refusal>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let client = ClientConnection::new(Arc::clone(config), no_dns_name()).unwrap();
    let mut wire = Wire::protected(stream, Connection::Client(client));
    let shaken = wire.shake_hands().await.map_err(Refusal::from);
    (wire, shaken)
}

/// Whether a byte comes that is not TLS's own, before the connection ends.
async fn is_told_something(wire: &mut Wire) -> bool {
    loop {
        match wire.try_read(&mut [0; 64]) {
            Ok(n) => return n > 0,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                if wire.readable().await.is_err() {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
}

/// What server 2 says.
fn peer_2() -> Local {
    Local {
        group: GROUP.to_owned(),
        server: ServerId(2),
        incarnation: Incarnation(1),
        program: "test".to_owned(),
    }
}

/// Introduces itself as server 2; gives what the other side says after its hello, which is a refusal if it is one.
async fn introduce(wire: &mut Wire) -> Option<String> {
    let (local, mut decoder) = (peer_2(), Decoder::greeting());
    let me = Peer { server: local.server, incarnation: local.incarnation };
    let goes_plain = wire.tls().is_some_and(|tls| tls.alpn_protocol() == Some(PLAIN));
    send(wire, me, local.group_hash(), &Message::Hello(local.hello(None))).await.unwrap();
    let hello = receive_hello(wire, &mut decoder).await.ok()?;
    assert_eq!(hello.server, ServerId(1));
    if goes_plain {
        wire.go_plain().unwrap();
    }
    let mut decoder = Decoder::new(None);
    loop {
        match wire.try_read(decoder.receive_space()) {
            Ok(0) => return None,
            Ok(n) => decoder.handle_received(n),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => wire.readable().await.unwrap(),
            Err(e) => panic!("{e}"),
        }
        match decoder.poll_frame().unwrap().map(|frame| frame.message) {
            Some(Message::Refuse { reason }) => return Some(reason),
            Some(_) => return Some("accepted".to_owned()),
            None => {}
        }
    }
}

fn connected(scene: &Scene) -> Vec<ServerId> {
    scene.core.with_links(|links| links.connected().collect())
}

#[tokio::test]
async fn a_peer_with_the_certificate_of_its_server_gets_through_in_every_combination_of_modes() {
    use PeerData::{Encrypted, Plain};
    for (ours, theirs, agreed) in [
        (Encrypted, Encrypted, ENCRYPTED),
        (Encrypted, Plain, ENCRYPTED),
        (Plain, Encrypted, ENCRYPTED),
        (Plain, Plain, PLAIN),
    ] {
        let scene = Scene::new(ours);
        let shown = tls(scene.authority.path(), GROUP, "s2", theirs);
        scene
            .with_port(async |address| {
                let (mut wire, shaken) = dial(address, &shown.dialling).await;
                assert!(shaken.is_ok());
                assert_eq!(wire.tls().unwrap().alpn_protocol(), Some(agreed), "{ours:?} and {theirs:?}");
                // The server has something to say to its peers from time to time: a heartbeat to begin with.
                assert_eq!(introduce(&mut wire).await.as_deref(), Some("accepted"));
                assert_eq!(connected(&scene), [ServerId(2)]);
            })
            .await;
    }
}

#[tokio::test]
async fn who_shows_no_certificate_or_one_of_another_authority_or_group_is_told_nothing() {
    let scene = Scene::new(PeerData::Encrypted);
    let (stranger, renamed) = (group(GROUP), group("barn"));
    let dialling = |folder: &Path, name| tls(folder, name, "s2", PeerData::Encrypted).dialling;
    let with_none = |protocol: &[u8]| {
        let mut config = ClientConfig::builder_with_provider(crypto())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(believing_all(&scene))
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        Arc::new(config)
    };
    // Whom the stranger believes is the stranger's own business.
    let believing = |config: Arc<ClientConfig>| {
        let mut config = ClientConfig::clone(&config);
        config.dangerous().set_certificate_verifier(believing_all(&scene));
        Arc::new(config)
    };
    let shown = [
        with_none(ENCRYPTED),
        with_none(b"h2"),
        believing(dialling(stranger.path(), GROUP)),
        believing(dialling(renamed.path(), "barn")),
    ];
    scene
        .with_port(async |address| {
            for config in &shown {
                let (mut wire, _) = dial(address, config).await;
                assert!(!is_told_something(&mut wire).await);
            }
            // Who does not speak TLS at all, as a server of a group without an authority.
            let mut bare = Wire::bare(TcpStream::connect(address).await.unwrap());
            let local = peer_2();
            let me = Peer { server: local.server, incarnation: local.incarnation };
            send(&mut bare, me, local.group_hash(), &Message::Hello(local.hello(None))).await.unwrap();
            let mut decoder = Decoder::greeting();
            assert!(receive_hello(&mut bare, &mut decoder).await.is_err());
            // The control: the right one gets through.
            let right = tls(scene.authority.path(), GROUP, "s2", PeerData::Encrypted);
            let (mut wire, _) = dial(address, &right.dialling).await;
            assert_eq!(introduce(&mut wire).await.as_deref(), Some("accepted"));
        })
        .await;
}

fn believing_all(scene: &Scene) -> Arc<dyn rustls::client::danger::ServerCertVerifier> {
    let path = crate::security::authority::certificate_path(scene.authority.path());
    let pin = certificate::fingerprint(&certificate::load(&path).unwrap()[0]);
    Arc::new(crate::security::tls::PinVerifier::new(pin))
}

#[tokio::test]
async fn a_revoked_certificate_ends_the_connection_that_stands_by_it_and_makes_no_other() {
    let scene = Scene::new(PeerData::Encrypted);
    let shown = tls(scene.authority.path(), GROUP, "s2", PeerData::Encrypted);
    scene
        .with_port(async |address| {
            let (mut wire, _) = dial(address, &shown.dialling).await;
            assert_eq!(introduce(&mut wire).await.as_deref(), Some("accepted"));
            assert_eq!(connected(&scene), [ServerId(2)]);
            scene.revoke(shown.fingerprint);
            assert_eq!(connected(&scene), []);
            while is_told_something(&mut wire).await {}
            let (mut wire, _) = dial(address, &shown.dialling).await;
            assert!(!is_told_something(&mut wire).await);
            // Another certificate for the same server is another matter.
            for file in ["server-s2.crt", "server-s2.key"] {
                std::fs::remove_file(scene.authority.path().join(file)).unwrap();
            }
            let another = tls(scene.authority.path(), GROUP, "s2", PeerData::Encrypted);
            let (mut wire, _) = dial(address, &another.dialling).await;
            assert_eq!(introduce(&mut wire).await.as_deref(), Some("accepted"));
        })
        .await;
}

/// The handshake was over when the certificate was revoked, the hello was not.
#[tokio::test]
async fn a_certificate_that_is_revoked_between_handshake_and_hello_does_not_get_through() {
    let scene = Scene::new(PeerData::Encrypted);
    let shown = tls(scene.authority.path(), GROUP, "s2", PeerData::Encrypted);
    scene
        .with_port(async |address| {
            let (mut wire, _) = dial(address, &shown.dialling).await;
            let mut decoder = Decoder::greeting();
            let _ = receive_hello(&mut wire, &mut decoder).await.unwrap();
            scene.revoke(shown.fingerprint);
            let local = peer_2();
            let me = Peer { server: local.server, incarnation: local.incarnation };
            send(&mut wire, me, local.group_hash(), &Message::Hello(local.hello(None))).await.unwrap();
            while is_told_something(&mut wire).await {}
            assert_eq!(connected(&scene), []);
        })
        .await;
}

#[tokio::test]
async fn a_server_that_calls_itself_another_than_its_certificate_does_is_refused() {
    for data in [PeerData::Encrypted, PeerData::Plain] {
        let scene = Scene::new(data);
        let shown = tls(scene.authority.path(), GROUP, "s3", data);
        scene
            .with_port(async |address| {
                let (mut wire, _) = dial(address, &shown.dialling).await;
                let reason = introduce(&mut wire).await.expect("a reason");
                assert!(reason.contains("'s2'") && reason.contains("certificate of 's3'"), "{reason}");
                assert_eq!(connected(&scene), []);
            })
            .await;
    }
}

#[tokio::test]
async fn a_server_whose_own_certificate_is_revoked_cannot_go_on() {
    let scene = Scene::new(PeerData::Encrypted);
    assert_eq!(certificates_changed(&scene.core), Ok(()));
    let own = scene.core.with_links(|links| links.security.as_ref().map(|own| own.tls.fingerprint));
    scene.revoke(own.unwrap());
    let why = certificates_changed(&scene.core).unwrap_err();
    assert!(why.contains("was revoked"), "{why}");
}

#[tokio::test]
async fn a_peer_that_speaks_another_version_is_refused_and_both_sides_say_why() {
    for data in [PeerData::Encrypted, PeerData::Plain] {
        let scene = Scene::new(data);
        let shown = tls(scene.authority.path(), GROUP, "s2", data);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialling = async {
            let (mut far, shaken) = dial(listener.local_addr().unwrap(), &shown.dialling).await;
            assert!(shaken.is_ok());
            let local = peer_2();
            let me = Peer { server: local.server, incarnation: local.incarnation };
            let pieces = Encoder::new(me, local.group_hash()).encode(&Message::Hello(local.hello(None)));
            let mut bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
            bytes[4] = 9;
            far.write_all(&bytes).await.unwrap();
            far
        };
        let accepting = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut near = wire(&scene.core, stream, None).unwrap();
            let mut decoder = Decoder::greeting();
            let refusal = greet(&scene.core, &mut near, &mut decoder, None).await.err();
            (refusal.expect("it is refused"), near)
        };
        let (mut far, (refusal, near)) = tokio::join!(dialling, accepting);
        assert_eq!(refusal.kind, "another wire version");
        assert!(
            refusal.line.contains("version 9") && refusal.line.contains("run one version"),
            "{}",
            refusal.line
        );
        // What the server says is of its own version, by which the other side sees the same.
        let mut decoder = Decoder::greeting();
        assert_eq!(receive_hello(&mut far, &mut decoder).await.unwrap().server, ServerId(1));
        drop(near);
    }
}
