//! The portal: where initiators connect.
//!
//! Each connection has a task that reads, lets the protocol work, gives what it wants done to the core, and writes.
//! The connection's protocol state is borrowed only between waits, and never while the core works.

mod admission;
mod connection;
mod targets;

use self::admission::Admission;
use self::connection::Connected;
use self::targets::Units;
use super::core::Core;
use crate::clock::now;
use crate::names::TargetNames;
use evenkeel_api::SessionRow;
use evenkeel_iscsi::target::{CloseReason, ConnectionId, Sessions, TargetConfig};
use evenkeel_meta::change::Actor;
use evenkeel_types::VolumeId;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Connections of a portal at most; more are closed at once.
const CONNECTIONS_MAX: usize = 4096;
/// Pause after a failed accept, so that a lack of descriptors does not become a busy loop.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// The portal of one server.
pub(crate) struct Portal {
    core: Rc<Core>,
    actor: Actor,
    names: TargetNames,
    group_id: u64,
    config: Arc<TargetConfig>,
    connections: RefCell<BTreeMap<ConnectionId, Rc<Connected>>>,
    sessions: RefCell<Sessions>,
    units: RefCell<Units>,
    admission: RefCell<Admission>,
    last_connection: Cell<u64>,
}

impl Portal {
    pub(crate) fn new(core: Rc<Core>, actor: Actor, names: TargetNames, group_id: u64) -> Rc<Self> {
        // Every server is a portal group of its own.
        let portal_group_tag = u16::try_from(core.me().0).unwrap_or(u16::MAX);
        let config = Arc::new(TargetConfig { portal_group_tag, ..TargetConfig::default() });
        Rc::new(Self {
            core,
            actor,
            names,
            group_id,
            config,
            connections: RefCell::default(),
            sessions: RefCell::default(),
            units: RefCell::default(),
            admission: RefCell::default(),
            last_connection: Cell::new(0),
        })
    }

    /// Takes connections for ever.
    pub(crate) async fn accept(self: Rc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, from)) => {
                    if self.connections.borrow().len() >= CONNECTIONS_MAX {
                        tracing::warn!(server = %self.core.name(), "refused {from}: {CONNECTIONS_MAX} connections are open");
                        continue;
                    }
                    self.last_connection.set(self.last_connection.get() + 1);
                    let id = ConnectionId(self.last_connection.get());
                    let standstills = self.core.standstill().look(now());
                    let config = Arc::clone(&self.config);
                    let connected = Connected::new(id, config, from.to_string(), standstills);
                    self.connections.borrow_mut().insert(id, Rc::clone(&connected));
                    tokio::task::spawn_local(connection::drive(Rc::clone(&self), connected, stream));
                }
                Err(e) => {
                    tracing::warn!(server = %self.core.name(), "cannot accept connections: {e}");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    fn connection(&self, id: ConnectionId) -> Option<Rc<Connected>> {
        self.connections.borrow().get(&id).cloned()
    }

    fn all(&self) -> Vec<Rc<Connected>> {
        self.connections.borrow().values().cloned().collect()
    }

    /// Number of open sessions.
    pub(crate) fn sessions(&self) -> usize {
        self.sessions.borrow().len()
    }

    /// Rows for the table of sessions.
    pub(crate) fn session_rows(&self) -> Vec<SessionRow> {
        self.all().iter().filter_map(|connected| connected.row(self.core.name(), &self.names)).collect()
    }

    /// Asks all initiators to log out.
    pub(crate) fn log_out_all(&self) {
        for connected in self.all() {
            connected.with(|connection| connection.begin_logout(now()));
        }
    }

    /// Closes all connections.
    pub(crate) fn drop_all(&self) {
        for connected in self.all() {
            connected.with(|connection| connection.close(CloseReason::Dropped));
        }
    }

    /// Closes the connections that stood before the latest standstill.
    pub(crate) fn drop_outlived(&self) {
        let standstills = self.core.standstill().look(now());
        for connected in self.all().into_iter().filter(|connected| connected.standstills() < standstills) {
            connected.with(|connection| connection.close(CloseReason::Dropped));
        }
    }

    /// The directory has changed: sessions of volumes that are gone end.
    pub(crate) fn view_changed(&self) {
        let gone =
            |volume: &VolumeId| self.core.with_view(|view| view.volume(*volume).is_none()).unwrap_or(false);
        for connected in self.all() {
            if connected.volume().as_ref().is_some_and(gone) {
                connected.with(|connection| connection.drop_session(now(), CloseReason::TargetRemoved));
            }
        }
        self.units.borrow_mut().forget_if(gone);
        self.admission.borrow_mut().forget_if(gone);
    }
}
